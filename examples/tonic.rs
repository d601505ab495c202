//! A gRPC server that knows who is calling: `cargo run --example tonic`.

use std::{error::Error, sync::Arc};

use siwa_proxy::{Authenticator, ClientIds, Identity, Realm, RequireIdentityLayer, Verifier};
use tokio::net::TcpListener;
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{self, Server, server::TcpIncoming},
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Your bundle ids and Services IDs. Apple's keys are fetched in the background and kept fresh.
    let verifier = Verifier::builder(ClientIds::new(["com.example.app"])?).build()?;
    let listener = TcpListener::bind("127.0.0.1:50051").await?;
    Ok(serve(listener, verifier).await?)
}

/// Without a valid identity token in `authorization`, every call ends `UNAUTHENTICATED` (or `UNAVAILABLE` while Apple's keys
/// cannot be had). The health service stands for yours.
pub(crate) async fn serve(
    listener: TcpListener,
    verifier: Verifier,
) -> Result<(), transport::Error> {
    let layer = RequireIdentityLayer::new(Authenticator::new(verifier, Realm::default()));
    let (_reporter, service) = tonic_health::server::health_reporter();
    Server::builder()
        .layer(layer)
        .add_service(InterceptedService::new(service, know_the_caller))
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
}

/// Handlers find the identity where this interceptor does.
fn know_the_caller(request: Request<()>) -> Result<Request<()>, Status> {
    match request.extensions().get::<Arc<Identity>>() {
        Some(_identity) => Ok(request),
        None => Err(Status::internal("the layer is missing")),
    }
}
