//! The door for Traefik's `ForwardAuth` and Caddy's `forward_auth`, by the requests that their manuals document. They
//! themselves ask in `real_programs`.

use siwa_proxy::sim::{faults::Fault, presets, token::TokenTemplate};

use crate::header_spoofing::{NAMES, spellings};
use crate::support::{House, Reply, exchange};

const DOOR: &str = "/auth/apple/forward-auth";

const ROUTES: &str = r#"
    [cors]
    allow_origins = ["https://app.example"]
    forward_preflight = true
    [[route]]
    path = "/public/*"
    access = "public"
    [[route]]
    path = "/files/*"
    methods = ["GET"]
    access = "public"
    [[route]]
    path = "/*"
    hosts = ["open.example"]
    access = "public"
"#;

/// A verifier with the settings that we ship for Traefik.
async fn beside_traefik() -> House {
    let shipped = include_str!("../deploy/traefik/siwa-proxy.toml");
    House::verifier(&(shipped.replace("127.0.0.1:4180", "127.0.0.1:0") + ROUTES)).await
}

/// What Traefik 3 sends about a request (<https://doc.traefik.io/traefik/middlewares/http/forwardauth/>): the client's own
/// headers, and who asked for what. Caddy sends the same, but for its own `Host`.
async fn traefik(house: &House, line: &str, host: &str, headers: &[(&str, &str)]) -> Reply {
    let (method, target) = line.split_once(' ').unwrap();
    let lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "GET {DOOR} HTTP/1.1\r\nHost: siwa-proxy.internal:4180\r\nUser-Agent: Go-http-client/1.1\r\n\
         X-Forwarded-Method: {method}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: {host}\r\n\
         X-Forwarded-Uri: {target}\r\nX-Forwarded-For: 203.0.113.7\r\nConnection: close\r\n{}\r\n",
        lines.concat()
    );
    exchange(house.address, request).await
}

#[tokio::test]
async fn traefiks_documented_requests_are_answered_as_it_expects() {
    let house = beside_traefik().await;
    let bearer = house.bearer();
    let with_token = [("Authorization", bearer.as_str())];

    let refused = traefik(&house, "GET /orders?page=2", "app.example", &[]).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), [r#"Bearer realm="siwa-proxy""#]);
    assert_eq!(refused.header("content-type"), ["application/problem+json"]);
    assert_eq!(refused.json()["code"], "no_credential");

    let allowed = traefik(&house, "GET /orders?page=2", "app.example", &with_token).await;
    assert_eq!((allowed.status, allowed.body.as_str()), (200, ""));
    assert_eq!(allowed.header("x-apple-sub"), [presets::SUBJECT]);
    assert_eq!(allowed.header("x-apple-email"), [presets::EMAIL]);
    assert_eq!(allowed.header("cache-control"), ["no-store"]);

    for (line, host, expected) in [
        ("DELETE /orders/7", "app.example", 401),
        ("GET /public/logo.svg", "app.example", 200),
        ("GET /files/a", "app.example", 200),
        ("PUT /files/a", "app.example", 401),
        ("GET /orders", "open.example", 200),
        ("GET /public/%2e%2e/orders", "app.example", 400),
    ] {
        let reply = traefik(&house, line, host, &[]).await;
        assert_eq!(reply.status, expected, "{line} {host}");
        assert_eq!(reply.header("x-apple-sub"), [""; 0], "{line} {host}");
    }
}

#[test]
fn the_configuration_for_traefik_asks_at_the_door_and_strips_what_it_sets() {
    let text = include_str!("../deploy/traefik/dynamic.yml");
    assert!(text.contains(&format!("address: http://127.0.0.1:4180{DOOR}?tell=cookies\n")));
    // Go's expression and this one agree on what stands here.
    assert!(text.contains("authResponseHeadersRegex: (?i)^x[^a-z0-9](apple|siwa)[^a-z0-9]\n"));
    let matches = |name: &str| {
        let name = name.to_lowercase();
        let rest = name.strip_prefix('x').and_then(|rest| rest.strip_prefix(is_separator));
        let rest = rest.and_then(|it| it.strip_prefix("apple").or_else(|| it.strip_prefix("siwa")));
        rest.is_some_and(|rest| rest.starts_with(is_separator))
    };
    for spelling in NAMES.into_iter().flat_map(spellings) {
        assert!(matches(&spelling), "{spelling}");
    }
}

