//! The library in other people's servers. The examples are the very files that readers copy.

#[expect(dead_code, reason = "its `main` asks Apple, which a test does not")]
#[path = "../examples/axum.rs"]
mod axum_example;
#[expect(dead_code, reason = "its `main` asks Apple, which a test does not")]
#[path = "../examples/tonic.rs"]
mod tonic_example;

use std::{net::SocketAddr, sync::Arc};

use siwa_proxy::{
    ClientIds, Verifier,
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
    verify::{HttpsJwks, TrustedUrl},
};
use tokio::net::TcpListener;
use tonic::{Code, Request, Status, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use crate::support::{Reply, get, spawn};

/// A toy Apple, and a verifier that believes it.
async fn apple_and_verifier() -> (Apple, Verifier) {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let keys = TrustedUrl::new(apple.jwks_url().parse().unwrap()).unwrap();
    let verifier = Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
        .jwks_source(HttpsJwks::new(keys).unwrap())
        .build()
        .unwrap();
    (apple, verifier)
}

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The running axum example and its Apple.
async fn axum_example() -> (Apple, SocketAddr) {
    let (apple, verifier) = apple_and_verifier().await;
    let (listener, address) = listen().await;
    spawn(axum::serve(listener, axum_example::application(verifier)).into_future());
    (apple, address)
}

async fn get_with(address: SocketAddr, path: &str, token: &str) -> Reply {
    get(address, path, &[("Authorization", &format!("Bearer {token}"))]).await
}

#[tokio::test]
async fn the_axum_example_lets_in_who_has_a_token_and_nobody_else() {
    let (apple, address) = axum_example().await;
    let stranger = get(address, "/me", &[]).await;
    assert_eq!(stranger.status, 401);
    assert_eq!(stranger.header("www-authenticate"), [r#"Bearer realm="siwa-proxy""#]);
    assert_eq!(stranger.json()["code"], "no_credential");

    let token = apple.mint(&TokenTemplate::native().subject("000001.abc.0001"));
    let known = get_with(address, "/me", &token).await;
    assert_eq!((known.status, known.body.as_str()), (200, "you are 000001.abc.0001"));
}

#[tokio::test]
async fn where_an_identity_is_optional_strangers_pass_and_bad_tokens_do_not() {
    let (apple, address) = axum_example().await;
    let stranger = get(address, "/", &[]).await;
    assert_eq!((stranger.status, stranger.body.as_str()), (200, "hello, stranger"));
    let other_scheme = get(address, "/", &[("Authorization", "Basic dXNlcjpwYXNz")]).await;
    assert_eq!(other_scheme.body, "hello, stranger");

    let known = get_with(address, "/", &apple.mint(&TokenTemplate::native())).await;
    assert_eq!((known.status, known.body.as_str()), (200, "welcome back"));

    let other_app = apple.mint(&TokenTemplate::native().audience("com.example.other"));
    for (token, code) in [("nonsense", "token_malformed"), (other_app.as_str(), "token_audience")] {
        let refused = get_with(address, "/", token).await;
        assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some(code)));
    }
}

#[tokio::test]
async fn the_tonic_example_answers_strangers_with_a_grpc_status() {
    let (apple, verifier) = apple_and_verifier().await;
    let (listener, address) = listen().await;
    spawn(tonic_example::serve(listener, verifier));

    let stranger = check_health(address, None).await.unwrap_err();
    assert_eq!(stranger.code(), Code::Unauthenticated);
    assert_eq!(stranger.message(), "the request carries no bearer token");

    let forged = check_health(address, Some("a.b.c".to_owned())).await.unwrap_err();
    assert_eq!(forged.code(), Code::Unauthenticated);

    let token = apple.mint(&TokenTemplate::native());
    check_health(address, Some(token)).await.unwrap();
}

async fn check_health(address: SocketAddr, token: Option<String>) -> Result<(), Status> {
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut request = Request::new(HealthCheckRequest::default());
    if let Some(token) = token {
        let value = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
    }
    HealthClient::new(channel).check(request).await.map(drop)
}
