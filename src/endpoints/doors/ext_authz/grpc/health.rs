//! gRPC's own health checks (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>), for gateways and for
//! Kubernetes' probes.

use http::{Request, Response};
use hyper::body::Incoming;

use super::{
    ProxyBody,
    messages::{HealthCheckRequest, HealthCheckResponse, ServingStatus},
    unary,
};

/// Asks once.
pub(super) const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Asks for every change. It is not served, which clients are to take for "ask again now and then".
pub(super) const WATCH: &str = "/grpc.health.v1.Health/Watch";

/// The services that we are: all together, and the one that decides.
const SERVICES: [&str; 2] = ["", "envoy.service.auth.v3.Authorization"];

/// The longest name of a service that is read, in bytes.
const LONGEST: u32 = 4096;

/// <https://grpc.github.io/grpc/core/md_doc_statuscodes.html>
const INVALID_ARGUMENT: u16 = 3;
const NOT_FOUND: u16 = 5;
const UNIMPLEMENTED: u16 = 12;

/// Answers a health check: well, if `is_ready` says so.
pub(in super::super) async fn tell_health(
    is_ready: &(dyn Fn() -> bool + Send + Sync),
    call: Request<Incoming>,
) -> Response<ProxyBody> {
    if call.uri().path() != CHECK {
        return unary::fail(UNIMPLEMENTED, "only Check is served");
    }
    match unary::read::<HealthCheckRequest, _>(call.into_body(), LONGEST).await {
        Ok(asked) if SERVICES.contains(&asked.service.as_str()) => health(is_ready),
        Ok(_) => unary::fail(NOT_FOUND, "there is no such service"),
        Err(_unread) => unary::fail(INVALID_ARGUMENT, "the message cannot be read"),
    }
}

/// Ready and well are one here: who asks sends requests accordingly.
pub(in super::super) fn health(is_ready: &(dyn Fn() -> bool + Send + Sync)) -> Response<ProxyBody> {
    let status = if is_ready() { ServingStatus::Serving } else { ServingStatus::NotServing };
    unary::answer(&HealthCheckResponse { status: status.into() })
}
