//! Whatever a caller writes into an identity header, the application sees ours or none.
//!
//! [`NAMES`] and [`spellings`] are the table. Whoever opens another door runs it there as well, for every kind of access,
//! and asserts on what arrives by [`assert_ours_alone`] where somebody is proved, and by [`assert_none`] where nobody is.

use siwa_proxy::sim::{presets, token::TokenTemplate};

use crate::support::{House, Request, exchange, exchange_h2};

/// Every name that we may ever set.
pub(crate) const NAMES: [&str; 9] = [
    "X-Apple-Sub",
    "X-Apple-Email",
    "X-Apple-Email-Verified",
    "X-Apple-Private-Email",
    "X-Apple-Real-User-Status",
    "X-Apple-Client-Id",
    "X-Apple-Transfer-Sub",
    "X-Apple-Issuer",
    "X-Siwa-Assertion",
];

/// Everything that some application might read as `name`.
pub(crate) fn spellings(name: &str) -> Vec<String> {
    vec![
        name.to_owned(),
        name.to_lowercase(),
        name.to_uppercase(),
        name.replace('-', "_"),
        name.to_uppercase().replace('-', "_"),
        name.replacen('-', "_", 1),
        name.replace('-', "."),
        name.replace('-', "~"),
    ]
}

/// Asserts that of all identity headers only ours are there: the subject once, the email at most once.
pub(crate) fn assert_ours_alone(received: &Request, email: &[&str], attack: &str) {
    assert_eq!(received.header("x-apple-sub"), [presets::SUBJECT], "{attack}");
    assert_eq!(received.header("x-apple-email"), email, "{attack}");
    let reads_as_identity = |name: &&String| {
        let plain = name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        NAMES.iter().any(|known| known.eq_ignore_ascii_case(&plain))
    };
    let names = received.names();
    let count = names.iter().filter(reads_as_identity).count();
    assert_eq!(count, 1 + email.len(), "{attack}: {names:?}");
    assert!(!received.head.contains("spoof"), "{attack}: {}", received.head);
    assert!(!received.body.contains("spoof"), "{attack}: {}", received.body);
}

/// Asserts that there is no identity header at all.
pub(crate) fn assert_none(received: &Request, attack: &str) {
    let plain = |name: String| name.replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    for name in received.names().into_iter().map(plain) {
        assert!(!NAMES.iter().any(|known| known.eq_ignore_ascii_case(&name)), "{attack}: {name}");
    }
    assert!(!received.head.contains("spoof"), "{attack}: {}", received.head);
    assert!(!received.body.contains("spoof"), "{attack}: {}", received.body);
}

/// A route of each kind.
const EVERY_ACCESS: &str = r#"
    cors.forward_preflight = true
    [[route]]
    path = "/required"
    [[route]]
    path = "/optional"
    access = "optional"
    [[route]]
    path = "/public"
    access = "public"
"#;

/// Every way for a request to be let through: the first line's method and path, whether a token comes along, and whether
/// the application is told an identity.
const WAYS_IN: [(&str, bool, bool); 8] = [
    ("GET /required", true, true),
    ("GET /unmatched", true, true),
    ("GET /optional", true, true),
    ("GET /optional", false, false),
    ("GET /public", true, false),
    ("GET /public", false, false),
    ("OPTIONS /required", false, false),
    ("OPTIONS /optional", true, false),
];

/// Sends a spoofed request by one of the ways in, and asserts that nothing of it arrives.
async fn assert_stripped(house: &House, way: (&str, bool, bool), spoofs: &str, attack: &str) {
    let (line, with_token, as_somebody) = way;
    let bearer = format!("Authorization: {}\r\n", house.bearer());
    let request = format!(
        "{line} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nOrigin: https://a.example\r\n\
         Access-Control-Request-Method: PUT\r\n{}{spoofs}",
        if with_token { &bearer } else { "" },
    );
    assert_eq!(exchange(house.address, request).await.status, 200, "{line} {attack}");
    let received = house.application.requests().pop().unwrap();
    if as_somebody {
        assert_ours_alone(&received, &[presets::EMAIL], &format!("{line} {attack}"));
    } else {
        assert_none(&received, &format!("{line} {attack}"));
    }
}

#[tokio::test]
async fn every_spelling_of_every_name_is_stripped_on_every_way_in() {
    let house = House::with(EVERY_ACCESS).await;
    for way in WAYS_IN {
        for spelling in NAMES.into_iter().flat_map(spellings) {
            let spoofs = format!("{spelling}: spoof\r\n{spelling}: spoof again\r\n\r\n");
            assert_stripped(&house, way, &spoofs, &spelling).await;
        }
    }
    let count = WAYS_IN.len() * NAMES.len() * spellings("a-b").len();
    assert_eq!(house.metric("siwa_spoofed_headers_stripped_total").await, count as u64);
}

