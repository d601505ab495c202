//! What others try: each attack comes to nothing, by a name of its own.

use std::{sync::Arc, time::Duration};

use siwa_proxy::{
    clock::{ManualClock, UnixTime},
    sim::{faults::Fault, presets, token::TokenTemplate},
};

use super::{
    Asked, CALLBACK, CODE, SESSION, WEB, answer, form, house,
    jar::{Browser, From},
    key_file, settings, sign_in,
};
use crate::support::{House, Reply, exchange};

/// An answer of Apple's that begins no session, and is counted under its name.
async fn refused(house: &House, browser: &mut Browser<'_>, form: &str, outcome: &str) -> Reply {
    let counted = counter(outcome, if outcome == "keys_unavailable" { "apple" } else { "none" });
    let before = house.metric(&counted).await;
    let reply = browser.post(CALLBACK, form, From::Apple).await;
    assert!(browser.cookie(SESSION).is_none(), "{outcome}: {reply:?}");
    assert!(matches!(reply.status, 400 | 409 | 503), "{outcome}: {reply:?}");
    assert!(reply.body.contains("Sign in with Apple"), "{outcome}: there is a way on");
    assert_eq!(house.metric(&counted).await, before + 1, "{outcome}: {reply:?}");
    reply
}

/// The counter of requests at this door that ended so, by whoever's fault.
fn counter(outcome: &str, fault: &str) -> String {
    let labels = format!("door=\"browser\",route=\"none\",outcome=\"{outcome}\",fault=\"{fault}\"");
    format!("siwa_requests_total{{{labels}}}")
}

#[tokio::test]
async fn an_answer_without_the_state_of_this_browser_begins_no_session() {
    let house = house("").await;
    let mut victim = Browser::new(&house);
    let mut attacker = Browser::new(&house);
    let theirs = Asked::of(&attacker.open("/auth/apple/start").await);
    let their_answer = answer(&house, &theirs, &theirs.token());

    refused(&house, &mut victim, "", "state_unknown").await;
    refused(&house, &mut victim, &form(&[("code", CODE)]), "state_unknown").await;
    refused(&house, &mut victim, &their_answer, "state_unknown").await;
    // One of their own does not help the victim with somebody else's.
    victim.open("/auth/apple/start").await;
    refused(&house, &mut victim, &their_answer, "state_unknown").await;
    // Nor does their cookie, set by a neighbour that can set cookies for this path, without the mark that it cannot set.
    let state = attacker.states()[0].clone();
    victim.cookies.push(state.clone());
    refused(&house, &mut victim, &their_answer, "state_foreign").await;
    let mut newcomer = Browser::new(&house);
    newcomer.cookies.push(state);
    refused(&house, &mut newcomer, &their_answer, "state_foreign").await;
}

#[tokio::test]
async fn a_state_that_was_tampered_with_doubled_or_sealed_for_something_else_is_nobodys() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let session = browser.cookie(SESSION).unwrap().value.clone();
    browser.cookies.retain(|cookie| cookie.name != SESSION);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let answer = answer(&house, &asked, &asked.token());
    let (name, good) = (browser.states()[0].name.clone(), browser.states()[0].value.clone());
    let renamed = session.replacen("siwa_c.", "siwa_s.", 1);
    for bad in ["", "x", &good[..good.len() - 1], &format!("{good}A"), &session, &renamed] {
        bad.clone_into(&mut browser.cookie_mut(&name).value);
        refused(&house, &mut browser, &answer, "state_foreign").await;
    }
    // A second one of that name was set by somebody else, and nobody knows which is whose.
    good.clone_into(&mut browser.cookie_mut(&name).value);
    browser.cookies.push(browser.cookie(&name).unwrap().clone());
    refused(&house, &mut browser, &answer, "state_unknown").await;
    browser.cookies.pop();
    assert_eq!(browser.post(CALLBACK, &answer, From::Apple).await.status, 303);
}

