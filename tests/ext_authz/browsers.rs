//! People with browsers behind Envoy, in both of its forms.

use std::{sync::Arc, time::Duration};

use siwa_proxy::{
    clock::{ManualClock, UnixTime},
    sim::{Apple, presets},
};

use super::http_form::{self, REMOVE};
#[cfg(feature = "ext-authz")]
use super::{
    check::{answer, question, value_of},
    protocol::{CheckResponse, HeaderValueOption},
};
use crate::{
    browser::{key_file, session_at},
    support::{House, Recorder, Reply},
};

const SESSION: &str = "__Host-siwa_session";
const LISTED: &str = "server.trusted_peers = ['127.0.0.1']";
const WINDOW: [(&str, &str); 2] = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
const LOGIN: &str = "/auth/apple/login?return_to=%2Forders%3Fpage%3D2";

/// A house in which somebody has signed in, and their cookie.
struct Scene {
    house: House,
    clock: ManualClock,
    cookie: String,
}

impl Scene {
    async fn new(extra: &str) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let apple = Arc::new(Apple::start(Arc::new(clock.clone())).await.unwrap());
        let key = key_file(1);
        let text = format!(
            "{extra}\n[ext_authz]\ngrpc = {}\npath_prefixes = ['/auth/apple/ext-authz']\n\
             [sessions]\nkey_files = ['{}']\n[[route]]\naccess = 'browser'\n[[route]]\npath = '/api/*'\n\
             [browser]\npath = '/auth/apple'\norigins = ['https://app.example', 'https://a.example']\n\
             client_id = 'com.example.web'\n",
            cfg!(feature = "ext-authz"),
            key.path().display(),
        );
        let application = Recorder::start().await;
        let house = House::between(apple, application, Arc::new(clock.clone()), &text).await;
        let cookie = format!("{SESSION}={}", session_at(&house).await);
        Self { house, clock, cookie }
    }

    /// Asks by HTTP about the request of a window with these cookies.
    async fn ask(&self, line: &str, cookies: &str) -> Reply {
        let headers = WINDOW.into_iter().chain([("cookie", cookies)]).collect::<Vec<_>>();
        http_form::ask(&self.house, line, &headers).await
    }

    /// Likewise by gRPC.
    #[cfg(feature = "ext-authz")]
    async fn check(&self, line: &str, cookies: &str) -> CheckResponse {
        let headers = WINDOW.into_iter().chain([("cookie", cookies)]).collect::<Vec<_>>();
        answer(&self.house, question(line, &headers)).await
    }
}

/// Names, values and what becomes of what is there already.
#[cfg(feature = "ext-authz")]
fn lines(options: &[HeaderValueOption]) -> Vec<(String, String, i32)> {
    let line = |option: &HeaderValueOption| {
        let header = option.header.clone().unwrap();
        (header.key, header.value, option.append_action)
    };
    options.iter().map(line).collect()
}

#[cfg(feature = "ext-authz")]
#[tokio::test]
async fn a_window_is_denied_by_the_way_to_sign_in_and_a_script_by_a_problem() {
    let scene = Scene::new("").await;
    let window = scene.check("GET /orders?page=2", "a=1").await.denied_response.unwrap();
    let told: Vec<_> =
        lines(&window.headers).into_iter().map(|(name, value, _)| (name, value)).collect();
    assert_eq!(window.status.unwrap().code, 303);
    assert_eq!(value_of(&told, "location"), [LOGIN]);
    assert_eq!(value_of(&told, "cache-control"), ["no-store"]);
    let script = [("sec-fetch-mode", "cors")];
    for (line, headers) in [("GET /orders", &script[..]), ("GET /api/a", &WINDOW)] {
        let script = answer(&scene.house, question(line, headers)).await;
        assert_eq!(script.denied_response.unwrap().status.unwrap().code, 401, "{line}");
    }
}

#[tokio::test]
async fn a_window_is_answered_with_the_way_to_sign_in_and_a_script_with_a_problem() {
    let scene = Scene::new("").await;
    let reply = scene.ask("GET /orders?page=2", "a=1").await;
    assert_eq!((reply.status, reply.header("location")), (303, vec![LOGIN]));
    let script = http_form::ask(&scene.house, "GET /orders", &[("sec-fetch-mode", "cors")]).await;
    assert_eq!((script.status, &script.json()["code"]), (401, &"no_credential".into()));
}