#[tokio::test]
async fn every_spelling_of_every_name_is_stripped_in_http_2() {
    let house = House::with(EVERY_ACCESS).await;
    for (line, with_token, as_somebody) in WAYS_IN {
        let (method, path) = line.split_once(' ').unwrap();
        for spelling in NAMES.into_iter().flat_map(spellings) {
            // HTTP/2 knows no capitals (RFC 9113 §8.2.1).
            let spelling = spelling.to_lowercase();
            let mut request = http::Request::builder()
                .method(method)
                .uri(format!("http://app.example{path}"))
                .header("origin", "https://a.example")
                .header("access-control-request-method", "PUT")
                .header(&spelling, "spoof")
                .header(&spelling, "spoof again");
            if with_token {
                request = request.header("authorization", house.bearer());
            }
            let reply = exchange_h2(house.address, request.body(String::new()).unwrap()).await;
            assert_eq!(reply.status, 200, "{line} {spelling}");
            let received = house.application.requests().pop().unwrap();
            if as_somebody {
                assert_ours_alone(&received, &[presets::EMAIL], &format!("{line} {spelling}"));
            } else {
                assert_none(&received, &format!("{line} {spelling}"));
            }
        }
    }
}

#[tokio::test]
async fn a_connection_line_and_trailers_spoof_nothing_on_any_way_in() {
    let house = House::with(EVERY_ACCESS).await;
    for way in WAYS_IN {
        for nominated in ["x-apple-sub", "X-Apple-Sub, X-Apple-Email", "close, x-siwa-assertion"] {
            let spoofs = format!("Connection: {nominated}\r\nX-Apple-Sub: spoof\r\n\r\n");
            assert_stripped(&house, way, &spoofs, nominated).await;
        }
        let trailers = "TE: trailers\r\nTrailer: X-Apple-Sub\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\
                        X-Apple-Sub: spoof\r\nX_Apple_Email: spoof\r\n\r\n";
        assert_stripped(&house, way, trailers, "trailers").await;
    }
}

#[tokio::test]
async fn a_spoofed_email_does_not_survive_a_token_without_one() {
    let house = House::start().await;
    let bearer = house.bearer_of(&TokenTemplate::no_email());
    house.get("/", &[("Authorization", &bearer), ("X-Apple-Email", "spoof@example.com")]).await;
    assert_ours_alone(&house.application.only_request(), &[], "no email in the token");
}

#[tokio::test]
async fn a_connection_line_cannot_remove_what_we_set() {
    let house = House::start().await;
    for nominated in ["x-apple-sub", "X-Apple-Sub, X-Apple-Email", "close, x-apple-sub"] {
        let bearer = house.bearer();
        house
            .get(
                "/",
                &[("Connection", nominated), ("Authorization", &bearer), ("X-Apple-Sub", "spoof")],
            )
            .await;
        assert_ours_alone(
            &house.application.requests().pop().unwrap(),
            &[presets::EMAIL],
            nominated,
        );
    }
}

#[tokio::test]
async fn a_connection_line_cannot_remove_the_host_or_where_the_request_came_from() {
    let house = House::start().await;
    let bearer = house.bearer();
    house
        .get("/", &[("Connection", "host, x-forwarded-for, forwarded"), ("Authorization", &bearer)])
        .await;
    let received = house.application.only_request();
    assert_eq!(received.header("host"), ["app.example"]);
    assert_eq!(received.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.header("forwarded").len(), 1);
}

#[tokio::test]
async fn trailers_are_stripped_like_headers() {
    let house = House::start().await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: close\r\nTE: trailers\r\nTrailer: X-Apple-Sub, X-Own, X-Forwarded-For, Forwarded\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Apple-Sub: spoof\r\nX_Apple_Sub: spoof\r\n\
         X-Forwarded-For: spoof\r\nForwarded: for=spoof\r\nX-Own: kept\r\n\r\n",
        house.bearer()
    );
    exchange(house.address, request).await;
    let received = house.application.only_request();
    assert_ours_alone(&received, &[presets::EMAIL], "trailers");
    assert!(received.body.to_ascii_lowercase().contains("x-own: kept"), "{}", received.body);
}

#[tokio::test]
async fn forwarding_headers_of_strangers_are_replaced() {
    let house = House::start().await;
    let bearer = house.bearer();
    let spoofed = [
        ("Authorization", bearer.as_str()),
        ("X-Forwarded-For", "spoof"),
        ("X_Forwarded_For", "spoof"),
        ("X-Forwarded-Host", "spoof"),
        ("X-Forwarded-Proto", "spoof"),
        ("X-Forwarded-User", "spoof"),
        ("X-Real-IP", "spoof"),
        ("Forwarded", "for=spoof"),
    ];
    house.get("/", &spoofed).await;
    let received = house.application.only_request();
    assert!(!received.head.contains("spoof"), "{}", received.head);
    assert_eq!(received.header("x-forwarded-for"), ["127.0.0.1"]);
}

#[tokio::test]
async fn forwarding_headers_of_listed_peers_are_extended() {
    let house = House::with("server.trusted_peers = ['127.0.0.0/8']").await;
    let bearer = house.bearer();
    house
        .get(
            "/",
            &[
                ("Authorization", &bearer),
                ("X-Forwarded-For", "203.0.113.7"),
                ("X-Forwarded-Proto", "https"),
                ("X_Forwarded_For", "spoof"),
                ("X_Real_IP", "spoof"),
            ],
        )
        .await;
    let received = house.application.only_request();
    assert_eq!(received.header("x-forwarded-for"), ["203.0.113.7, 127.0.0.1"]);
    assert!(
        !received.head.contains("spoof"),
        "another spelling is nobody's word: {}",
        received.head
    );
    assert_eq!(received.header("x-forwarded-proto"), ["https"]);
}