#[tokio::test]
async fn a_sign_in_ends_once() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start?return_to=/a").await);
    let cookies = browser.cookies.clone();
    let answer = answer(&house, &asked, &asked.token());
    assert_eq!(browser.post(CALLBACK, &answer, From::Apple).await.status, 303);

    // Back, and once more: the state is gone.
    browser.cookies.retain(|cookie| cookie.name != SESSION);
    refused(&house, &mut browser, &answer, "state_unknown").await;
    // Two clicks at once, or somebody who copied everything.
    browser.cookies = cookies;
    let reply = refused(&house, &mut browser, &answer, "state_replayed").await;
    assert!(reply.body.contains("href=\"/a\">Continue"), "{}", reply.body);
}

#[tokio::test]
async fn a_sign_in_ends_in_time() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let key = key_file(1);
    let house = House::build(&settings(&key, ""), Arc::new(clock.clone()), |_| {}).await;
    house.ready().await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    clock.advance(Duration::from_secs(601));
    let answer = answer(&house, &asked, &asked.token());
    refused(&house, &mut browser, &answer, "state_expired").await;
}

#[tokio::test]
async fn that_a_sign_in_is_over_is_remembered_for_longer_than_the_slowest_clock_takes_its_state() {
    let begun_at = UnixTime::from_secs(1_800_000_000);
    let clock = ManualClock::at(begun_at);
    let key = key_file(1);
    let house = House::build(&settings(&key, ""), Arc::new(clock.clone()), |_| {}).await;
    house.ready().await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let cookies = browser.cookies.clone();
    // It ends at a replica whose clock is behind that of the one at which it began.
    let behind = UnixTime::from_secs(1_799_999_945);
    let answer = answer(&house, &asked, &asked.token().issued_at(behind));
    clock.set(behind);
    assert_eq!(browser.post(CALLBACK, &answer, From::Apple).await.status, 303);
    browser.cookies = cookies;
    browser.cookies.retain(|cookie| cookie.name != SESSION);
    clock.set(begun_at.saturating_add(Duration::from_secs(599)));
    refused(&house, &mut browser, &answer, "state_replayed").await;
}

#[tokio::test]
async fn no_page_of_anybody_elses_takes_a_sign_in_away_that_is_under_way() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start?return_to=/a").await);
    // `<img src>`, `<script src>`, `<iframe src>`, `fetch`: nobody sees Apple's page in any of them.
    for (mode, destination) in
        [("no-cors", "image"), ("no-cors", "script"), ("navigate", "iframe"), ("cors", "empty")]
    {
        for from in [From::Evil, From::Neighbour, From::Own] {
            let lines = format!("Sec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {destination}\r\n");
            let reply = browser.send("GET /auth/apple/start", from, &lines, "").await;
            assert_eq!(reply.status, 400, "{from:?} {destination}");
            assert!(reply.header("set-cookie").is_empty(), "{from:?} {destination}");
        }
    }
    // A window that such a page opens again and again: there is room for some, and then the user is asked.
    for round in 1..6 {
        let reply = browser.open_from("/auth/apple/start?return_to=/b", From::Evil).await;
        assert_eq!(reply.status, if round < 4 { 303 } else { 200 }, "{round}: {reply:?}");
        if round >= 4 {
            assert!(reply.body.contains("href=\"/auth/apple/start?return_to=%2Fb\""), "{reply:?}");
            assert!(reply.header("set-cookie").is_empty(), "{round}");
        }
    }
    let reply = browser.post(CALLBACK, &answer(&house, &asked, &asked.token()), From::Apple).await;
    assert_eq!((reply.status, reply.header("location")), (303, vec!["/a"]));
}

#[tokio::test]
async fn a_browser_too_old_to_say_what_it_wants_signs_in() {
    let house = house("").await;
    let reply = Browser::new(&house).send("GET /auth/apple/start", From::Typed, "", "").await;
    Asked::of(&reply);
}

