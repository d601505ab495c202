//! Which requests must prove who sends them, and where they go, through sockets.

use siwa_proxy::{
    clock::{Clock, SystemClock},
    sim::{presets, token::TokenTemplate},
};

use crate::support::{House, Recorder, Reply, exchange, get};

const PUBLIC_FILES: &str = r#"
    [[route]]
    name = "files"
    path = "/public/*"
    access = "public"
"#;

/// Targets that two programs may read differently, as they stand in the request line.
const AMBIGUOUS: [&str; 46] = [
    "/public/.",
    "/public/..",
    "/public/./x",
    "/public/../admin",
    "/./public/",
    "/../public/",
    "/public/%2e",
    "/public/%2E%2E/admin",
    "/public/.%2e/admin",
    "/public/%2e./admin",
    "/public/a%2Eb",
    "/public/%2e%2e%2fadmin",
    "/public/..%2fadmin",
    "//public/",
    "/public//",
    "/public//admin",
    "//admin",
    "//evil.example/public/",
    "/public%2Fx",
    "/public/%2f..%2fadmin",
    "/public/a%5Cb",
    "/public/..%5cadmin",
    "/public\\..\\admin",
    "/public/..\\admin",
    "/\\admin",
    "/public;/x",
    "/public/..;/admin",
    "/public/;v=1",
    "/public/a%3Bb",
    "/public/%00",
    "/public/x%00.png",
    "/public/%0d%0aX-Apple-Sub:%20x",
    "/public/%09",
    "/public/%7f",
    "/%70ublic/",
    "/%61dmin",
    "/public/%41",
    "/public/%",
    "/public/%2",
    "/public/%zz",
    "/public/%u002fadmin",
    "/public/%252e%252e/admin",
    "/public/%3Fx",
    "/public/%23x",
    "/public/%c0%af",
    "/public/%ef%bc%8f..",
];

fn request(line: &str, headers: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{headers}\r\n")
}

async fn send(house: &House, line: &str, headers: &str) -> Reply {
    exchange(house.address, request(line, headers)).await
}

#[tokio::test]
async fn an_ambiguous_target_is_refused_where_routes_differ_and_reaches_nothing() {
    let house = House::with(PUBLIC_FILES).await;
    let token = format!("Authorization: {}\r\n", house.bearer());
    for target in AMBIGUOUS {
        for headers in ["", &token] {
            let reply = send(&house, &format!("GET {target}"), headers).await;
            assert_eq!(reply.status, 400, "{target}");
            assert_eq!(reply.json()["code"], "bad_request", "{target}");
        }
    }
    assert_eq!(house.application.requests(), []);
}

#[tokio::test]
async fn an_ambiguous_target_passes_byte_for_byte_where_all_routes_agree() {
    for routes in
        ["", "[[route]]\nname = 'all'", "[[route]]\npath = '/a'\n[[route]]\npath = '/b/*'"]
    {
        let house = House::with(routes).await;
        let token = format!("Authorization: {}\r\n", house.bearer());
        for target in AMBIGUOUS {
            let line = format!("GET {target}?q=%2F..//");
            assert_eq!(send(&house, &line, &token).await.status, 200, "{target}");
            let received = house.application.requests().pop().unwrap();
            assert_eq!(received.line(), format!("{line} HTTP/1.1"));
        }
    }
}

#[tokio::test]
async fn a_route_may_let_ambiguous_targets_through_as_they_are() {
    let house = House::with(&format!("{PUBLIC_FILES} ambiguous_paths = 'forward'")).await;
    assert_eq!(send(&house, "GET /public/a%2Fb?x=//", "").await.status, 200);
    assert_eq!(house.application.only_request().line(), "GET /public/a%2Fb?x=// HTTP/1.1");
    assert_eq!(send(&house, "GET /other/a%2Fb", "").await.status, 400);
}

#[tokio::test]
async fn a_fragment_is_neither_matched_nor_forwarded() {
    let house = House::with(PUBLIC_FILES).await;
    assert_eq!(send(&house, "GET /admin#/public/", "").await.status, 401);
    assert_eq!(send(&house, "GET /public/x#/../../admin", "").await.status, 200);
    assert_eq!(house.application.only_request().line(), "GET /public/x HTTP/1.1");
}

#[tokio::test]
async fn a_control_character_in_the_target_is_refused_whatever_the_routes() {
    let house = House::start().await;
    let token = format!("Authorization: {}\r\n", house.bearer());
    for target in ["/a\tb", "/a\u{1}b", "/a\0b", "/a\u{7f}b", "/a\rb"] {
        assert_eq!(send(&house, &format!("GET {target}"), &token).await.status, 400, "{target:?}");
    }
    assert_eq!(house.application.requests(), []);
}

