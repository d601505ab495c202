//! The door for nginx's `auth_request`, as its subrequests come in: status and headers, never a body or a redirect.

use std::{
    io::{BufRead, BufReader},
    process::Stdio,
    time::Duration,
};

use http::Request;
use siwa_proxy::sim::{faults::Fault, presets, token::TokenTemplate};

use crate::support::{House, PATIENCE, Reply, exchange, exchange_h2, get, program::command};

const VERIFY: &str = "/auth/apple/verify";

/// Routes that differ in who may pass.
const ROUTES: &str = r#"
    [[route]]
    path = "/public/*"
    access = "public"
    [[route]]
    path = "/optional/*"
    access = "optional"
    [[route]]
    path = "/upload/*"
    methods = ["GET"]
    access = "public"
    [[route]]
    path = "/*"
    hosts = ["open.example"]
    access = "public"
    [[route]]
    path = "/web/*"
    client_ids = ["com.example.web"]
"#;

/// The same, asked by a gateway that is believed.
fn listed() -> String {
    format!("server.trusted_peers = ['127.0.0.1']\n{ROUTES}")
}

/// A subrequest about `GET path` on `app.example`.
async fn ask_about(house: &House, line: &str, headers: &[(&str, &str)]) -> Reply {
    let (method, target) = line.split_once(' ').unwrap();
    let report = [("X-Original-Method", method), ("X-Original-URI", target)];
    house.get(VERIFY, &[&report[..], headers].concat()).await
}

/// Asserts what holds for every answer at this door: nginx reads no body, follows no redirect and buffers 4 KiB.
fn assert_shaped(reply: &Reply) {
    assert!(matches!(reply.status, 200 | 401 | 403 | 503), "{reply:?}");
    assert_eq!(reply.body, "", "{reply:?}");
    assert_eq!(reply.header("content-length"), ["0"], "{reply:?}");
    assert_eq!(reply.header("location"), [""; 0], "{reply:?}");
    assert_eq!(reply.header("cache-control"), ["no-store"], "{reply:?}");
    let size: usize = reply.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    assert!(size < 4096, "{size}: {reply:?}");
}

#[tokio::test]
async fn a_good_token_is_answered_with_its_identity_in_headers_at_both_paths() {
    let house = House::verifier("").await;
    for path in [VERIFY, "/oauth2/auth"] {
        let reply = house.get(path, &[("Authorization", &house.bearer())]).await;
        assert_shaped(&reply);
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("x-apple-sub"), [presets::SUBJECT]);
        assert_eq!(reply.header("x-apple-email"), [presets::EMAIL]);
        assert_eq!(reply.header("www-authenticate"), [""; 0]);
    }
    let allowed =
        r#"siwa_requests_total{door="auth_request",route="none",outcome="allowed",fault="none"}"#;
    assert_eq!(house.metric(allowed).await, 2);
}

