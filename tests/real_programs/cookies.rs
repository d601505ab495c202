//! The cookies of browsers behind a gateway that asks us: ours stay between browsers and us.

use std::{process::Command, sync::Arc, time::Duration};

use siwa_proxy::{
    clock::{ManualClock, UnixTime},
    sim::{Apple, presets},
};
use tempfile::{NamedTempFile, TempDir};

use super::{free_address, gateway::Places, is_up};
use crate::{
    browser::{key_file, session_at, sign_in_beside_others},
    header_spoofing::assert_ours_alone,
    support::{House, Recorder, Reply, exchange, process::ProcessGroup},
};

const SESSION: &str = "__Host-siwa_session";

/// A gateway, by the files that we ship for it and for people with browsers.
pub(super) struct Kind {
    /// The settings of the verifier beside it.
    pub(super) settings: &'static str,
    /// How it is started.
    pub(super) command: fn(&Places<'_>) -> Command,
    /// What its callers get while it listens and has not read its files, if it listens so early.
    pub(super) not_yet: Option<u16>,
    /// What it says to caches beside a session's new cookie, where the application says that all may keep its answer.
    pub(super) to_caches: ToCaches,
}

/// What caches are told of an answer that has a session's new cookie with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ToCaches {
    /// Not to store it, in the application's place.
    NoStoreAlone,
    /// Not to store it, beside what the application says.
    NoStoreBeside,
    /// What the application says.
    NothingMore,
}

/// A running gateway for people with browsers, in front of an application that has cookies of its own, lets all caches keep its
/// answers, and would have people be somebody else.
struct Front {
    house: House,
    gateway: std::net::SocketAddr,
    clock: ManualClock,
    session: String,
    _program: ProcessGroup,
    _folder: TempDir,
    _key: NamedTempFile,
}

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nCache-Control: public, max-age=3600\r\n\
     CDN-Cache-Control: max-age=7200\r\nSet-Cookie: app=1; Path=/\r\n\
     Set-Cookie: __Host-siwa_session=evil; Path=/; Secure\r\n\r\nhello";

impl Front {
    async fn start(kind: &Kind) -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
        let apple = Arc::new(Apple::start(Arc::new(clock.clone())).await.unwrap());
        let (key, application) = (key_file(1), Recorder::start().await);
        application.answer(ANSWER);
        let settings = kind.settings.replace("127.0.0.1:4180", "127.0.0.1:0");
        let settings = settings.replace("\"com.example.app\"", "'com.example.web'");
        let text = format!(
            "{settings}\n[sessions]\nkey_files = ['{}']\n[[route]]\naccess = 'browser'\n[[route]]\n\
             path = '/public/*'\naccess = 'public'\n[browser]\npath = '/auth/apple'\n\
             origins = ['https://app.example']\n",
            key.path().display()
        );
        let house = House::between(apple, application, Arc::new(clock.clone()), &text).await;
        let session = session_at(&house).await;
        let (folder, gateway) = (tempfile::tempdir().unwrap(), free_address());
        let application = house.application.address;
        let places = Places::new(folder.path(), gateway, house.address, application);
        let program = ProcessGroup::start(&mut (kind.command)(&places));
        is_up(gateway, kind.not_yet).await;
        Self { house, gateway, clock, session, _program: program, _folder: folder, _key: key }
    }

    /// What a browser gets that asks for `path` with these `lines` and `cookies`.
    async fn get(&self, path: &str, lines: &str, cookies: &str) -> Reply {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\nSec-Fetch-Site: same-origin\r\n\
             Cookie: {cookies}\r\n{lines}\r\n"
        );
        exchange(self.gateway, request).await
    }

    /// The same with the session's cookie and none besides.
    async fn get_in_session(&self, path: &str, lines: &str) -> Reply {
        self.get(path, lines, &format!("{SESSION}={}", self.session)).await
    }
}

const WINDOW: &str = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

