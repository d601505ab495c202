//! Browsers in front of another gateway, which asks us about each of their requests.

use siwa_proxy::sim::presets;

use super::{
    SESSION,
    jar::{Browser, From},
    key_file, settings, sign_in,
};
use crate::support::{House, Reply, exchange};

const LISTED: &str = "server.trusted_peers = ['127.0.0.1']\n";
const WINDOW: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
/// Where a gateway asks that takes our word for the cookies of the application.
const TELLING: &str = "/auth/apple/forward-auth?tell=cookies";
const SCRIPT: &str = "Sec-Fetch-Mode: cors\r\n";

async fn house(extra: &str) -> House {
    let key = key_file(1);
    House::verifier(&format!("{extra}{}", settings(&key, ""))).await
}

/// How a gateway asks about `method` and `/orders?page=2` of a browser that sent `lines`.
async fn ask(house: &House, door: &str, method: &str, lines: &str) -> Reply {
    let report = match door {
        "/auth/apple/verify" | "/auth/apple/verify?tell=cookies" => {
            format!("X-Original-Method: {method}\r\nX-Original-URI: /orders?page=2\r\n")
        }
        _ => format!(
            "X-Forwarded-Method: {method}\r\nX-Forwarded-Host: app.example\r\n\
             X-Forwarded-Uri: /orders?page=2\r\n"
        ),
    };
    let request = format!(
        "GET {door} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{report}{lines}\r\n"
    );
    exchange(house.address, request).await
}

const LOGIN: &str = "/auth/apple/login?return_to=%2Forders%3Fpage%3D2";

#[tokio::test]
async fn a_gateway_that_hands_answers_on_is_answered_with_the_way_to_sign_in() {
    let house = house(LISTED).await;
    let reply = ask(&house, "/auth/apple/forward-auth", "GET", WINDOW).await;
    // From the browser's own origin: Traefik takes a relative one to lead from where it asked.
    let login = format!("https://app.example{LOGIN}");
    assert_eq!((reply.status, reply.header("location")), (303, vec![login.as_str()]));
    let reply = ask(&house, "/auth/apple/forward-auth", "GET", SCRIPT).await;
    assert_eq!((reply.status, reply.header("location").len()), (401, 0));
    assert_eq!(reply.json()["code"], "no_credential");
}

#[tokio::test]
async fn nginx_is_told_the_way_beside_the_401_that_it_knows() {
    let house = house(LISTED).await;
    let reply = ask(&house, "/auth/apple/verify", "GET", WINDOW).await;
    assert_eq!((reply.status, reply.header("location")), (401, vec![LOGIN]));
    assert_eq!(reply.header("www-authenticate").len(), 1);
    assert_eq!(reply.body, "");
    let reply = ask(&house, "/auth/apple/verify", "GET", SCRIPT).await;
    assert_eq!((reply.status, reply.header("location").len()), (401, 0));
}

#[tokio::test]
async fn a_gateway_that_is_not_listed_is_told_no_way() {
    let house = house("").await;
    for door in ["/auth/apple/verify", "/auth/apple/forward-auth"] {
        let reply = ask(&house, door, "GET", WINDOW).await;
        assert_eq!((reply.status, reply.header("location").len()), (401, 0), "{door}");
    }
}

