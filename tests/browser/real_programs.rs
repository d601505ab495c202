//! The whole way in Chromium, over TLS: from the application to the simulator's page and back.

mod outages;

use std::{fs, io::Write, path::PathBuf, sync::Arc};

use serde_json::{Value, json};
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, echo::Echo, people::Person},
};
use tempfile::NamedTempFile;

use super::{SESSION, WEB, key_file};
use crate::{
    demo::Demo,
    support::{browser::Browser, eventually, program::Program, secure::Authority},
};

/// A browser in front of an application over TLS, and what is behind that.
struct World<Behind> {
    chromium: Browser,
    /// The application's origin.
    app: String,
    behind: Behind,
}

impl World<Demo> {
    /// The demonstration, as everybody starts it.
    async fn demo() -> Self {
        let demo = Demo::start();
        Self { chromium: Browser::start().await, app: demo.web_app().to_owned(), behind: demo }
    }
}

/// A proxy with settings of its own, its Apple and its application.
struct Served {
    _program: Program,
    _apple: Apple,
    _echo: Echo,
    _authority: Authority,
    _files: [NamedTempFile; 2],
}

impl World<Served> {
    /// An application called Orders, with `extra` below `[browser]`.
    async fn with(extra: &str) -> Self {
        let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
        let (echo, authority, key) = (Echo::start().await.unwrap(), Authority::new(), key_file(1));
        let app = "https://app.example".to_owned();
        let mut settings = NamedTempFile::new().unwrap();
        write!(
            settings,
            "apple.leeway = '0s'\nsessions.key_files = ['{}']\n{}\n[[route]]\naccess = 'browser'\n\
             [browser]\npath = '/auth/apple'\norigins = ['{app}']\nclient_id = '{WEB}'\nname = 'Orders'\n\
             authorize_url = '{}/auth/authorize'\n{extra}\n",
            key.path().display(),
            authority.configuration(),
            apple.url(),
        )
        .unwrap();
        let file = settings.path().to_str().unwrap();
        let flags = ["--config", file, "--client-id", WEB];
        let program = Program::start(&apple, echo.address(), &flags).await;
        let [app_host, www] = ["app.example", "www.example"].map(|it| (it, program.address));
        let chromium = Browser::resolving(&[app_host, www]).await;
        let behind = Served {
            _program: program,
            _apple: apple,
            _echo: echo,
            _authority: authority,
            _files: [key, settings],
        };
        Self { chromium, app, behind }
    }
}

impl<Behind> World<Behind> {
    /// Opens `path` of the application.
    async fn open(&self, path: &str) {
        self.chromium.open(&format!("{}{path}", self.app)).await;
    }

    /// From any page of the application through Apple's and back to `place`.
    async fn sign_in(&self, place: &str) {
        self.chromium.click("a.apple").await;
        self.chromium.reads("h1", WEB).await;
        self.chromium.click("button[value=continue]").await;
        self.chromium.arrives_at(&format!("{}{place}", self.app)).await;
    }

    /// Waits until the page shows `text`: the application answers with what it was told.
    async fn is_told(&self, text: &str) -> String {
        self.chromium.reads("body", text).await
    }

    async fn must_sign_in(&self) {
        self.chromium.reads("h1", "Sign in to ").await;
    }