#[tokio::test]
async fn a_public_route_looks_at_no_credential_and_passes_it_on() {
    let house = House::with(PUBLIC_FILES).await;
    for credential in ["Basic dXNlcjpwYXNz", "Bearer a-webhooks-own", "Bearer a.b.c"] {
        let line = format!("Authorization: {credential}\r\n");
        assert_eq!(send(&house, "POST /public/hook", &line).await.status, 200, "{credential}");
        let received = house.application.requests().pop().unwrap();
        assert_eq!(received.header("authorization"), [credential]);
        assert!(received.header("x-apple-sub").is_empty());
    }
    assert_eq!(send(&house, "GET /private", "").await.status, 401);
}

#[tokio::test]
async fn an_optional_route_lets_nobody_in_as_nobody_and_refuses_a_bad_credential() {
    let house = House::with("[[route]]\naccess = 'optional'").await;
    assert_eq!(send(&house, "GET /", "").await.status, 200);
    assert_eq!(send(&house, "GET /", "Authorization: Basic dXNlcjpwYXNz\r\n").await.status, 200);
    for received in house.application.requests() {
        assert!(received.header("x-apple-sub").is_empty());
        assert!(received.header("authorization").is_empty());
    }
    let good = format!("Authorization: {}\r\n", house.bearer());
    assert_eq!(send(&house, "GET /", &good).await.status, 200);
    let received = house.application.requests().pop().unwrap();
    assert_eq!(received.header("x-apple-sub"), [presets::SUBJECT]);
    assert_eq!(send(&house, "GET /", "Authorization: Bearer a.b.c\r\n").await.status, 401);
    assert_eq!(send(&house, "GET /", &format!("{good}{good}")).await.status, 400);
    assert_eq!(house.application.requests().len(), 3);
}

#[tokio::test]
async fn a_token_for_one_app_does_not_open_the_route_of_another() {
    let house = House::with("[[route]]\npath = '/web/*'\nclient_ids = ['com.example.web']").await;
    let status = async |path: &str, app: &str| {
        let token = house.bearer_of(&TokenTemplate::native().audience(app));
        house.get(path, &[("Authorization", &token)]).await.status
    };
    assert_eq!(status("/web/x", "com.example.web").await, 200);
    assert_eq!(status("/web/x", "com.example.app").await, 403);
    assert_eq!(status("/", "com.example.app").await, 200);
}

