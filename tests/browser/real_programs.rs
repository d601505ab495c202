//! The whole way in Chromium, over TLS: from the application to the simulator's page and back.

use std::{fs, path::PathBuf, sync::Arc};

use serde_json::json;
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, echo::Echo, people::Person},
};
use tempfile::NamedTempFile;

use super::{WEB, key_file};
use crate::support::{
    House,
    browser::Browser,
    notifying::{ON, post},
    secure::Authority,
};

const APP: &str = "https://app.example";

/// An application behind the proxy, over TLS, and a browser in front of it.
struct World {
    house: House,
    chromium: Browser,
    echo: Echo,
    _authority: Authority,
    _key: NamedTempFile,
}

impl World {
    async fn new(extra: &str) -> Self {
        let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
        let (echo, authority, key) = (Echo::start().await.unwrap(), Authority::new(), key_file(1));
        let settings = format!(
            "{ON}\nupstream.url = '{}'\nsessions.key_files = ['{}']\n{}\n[[route]]\naccess = 'browser'\n\
             [browser]\npath = '/auth/apple'\norigins = ['{APP}']\nclient_id = '{WEB}'\nname = 'Orders'\n\
             authorize_url = '{}/auth/authorize'\n{extra}\n",
            echo.url(),
            key.path().display(),
            authority.configuration(),
            apple.url(),
        );
        let house = House::beside(apple, &settings).await;
        let chromium =
            Browser::resolving(&[("app.example", house.address), ("www.example", house.address)])
                .await;
        Self { house, chromium, echo, _authority: authority, _key: key }
    }

    /// From any page of the application through Apple's and back, and what the application was told then.
    async fn sign_in(&self, place: &str) {
        self.chromium.click("a.apple").await;
        self.chromium.reads("h1", WEB).await;
        self.chromium.click("button[value=continue]").await;
        self.chromium.arrives_at(&format!("{APP}{place}")).await;
    }

    /// What the page shows of a header that the application found.
    async fn is_told(&self, text: &str) {
        self.chromium.reads("body", text).await;
    }
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn people_sign_in_come_back_reload_and_sign_out() {
    let world = World::new("").await;
    let World { chromium, echo, .. } = &world;
    chromium.open(&format!("{APP}/orders?page=2")).await;
    chromium.reads("h1", "Sign in to Orders").await;
    assert!(echo.requests().is_empty(), "nothing has reached the application");
    world.sign_in("/orders?page=2").await;
    world.is_told(&Person::jane().subject).await;
    chromium.reload().await;
    world.is_told(&Person::jane().subject).await;

    let cookies = chromium.cookies().await;
    let session = cookies.iter().find(|it| it["name"] == "__Host-siwa_session").unwrap();
    assert_eq!(
        [&session["httpOnly"], &session["secure"], &session["sameSite"], &session["path"]],
        [&json!(true), &json!(true), &json!("Lax"), &json!("/")]
    );
    let last = echo.requests().pop().unwrap();
    assert!(!last.header("cookie").any(|it| it.contains("siwa_session")), "{last:?}");

    chromium.open(&format!("{APP}/auth/apple/login")).await;
    chromium.reads("h1", "You are signed in").await;
    chromium.click("form button").await;
    chromium.reads("h1", "You are signed out").await;
    chromium.open(&format!("{APP}/orders")).await;
    chromium.reads("h1", "Sign in to Orders").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn whoever_hides_their_address_is_known_by_apples_relay() {
    let world = World::new("").await;
    let World { chromium, .. } = &world;
    chromium.open(APP).await;
    chromium.click("a.apple").await;
    chromium.type_into("#address", "ada@example.net").await;
    chromium.click("input[value=hide]").await;
    chromium.click("button[value=continue]").await;
    chromium.arrives_at(&format!("{APP}/")).await;
    let ada = Person::of_address("ada@example.net");
    world.is_told(&ada.relay_email.unwrap()).await;
    assert!(!chromium.text("body").await.contains("ada@example.net"));
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn whoever_cancels_goes_back_or_lets_a_sign_in_lie_gets_in_in_the_end() {
    let world = World::new("").await;
    let World { chromium, .. } = &world;
    chromium.open(&format!("{APP}/a")).await;
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
    chromium.open(&format!("{APP}/a")).await;
    world.is_told(&Person::jane().subject).await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn two_tabs_sign_in_each_for_itself() {
    let world = World::new("").await;
    let World { chromium, .. } = &world;
    chromium.open(&format!("{APP}/one")).await;
    chromium.click("a.apple").await;
    chromium.reads("h1", WEB).await;
    let first = chromium.windows().await.remove(0);
    chromium.in_new_tab().await;
    chromium.open(&format!("{APP}/other")).await;
    world.sign_in("/other").await;
    chromium.switch_to(&first).await;
    chromium.click("button[value=continue]").await;
    chromium.arrives_at(&format!("{APP}/one")).await;
    world.is_told(&Person::jane().subject).await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn whoever_withdraws_consent_is_signed_out_at_the_next_click() {
    let world = World::new("").await;
    let World { chromium, house, .. } = &world;
    chromium.open(&format!("{APP}/a")).await;
    world.sign_in("/a").await;
    let order = json!({
        "type": "consent-revoked", "sub": Person::jane().subject, "aud": WEB,
    });
    let minted = post(house.apple.address(), "/sim/notification", "", &order.to_string()).await;
    let payload = minted.json()["payload"].as_str().unwrap().to_owned();
    let body = json!({ "payload": payload }).to_string();
    let script = "return fetch('/auth/apple/notifications', {method: 'POST', body: arguments[0]}).then(it => it.status)";
    assert_eq!(chromium.run(script, &[json!(body)]).await, 200);
    chromium.open(&format!("{APP}/a")).await;
    chromium.reads("h1", "Sign in to Orders").await;
    assert!(chromium.cookies().await.iter().all(|it| it["name"] != "__Host-siwa_session"));
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn whoever_signs_out_arrives_at_another_origin_if_that_is_said() {
    let world = World::new("after_logout = 'https://www.example/goodbye'").await;
    let World { chromium, .. } = &world;
    chromium.open(&format!("{APP}/a")).await;
    world.sign_in("/a").await;
    chromium.open(&format!("{APP}/auth/apple/login")).await;
    chromium.click("form button").await;
    chromium.arrives_at("https://www.example/goodbye").await;
    chromium.open(&format!("{APP}/a")).await;
    chromium.reads("h1", "Sign in to Orders").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn a_script_of_the_application_is_told_and_not_sent_to_sign_in() {
    let world = World::new("").await;
    let World { chromium, .. } = &world;
    chromium.open(&format!("{APP}/a")).await;
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
    let world = World::new("").await;
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
    chromium.open(&format!("{APP}/a")).await;
    finds_nothing("login").await;
    chromium.click("a.apple").await;
    chromium.click("button[value=cancel]").await;
    chromium.reads("h1", "cancelled").await;
    finds_nothing("cancelled").await;
    world.sign_in("/a").await;
    chromium.open(&format!("{APP}/auth/apple/login")).await;
    finds_nothing("signed in").await;
    chromium.click("form button").await;
    finds_nothing("signed out").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn the_page_fits_every_window_and_both_schemes() {
    let world = World::new("").await;
    let World { chromium, .. } = &world;
    chromium.open(&format!("{APP}/a")).await;
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
