//! What people see.

use siwa_proxy::sim::presets;

use super::{
    Asked, CALLBACK, CODE, SESSION, form, house,
    jar::{Browser, From},
    sign_in,
};
use crate::support::{Log, get};

#[tokio::test]
async fn no_page_can_be_framed_kept_or_made_to_load_anything() {
    let house = house("name = 'Jane & <Co>'").await;
    let mut browser = Browser::new(&house);
    let login = browser.open("/auth/apple/login").await;
    let unknown = browser.post("/auth/apple/callback", "state=x", From::Apple).await;
    let wrong = browser.open("/auth/apple/callback").await;
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let already = browser.open("/auth/apple/login").await;
    let out = browser.post("/auth/apple/logout", "", From::Own).await;
    for page in [&login, &unknown, &wrong, &already, &out] {
        assert_eq!(page.header("content-type"), ["text/html; charset=utf-8"], "{page:?}");
        assert_eq!(page.header("x-frame-options"), ["DENY"], "{page:?}");
        assert_eq!(page.header("cache-control"), ["no-store"], "{page:?}");
        assert_eq!(page.header("x-content-type-options"), ["nosniff"], "{page:?}");
        let policy = page.header("content-security-policy")[0];
        for part in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(part), "{policy}");
        }
        for outside in ["http:", "https:", "src=", "<script", "<link", "@import"] {
            assert!(!page.body.contains(outside), "{outside}: {}", page.body);
        }
    }
    assert!(login.body.contains("<h1>Sign in to Jane &amp; &lt;Co&gt;</h1>"), "{}", login.body);
}

#[tokio::test]
async fn a_form_that_signs_out_may_lead_to_where_one_is_sent_then_and_to_no_other_origin() {
    for (extra, expected) in [
        ("", "form-action 'self';"),
        ("after_logout = '/goodbye'", "form-action 'self';"),
        (
            "after_logout = 'https://www.example:8443/a;b?c=d'",
            "form-action 'self' https://www.example:8443;",
        ),
    ] {
        let house = house(extra).await;
        let mut browser = Browser::new(&house);
        let out = browser.open("/auth/apple/login").await;
        assert!(out.header("content-security-policy")[0].contains("form-action 'self';"));
        sign_in(&mut browser, &house, "/auth/apple/start").await;
        let page = browser.open("/auth/apple/login").await;
        let policy = page.header("content-security-policy")[0];
        assert!(policy.contains(expected), "{extra}: {policy}");
    }
}

#[tokio::test]
async fn somebody_who_may_not_come_in_sees_so_and_can_sign_out() {
    let closed = "[[route]]\npath = '/closed'\naccess = 'browser'\n\
                  policy = { allow_emails = ['example.org'] }";
    let house = house(closed).await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let page = browser.open("/closed").await;
    assert_eq!(page.status, 403);
    assert!(page.body.contains("This is not open to you"), "{}", page.body);
    assert!(page.body.contains("action=\"/auth/apple/logout\""), "{}", page.body);
    let script = browser.fetch("GET", "/closed", From::Own).await;
    assert_eq!(script.json()["code"], "not_allowed_not_listed", "{script:?}");
    let out = browser.post("/auth/apple/logout", "", From::Own).await;
    assert!(out.body.contains("You are signed out"), "{}", out.body);
    assert!(browser.cookies.iter().all(|cookie| !cookie.name.contains("session")));
}

#[tokio::test]
async fn an_old_browser_is_known_by_what_it_asks_for() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let lines = "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\n";
    let reply = browser.send("GET /a", From::Typed, lines, "").await;
    assert_eq!((reply.status, reply.header("location").len()), (303, 1));
}

#[tokio::test]
async fn the_log_and_the_metrics_tell_no_secret_of_a_sign_in() {
    let log = Log::default();
    let _listening = log.listen();
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let start = "/auth/apple/start?return_to=/hush-place";
    let cancelled = Asked::of(&browser.open(start).await);
    let error = "hush@example.com";
    for error in ["user_cancelled_authorize", error] {
        let form = form(&[("state", cancelled.get("state")), ("error", error)]);
        browser.post(CALLBACK, &form, From::Apple).await;
    }
    let asked = Asked::of(&browser.open(start).await);
    let mut secrets: Vec<String> =
        browser.cookies.iter().map(|cookie| cookie.value.clone()).collect();
    let user = r#"{"name":{"firstName":"Hush"},"email":"hush@example.com"}"#;
    let token = house.apple.mint(&asked.token());
    let wrong = house.apple.mint(&asked.token().nonce("hush-nonce"));
    for token in [wrong.as_str(), &token] {
        let fields =
            [("state", asked.get("state")), ("code", CODE), ("id_token", token), ("user", user)];
        browser.post(CALLBACK, &form(&fields), From::Apple).await;
    }
    sign_in(&mut browser, &house, start).await;
    secrets.push(browser.cookie(SESSION).unwrap().value.clone());
    browser.open("/hush-place").await;
    let cookie = format!("Cookie: {SESSION}={}\r\n", browser.cookie(SESSION).unwrap().value);
    Browser::new(&house).send("POST /hush-place", From::Evil, &cookie, "").await;
    browser.post("/auth/apple/logout", "", From::Own).await;

    secrets.extend([asked.get("state"), asked.get("nonce"), CODE].map(str::to_owned));
    secrets.extend([presets::EMAIL, presets::SUBJECT, "hush", "Hush"].map(str::to_owned));
    secrets.extend([&token, &wrong].map(|token| token.rsplit('.').next().unwrap().to_owned()));
    let told = log.lines_with(&[]);
    assert!(told.iter().any(|line| line.contains("outcome=\"token_nonce\"")), "{told:?}");
    assert!(told.iter().any(|line| line.contains("outcome=\"cross_origin\"")), "{told:?}");
    let metrics = get(house.admin, "/metrics", &[]).await.body;
    for secret in secrets {
        let found = told
            .iter()
            .map(String::as_str)
            .chain(metrics.lines())
            .find(|line| line.contains(&secret));
        assert_eq!(found, None, "{secret}");
    }
}
