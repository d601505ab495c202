//! Whatever a caller writes into an identity header, the application sees ours or none.

use siwa_proxy::sim::{presets, token::TokenTemplate};

use crate::support::{House, Request, exchange};

/// Every name that we may ever set.
const NAMES: [&str; 8] = [
    "X-Apple-Sub",
    "X-Apple-Email",
    "X-Apple-Email-Verified",
    "X-Apple-Private-Email",
    "X-Apple-Real-User-Status",
    "X-Apple-Client-Id",
    "X-Apple-Transfer-Sub",
    "X-Siwa-Assertion",
];

/// Everything that some application might read as `name`.
fn spellings(name: &str) -> Vec<String> {
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
fn assert_ours_alone(received: &Request, email: &[&str], attack: &str) {
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

#[tokio::test]
async fn every_spelling_of_every_name_is_stripped() {
    let house = House::start().await;
    for name in NAMES {
        for spelling in spellings(name) {
            let bearer = house.bearer();
            let headers = [
                (spelling.as_str(), "spoof"),
                ("Authorization", &bearer),
                (&spelling, "spoof again"),
            ];
            assert_eq!(house.get("/", &headers).await.status, 200);
            let received = house.application.requests().pop().unwrap();
            assert_ours_alone(&received, &[presets::EMAIL], &spelling);
        }
    }
    assert!(house.metric("siwa_spoofed_headers_stripped_total").await >= 64);
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
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: close\r\nTE: trailers\r\nTrailer: X-Apple-Sub, X-Own\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nX-Apple-Sub: spoof\r\nX_Apple_Sub: spoof\r\nX-Own: kept\r\n\r\n",
        house.bearer()
    );
    // The recorder reads to the end of the last chunk; what follows it is looked for in what arrived.
    exchange(house.address, request).await;
    assert_ours_alone(&house.application.only_request(), &[presets::EMAIL], "trailers");
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
            ],
        )
        .await;
    let received = house.application.only_request();
    assert_eq!(received.header("x-forwarded-for"), ["203.0.113.7, 127.0.0.1"]);
    assert_eq!(received.header("x-forwarded-proto"), ["https"]);
}