#[tokio::test]
async fn a_neighbours_cookies_take_no_room_and_make_no_answer_long() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let asked: Vec<_> = {
        let mut asked = Vec::new();
        for place in ["/a", "/b", "/c"] {
            let start = format!("/auth/apple/start?return_to={place}");
            asked.push((place, Asked::of(&browser.open(&start).await)));
        }
        asked
    };
    // Forty that are called as ours, one of them sealed by us, for another browser.
    let mut elsewhere = Browser::new(&house);
    elsewhere.open("/auth/apple/start").await;
    let sealed = elsewhere.states()[0].clone();
    let tossed: Vec<_> = (0..40).map(|it| format!("__Secure-siwa_state_evil{it:04}=x")).collect();
    let lines = format!(
        "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nCookie: {}={}; {}\r\n",
        sealed.name,
        sealed.value,
        tossed.join("; ")
    );
    let reply = browser.send("GET /auth/apple/start", From::Typed, &lines, "").await;
    Asked::of(&reply);
    assert!(reply.header("set-cookie").len() <= 6, "{reply:?}");
    for (place, asked) in &asked {
        let form = answer(&house, asked, &asked.token());
        let reply = browser.post(CALLBACK, &form, From::Apple).await;
        assert_eq!((reply.status, reply.header("location")), (303, vec![*place]));
    }
}

#[tokio::test]
async fn apples_token_must_be_the_one_that_was_asked_for() {
    type Change = fn(TokenTemplate) -> TokenTemplate;
    let attacks: [(&str, Change, &str); 10] = [
        ("another nonce", |it| it.nonce("another"), "token_nonce"),
        ("no nonce", |it| it.without("nonce"), "token_nonce"),
        (
            "no nonce, and said to be unable to carry one, which a web page's never is",
            |it| it.without("nonce").claim("nonce_supported", false),
            "token_nonce",
        ),
        ("another app of ours", |it| it.audience("com.example.app"), "token_audience"),
        ("another app", |it| it.audience("com.evil.app"), "token_audience"),
        ("another code", |it| it.code("another"), "token_code_hash"),
        ("no code", |it| it.without("c_hash"), "token_code_hash"),
        ("expired", |it| it.issued_at(UnixTime::from_secs(1_700_000_000)), "token_expired"),
        ("another issuer", |it| it.claim("iss", "https://evil.example"), "token_issuer"),
        ("a notification", |it| it.claim("events", "{}"), "token_notification"),
    ];
    let house = house("").await;
    for (name, change, code) in attacks {
        let mut browser = Browser::new(&house);
        let asked = Asked::of(&browser.open("/auth/apple/start").await);
        let answer = answer(&house, &asked, &change(asked.token()));
        let reply = browser.post(CALLBACK, &answer, From::Apple).await;
        assert_eq!(reply.status, 400, "{name}: {reply:?}");
        assert!(browser.cookie(SESSION).is_none(), "{name}");
        assert!(house.metric(&counter(code, "caller")).await > 0, "{name}: {code}");
        assert!(browser.states().is_empty(), "{name}: that sign-in is over");
    }
}

#[tokio::test]
async fn a_swapped_code_or_token_and_a_form_without_one_begin_no_session() {
    let house = house("").await;
    for (swap, with) in [("code", "another"), ("code", ""), ("id_token", ""), ("id_token", "a.b.c")]
    {
        let mut browser = Browser::new(&house);
        let asked = Asked::of(&browser.open("/auth/apple/start").await);
        let token = house.apple.mint(&asked.token());
        let fields = [("state", asked.get("state")), ("code", CODE), ("id_token", &token)];
        let fields = fields.map(|(name, value)| (name, if name == swap { with } else { value }));
        let reply = browser.post(CALLBACK, &form(&fields), From::Apple).await;
        assert_eq!(reply.status, 400, "{swap}={with}: {reply:?}");
        assert!(browser.cookie(SESSION).is_none(), "{swap}={with}");
    }
}

#[tokio::test]
async fn the_name_and_address_beside_the_token_are_nobodys() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let user = r#"{"name":{"firstName":"Eve"},"email":"victim@example.com"}"#;
    let form = answer(&house, &asked, &asked.token()) + "&" + &form(&[("user", user)]);
    assert_eq!(browser.post(CALLBACK, &form, From::Apple).await.status, 303);
    let told = browser.fetch("GET", "/auth/apple/userinfo", From::Own).await;
    assert_eq!(told.json()["email"], presets::EMAIL);
    assert!(!told.body.contains("Eve"), "{}", told.body);
}

