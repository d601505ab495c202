//! The simulator's page and script in a browser, as a web app meets Apple's.

use std::sync::Arc;

use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, people::Person, sign_in::SignIn},
};
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{application, browser::Browser, read_head};

/// Serves a page that signs in as `init` says and shows what came of it; what is posted to it, it shows, too.
async fn serve(mut stream: TcpStream, script: String, init: String) {
    while let Some(head) = read_head(&mut stream).await {
        let page = format!(
            "<!doctype html><title>app</title><link rel=icon href=data:,><p id=method>{method}</p><p id=answer></p>\n\
             <div id=appleid-signin data-type=continue></div>\n<script src='{script}'></script>\n<script>\n\
             const show = (it) => document.getElementById('answer').innerText = JSON.stringify(it);\n\
             document.addEventListener('AppleIDSignInOnSuccess', ({{ detail }}) => show(detail.data));\n\
             document.addEventListener('AppleIDSignInOnFailure', ({{ detail }}) => show(detail));\n\
             AppleID.auth.init({{ {init}, redirectURI: location.origin + '/callback' }});\n</script>",
            method = head.split(' ').next().unwrap(),
        );
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            page.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(page.as_bytes()).await.unwrap();
    }
}

/// A simulator, and a browser on the page of an app that uses its script.
async fn open(init: &'static str) -> (Arc<Apple>, Browser) {
    let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
    let script = format!("{}/appleauth/static/jsapi/appleid/1/en_US/appleid.auth.js", apple.url());
    let app = application(move |stream, _| serve(stream, script.clone(), init.to_owned())).await;
    let browser = Browser::start().await;
    browser.open(&format!("http://localhost:{}/", app.port())).await;
    (apple, browser)
}

async fn answer(browser: &Browser) -> serde_json::Value {
    serde_json::from_str(&browser.reads("#answer", "{").await).unwrap()
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn a_popup_signs_in_and_gives_the_name_once() {
    let init = "clientId: 'com.example.web', scope: 'name email', state: 's-1', nonce: 'n-1', usePopup: true";
    let (apple, browser) = open(init).await;

    browser.click("#appleid-signin button").await;
    browser.in_popup().await;
    browser.reads("h1", "com.example.web").await;
    browser.type_into("#address", "ada@example.net").await;
    browser.click("input[value=hide]").await;
    browser.click("button[value=continue]").await;
    browser.in_first_window().await;
    let told = answer(&browser).await;
    let ada = Person::of_address("ada@example.net");
    assert_eq!(told["authorization"]["state"], "s-1");
    assert!(
        told["authorization"]["code"].is_string() && told["authorization"]["id_token"].is_string()
    );
    assert_eq!(told["user"]["email"], ada.relay_email.clone().unwrap());
    let again = apple.sign_in(&SignIn::to("com.example.web").by(ada));
    assert_eq!(again.user, None, "she has signed in");

    browser.reload().await;
    browser.click("#appleid-signin button").await;
    browser.in_popup().await;
    browser.click("button[value=cancel]").await;
    browser.in_first_window().await;
    assert_eq!(answer(&browser).await["error"], "user_cancelled_authorize");

    browser.reload().await;
    browser.click("#appleid-signin button").await;
    browser.in_popup().await;
    browser.close().await;
    browser.in_first_window().await;
    assert_eq!(answer(&browser).await["error"], "popup_closed_by_user");
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn without_a_popup_the_answer_is_posted_to_the_app() {
    let (_apple, browser) =
        open("clientId: 'com.example.web', scope: 'name email', state: 's-1'").await;
    browser.click("#appleid-signin button").await;
    browser.reads("h1", "com.example.web").await;
    browser.click("button[value=continue]").await;
    browser.reads("#method", "POST").await;
    assert!(browser.url().await.ends_with("/callback"));
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn two_tabs_sign_in_beside_each_other_and_who_goes_back_is_at_the_app() {
    let (_apple, browser) = open("clientId: 'com.example.web', scope: 'email'").await;
    let app = browser.url().await;
    browser.click("#appleid-signin button").await;
    browser.reads("h1", "com.example.web").await;
    let first = browser.windows().await;

    browser.in_new_tab().await;
    browser.open(&app).await;
    browser.click("#appleid-signin button").await;
    browser.click("button[value=continue]").await;
    browser.reads("#method", "POST").await;

    browser.switch_to(&first[0]).await;
    assert_eq!(browser.text("h1").await, "Sign in to com.example.web");
    browser.back().await;
    browser.arrives_at(&app).await;
    assert_eq!(browser.text("#method").await, "GET");
    assert!(browser.cookies().await.is_empty(), "nothing is kept in the browser");
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn the_page_fits_a_telephone_in_both_schemes_and_complains_of_nothing() {
    let (_apple, browser) = open("clientId: 'com.example.web', scope: 'name email'").await;
    browser.click("#appleid-signin button").await;
    browser.reads("h1", "com.example.web").await;
    browser.resize(320, 640).await;
    let mut grounds = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        let scrolls =
            "const root = document.documentElement; return root.scrollWidth > root.clientWidth";
        assert_eq!(browser.run(scrolls, &[]).await, false, "nothing is out of sight");
        grounds.push(browser.screenshot().await);
    }
    assert_ne!(grounds[0], grounds[1]);
    assert_eq!(browser.console().await, [""; 0]);
}
