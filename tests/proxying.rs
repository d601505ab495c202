//! The main job through sockets: what callers are answered, and exactly what the application receives.

use std::{sync::Arc, time::Duration};

use siwa_proxy::{
    clock::{ManualClock, SystemClock, UnixTime},
    sim::{faults::Fault, presets, token::TokenTemplate},
};
use tokio::io::AsyncWriteExt;

use crate::support::{House, Reply, eventually, exchange, exchange_h2, open, read_reply};

#[tokio::test]
async fn a_good_token_is_forwarded_as_an_identity_and_nothing_else_changes() {
    let house = House::start().await;
    let request = format!(
        "GET /a%2Fb/../c?q=1&q=%20 HTTP/1.1\r\nHost: app.example\r\nAuthorization: {}\r\nAccept: */*\r\nX-Own: kept\r\n\
         Connection: close\r\n\r\n",
        house.bearer()
    );
    let reply = exchange(house.address, request).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));

    let received = house.application.only_request();
    let mut lines: Vec<_> = received.head.lines().collect();
    lines[1..].sort_unstable();
    let id = reply.header("x-request-id")[0];
    assert_eq!(id.len(), 32, "{id}");
    assert_eq!(
        lines,
        [
            "GET /a%2Fb/../c?q=1&q=%20 HTTP/1.1",
            "accept: */*",
            r#"forwarded: for=127.0.0.1;host="app.example";proto=http"#,
            "host: app.example",
            "via: 1.1 siwa-proxy",
            &format!("x-apple-email: {}", presets::EMAIL),
            &format!("x-apple-sub: {}", presets::SUBJECT),
            "x-forwarded-for: 127.0.0.1",
            "x-forwarded-host: app.example",
            "x-forwarded-port: 80",
            "x-forwarded-proto: http",
            "x-own: kept",
            &format!("x-request-id: {id}"),
        ]
    );
}

#[tokio::test]
async fn bodies_arrive_whole_both_ways_in_either_framing() {
    let house = House::start().await;
    house.application.answer("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX-Made: yes\r\n\r\n4\r\nmade\r\n0\r\n\r\n");
    let head = format!(
        "POST /things HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: close\r\n",
        house.bearer()
    );
    let reply = exchange(house.address, format!("{head}Content-Length: 5\r\n\r\nthing")).await;
    assert_eq!((reply.status, reply.body.as_str()), (201, "made"));
    assert_eq!(reply.header("x-made"), ["yes"]);
    let received = house.application.only_request();
    assert_eq!((received.header("content-length"), received.body.as_str()), (vec!["5"], "thing"));

    exchange(
        house.address,
        format!("{head}Transfer-Encoding: chunked\r\n\r\n3\r\nthi\r\n2\r\nng\r\n0\r\n\r\n"),
    )
    .await;
    let received = house.application.requests().remove(1);
    assert_eq!(received.header("transfer-encoding"), ["chunked"]);
    assert!(received.header("content-length").is_empty());
}

#[tokio::test]
async fn an_http_2_caller_is_served_like_any_other() {
    let house = House::start().await;
    let request = |bearer: &str| {
        http::Request::post(format!("http://app.example{}", "/a%2Fb?q"))
            .header("authorization", bearer)
            .header("x-apple-sub", "spoof")
            .header("cookie", "a=1")
            .body("thing".to_owned())
            .unwrap()
    };
    let reply = exchange_h2(house.address, request(&house.bearer())).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    let received = house.application.only_request();
    assert!(received.head.starts_with("POST /a%2Fb?q HTTP/1.1\r\n"), "{}", received.head);
    assert_eq!(received.header("host"), ["app.example"]);
    assert_eq!(received.header("x-apple-sub"), [presets::SUBJECT]);
    assert!(received.body.contains("thing"));

    let reply = exchange_h2(house.address, request("Bearer not-a-token")).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("token_malformed")));
    assert_eq!(house.application.requests().len(), 1);
}