#[cfg(feature = "ext-authz")]
#[tokio::test]
async fn a_session_that_is_used_goes_on_by_a_cookie_for_the_client_that_no_cache_keeps() {
    let [append, overwrite_or_add, overwrite] = [0, 2, 3];

    let scene = Scene::new("").await;
    let fresh = scene.check("GET /a", &scene.cookie).await.ok_response.unwrap();
    assert_eq!(fresh.response_headers_to_add, []);
    scene.clock.advance(Duration::from_mins(10));
    let renewed = scene.check("GET /a", &scene.cookie).await.ok_response.unwrap();
    let told = lines(&renewed.response_headers_to_add);
    let (name, cookie, action) = &told[0];
    assert_eq!((name.as_str(), *action), ("set-cookie", append));
    assert!(cookie.starts_with(&format!("{SESSION}=siwa_c.")) && !cookie.contains("Max-Age=0"));
    assert_eq!(told[1], ("cache-control".to_owned(), "no-store".to_owned(), overwrite_or_add));
    assert!(told[2..].iter().all(|(_, _, action)| *action == overwrite), "{told:?}");
    assert_eq!(told.len(), 6);
}

#[tokio::test]
async fn in_the_http_form_a_session_goes_on_likewise() {
    let scene = Scene::new("").await;
    let fresh = scene.ask("GET /a", &scene.cookie).await;
    assert_eq!((fresh.status, fresh.header("set-cookie").len()), (200, 0));
    scene.clock.advance(Duration::from_mins(10));
    let renewed = scene.ask("GET /a", &scene.cookie).await;
    assert!(renewed.header("set-cookie")[0].starts_with(&format!("{SESSION}=siwa_c.")));
    assert_eq!(renewed.header("x-siwa-cache-control"), ["no-store"]);
}

#[cfg(feature = "ext-authz")]
#[tokio::test]
async fn a_session_that_is_over_is_taken_away_with_the_denial() {
    let scene = Scene::new("").await;
    let denied = scene.check("GET /a", &format!("{SESSION}=siwa_c.AQ")).await.denied_response;
    let told = lines(&denied.unwrap().headers);
    let cookie = told.iter().find(|(name, _, _)| name == "set-cookie").unwrap();
    assert!(cookie.1.contains("Max-Age=0"), "{cookie:?}");
}

#[cfg(feature = "ext-authz")]
#[tokio::test]
async fn the_application_is_told_its_own_cookies_and_no_others() {
    let scene = Scene::new("").await;
    let mixed = format!("a=1; {}; b=2; __Host-siwa_browser=x", scene.cookie);
    let ok = scene.check("GET /a", &mixed).await.ok_response.unwrap();
    let cookie = lines(&ok.headers).into_iter().find(|(name, _, _)| name == "cookie");
    assert_eq!(cookie, Some(("cookie".to_owned(), "a=1; b=2".to_owned(), 2)));
    let ok = scene.check("GET /a", &scene.cookie).await.ok_response.unwrap();
    assert!(ok.headers_to_remove.contains(&"cookie".to_owned()), "{ok:?}");
}

#[tokio::test]
async fn in_the_http_form_a_listed_gateway_alone_is_told_which_cookies_go_on() {
    let scene = Scene::new(LISTED).await;
    let mixed = format!("a=1; {}; b=2", scene.cookie);
    let reply = scene.ask("GET /a", &mixed).await;
    assert_eq!((reply.status, reply.header("cookie")), (200, vec!["a=1; b=2"]));
    assert_eq!(reply.header("x-apple-sub"), [presets::SUBJECT]);
    assert_eq!(scene.ask("GET /a", &scene.cookie).await.header(REMOVE), ["cookie"]);

    let scene = Scene::new("").await;
    let mixed = format!("a=1; {}; b=2", scene.cookie);
    let reply = scene.ask("GET /a", &mixed).await;
    assert_eq!((reply.status, reply.header("cookie")), (200, vec![]));
    assert_eq!(reply.header(REMOVE), ["cookie"], "no script reads what it may not");
}