#[tokio::test]
async fn the_callback_takes_a_form_by_post_and_nothing_else() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let answer = answer(&house, &asked, &asked.token());
    let states = browser.states().len();
    for method in ["GET", "HEAD", "PUT", "OPTIONS", "DELETE"] {
        let line = format!("{method} {CALLBACK}?{answer}");
        let reply = browser.send(&line, From::Apple, "", "").await;
        assert_eq!((reply.status, reply.header("allow")), (405, vec!["POST"]), "{method}");
    }
    for content_type in ["application/json", "text/plain", "multipart/form-data; boundary=x"] {
        let lines = format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", answer.len());
        let line = format!("POST {CALLBACK}");
        let reply = browser.send(&line, From::Apple, &lines, &answer).await;
        assert_eq!(reply.status, 400, "{content_type}");
    }
    let twice = format!("{answer}&state={}", asked.get("state"));
    assert_eq!(browser.post(CALLBACK, &twice, From::Apple).await.status, 400);
    let long = format!("{answer}&user={}", "x".repeat(40_000));
    assert_eq!(browser.post(CALLBACK, &long, From::Apple).await.status, 413);
    assert!(browser.cookie(SESSION).is_none());
    assert_eq!(browser.states().len(), states, "none of them ended the sign-in");
    assert_eq!(browser.post(CALLBACK, &answer, From::Apple).await.status, 303);
}

#[tokio::test]
async fn nobody_is_sent_to_another_origin() {
    let house = house("").await;
    for trick in [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example",
        "https://app.example@evil.example/",
        "https://app.example.evil/",
        "javascript:alert(1)",
        "%2F%2Fevil.example",
        "%252F%252Fevil.example",
        "/%09/evil.example",
        "/%0d%0aSet-Cookie:%20a=b",
        "%0d%0aLocation:%20https://evil.example",
        "/.//evil.example",
        "/auth/apple/logout",
    ] {
        let mut browser = Browser::new(&house);
        let to =
            sign_in(&mut browser, &house, &format!("/auth/apple/start?return_to={trick}")).await;
        assert_eq!(to, "/", "{trick}");
        let page = browser.open(&format!("/auth/apple/login?return_to={trick}")).await;
        assert!(page.body.contains("href=\"/\">Continue"), "{trick}: {}", page.body);
        assert!(!page.body.contains("evil"), "{trick}");
    }
    let twice = "/auth/apple/start?return_to=/a&return_to=/b";
    assert_eq!(sign_in(&mut Browser::new(&house), &house, twice).await, "/");
}

#[tokio::test]
async fn no_cookie_and_no_redirect_is_had_under_another_host() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let answer = answer(&house, &asked, &asked.token());
    let cookies: Vec<_> =
        browser.cookies.iter().map(|it| format!("{}={}", it.name, it.value)).collect();
    for host in ["evil.example", "app.example.evil", "app.example:8443", "x.app.example"] {
        for (line, body) in [
            ("GET /auth/apple/login", ""),
            ("GET /auth/apple/start", ""),
            ("POST /auth/apple/callback", &*answer),
        ] {
            let request = format!(
                "{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nCookie: {}\r\n\
                 Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
                cookies.join("; "),
                body.len(),
            );
            let reply = exchange(house.address, request).await;
            assert_eq!(reply.status, 400, "{host} {line}");
            assert!(reply.header("set-cookie").is_empty(), "{host} {line}");
            assert!(reply.header("location").is_empty(), "{host} {line}");
        }
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nSec-Fetch-Mode: navigate\r\n\r\n"
        );
        assert_eq!(exchange(house.address, request).await.status, 401, "{host}");
    }
}

