//! People with browsers, in front of a gateway that asks us.

use std::sync::Arc;

use serde_json::{Value, json};
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, echo::Echo, people::Person},
};

use super::{cookies::Kind, free_address, gateway::Places, is_up};
use crate::{
    browser::key_file,
    support::{House, browser::Browser, process::ProcessGroup},
};

const WEB: &str = "com.example.web";
const SESSION: &str = "__Host-siwa_session";

/// The value of the session's cookie.
async fn session(chromium: &Browser) -> Option<Value> {
    let cookies = chromium.cookies().await;
    cookies.into_iter().find(|it| it["name"] == SESSION).map(|it| it["value"].clone())
}

/// The whole way through a gateway: from a first visit to Apple and back, on with a renewed session, and out.
pub(super) async fn sign_in_and_out(kind: &Kind) {
    let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
    let (echo, key, gateway) = (Echo::start().await.unwrap(), key_file(1), free_address());
    let app = format!("http://localhost:{}", gateway.port());
    let browsers = format!(
        "[sessions]\nkey_files = ['{}']\n[[route]]\naccess = 'browser'\n[browser]\npath = '/auth/apple'\n\
         origins = ['{app}']\nclient_id = '{WEB}'\nauthorize_url = '{}/auth/authorize'\nsession_lifetime = '1m'\n",
        key.path().display(),
        apple.url(),
    );
    let settings = kind.settings.replace("127.0.0.1:4180", "127.0.0.1:0");
    let settings = settings.replace("\"com.example.app\"", &format!("'com.example.app', '{WEB}'"));
    let house = House::beside(apple, &format!("{settings}\n{browsers}")).await;
    let folder = tempfile::tempdir().unwrap();
    let places = Places::new(folder.path(), gateway, house.address, echo.address());
    let _program = ProcessGroup::start(&mut (kind.command)(&places));
    is_up(gateway, kind.not_yet).await;

    let chromium = Browser::start().await;
    chromium.open(&format!("{app}/orders?page=2&x=a%26b")).await;
    chromium.reads("h1", "Sign in").await;
    let ask = "return fetch(arguments[0], {method: arguments[1]}).then(it => it.status)";
    assert!(echo.requests().is_empty(), "nothing has reached the application");
    chromium.click("a.apple").await;
    chromium.reads("h1", WEB).await;
    chromium.click("button[value=continue]").await;
    chromium.arrives_at(&format!("{app}/orders?page=2&x=a%26b")).await;
    chromium.reads("body", &Person::jane().subject).await;
    let who = "return fetch('/auth/apple/userinfo').then(it => it.json()).then(it => it.sub)";
    assert_eq!(chromium.run(who, &[]).await, json!(Person::jane().subject));
    assert_eq!(chromium.run(ask, &[json!("/api"), json!("POST")]).await, 200);

    let first = session(&chromium).await.unwrap();
    let renewed = async {
        while session(&chromium).await.is_some_and(|value| value == first) {
            chromium.reload().await;
        }
    };
    tokio::time::timeout(crate::support::PATIENCE, renewed).await.expect("a new cookie");
    assert!(session(&chromium).await.is_some(), "it goes on");
    for request in echo.requests() {
        let is_told = request.header("cookie").any(|it| it.contains(SESSION));
        assert!(!is_told, "{}", request.target);
        assert_eq!(request.header("set-cookie").count(), 0, "{}", request.target);
    }

    assert_eq!(chromium.run(ask, &[json!("/auth/apple/logout"), json!("POST")]).await, 204);
    for path in ["/api", "/auth/apple/userinfo"] {
        let status = chromium.run(ask, &[json!(path), json!("GET")]).await;
        assert_eq!(status, 401, "no way for a script: {path}");
    }
    chromium.open(&format!("{app}/orders")).await;
    chromium.reads("h1", "Sign in").await;
    chromium.arrives_at(&format!("{app}/auth/apple/login")).await;
}