#[tokio::test]
async fn whoever_proves_nobody_is_asked_for_a_token() {
    let house = House::verifier("").await;
    let expired = house.bearer_of(
        &TokenTemplate::native()
            .lifetime(Duration::ZERO)
            .issued_at(siwa_proxy::clock::UnixTime::from_secs(1_700_000_000)),
    );
    let other_app = house.bearer_of(&TokenTemplate::native().audience("com.example.other"));
    let good = house.bearer();
    for (headers, challenge) in [
        (&[][..], r#"Bearer realm="siwa-proxy""#),
        (&[("Authorization", "Basic dXNlcjpwYXNz")], r#"Bearer realm="siwa-proxy""#),
        (&[("Authorization", "Bearer a.b.c")], r#"error="invalid_token""#),
        (&[("Authorization", &expired)], r#"error="invalid_token""#),
        (&[("Authorization", &other_app)], r#"error="invalid_token""#),
        (&[("Authorization", &good), ("Authorization", &good)], r#"error="invalid_request""#),
    ] {
        let reply = house.get(VERIFY, headers).await;
        assert_shaped(&reply);
        assert_eq!(reply.status, 401, "{headers:?}");
        assert!(reply.header("www-authenticate")[0].contains(challenge), "{reply:?}");
        assert_eq!(reply.header("x-apple-sub"), [""; 0]);
    }
}

#[tokio::test]
async fn whoever_may_not_pass_is_403() {
    let house = House::verifier("policy.require_verified_email = true").await;
    let bearer = house.bearer_of(&TokenTemplate::no_email());
    let reply = house.get(VERIFY, &[("Authorization", &bearer)]).await;
    assert_shaped(&reply);
    assert_eq!(reply.status, 403);
}

#[tokio::test]
async fn without_keys_it_is_503_and_nobody_passes() {
    let house = House::troubled_verifier("", |apple| apple.fail_with(Fault::Reset)).await;
    let reply = house.get(VERIFY, &[("Authorization", &house.bearer())]).await;
    assert_shaped(&reply);
    assert_eq!(reply.status, 503);
    assert_eq!(reply.header("retry-after").len(), 1);
    assert_eq!(reply.header("x-apple-sub"), [""; 0]);
}

#[tokio::test]
async fn the_subrequests_own_method_and_version_do_not_matter() {
    let house = House::verifier("").await;
    for method in ["GET", "HEAD", "POST", "DELETE", "OPTIONS", "PURGE"] {
        let request = |credential: &str| {
            format!(
                "{method} {VERIFY} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{credential}\r\n"
            )
        };
        let bearer = format!("Authorization: {}\r\n", house.bearer());
        assert_eq!(exchange(house.address, request(&bearer)).await.status, 200, "{method}");
        assert_eq!(exchange(house.address, request("")).await.status, 401, "{method}");
    }
}

#[tokio::test]
async fn a_refusal_is_never_in_grpcs_200() {
    let house = House::verifier("").await;
    for path in [VERIFY, "/auth/apple/forward-auth", "/auth/apple/userinfo"] {
        let request = Request::post(format!("http://a{path}"))
            .header("content-type", "application/grpc")
            .body(String::new())
            .unwrap();
        let reply = exchange_h2(house.address, request).await;
        assert!(reply.status >= 400 && reply.header("grpc-status").is_empty(), "{path} {reply:?}");
    }
}

#[tokio::test]
async fn routes_apply_to_the_request_that_a_listed_gateway_reports() {
    let house = House::verifier(&listed()).await;
    let native = house.bearer();
    let web = house.bearer_of(&TokenTemplate::native().audience("com.example.web"));
    for (line, host, nobody, app, site) in [
        ("GET /", "app.example", 401, 200, 200),
        ("GET /public/a?b=c", "app.example", 200, 200, 200),
        ("POST /public/a", "app.example", 200, 200, 200),
        ("GET /optional/a", "app.example", 200, 200, 200),
        ("GET /upload/a", "app.example", 200, 200, 200),
        ("PUT /upload/a", "app.example", 401, 200, 200),
        ("GET /", "open.example", 200, 200, 200),
        ("GET /", "OPEN.example:8443", 200, 200, 200),
        ("GET /web/a", "app.example", 401, 403, 200),
        ("GET /auth/apple/verify", "app.example", 401, 200, 200),
    ] {
        for (credential, expected) in [(None, nobody), (Some(&native), app), (Some(&web), site)] {
            let bearer = credential.map(|it| format!("Authorization: {it}\r\n"));
            let (method, target) = line.split_once(' ').unwrap();
            let request = format!(
                "GET {VERIFY} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nX-Original-Method: {method}\r\n\
                 X-Original-URI: {target}\r\n{}\r\n",
                bearer.unwrap_or_default()
            );
            let reply = exchange(house.address, request).await;
            assert_shaped(&reply);
            assert_eq!(reply.status, expected, "{line} {host} {credential:?}");
        }
    }
    let labelled = r#"siwa_requests_total{door="auth_request",route="/public/*",outcome="allowed",fault="none"}"#;
    assert_eq!(house.metric(labelled).await, 6);
}

#[tokio::test]
async fn on_a_public_route_no_identity_is_told() {
    let house = House::verifier(&listed()).await;
    let reply = ask_about(&house, "GET /public/", &[("Authorization", &house.bearer())]).await;
    assert_eq!((reply.status, reply.header("x-apple-sub")), (200, vec![]));
    let reply = ask_about(&house, "GET /optional/", &[("Authorization", "Bearer a.b.c")]).await;
    assert_eq!(reply.status, 401, "who presents a credential must not pass as nobody");
}

#[tokio::test]
async fn a_reported_path_that_can_be_read_in_two_ways_is_refused_where_routes_differ() {
    let house = House::verifier(&listed()).await;
    let bearer = house.bearer();
    for target in ["/public/../web", "/public/%2e%2e/web", "//public", "/public%2Fx", "/public;/x"]
    {
        let reply =
            ask_about(&house, &format!("GET {target}"), &[("Authorization", &bearer)]).await;
        assert_eq!(reply.status, 401, "{target}");
        assert!(reply.header("www-authenticate").len() == 1, "{reply:?}");
    }
}

#[tokio::test]
async fn a_report_that_is_twofold_or_no_request_is_refused() {
    let house = House::verifier(&listed()).await;
    let bearer = house.bearer();
    for report in [
        &[("X-Original-Method", "GET"), ("X-Original-URI", "/a"), ("X-Original-URI", "/public/")][..],
        &[("X-Original-Method", "GET"), ("X-Original-Method", "PUT"), ("X-Original-URI", "/a")],
        &[("X-Original-Method", "GET"), ("X-Original-URI", "http://app.example/public/")],
        &[("X-Original-Method", "GET"), ("X-Original-URI", "/public/#/admin")],
        &[("X-Original-Method", "G T"), ("X-Original-URI", "/public/")],
        &[("X-Original-Method", "GET"), ("X-Original-URI", "")],
    ] {
        let headers = [report, &[("Authorization", &bearer)]].concat();
        let reply = house.get(VERIFY, &headers).await;
        assert_eq!(reply.status, 401, "{report:?}");
    }
}

#[tokio::test]
async fn a_request_that_is_not_wholly_reported_passes_only_if_it_may_on_every_route() {
    let house = House::verifier(&listed()).await;
    let native = house.bearer();
    let web = house.bearer_of(&TokenTemplate::native().audience("com.example.web"));
    for report in [
        &[][..],
        &[("X-Original-URI", "/public/")],
        &[("X-Original-Method", "GET")],
        &[("X-Forwarded-Method", "GET"), ("X-Forwarded-Uri", "/public/")],
        &[("X-Original-Method", "GET"), ("X_Original_URI", "/public/")],
    ] {
        for (credential, expected) in [(None, 401), (Some(&native), 403), (Some(&web), 200)] {
            let bearer = credential.map(|it| ("Authorization", it.as_str()));
            let headers: Vec<_> = report.iter().copied().chain(bearer).collect();
            assert_eq!(house.get(VERIFY, &headers).await.status, expected, "{report:?}");
        }
    }
}

/// Every header by which some gateway reports a request.
const REPORTS: [(&str, &str); 12] = [
    ("X-Original-Method", "GET"),
    ("X-Original-URI", "/public/"),
    ("X-Original-URL", "http://open.example/public/"),
    ("X-Original-Host", "open.example"),
    ("X-Forwarded-Method", "GET"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "open.example"),
    ("X-Forwarded-Uri", "/public/"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Envoy-Original-Path", "/public/"),
    ("X-Rewrite-Url", "/public/"),
    ("Forwarded", "for=127.0.0.1;host=open.example;proto=https"),
];

#[tokio::test]
async fn an_unlisted_peer_changes_no_decision_whatever_it_reports() {
    for peers in ["", "server.trusted_peers = ['10.0.0.0/8', 'unix']"] {
        let house = House::verifier(&format!("{peers}\n{ROUTES}")).await;
        let native = house.bearer();
        let web = house.bearer_of(&TokenTemplate::native().audience("com.example.web"));
        let good_reports = REPORTS.iter().map(std::slice::from_ref).chain([&REPORTS[..], &[]]);
        for report in good_reports {
            for door in [VERIFY, "/auth/apple/forward-auth"] {
                for (credential, expected) in [(None, 401), (Some(&native), 403), (Some(&web), 200)]
                {
                    let bearer = credential.map(|it| ("Authorization", it.as_str()));
                    let headers: Vec<_> = report.iter().copied().chain(bearer).collect();
                    let reply = house.get(door, &headers).await;
                    assert_eq!(reply.status, expected, "{door} {report:?} {credential:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn identity_headers_of_the_subrequest_are_not_told_back() {
    let house = House::verifier(&listed()).await;
    let spoofs = [("X-Apple-Sub", "spoof"), ("X-Apple-Email", "spoof"), ("x_apple_sub", "spoof")];
    for (line, credential) in [("GET /public/", None), ("GET /", Some(house.bearer()))] {
        let bearer = credential.as_ref().map(|it| ("Authorization", it.as_str()));
        let headers: Vec<_> = spoofs.into_iter().chain(bearer).collect();
        let reply = ask_about(&house, line, &headers).await;
        assert_eq!(reply.status, 200);
        assert!(!format!("{reply:?}").contains("spoof"), "{reply:?}");
        assert_eq!(reply.header("x-apple-sub").len(), usize::from(credential.is_some()));
    }
}

#[tokio::test]
async fn everything_that_can_be_told_fits_nginxs_buffer() {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/assertion/one.pem");
    let house = House::verifier(&format!(
        "assertion.key_files = ['{key}']\ndoors.audience = 'app'\n\
         identity.headers = ['X-Apple-Sub', 'X-Apple-Email', 'X-Apple-Email-Verified', 'X-Apple-Private-Email',\
         'X-Apple-Real-User-Status', 'X-Apple-Client-Id', 'X-Apple-Transfer-Sub']"
    ))
    .await;
    let address = format!("{}@{}.example", "a".repeat(64), "b".repeat(180));
    let template = TokenTemplate::relay_email()
        .claim("email", address)
        .claim("real_user_status", 2)
        .claim("transfer_sub", "000999.0a1b2c3d4e5f60718293a4b5c6d7e8f9.0918");
    let reply = house.get(VERIFY, &[("Authorization", &house.bearer_of(&template))]).await;
    assert_shaped(&reply);
    let ours = reply
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-apple-") || name == "x-siwa-assertion");
    assert_eq!(ours.count(), 8, "{reply:?}");
}

#[tokio::test]
async fn a_limit_is_met_in_the_doors_own_shape() {
    let house = House::verifier("limits.rate_per_second = 1\nlimits.rate_burst = 1").await;
    assert_eq!(house.get(VERIFY, &[("Authorization", &house.bearer())]).await.status, 200);
    let reply = house.get(VERIFY, &[("Authorization", &house.bearer())]).await;
    assert_eq!((reply.status, reply.body.as_str()), (503, ""));
    assert_eq!(reply.header("retry-after").len(), 1);

    let request = Request::post(format!("http://a{VERIFY}"))
        .header("content-type", "application/grpc")
        .body(String::new())
        .unwrap();
    assert_eq!(exchange_h2(house.address, request).await.status, 503);
    let refused = r#"siwa_requests_total{door="auth_request",route="none",outcome="rate_limited",fault="caller"}"#;
    assert_eq!(house.metric(refused).await, 2);
}

#[tokio::test]
async fn a_listed_gateways_clients_are_limited_one_by_one() {
    let limits =
        "server.trusted_peers = ['127.0.0.1']\nlimits.rate_per_second = 1\nlimits.rate_burst = 1";
    let house = House::verifier(limits).await;
    let bearer = house.bearer();
    for (client, expected) in
        [("192.0.2.1", 200), ("192.0.2.2", 200), ("192.0.2.1", 503), ("192.0.2.3", 200)]
    {
        let headers = [("Authorization", bearer.as_str()), ("X-Forwarded-For", client)];
        assert_eq!(house.get(VERIFY, &headers).await.status, expected, "{client}");
    }
}

#[tokio::test]
async fn beside_an_application_a_door_is_where_it_is_configured_and_nowhere_else() {
    let house = House::with("doors.auth_request = ['/ask']").await;
    let bearer = house.bearer();
    let headers = [("Authorization", bearer.as_str())];
    let reply = house.get("/ask", &headers).await;
    assert_eq!((reply.status, reply.header("x-apple-sub")), (200, vec![presets::SUBJECT]));
    assert_eq!(house.application.requests(), []);
    for path in [VERIFY, "/oauth2/auth", "/ask/", "/ASK", "//ask", "/ask/x", "/%61sk"] {
        assert_eq!(house.get(path, &headers).await.body, "hello", "{path}");
    }
    assert_eq!(house.application.requests().len(), 7);
}

#[tokio::test]
async fn without_an_application_there_is_nothing_elsewhere() {
    let house = House::verifier(&listed()).await;
    let bearer = house.bearer();
    let reply = get(house.address, "/", &[("Authorization", &bearer)]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (404, Some("not_found")));
    assert_eq!(get(house.address, "/public/", &[]).await.status, 404);
    assert_eq!(get(house.address, "/", &[]).await.status, 401);
}

/// What the program says until it listens.
async fn said_at_start(settings: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("siwa-proxy.toml");
    let keys =
        concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/jwks/2026-06-30-three-keys.json");
    let base = format!(
        "apple.client_ids = ['com.example.app', 'com.example.web']\njwks.file = '{keys}'\n"
    );
    std::fs::write(&file, base + settings).unwrap();
    let mut command = command();
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config"]);
    let mut child = command.arg(&file).stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let reading = tokio::task::spawn_blocking(move || {
        let lines = lines.map_while(Result::ok);
        let until = |line: &String| !line.contains("\"message\":\"listening\"");
        lines.take_while(until).collect::<Vec<_>>().concat()
    });
    let said = tokio::time::timeout(PATIENCE, reading).await.expect("it listens").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    said
}

#[tokio::test]
async fn what_no_gateway_can_report_is_warned_of_at_start() {
    const WARNING: &str = "what gateways report is ignored";
    const NO_APPLICATION: &str = "no application is configured";

    let beside = "upstream.url = 'http://127.0.0.1:9'\ndoors.auth_request = ['/ask']\n";
    for (settings, warned, alone) in [
        (ROUTES.to_owned(), true, true),
        (format!("{beside}{ROUTES}"), true, false),
        (listed(), false, true),
        (String::new(), false, true),
        (format!("doors.auth_request = []\ndoors.forward_auth = []\n{ROUTES}"), false, true),
        (format!("upstream.url = 'http://127.0.0.1:9'\n{ROUTES}"), false, false),
    ] {
        let said = said_at_start(&settings).await;
        assert_eq!(said.contains(WARNING), warned, "{settings}: {said}");
        assert_eq!(said.contains(NO_APPLICATION), alone, "{settings}: {said}");
    }
}