#[tokio::test]
async fn two_credentials_are_none() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let session = browser.cookie(SESSION).unwrap().clone();
    let bearer = format!("Authorization: {}\r\n", house.bearer());
    let again = format!("Cookie: {SESSION}={}\r\n", session.value);
    for lines in [&bearer, &again, &format!("Cookie: {SESSION}=x\r\n")] {
        let reply = browser.send("GET /api/x", From::Own, lines, "").await;
        assert_eq!(
            (reply.status, reply.json()["code"].as_str()),
            (400, Some("several_credentials"))
        );
    }
    assert!(house.application.requests().is_empty());
}

#[tokio::test]
async fn a_session_is_never_the_one_that_was_there_before() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let planted = browser.cookie(SESSION).unwrap().value.clone();
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    assert_ne!(browser.cookie(SESSION).unwrap().value, planted);
    let copy = browser.cookie(SESSION).unwrap().clone();
    browser.post("/auth/apple/logout", "", From::Own).await;
    for value in [&planted, &copy.value] {
        let lines = format!("Cookie: {SESSION}={value}\r\n");
        assert_eq!(browser.send("GET /api/x", From::Own, &lines, "").await.status, 401);
    }
}

/// What the application's path says of a request with this session alone.
pub(super) async fn code_of(house: &House, session: &str) -> String {
    let lines = format!("Cookie: {SESSION}={session}\r\n");
    let reply = Browser::new(house).send("GET /api/x", From::Own, &lines, "").await;
    if reply.status == 200 {
        return "good".to_owned();
    }
    reply.json()["code"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_ends_when_another_one_begins_in_its_place_and_not_before() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let old = browser.cookie(SESSION).unwrap().value.clone();
    let asked = Asked::of(&browser.open("/auth/apple/start").await);
    let cancelled = form(&[("state", asked.get("state")), ("error", "user_cancelled_authorize")]);
    browser.post(CALLBACK, &cancelled, From::Apple).await;
    assert_eq!(code_of(&house, &old).await, "good", "nothing came of it");

    sign_in(&mut browser, &house, "/auth/apple/start").await;
    assert_eq!(code_of(&house, &old).await, "session_ended");
    let new = browser.cookie(SESSION).unwrap().value.clone();
    assert_eq!(code_of(&house, &new).await, "good");
}

#[tokio::test]
async fn however_long_the_places_are_to_come_back_to_no_answer_is_long_and_no_session_is_left_behind()
 {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let place = format!("/{}", "a".repeat(511));
    let start = format!("/auth/apple/start?return_to={place}");
    assert_eq!(sign_in(&mut browser, &house, &format!("{start}a")).await, "/", "too long");
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(Asked::of(&browser.open(&start).await));
    }
    let form = answer(&house, &asked[3], &asked[3].token());
    let reply = browser.post(CALLBACK, &form, From::Apple).await;
    assert_eq!((reply.status, reply.header("location")), (303, vec![&*place]));
    let told: usize = reply.header("set-cookie").iter().map(|line| line.len()).sum();
    assert!(told < 4096, "{told}: a gateway has no more room");
    let first = browser.cookie(SESSION).unwrap().value.clone();

    // Of the others one goes on, and knows of the session that it replaces; the rest is over.
    assert_eq!(browser.states().len(), 1);
    let mut ended = Vec::new();
    for asked in &asked[..3] {
        let form = answer(&house, asked, &asked.token());
        ended.push(browser.post(CALLBACK, &form, From::Apple).await.status);
    }
    ended.sort_unstable();
    assert_eq!(ended, [303, 400, 400]);
    assert_eq!(code_of(&house, &first).await, "session_ended");
    let second = browser.cookie(SESSION).unwrap().value.clone();
    assert_eq!(code_of(&house, &second).await, "good");
}

