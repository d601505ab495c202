//! `examples/web` in a browser, as the demonstration serves it: the whole life of a session.

use std::time::Duration;

use siwa_proxy::sim::people::Person;
use tokio::time::sleep;

use crate::{demo::Demo, support::browser::Browser};

/// Through the button and the popup, and back.
async fn sign_in(browser: &Browser, choose: &str) {
    browser.click("#appleid-signin button").await;
    browser.in_popup().await;
    browser.click(choose).await;
    browser.click("button[value=continue]").await;
    browser.in_first_window().await;
    browser.reads("#status", "You are signed in.").await;
}

/// What the application was told, by the button that asks it.
async fn told(browser: &Browser) -> String {
    browser.run("document.querySelector('#answer pre').textContent = ''", &[]).await;
    browser.click("#call").await;
    browser.reads("#answer pre", "x-apple-sub").await
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn a_person_signs_in_calls_refreshes_leaves_returns_and_deletes_the_account() {
    let demo = Demo::start();
    let browser = Browser::start().await;
    browser.open(demo.page()).await;

    sign_in(&browser, "input[value=hide]").await;
    let jane = Person::jane();
    let relay = jane.relay_email.unwrap();
    assert_eq!(browser.text("#who").await, "Jane Appleseed");
    assert_eq!(browser.text("#subject").await, jane.subject);
    assert_eq!(browser.text("#address").await, format!("{relay} (hidden)"));
    let known = format!("x-apple-sub: {}\nx-apple-email: {relay}", jane.subject);
    assert_eq!(told(&browser).await, known);

    browser.click("#refresh").await;
    browser.reads("#status", "Both tokens are new.").await;
    assert_eq!(told(&browser).await, known);

    browser.click("#sign-out").await;
    browser.reads("#status", "You are signed out.").await;
    sign_in(&browser, "input[value=share]").await;
    assert_eq!(browser.text("#who").await, relay, "Apple gives the name once");

    browser.click("#delete").await;
    browser.click("dialog button[value=delete]").await;
    browser.reads("#status", "Your account is deleted.").await;
    // Apple tells time in whole seconds: a sign-in within that of the deletion is before it, for all that anybody knows.
    sleep(Duration::from_secs(1)).await;
    sign_in(&browser, "input[value=share]").await;
    assert_eq!(browser.text("#who").await, "Jane Appleseed", "Apple was told, and asks anew");
    assert_eq!(browser.text("#address").await, jane.email);
    assert_eq!(browser.console().await, [""; 0]);
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn who_changes_their_mind_is_told_so_and_can_try_again() {
    let demo = Demo::start();
    let browser = Browser::start().await;
    browser.open(demo.page()).await;
    browser.click("#appleid-signin button").await;
    browser.in_popup().await;
    browser.click("button[value=cancel]").await;
    browser.in_first_window().await;
    browser.reads("#status", "You are not signed in.").await;
    sign_in(&browser, "input[value=hide]").await;
}

#[tokio::test]
#[ignore = "needs chromium and chromium-driver; .ci/run installs them"]
async fn the_page_fits_a_telephone_in_both_schemes() {
    let demo = Demo::start();
    let browser = Browser::start().await;
    browser.open(demo.page()).await;
    sign_in(&browser, "input[value=share]").await;
    told(&browser).await;
    browser.resize(320, 640).await;
    let mut seen = Vec::new();
    for scheme in ["light", "dark"] {
        browser.prefer(scheme).await;
        let scrolls =
            "const root = document.documentElement; return root.scrollWidth > root.clientWidth";
        assert_eq!(browser.run(scrolls, &[]).await, false, "nothing is out of sight");
        seen.push(browser.screenshot().await);
    }
    assert_ne!(seen[0], seen[1]);
}
