//! An axum application that knows who is calling: `cargo run --example axum`.

use std::{error::Error, sync::Arc};

use axum::{Extension, Router, routing::get};
use siwa_proxy::{
    Authenticator, ClientIds, Identity, OptionalIdentityLayer, Realm, RequireIdentityLayer,
    Verifier,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Your bundle ids and Services IDs. Apple's keys are fetched in the background and kept fresh.
    let verifier = Verifier::builder(ClientIds::new(["com.example.app"])?).build()?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    Ok(axum::serve(listener, application(verifier)).await?)
}

/// Without a valid identity token in `Authorization`, `/me` answers 401 (or 503 while Apple's keys cannot be had), and `/`
/// greets a stranger. A bad token is refused by both.
pub(crate) fn application(verifier: Verifier) -> Router {
    let authenticator = Authenticator::new(verifier, Realm::default());
    Router::new()
        .route("/me", get(me).layer(RequireIdentityLayer::new(authenticator.clone())))
        .route("/", get(greet).layer(OptionalIdentityLayer::new(authenticator)))
}

async fn me(Extension(identity): Extension<Arc<Identity>>) -> String {
    format!("you are {}", identity.subject().as_str())
}

async fn greet(identity: Option<Extension<Arc<Identity>>>) -> &'static str {
    if identity.is_some() { "welcome back" } else { "hello, stranger" }
}