#[tokio::test]
async fn four_tabs_at_ordinary_places_all_sign_in_and_one_session_is_left() {
    let house = house("").await;
    let mut browser = Browser::new(&house);
    let start = format!("/auth/apple/start?return_to=/orders/{}", "1".repeat(92));
    let mut asked = Vec::new();
    for _ in 0..4 {
        asked.push(Asked::of(&browser.open(&start).await));
    }
    let mut sessions = Vec::new();
    for asked in &asked {
        let form = answer(&house, asked, &asked.token());
        assert_eq!(browser.post(CALLBACK, &form, From::Apple).await.status, 303);
        sessions.push(browser.cookie(SESSION).unwrap().value.clone());
    }
    let last = sessions.pop().unwrap();
    for session in &sessions {
        assert_eq!(code_of(&house, session).await, "session_ended");
    }
    assert_eq!(code_of(&house, &last).await, "good");
}

#[tokio::test]
async fn who_signs_out_by_two_cookies_is_signed_out_of_both_sessions() {
    let house = house("").await;
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let mut browser = Browser::new(&house);
        sign_in(&mut browser, &house, "/auth/apple/start").await;
        sessions.push(browser.cookie(SESSION).unwrap().value.clone());
    }
    let cookies = format!("{SESSION}={}; {SESSION}=x; {SESSION}={}", sessions[0], sessions[1]);
    let lines = format!("Cookie: {cookies}\r\nContent-Length: 0\r\n");
    let reply = Browser::new(&house).send("POST /auth/apple/logout", From::Own, &lines, "").await;
    assert_eq!((reply.status, reply.header("set-cookie").len()), (204, 1));
    for session in &sessions {
        assert_eq!(code_of(&house, session).await, "session_ended");
    }
}

#[tokio::test]
async fn no_other_sites_page_does_anything_in_the_users_name() {
    let house = house("cross_origin_trusted = ['https://admin.example']").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let cookie = format!("Cookie: {SESSION}={}\r\n", browser.cookie(SESSION).unwrap().value);
    browser.cookies.clear();
    let socket = "Upgrade: websocket\r\nConnection: upgrade\r\n";
    for (method, from, more, status) in [
        ("POST", From::Own, "", 200),
        ("DELETE", From::Own, "", 200),
        ("GET", From::Evil, "", 200),
        ("POST", From::Evil, "", 403),
        ("POST", From::Neighbour, "", 403),
        ("PUT", From::Neighbour, "", 403),
        ("GET", From::Neighbour, socket, 403),
        ("GET", From::Own, socket, 200),
    ] {
        let lines = format!("{cookie}{more}Content-Length: 0\r\n");
        let reply = browser.send(&format!("{method} /api/x"), from, &lines, "").await;
        assert_eq!(reply.status, status, "{method} {from:?}");
        if status == 403 {
            assert_eq!(reply.json()["code"], "cross_origin", "{method} {from:?}");
        }
    }
    let trusted = "POST /api/x HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nContent-Length: 0\r\n\
                   Sec-Fetch-Site: cross-site\r\nOrigin: https://admin.example\r\n";
    assert_eq!(exchange(house.address, format!("{trusted}{cookie}\r\n")).await.status, 200);
    // A token is no cookie: no browser adds it by itself.
    let bearer = format!("Authorization: {}\r\nContent-Length: 0\r\n", house.bearer());
    assert_eq!(browser.send("POST /api/x", From::Evil, &bearer, "").await.status, 200);

    let open = self::house("cross_origin = 'forward'").await;
    let lines = format!("{cookie}Content-Length: 0\r\n");
    let reply = Browser::new(&open).send("POST /api/x", From::Evil, &lines, "").await;
    assert_eq!(reply.status, 200, "the application tells them apart");
}

#[tokio::test]
async fn no_other_sites_page_signs_anybody_out() {
    let house = house("cross_origin = 'forward'").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let cookie = format!("Cookie: {SESSION}={}\r\n", browser.cookie(SESSION).unwrap().value);
    for from in [From::Evil, From::Neighbour] {
        let lines = format!("{cookie}Content-Length: 0\r\n");
        let mut other = Browser::new(&house);
        let reply = other.send("POST /auth/apple/logout", from, &lines, "").await;
        assert_eq!(reply.status, 403, "{from:?}");
        assert!(reply.header("set-cookie").is_empty(), "{from:?}");
    }
    let reply = browser.open_from("/auth/apple/logout", From::Evil).await;
    assert_eq!((reply.status, reply.header("allow")), (405, vec!["POST"]));
    assert_eq!(browser.open("/").await.status, 200);
}