#[tokio::test]
async fn a_route_has_a_policy_of_its_own() {
    let house =
        House::with("[[route]]\npath = '/mail/*'\n[route.policy]\nrequire_email = true").await;
    let without = house.bearer_of(&TokenTemplate::no_email());
    for (path, token, status) in
        [("/mail/x", &without, 403), ("/mail/x", &house.bearer(), 200), ("/other", &without, 200)]
    {
        assert_eq!(house.get(path, &[("Authorization", token)]).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn routes_lead_to_their_applications_by_method_host_and_path() {
    let other = Recorder::start().await;
    let house = House::with(&format!(
        r#"
        [upstreams.other]
        url = "http://{}"
        host = "upstream"
        [[route]]
        methods = ["PUT"]
        hosts = ["other.example"]
        path = "/items/{{id}}"
        access = "public"
        upstream = "other"
        "#,
        other.address
    ))
    .await;
    let put = "PUT /items/1 HTTP/1.1\r\nHost: Other.Example:8080\r\nConnection: close\r\n\r\n";
    assert_eq!(exchange(house.address, put).await.status, 200);
    let received = other.only_request();
    assert_eq!(received.header("host"), [other.address.to_string()]);
    assert_eq!(received.header("x-forwarded-host"), ["Other.Example:8080"]);
    assert_eq!(received.header("x-forwarded-port"), ["8080"]);
    for elsewhere in [
        put.replace("PUT", "GET"),
        put.replace("Other.Example", "app.example"),
        put.replace("/items/1", "/items/1/2"),
    ] {
        assert_eq!(exchange(house.address, elsewhere).await.status, 401);
    }
    assert_eq!((other.requests().len(), house.application.requests().len()), (1, 0));
}

#[tokio::test]
async fn the_routes_name_is_a_label_and_nothing_of_the_path_is() {
    let house = House::with(PUBLIC_FILES).await;
    send(&house, "GET /public/secret", "").await;
    send(&house, "GET /elsewhere", "").await;
    let label = |route, outcome, fault| {
        format!(
            r#"siwa_requests_total{{door="proxy",route="{route}",outcome="{outcome}",fault="{fault}"}}"#
        )
    };
    assert_eq!(house.metric(&label("files", "forwarded", "none")).await, 1);
    assert_eq!(house.metric(&label("default", "no_credential", "caller")).await, 1);
}

#[tokio::test]
async fn a_preflight_passes_only_when_asked_for_and_as_nothing_but_an_options() {
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n\
                     X-HTTP-Method-Override: DELETE\r\nAuthorization: Basic eA==\r\n";
    let house = House::start().await;
    assert_eq!(send(&house, "OPTIONS /", preflight).await.status, 401);
    let house = House::with("cors.forward_preflight = true").await;
    assert_eq!(send(&house, "OPTIONS /", preflight).await.status, 200);
    let received = house.application.only_request();
    assert!(received.header("x-http-method-override").is_empty());
    assert!(received.header("authorization").is_empty());
    assert_eq!(send(&house, "OPTIONS /", "Origin: https://app.example\r\n").await.status, 401);
    assert_eq!(send(&house, "GET /", preflight).await.status, 401);
}

#[tokio::test]
async fn a_single_page_app_can_read_its_401_and_the_applications_answers_are_its_own() {
    let house = House::with("cors.allow_origins = ['https://app.example']").await;
    let reply = send(&house, "GET /", "Origin: https://app.example\r\n").await;
    assert_eq!(reply.status, 401);
    assert_eq!(reply.header("access-control-allow-origin"), ["https://app.example"]);
    assert_eq!(reply.header("vary"), ["Origin"]);
    assert!(reply.header("access-control-expose-headers")[0].contains("WWW-Authenticate"));
    let reply = send(&house, "GET /", "Origin: https://evil.example\r\n").await;
    assert!(reply.header("access-control-allow-origin").is_empty());

    house.application.answer(
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nAccess-Control-Allow-Origin: https://own.example\r\n\r\n",
    );
    let token = format!("Authorization: {}\r\nOrigin: https://app.example\r\n", house.bearer());
    let reply = send(&house, "GET /", &token).await;
    assert_eq!(reply.header("access-control-allow-origin"), ["https://own.example"]);
    assert!(reply.header("vary").is_empty());
}

#[tokio::test]
async fn a_request_id_is_made_for_strangers_and_kept_for_listed_peers() {
    for (trusted, kept) in [("", false), ("server.trusted_peers = ['127.0.0.1']", true)] {
        let house = House::with(trusted).await;
        let token = house.bearer();
        let headers = [("Authorization", token.as_str()), ("X-Request-Id", "abc-1")];
        let reply = house.get("/", &headers).await;
        let received = house.application.only_request();
        assert_eq!(received.header("x-request-id"), reply.header("x-request-id"));
        assert_eq!(received.header("x-request-id") == ["abc-1"], kept);
        let refused = house.get("/", &[("X-Request-Id", "abc-1")]).await;
        assert_eq!(refused.header("x-request-id") == ["abc-1"], kept);
    }
}

#[tokio::test]
async fn an_assertion_is_verified_by_the_published_keys() {
    let key = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/assertion/one.pem");
    let house = House::with(&format!(
        "assertion.key_files = ['{key}']\nassertion.publish = true\nupstream.audience = 'my-app'"
    ))
    .await;
    house.get("/", &[("Authorization", &house.bearer()), ("X-Siwa-Assertion", "spoof")]).await;
    let received = house.application.only_request();
    let [assertion] = received.header("x-siwa-assertion")[..] else { panic!("{received:?}") };

    let path = "/.well-known/siwa-proxy/jwks.json";
    let page = get(house.admin, path, &[]).await;
    assert_eq!(page.header("content-type"), ["application/jwk-set+json"]);
    let public = house.get(path, &[]).await;
    assert_eq!((&public.body, public.header("cache-control")), (&page.body, vec!["max-age=300"]));
    assert_eq!(public.header("x-request-id").len(), 1);
    let told = r#"siwa_requests_total{door="pages",route="none",outcome="page",fault="none"}"#;
    assert_eq!(house.metric(told).await, 1);
    let keys: jsonwebtoken::jwk::JwkSet = serde_json::from_str(&page.body).unwrap();
    let kid = jsonwebtoken::decode_header(assertion).unwrap().kid.unwrap();
    let key = jsonwebtoken::DecodingKey::from_jwk(keys.find(&kid).unwrap()).unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    rules.set_audience(&["my-app"]);
    rules.set_issuer(&["siwa-proxy"]);
    let claims = jsonwebtoken::decode::<serde_json::Value>(assertion, &key, &rules).unwrap().claims;
    assert_eq!(claims["sub"], presets::SUBJECT);
    let whose = serde_json::json!({
        "format": "iss_sub", "iss": "https://appleid.apple.com", "sub": presets::SUBJECT,
    });
    assert_eq!(claims["sub_id"], whose);
    assert_eq!(claims["email"], presets::EMAIL);
    let (issued, expires) = (claims["iat"].as_u64().unwrap(), claims["exp"].as_u64().unwrap());
    assert_eq!(expires - issued, 60);
    assert!(issued <= SystemClock.now().as_secs());
}

#[tokio::test]
async fn there_is_no_page_of_ours_unless_it_is_asked_for() {
    let house = House::start().await;
    let path = "/.well-known/siwa-proxy/jwks.json";
    assert_eq!(house.get(path, &[]).await.status, 401);
    assert_eq!(get(house.admin, path, &[]).await.status, 404);
}