fn is_separator(character: char) -> bool {
    !character.is_ascii_alphanumeric()
}

#[tokio::test]
async fn the_doors_own_method_does_not_matter() {
    let house = House::verifier("").await;
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for (credential, expected) in [(house.bearer(), 200), ("Basic eDp5".to_owned(), 401)] {
            let request = format!(
                "{method} {DOOR} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\
                 Authorization: {credential}\r\n\r\nhi"
            );
            assert_eq!(exchange(house.address, request).await.status, expected, "{method}");
        }
    }
}

#[tokio::test]
async fn every_refusal_is_an_answer_for_the_client() {
    let house = House::verifier("policy.require_email = true").await;
    let no_email = house.bearer_of(&TokenTemplate::no_email());
    for (credential, status, code) in [
        ("Bearer a.b.c", 401, "token_malformed"),
        (no_email.as_str(), 403, "not_allowed_email_missing"),
    ] {
        let reply = traefik(&house, "GET /", "app.example", &[("Authorization", credential)]).await;
        assert_eq!((reply.status, reply.json()["code"].as_str()), (status, Some(code)));
        assert_eq!(reply.header("www-authenticate").len(), 1);
    }
    let good = house.bearer();
    let twice = [("Authorization", good.as_str()), ("Authorization", good.as_str())];
    let reply = traefik(&house, "GET /", "app.example", &twice).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (400, Some("several_credentials")));
}

#[tokio::test]
async fn without_keys_it_is_503_for_the_client() {
    let house = House::troubled_verifier("", |apple| apple.fail_with(Fault::Reset)).await;
    let bearer = house.bearer();
    let reply = traefik(&house, "GET /", "app.example", &[("Authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (503, Some("keys_unavailable")));
    assert_eq!(reply.header("retry-after").len(), 1);
}

#[tokio::test]
async fn pages_of_listed_origins_may_read_refusals() {
    let house = beside_traefik().await;
    for (origin, readable) in [("https://app.example", 1), ("https://evil.example", 0)] {
        let reply = traefik(&house, "GET /", "app.example", &[("Origin", origin)]).await;
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("access-control-allow-origin").len(), readable, "{origin}");
    }
}

#[tokio::test]
async fn a_preflight_passes_as_nobody_unless_some_application_might_take_it_for_more() {
    let house = beside_traefik().await;
    let preflight =
        [("Origin", "https://app.example"), ("Access-Control-Request-Method", "DELETE")];
    let reply = traefik(&house, "OPTIONS /orders", "app.example", &preflight).await;
    assert_eq!((reply.status, reply.header("x-apple-sub")), (200, vec![]));
    assert_eq!(traefik(&house, "POST /orders", "app.example", &preflight).await.status, 401);
    for name in ["X-HTTP-Method-Override", "x_http_method_override", "X-HTTP-Method"] {
        let posing = [&preflight[..], &[(name, "DELETE")]].concat();
        let reply = traefik(&house, "OPTIONS /orders", "app.example", &posing).await;
        assert_eq!(reply.status, 400, "{name}");
    }
}

#[tokio::test]
async fn a_limit_is_told_to_the_client() {
    let house = House::verifier("limits.rate_per_second = 1\nlimits.rate_burst = 1").await;
    let bearer = house.bearer();
    let headers = [("Authorization", bearer.as_str())];
    assert_eq!(traefik(&house, "GET /", "app.example", &headers).await.status, 200);
    let reply = traefik(&house, "GET /", "app.example", &headers).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (429, Some("rate_limited")));
}