#[tokio::test]
async fn an_email_is_forwarded_only_when_apple_calls_it_verified() {
    let house = House::start().await;
    for (template, expected) in [
        (TokenTemplate::native(), vec![presets::EMAIL]),
        (TokenTemplate::relay_email(), vec![presets::RELAY_EMAIL]),
        (TokenTemplate::legacy_string_booleans(), vec![presets::RELAY_EMAIL]),
        (TokenTemplate::no_email(), vec![]),
        (TokenTemplate::work_and_school(), vec![]),
        (TokenTemplate::native().claim("email_verified", "false"), vec![]),
        (TokenTemplate::native().claim("email", "jörg@example.com"), vec![]),
        (TokenTemplate::native().claim("email", "a@example.com\r\nX-Apple-Sub: root"), vec![]),
    ] {
        assert_eq!(
            house.get("/", &[("Authorization", &house.bearer_of(&template))]).await.status,
            200
        );
        let received = house.application.requests().pop().unwrap();
        assert_eq!(received.header("x-apple-email"), expected, "{template:?}");
        assert_eq!(received.header("x-apple-sub"), [presets::SUBJECT]);
    }
    assert_eq!(house.metric("siwa_emails_left_out_total").await, 2);
}

#[tokio::test]
async fn the_other_identity_headers_are_set_when_asked_for() {
    let house = House::with(
        r#"
        identity.headers = ["X-Apple-Sub", "X-Apple-Email", "X-Apple-Email-Verified", "X-Apple-Private-Email",
                            "X-Apple-Real-User-Status", "X-Apple-Client-Id", "X-Apple-Transfer-Sub",
                            "X-Apple-Issuer"]
        identity.unverified_email = "forward"
        "#,
    )
    .await;
    let template = TokenTemplate::work_and_school()
        .audience("com.example.web")
        .claim("real_user_status", 2)
        .claim("transfer_sub", "001999.r0a1b2c3d4e5f60718293a4b5c6d7e8f9");
    house.get("/", &[("Authorization", &house.bearer_of(&template))]).await;
    let received = house.application.only_request();
    for (name, value) in [
        ("x-apple-sub", presets::SUBJECT),
        ("x-apple-email", "jane@school.example"),
        ("x-apple-email-verified", "false"),
        ("x-apple-private-email", "false"),
        ("x-apple-real-user-status", "2"),
        ("x-apple-client-id", "com.example.web"),
        ("x-apple-transfer-sub", "001999.r0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
        ("x-apple-issuer", "https://appleid.apple.com"),
    ] {
        assert_eq!(received.header(name), [value], "{name}");
    }
}

#[tokio::test]
async fn the_credential_ends_here_unless_configured() {
    for (extra, arrives) in [("", false), ("upstream.forward_credential = true", true)] {
        let house = House::with(extra).await;
        let bearer = house.bearer();
        house.get("/", &[("Authorization", &bearer)]).await;
        let expected = if arrives { vec![bearer.as_str()] } else { vec![] };
        assert_eq!(house.application.only_request().header("authorization"), expected);
    }
}

/// Asserts a line of the rejection table: status, challenge and reason code, and that nothing reached the application.
fn assert_rejected(house: &House, reply: &Reply, status: u16, challenge: Option<&str>, code: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.header("content-type"), ["application/problem+json"]);
    assert_eq!(reply.header("cache-control"), ["no-store"]);
    let problem = reply.json();
    assert_eq!(problem["code"], code);
    assert_eq!(problem["status"], status);
    assert_eq!(problem["type"], format!("urn:problem-type:siwa-proxy:{code}"));
    match (challenge, reply.header("www-authenticate").as_slice()) {
        (None, []) => {}
        (Some(expected), [found]) => assert!(found.starts_with(expected), "{found}"),
        (expected, found) => panic!("expected {expected:?}, found {found:?}"),
    }
    assert_eq!(house.application.requests(), [], "nothing is forwarded");
}