    /// The session's cookie, if there is one.
    async fn session(&self) -> Option<Value> {
        self.chromium.cookies().await.into_iter().find(|it| it["name"] == SESSION)
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn people_sign_in_come_back_reload_and_sign_out() {
    let world = World::demo().await;
    let World { chromium, .. } = &world;
    world.open("/orders?page=2").await;
    world.must_sign_in().await;
    world.sign_in("/orders?page=2").await;
    let jane = Person::jane();
    world.is_told(&jane.subject).await;
    chromium.reload().await;
    let told = world.is_told(&jane.subject).await;
    assert!(told.contains(&jane.email) && !told.contains("siwa_session"), "{told}");

    let session = world.session().await.unwrap();
    assert_eq!(
        [&session["httpOnly"], &session["secure"], &session["sameSite"], &session["path"]],
        [&json!(true), &json!(true), &json!("Lax"), &json!("/")]
    );

    world.open("/auth/apple/login").await;
    chromium.reads("h1", "You are signed in").await;
    chromium.click("form button").await;
    chromium.reads("h1", "You are signed out").await;
    world.open("/orders").await;
    world.must_sign_in().await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn whoever_hides_their_address_is_known_by_apples_relay() {
    let world = World::demo().await;
    let World { chromium, .. } = &world;
    world.open("/").await;
    chromium.click("a.apple").await;
    chromium.type_into("#address", "ada@example.net").await;
    chromium.click("input[value=hide]").await;
    chromium.click("button[value=continue]").await;
    chromium.arrives_at(&format!("{}/", world.app)).await;
    let ada = Person::of_address("ada@example.net");
    let told = world.is_told(&ada.relay_email.unwrap()).await;
    assert!(!told.contains("ada@example.net"), "{told}");
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn whoever_cancels_goes_back_or_lets_a_sign_in_lie_gets_in_in_the_end() {
    let world = World::demo().await;
    let World { chromium, .. } = &world;
    world.open("/a").await;
    chromium.click("a.apple").await;
    chromium.click("button[value=cancel]").await;
    chromium.reads("h1", "Sign-in was cancelled").await;

    // It lies for so long that the browser forgets it.
    chromium.click("a.apple").await;
    chromium.reads("h1", WEB).await;
    chromium.devtools("Network.clearBrowserCookies", json!({})).await;
    chromium.click("button[value=continue]").await;
    chromium.reads("h1", "This sign-in is not under way").await;

    // Back to Apple's page after the sign-in is over: it cannot end twice.
    world.sign_in("/").await;
    chromium.back().await;
    world.open("/a").await;
    world.is_told(&Person::jane().subject).await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn two_tabs_sign_in_each_for_itself() {
    let world = World::demo().await;
    let World { chromium, .. } = &world;
    world.open("/one").await;
    chromium.click("a.apple").await;
    chromium.reads("h1", WEB).await;
    let first = chromium.windows().await.remove(0);
    chromium.in_new_tab().await;
    world.open("/other").await;
    world.sign_in("/other").await;
    chromium.switch_to(&first).await;
    chromium.click("button[value=continue]").await;
    chromium.arrives_at(&format!("{}/one", world.app)).await;
    world.is_told(&Person::jane().subject).await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn whoever_withdraws_consent_is_signed_out_at_the_next_click() {
    let world = World::demo().await;
    world.open("/a").await;
    world.sign_in("/a").await;
    world.is_told(&Person::jane().subject).await;
    // Apple's simulator tells the proxy, as the last line of the demonstration has it do.
    let told = world.behind.send(9).await;
    assert_eq!(told.json()["statuses"], json!([200]), "{told:?}");
    world.open("/a").await;
    world.must_sign_in().await;
    assert!(world.session().await.is_none());
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn a_session_that_lay_idle_is_over_in_the_browser_and_wherever_its_cookie_still_is() {
    let world = World::with("session_lifetime = '5s'").await;
    world.open("/a").await;
    world.sign_in("/a").await;
    world.is_told(&Person::jane().subject).await;
    let copy = world.session().await.unwrap();
    // Looking at the cookies asks the proxy nothing, which would renew them.
    eventually("the browser forgets it", async || world.session().await.is_none()).await;
    world.open("/a").await;
    world.must_sign_in().await;

    let url = format!("{}/", world.app);
    let cookie =
        json!({ "name": SESSION, "value": copy["value"], "url": url, "path": "/", "secure": true });
    world.chromium.devtools("Network.setCookie", cookie).await;
    assert!(world.session().await.is_some(), "somebody had kept it");
    world.open("/a").await;
    world.must_sign_in().await;
    assert!(world.session().await.is_none(), "it is taken away");
    world.sign_in("/a").await;
    world.is_told(&Person::jane().subject).await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn whoever_signs_out_arrives_at_another_origin_if_that_is_said() {
    let world = World::with("after_logout = 'https://www.example/goodbye'").await;
    world.open("/a").await;
    world.sign_in("/a").await;
    world.open("/auth/apple/login").await;
    world.chromium.click("form button").await;
    world.chromium.arrives_at("https://www.example/goodbye").await;
    world.open("/a").await;
    world.must_sign_in().await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn a_script_of_the_application_is_told_and_not_sent_to_sign_in() {
    let world = World::demo().await;
    let World { chromium, .. } = &world;
    world.open("/a").await;
    let ask = "return fetch(arguments[0], {method: arguments[1]}).then(it => it.status)";
    let status =
        async |path: &str, method: &str| chromium.run(ask, &[json!(path), json!(method)]).await;
    world.sign_in("/a").await;
    assert_eq!(status("/api", "POST").await, 200);
    assert_eq!(status("/auth/apple/userinfo", "GET").await, 200);
    assert_eq!(status("/auth/apple/logout", "POST").await, 204);
    assert_eq!(status("/api", "GET").await, 401, "a script is not sent to sign in");
}

/// axe-core, which .ci/run puts among the programs.
fn axe() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|folder| folder.join("axe.min.js"));
    let found: Option<PathBuf> = found.find(|file| file.exists());
    fs::read_to_string(found.expect("axe.min.js among the programs, as .ci/run puts it")).unwrap()
}

#[tokio::test]
#[ignore = "needs chromium, chromium-driver and axe-core; .ci/run installs them"]
async fn nobody_is_kept_from_using_the_pages() {
    let world = World::demo().await;
    let World { chromium, .. } = &world;
    let axe = axe();
    let finds_nothing = async |page: &str| {
        // WebDriver's scripts are not the page's: its policy lets none run.
        chromium.run(&axe, &[]).await;
        for scheme in ["light", "dark"] {
            chromium.prefer(scheme).await;
            let look = "return axe.run({resultTypes: ['violations']}).then(it => it.violations)";
            assert_eq!(chromium.run(look, &[]).await, json!([]), "{page}, {scheme}");
        }
    };
    world.open("/a").await;
    finds_nothing("login").await;
    chromium.click("a.apple").await;
    chromium.click("button[value=cancel]").await;
    chromium.reads("h1", "cancelled").await;
    finds_nothing("cancelled").await;
    world.sign_in("/a").await;
    world.open("/auth/apple/login").await;
    finds_nothing("signed in").await;
    chromium.click("form button").await;
    finds_nothing("signed out").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn the_page_fits_every_window_and_both_schemes() {
    let world = World::with("").await;
    let World { chromium, .. } = &world;
    world.open("/a").await;
    let folder = std::env::var_os("SIWA_SCREENSHOTS").map(PathBuf::from);
    for (name, scheme, width, height) in
        [("light", "light", 800, 500), ("dark", "dark", 800, 500), ("narrow", "light", 320, 480)]
    {
        chromium.resize(width, height).await;
        chromium.prefer(scheme).await;
        let overflow =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(chromium.run(overflow, &[]).await, 0, "{name}");
        let button = "const it = document.querySelector('a.apple').getBoundingClientRect(); return [it.width, it.height]";
        let button = chromium.run(button, &[]).await;
        assert!(button[0].as_f64() >= Some(140.0) && button[1].as_f64() >= Some(44.0), "{button}");
        if let Some(folder) = &folder {
            fs::write(folder.join(format!("login-{name}.png")), chromium.screenshot().await)
                .unwrap();
        }
    }
}