/// The application is told its own cookies and no others, on whatever route.
pub(super) async fn hands_on_no_cookie_of_ours(kind: &Kind) {
    let front = Front::start(kind).await;
    let ours = [
        format!("{SESSION}={}", front.session),
        "__Host-siwa_browser=abc".to_owned(),
        "other=1".to_owned(),
    ];
    for (cookies, left) in [
        (format!("a=1; {}; b=2; {}; c=3", ours[0], ours[1]), "a=1; b=2; c=3"),
        (format!("{}; {}; {}", ours[1], ours[0], ours[2]), "other=1"),
        (format!("{}; {}; {}", ours[2], ours[1], ours[0]), "other=1"),
        (format!("a={SESSION}; {}", ours[0]), "a=__Host-siwa_session"),
        (format!("{}; {}", ours[0], ours[1]), ""),
        (ours[0].clone(), ""),
    ] {
        for path in ["/a", "/public/a"] {
            let reply = front.get(path, WINDOW, &cookies).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "hello"), "{path} {left}");
            let received = front.house.application.requests().pop().unwrap();
            assert_eq!(received.header("cookie").concat(), left, "{path}: {received:?}");
            assert_eq!(received.header("set-cookie"), [""; 0]);
            if path == "/a" {
                assert_ours_alone(&received, &[presets::EMAIL], left);
            }
        }
    }
    // However many a page or an application set under such names: the browser may send any of them first.
    let decoys = "__Host-siwa_=0; __Host-siwa_a=1;\t__Host-siwa_b=2";
    for cookies in [format!("{decoys}; a=1; {}", ours[0]), format!("{}; a=1; {decoys}", ours[0])] {
        for path in ["/a", "/public/a"] {
            let reply = front.get(path, WINDOW, &cookies).await;
            assert_eq!((reply.status, reply.body.as_str()), (200, "hello"), "{path}");
            let received = front.house.application.requests().pop().unwrap();
            let left = received.header("cookie").concat();
            assert!(matches!(&*left, "" | "a=1"), "{path}: {left}");
        }
    }
    let reply = front.get("/public/a", "", "a=1;b=2").await;
    assert_eq!(reply.status, 200);
    let received = front.house.application.requests().pop().unwrap();
    assert_eq!(received.header("cookie").concat().replace(' ', ""), "a=1;b=2");
}

/// A session that is used goes on with the next page, and no cache is let keep the answer with its cookie.
pub(super) async fn renews_a_session_past_every_cache(kind: &Kind) {
    let front = Front::start(kind).await;
    let fresh = front.get_in_session("/a", WINDOW).await;
    assert!(!fresh.header("set-cookie").iter().any(|it| it.contains("siwa_c.")), "{fresh:?}");
    assert_eq!(fresh.header("cache-control"), ["public, max-age=3600"]);
    assert_eq!(fresh.header("cdn-cache-control"), ["max-age=7200"]);

    front.clock.advance(Duration::from_mins(10));
    let image = "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n";
    let image = front.get_in_session("/a.png", image).await;
    assert!(!image.header("set-cookie").iter().any(|it| it.contains("siwa_c.")), "{image:?}");
    assert_eq!(image.header("cache-control"), ["public, max-age=3600"], "caches may keep those");

    let renewed = front.get_in_session("/a", WINDOW).await;
    let cookies = renewed.header("set-cookie");
    let next: Vec<_> = cookies.iter().filter(|it| it.starts_with(SESSION)).collect();
    assert!(next.last().unwrap().contains("siwa_c."), "{renewed:?}");
    assert!(cookies.contains(&"app=1; Path=/"), "the application's own goes on: {renewed:?}");
    let (told, more) = (renewed.header("cache-control"), renewed.header("cdn-cache-control"));
    match kind.to_caches {
        ToCaches::NoStoreAlone => {
            assert_eq!(told, ["no-store"]);
            assert!(more.iter().all(|it| *it == "no-store"), "{renewed:?}");
        }
        ToCaches::NoStoreBeside => {
            assert_eq!(told, ["public, max-age=3600", "no-store"]);
            assert_eq!(more, ["max-age=7200", "no-store"]);
        }
        ToCaches::NothingMore => assert_eq!(told, ["public, max-age=3600"]),
    }
    assert_eq!(renewed.header("x-siwa-cache-control"), [""; 0]);
}

