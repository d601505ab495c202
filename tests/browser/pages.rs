//! What people see.

use super::{
    house,
    jar::{Browser, From},
    sign_in,
};

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
async fn somebody_who_may_not_come_in_sees_so_and_can_sign_out() {
    let house = house("[policy]\nallow_emails = ['example.org']").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let page = browser.open("/").await;
    assert_eq!(page.status, 403);
    assert!(page.body.contains("This is not open to you"), "{}", page.body);
    assert!(page.body.contains("action=\"/auth/apple/logout\""), "{}", page.body);
    let script = browser.fetch("GET", "/", From::Own).await;
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