#[tokio::test]
async fn a_session_is_good_at_every_door_and_no_other_sites_page_can_use_it_there() {
    let house = house(LISTED).await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let cookie = format!("Cookie: {SESSION}={}\r\n", browser.cookie(SESSION).unwrap().value);
    for door in ["/auth/apple/verify", "/auth/apple/forward-auth"] {
        let reply = ask(&house, door, "GET", &format!("{WINDOW}{cookie}")).await;
        assert_eq!((reply.status, reply.header("x-apple-sub")), (200, vec![presets::SUBJECT]));
        let evil = "Sec-Fetch-Site: cross-site\r\nOrigin: https://evil.example\r\n";
        let reply = ask(&house, door, "POST", &format!("{SCRIPT}{cookie}{evil}")).await;
        assert_eq!(reply.status, 403, "{door}");
        assert!(reply.header("x-apple-sub").is_empty(), "{door}");
        // nginx asks about a WebSocket without its `Upgrade`.
        let socket = format!("{cookie}Sec-WebSocket-Version: 13\r\n{evil}");
        assert_eq!(ask(&house, door, "GET", &socket).await.status, 403, "{door}");
        let own = "Sec-Fetch-Site: same-origin\r\nOrigin: https://app.example\r\n";
        let reply = ask(&house, door, "POST", &format!("{SCRIPT}{cookie}{own}")).await;
        assert_eq!(reply.status, 200, "{door}");
        let bad = format!("{WINDOW}Cookie: {SESSION}=siwa_c.AQ\r\n");
        let reply = ask(&house, door, "GET", &bad).await;
        assert_eq!(reply.header("set-cookie").len(), 1, "{door}: it is taken away");
        assert!(reply.header("set-cookie")[0].contains("Max-Age=0"), "{reply:?}");
    }
    browser.post("/auth/apple/logout", "", From::Own).await;
    let reply = ask(&house, "/auth/apple/verify", "GET", &format!("{WINDOW}{cookie}")).await;
    assert_eq!((reply.status, reply.header("location")), (401, vec![LOGIN]));
}

#[tokio::test]
async fn a_gateway_that_is_not_listed_lets_no_other_sites_page_use_a_session_either() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let cookie = format!("Cookie: {SESSION}={}\r\n", browser.cookie(SESSION).unwrap().value);
    for door in ["/auth/apple/verify", "/auth/apple/forward-auth"] {
        assert_eq!(ask(&house, door, "GET", &cookie).await.status, 200, "{door}");
        let evil = "Sec-Fetch-Site: same-site\r\nOrigin: https://evil.app.example\r\n";
        let reply = ask(&house, door, "POST", &format!("{cookie}{evil}")).await;
        assert_eq!(reply.status, 403, "{door}");
    }
}

#[tokio::test]
async fn a_gateway_that_takes_our_word_for_cookies_is_told_the_applications_own() {
    let house = house(LISTED).await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let session = format!("{SESSION}={}", browser.cookie(SESSION).unwrap().value);
    for (cookies, told) in [
        (format!("a=1; {session}; b=2; __Host-siwa_browser=x"), vec!["a=1; b=2"]),
        (session.clone(), vec![]),
    ] {
        let lines = format!("{WINDOW}Cookie: {cookies}\r\n");
        let reply = ask(&house, TELLING, "GET", &lines).await;
        assert_eq!((reply.status, reply.header("cookie")), (200, told));
        // nginx and Caddy take ours out by themselves, and nobody is told of cookies for nothing.
        for door in [
            "/auth/apple/verify",
            "/auth/apple/verify?tell=cookies",
            "/auth/apple/forward-auth",
            "/auth/apple/forward-auth?tell=nothing",
        ] {
            let reply = ask(&house, door, "GET", &lines).await;
            assert_eq!((reply.status, reply.header("cookie")), (200, vec![]), "{door}");
        }
    }
    let bearer = format!("Authorization: {}\r\n", house.bearer());
    let lines = format!("{bearer}Cookie: a=1; b=2\r\nCookie: c=3\r\n");
    let reply = ask(&house, TELLING, "GET", &lines).await;
    assert_eq!(
        (reply.status, reply.header("cookie")),
        (200, vec!["a=1; b=2", "c=3"]),
        "all of them"
    );
}

/// A script can ask as well, and is not to read cookies that browsers keep from scripts.
#[tokio::test]
async fn whoever_is_not_listed_is_told_of_no_cookie() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let session = format!("{SESSION}={}", browser.cookie(SESSION).unwrap().value);
    let lines = format!("{WINDOW}Cookie: a=1; {session}\r\n");
    let reply = ask(&house, TELLING, "GET", &lines).await;
    assert_eq!((reply.status, reply.header("cookie")), (200, vec![]));
}

#[tokio::test]
async fn where_no_browser_signs_in_nobody_is_told_of_cookies() {
    let house = House::verifier(LISTED).await;
    let lines = format!("Authorization: {}\r\nCookie: a=1\r\n", house.bearer());
    let reply = ask(&house, TELLING, "GET", &lines).await;
    assert_eq!((reply.status, reply.header("cookie")), (200, vec![]));
}