const PLAIN: Option<&str> = Some(r#"Bearer realm="siwa-proxy""#);
const INVALID_TOKEN: Option<&str> =
    Some(r#"Bearer realm="siwa-proxy", error="invalid_token", error_description=""#);
const INVALID_REQUEST: Option<&str> =
    Some(r#"Bearer realm="siwa-proxy", error="invalid_request", error_description=""#);

#[tokio::test]
async fn no_credential_is_401_with_a_plain_challenge() {
    let house = House::start().await;
    let reply = house.get("/", &[]).await;
    assert_rejected(&house, &reply, 401, PLAIN, "no_credential");
    assert_eq!(reply.header("www-authenticate"), [PLAIN.unwrap()]);
    let reply = house.get("/", &[("Authorization", "Basic dXNlcjpwYXNz")]).await;
    assert_rejected(&house, &reply, 401, PLAIN, "no_credential");
}

#[tokio::test]
async fn more_than_one_credential_is_400() {
    let house = House::start().await;
    let bearer = house.bearer();
    let reply = house.get("/", &[("Authorization", &bearer), ("Authorization", &bearer)]).await;
    assert_rejected(&house, &reply, 400, INVALID_REQUEST, "several_credentials");
}

#[tokio::test]
async fn a_rejected_token_is_401_with_the_reason_and_never_the_token() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let house = House::at(clock.clone()).await;
    let two_days_ago = UnixTime::from_secs(1_800_000_000 - 2 * 86_400);
    let cases = [
        (
            "token_expired",
            TokenTemplate::native().issued_at(two_days_ago),
            "expired at 2027-01-14T08:00:00Z",
        ),
        (
            "token_audience",
            TokenTemplate::native().audience("com.evil.app"),
            "meant for com.evil.app",
        ),
        (
            "token_issuer",
            TokenTemplate::native().claim("iss", "https://evil.example"),
            "issued by https://evil.example",
        ),
        ("token_claim", TokenTemplate::native().without("sub"), "`sub` is missing"),
        (
            "token_not_yet_valid",
            TokenTemplate::native().issued_at(UnixTime::from_secs(1_800_000_900)),
            "valid from",
        ),
        ("token_algorithm", TokenTemplate::native().header("alg", "none"), "algorithm is none"),
        ("token_unknown_key", TokenTemplate::native().header("kid", "NOSUCHKEY1"), "NOSUCHKEY1"),
        (
            "token_unsupported_header",
            TokenTemplate::native().header("crit", serde_json::json!(["b64"])),
            "`crit`",
        ),
        (
            "token_notification",
            TokenTemplate::notification(siwa_proxy::sim::event::Event::consent_revoked("s")),
            "notification",
        ),
    ];
    for (code, template, detail) in cases {
        let bearer = house.bearer_of(&template);
        let reply = house.get("/", &[("Authorization", &bearer)]).await;
        assert_rejected(&house, &reply, 401, INVALID_TOKEN, code);
        assert!(reply.json()["detail"].as_str().unwrap().contains(detail), "{reply:?}");
        let signature = bearer.rsplit('.').next().unwrap();
        assert!(!format!("{reply:?}").contains(signature), "{reply:?}");
    }
    for (code, bearer) in [
        ("token_malformed", "Bearer not-a-token".to_owned()),
        ("token_oversized", format!("Bearer {}", "a".repeat(9000))),
    ] {
        let reply = house.get("/", &[("Authorization", &bearer)]).await;
        assert_rejected(&house, &reply, 401, INVALID_TOKEN, code);
    }
    let forged = {
        let good = house.bearer();
        let (input, _) = good.rsplit_once('.').unwrap();
        format!("{input}.{}", "A".repeat(342))
    };
    assert_rejected(
        &house,
        &house.get("/", &[("Authorization", &forged)]).await,
        401,
        INVALID_TOKEN,
        "token_signature",
    );
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_503_for_callers_and_not_ready_until_they_can() {
    let quick = "jwks.refresh_every = '50ms'";
    let down = Fault::Status(http::StatusCode::INTERNAL_SERVER_ERROR);
    let house = House::build(quick, Arc::new(SystemClock), |apple| apple.fail_with(down)).await;
    let reply = house.get("/", &[("Authorization", &house.bearer())]).await;
    assert_rejected(&house, &reply, 503, None, "keys_unavailable");
    assert_eq!(reply.header("retry-after"), ["5"]);
    assert_eq!(crate::support::get(house.admin, "/readyz", &[]).await.status, 503);
    assert_eq!(crate::support::get(house.admin, "/livez", &[]).await.status, 200);

    house.apple.recover();
    house.ready().await;
    assert_eq!(house.get("/", &[("Authorization", &house.bearer())]).await.status, 200);
}

#[tokio::test]
async fn apple_going_down_after_the_start_is_not_noticed_by_callers() {
    let house = House::with("jwks.refresh_every = '50ms'").await;
    let before = house.bearer();
    assert_eq!(house.get("/", &[("Authorization", &before)]).await.status, 200);
    let fetches = house.apple.fetches();
    house.apple.fail_with(Fault::Status(http::StatusCode::INTERNAL_SERVER_ERROR));
    house.apple.fetched(fetches + 3).await;
    let after = house.bearer_of(&TokenTemplate::relay_email());
    assert_eq!(house.get("/", &[("Authorization", &before)]).await.status, 200);
    assert_eq!(house.get("/", &[("Authorization", &after)]).await.status, 200);
    assert_eq!(crate::support::get(house.admin, "/readyz", &[]).await.status, 200);
}

#[tokio::test]
async fn a_verdict_ends_with_its_token() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let house = House::at(clock.clone()).await;
    let bearer = house.bearer();
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
    clock.advance(Duration::from_hours(25));
    let reply = house.get("/", &[("Authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("token_expired")));
    assert_eq!(house.metric(r#"siwa_verdicts_total{cache="hit"}"#).await, 1);
}

#[tokio::test]
async fn a_withdrawn_key_stops_working_at_the_next_refresh() {
    let house = House::with("jwks.refresh_every = '50ms'").await;
    let bearer = house.bearer();
    assert_eq!(house.get("/", &[("Authorization", &bearer)]).await.status, 200);
    house.apple.keys().replace_all();
    // The fetch after next began when the next had been taken in.
    house.apple.fetched(house.apple.fetches() + 2).await;
    let reply = house.get("/", &[("Authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("token_unknown_key")));
}

#[tokio::test]
async fn a_thousand_requests_with_unknown_keys_cost_one_fetch() {
    let house = House::start().await;
    let fetches = house.apple.fetches();
    let mut stream = open(house.address).await;
    for made_up in 0..1000 {
        let bearer =
            house.bearer_of(&TokenTemplate::native().header("kid", format!("MADEUP{made_up:04}")));
        let last = if made_up == 999 { "Connection: close\r\n" } else { "" };
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {bearer}\r\n{last}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    read_reply(&mut stream).await;
    assert_eq!(house.apple.fetches(), fetches + 1);
    assert_eq!(
        house
            .metric(
                r#"siwa_requests_total{door="proxy",route="default",outcome="token_unknown_key",fault="caller"}"#
            )
            .await,
        1000
    );
}

#[tokio::test]
async fn an_application_that_is_not_there_is_502() {
    let house = House::start().await;
    house.application.answer("");
    let reply = house.get("/", &[("Authorization", &house.bearer())]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (502, Some("upstream_unreachable")));

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let house = House::with(&format!("upstream.url = 'http://{nobody}'")).await;
    let reply = house.get("/", &[("Authorization", &house.bearer())]).await;
    assert_rejected(&house, &reply, 502, None, "upstream_unreachable");
}

#[tokio::test]
async fn an_application_that_does_not_answer_is_504() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = silent.local_addr().unwrap();
    let house =
        House::with(&format!("upstream.url = 'http://{url}'\nupstream.response_timeout = '100ms'"))
            .await;
    let reply = house.get("/", &[("Authorization", &house.bearer())]).await;
    assert_rejected(&house, &reply, 504, None, "upstream_timed_out");
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_whether_announced_or_not() {
    let house = House::with("server.max_body_bytes = '1KiB'").await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: close\r\n",
        house.bearer()
    );
    let reply =
        exchange(house.address, format!("{head}Content-Length: 1025\r\n\r\n{}", "x".repeat(1025)))
            .await;
    assert_rejected(&house, &reply, 413, None, "body_too_large");
    let chunk = "x".repeat(1025);
    let reply = exchange(
        house.address,
        format!("{head}Transfer-Encoding: chunked\r\n\r\n401\r\n{chunk}\r\n0\r\n\r\n"),
    )
    .await;
    assert_rejected(&house, &reply, 413, None, "body_too_large");
    let whole = "x".repeat(1024);
    let reply = exchange(house.address, format!("{head}Content-Length: 1024\r\n\r\n{whole}")).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408() {
    let house = House::with("server.body_idle_timeout = '100ms'").await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf",
        house.bearer()
    );
    let reply = exchange(house.address, request).await;
    assert_rejected(&house, &reply, 408, None, "body_timed_out");
}

#[tokio::test]
async fn a_header_section_over_the_limit_is_431() {
    let house = House::start().await;
    let reply = house.get("/", &[("X-Long", &"x".repeat(70_000))]).await;
    assert_eq!(reply.status, 431);
    assert_eq!(house.application.requests(), []);
}

#[tokio::test]
async fn what_is_no_request_to_an_application_is_refused() {
    let house = House::start().await;
    let bearer = house.bearer();
    for (request, status) in [
        (
            format!(
                "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
            ),
            501,
        ),
        (
            format!(
                "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
            ),
            400,
        ),
        (format!("GET / HTTP/1.1\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"), 400),
    ] {
        let reply = exchange(house.address, request).await;
        assert_eq!(reply.status, status, "{reply:?}");
        assert_eq!(house.application.requests(), []);
    }
}

#[tokio::test]
async fn a_grpc_caller_is_refused_in_grpc() {
    let house = House::start().await;
    let request = http::Request::post("http://app.example/svc/Method")
        .header("content-type", "application/grpc")
        .body(String::new())
        .unwrap();
    let reply = exchange_h2(house.address, request).await;
    assert_eq!((reply.status, reply.header("grpc-status")), (200, vec!["16"]));
    let reply = house.get("/svc/Method", &[("Content-Type", "application/grpc")]).await;
    assert_eq!(reply.status, 401, "a header alone makes no gRPC");
    assert_eq!(house.application.requests(), []);
}

#[tokio::test]
async fn a_host_that_is_none_is_400() {
    let house = House::start().await;
    let bearer = house.bearer();
    for host in ["user@app.example", "app.example/x", "app.example?y", "a b", "\u{e9}", ""] {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {host}\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"
        );
        assert_eq!(exchange(house.address, request).await.status, 400, "{host}");
    }
    assert_eq!(house.application.requests(), []);
}

#[tokio::test]
async fn a_body_in_another_coding_than_chunked_is_501() {
    let house = House::start().await;
    let request = format!(
        "POST / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: close\r\n\
         Transfer-Encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        house.bearer()
    );
    let reply = exchange(house.address, request).await;
    assert_rejected(&house, &reply, 501, None, "unsupported");
}

#[tokio::test]
async fn a_get_keeps_its_body_although_its_length_is_not_told() {
    let house = House::start().await;
    let request = format!(
        "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n5\r\nthing\r\n0\r\n\r\n",
        house.bearer()
    );
    assert_eq!(exchange(house.address, request).await.status, 200);
    assert!(house.application.only_request().body.contains("thing"));
}

#[tokio::test]
async fn the_cookies_of_http_2_become_one_line() {
    let house = House::start().await;
    let request = http::Request::get("http://app.example/")
        .header("authorization", house.bearer())
        .header("cookie", "a=1")
        .header("cookie", "b=2")
        .body(String::new())
        .unwrap();
    assert_eq!(exchange_h2(house.address, request).await.status, 200);
    assert_eq!(house.application.only_request().header("cookie"), ["a=1; b=2"]);
}

#[tokio::test]
async fn a_caller_who_hangs_up_is_counted_and_no_longer_in_flight() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let house =
        House::with(&format!("upstream.url = 'http://{}'", silent.local_addr().unwrap())).await;
    let mut caller = open(house.address).await;
    let request = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n", house.bearer());
    caller.write_all(request.as_bytes()).await.unwrap();
    let (_connection, _) = silent.accept().await.unwrap();
    drop(caller);
    let gone =
        r#"siwa_requests_total{door="proxy",route="default",outcome="client_gone",fault="caller"}"#;
    eventually("it is told that the client is gone", async || house.metric(gone).await > 0).await;
    assert_eq!(house.metric("siwa_requests_in_flight").await, 0);
}

#[tokio::test]
async fn hop_by_hop_headers_of_the_answer_end_here() {
    let house = House::start().await;
    house.application.answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
         Proxy-Authenticate: Basic\r\nX-End: 1\r\n\r\nok",
    );
    let reply = house.get("/", &[("Authorization", &house.bearer())]).await;
    for name in ["x-hop", "keep-alive", "proxy-authenticate"] {
        assert!(reply.header(name).is_empty(), "{name}");
    }
    assert_eq!(reply.header("x-end"), ["1"]);
}