/// The way to sign in leads to where the browser is, which knows the gateway by another name than that of its listener.
pub(super) async fn leads_to_sign_in_at_the_origin_of_the_browser(kind: &Kind) {
    let front = Front::start(kind).await;
    let reply = front.get("/a?b=c", WINDOW, "other=1").await;
    let location = reply.header("location").concat();
    let path = location.strip_prefix("https://app.example").unwrap_or(&location);
    let login = "/auth/apple/login?return_to=%2Fa%3Fb%3Dc";
    assert_eq!((reply.status, path), (303, login), "{reply:?}");
}

/// A browser may be told much at once, and of each thing by a cookie.
pub(super) async fn hands_on_an_answer_with_many_cookies(kind: &Kind) {
    let front = Front::start(kind).await;
    let told = sign_in_beside_others(&front.house, front.gateway).await;
    assert!(told.iter().any(|it| it.starts_with(SESSION)), "{told:?}");
}

/// What it says of its own answer in the name of siwa-proxy is not heard.
pub(super) async fn hears_nothing_in_our_name_from_the_application(kind: &Kind) {
    let front = Front::start(kind).await;
    let posing = "X-Siwa-Cache-Control: public, max-age=60\r\nContent-Length";
    front.house.application.answer(&ANSWER.replace("Content-Length", posing));
    let fresh = front.get_in_session("/a", WINDOW).await;
    assert_eq!(fresh.header("cache-control"), ["public, max-age=3600"]);
    front.clock.advance(Duration::from_mins(10));
    let renewed = front.get_in_session("/a", WINDOW).await;
    assert!(renewed.header("set-cookie").iter().any(|it| it.contains("siwa_c.")), "{renewed:?}");
    assert_eq!(renewed.header("cache-control"), ["no-store"]);
    for reply in [fresh, renewed] {
        assert_eq!(reply.header("x-siwa-cache-control"), [""; 0]);
    }
}

/// The door is the gateway's: what it answers a gateway holds cookies that no script may read.
pub(super) async fn lets_no_caller_to_the_door(kind: &Kind) {
    let front = Front::start(kind).await;
    let lies = "X-Original-Method: GET\r\nX-Original-URI: /a\r\nX-Forwarded-Method: GET\r\n\
                X-Forwarded-Uri: /a\r\nX-Forwarded-Host: app.example\r\n";
    let cookies = format!("a=1; {SESSION}={}; b=2", front.session);
    for door in ["/auth/apple/verify", "/auth/apple/forward-auth", "/auth/apple/ext-authz/a"] {
        let reply = front.get(door, lies, &cookies).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "hello"), "an application's path");
        for name in ["cookie", "x-apple-sub"] {
            assert_eq!(reply.header(name), [""; 0], "{door}: {reply:?}");
        }
    }
    assert_eq!(front.get("/auth/apple/verify", lies, "a=1").await.status, 401);
    let who = front.get("/auth/apple/userinfo", "", &cookies).await;
    assert_eq!((who.status, &who.json()["sub"]), (200, &presets::SUBJECT.into()));
    assert_eq!(front.get("/auth/apple/userinfo", "", "a=1").await.status, 401);
}

/// An application that sets a cookie in our name signs nobody in.
pub(super) async fn takes_out_what_the_application_sets_in_our_name(kind: &Kind) {
    let front = Front::start(kind).await;
    for path in ["/a", "/public/a"] {
        let reply = front.get_in_session(path, WINDOW).await;
        let cookies = reply.header("set-cookie");
        assert!(!cookies.iter().any(|it| it.contains("evil")), "{path}: {reply:?}");
        assert!(cookies.contains(&"app=1; Path=/"), "{path}: {reply:?}");
    }
}

/// The tests of one gateway: those that all have in common, and `$more`.
macro_rules! tests {
    ($needs:literal, $kind:path $(, $more:ident)*) => {
        cookies::tests!(
            @each $needs,
            $kind,
            hands_on_no_cookie_of_ours,
            renews_a_session_past_every_cache,
            leads_to_sign_in_at_the_origin_of_the_browser,
            hands_on_an_answer_with_many_cookies,
            lets_no_caller_to_the_door
            $(, $more)*
        );
    };
    (@each $needs:literal, $kind:path, $($name:ident),+) => {
        mod browsers_cookies {
            $(
                #[tokio::test]
                #[ignore = $needs]
                async fn $name() {
                    $crate::real_programs::cookies::$name(&$kind).await;
                }
            )+
        }
    };
}
pub(super) use tests;