#[tokio::test]
async fn a_flood_of_answers_costs_neither_a_verification_nor_a_word_to_apple() {
    let house = house("").await;
    let token = house.apple.mint(&TokenTemplate::native().audience(WEB));
    let form = form(&[("state", "made-up-and-long-enough"), ("code", CODE), ("id_token", &token)]);
    let fetches = house.metric("siwa_jwks_fetches_total{result=\"ok\"}").await;
    for _ in 0..200 {
        let reply = Browser::new(&house).post(CALLBACK, &form, From::Apple).await;
        assert_eq!(reply.status, 400);
    }
    for cache in ["hit", "miss"] {
        assert_eq!(house.metric(&format!("siwa_verdicts_total{{cache=\"{cache}\"}}")).await, 0);
    }
    assert_eq!(house.metric("siwa_jwks_fetches_total{result=\"ok\"}").await, fetches);
}

#[tokio::test]
async fn what_could_not_be_judged_is_no_session_and_is_said_to_be_worth_another_try() {
    let house = House::build(
        &settings(&key_file(1), ""),
        Arc::new(siwa_proxy::clock::SystemClock),
        |apple| {
            apple.fail_with(Fault::Reset);
        },
    )
    .await;
    let mut browser = Browser::new(&house);
    let asked = Asked::of(&browser.open("/auth/apple/start?return_to=/a").await);
    let reply =
        refused(&house, &mut browser, &answer(&house, &asked, &asked.token()), "keys_unavailable")
            .await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, vec!["5"]));
    assert!(reply.body.contains("return_to=%2Fa"), "{}", reply.body);
}

#[tokio::test]
async fn a_sessions_cookie_is_no_bearer_token_at_any_door_and_a_bearer_token_is_no_cookie() {
    let house = house("[server]\ntrusted_peers = ['127.0.0.1']").await;
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let session = browser.cookie(SESSION).unwrap().value.clone();
    let bearer = format!("Bearer {session}");
    for path in ["/", "/auth/apple/userinfo", "/auth/apple/verify", "/auth/apple/forward-auth"] {
        let reply = house.get(path, &[("Authorization", &bearer)]).await;
        let refused = (reply.status, reply.json()["code"].clone());
        assert_eq!(refused, (401, "session_wrong_kind".into()), "{path}");
    }
    // What would be an access token is refused by what it is for, before anybody looks inside.
    let access = session.replacen("siwa_c.", "siwa_a.", 1);
    let reply = house.get("/", &[("Cookie", &format!("{SESSION}={access}"))]).await;
    assert_eq!(reply.json()["code"], "session_wrong_kind");
    assert!(house.application.requests().is_empty());
    let reply = house.get("/", &[("Cookie", &format!("{SESSION}={session}"))]).await;
    assert_eq!(reply.status, 200, "the cookie itself is good");
}

#[tokio::test]
async fn an_application_sets_cookies_of_its_own_and_none_of_ours() {
    let house = house("").await;
    house.application.answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nSet-Cookie: app=1\r\n\
         Set-Cookie: __Host-siwa_session=evil; Path=/; Secure\r\n\
         Set-Cookie: =__Host-siwa_browser=evil; Path=/; Secure\r\nSet-Cookie: b=2\r\n\r\nhello",
    );
    let reply = house.get("/public/a", &[]).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (200, vec!["app=1", "b=2"]));
    let mut browser = Browser::new(&house);
    sign_in(&mut browser, &house, "/auth/apple/start").await;
    let own = browser.cookie(SESSION).unwrap().value.clone();
    let cookie = format!("Host: app.example\r\nCookie: {SESSION}={own}\r\n");
    let request = format!("GET /a HTTP/1.1\r\nConnection: close\r\n{cookie}\r\n");
    let reply = exchange(house.address, request).await;
    assert_eq!((reply.status, reply.header("set-cookie")), (200, vec!["app=1", "b=2"]));
}
