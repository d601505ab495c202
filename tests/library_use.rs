//! The library in other people's servers. The example is the very file that readers copy.

#[expect(dead_code, reason = "its `main` asks Apple, which a test does not")]
#[path = "../examples/axum.rs"]
mod axum_example;

use std::sync::Arc;

use siwa_proxy::{
    ClientIds, Verifier,
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
    verify::{HttpsJwks, TrustedUrl},
};
use tokio::net::TcpListener;

use crate::support::{Reply, get};

#[tokio::test]
async fn the_axum_example_lets_in_who_has_a_token_and_nobody_else() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let keys = TrustedUrl::new(apple.jwks_url().parse().unwrap()).unwrap();
    let verifier = Verifier::builder(ClientIds::new(["com.example.app"]).unwrap())
        .jwks_source(HttpsJwks::new(keys).unwrap())
        .build()
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = axum::serve(listener, axum_example::application(verifier)).into_future();

    let visits = async {
        let stranger = get(address, "/me", &[]).await;
        assert_eq!(stranger.status, 401);
        assert_eq!(stranger.header("www-authenticate"), [r#"Bearer realm="siwa-proxy""#]);
        assert_eq!(stranger.json()["code"], "no_credential");

        let token = apple.mint(&TokenTemplate::native().subject("000001.abc.0001"));
        let known: Reply =
            get(address, "/me", &[("Authorization", &format!("Bearer {token}"))]).await;
        assert_eq!((known.status, known.body.as_str()), (200, "you are 000001.abc.0001"));
    };
    tokio::select! {
        () = visits => {}
        ended = serving => panic!("{ended:?}"),
    }
}
