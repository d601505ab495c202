//! gRPC's own health checks, as tonic's client of them asks.

use siwa_proxy::{clock::SystemClock, sim::faults::Fault};
use tonic::{Code, Status, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::House;

async fn client(house: &House) -> HealthClient<tonic::transport::Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", house.address)).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

async fn health(house: &House, service: &str) -> Result<ServingStatus, Status> {
    let asked = HealthCheckRequest { service: service.to_owned() };
    client(house).await.check(asked).await.map(|answer| answer.into_inner().status())
}

#[tokio::test]
async fn who_can_decide_is_well() {
    let house = House::with("ext_authz.grpc = true").await;
    for service in ["", "envoy.service.auth.v3.Authorization"] {
        assert_eq!(health(&house, service).await.unwrap(), ServingStatus::Serving);
    }
}

#[tokio::test]
async fn who_has_no_keys_is_not() {
    let house = House::build("ext_authz.grpc = true", std::sync::Arc::new(SystemClock), |apple| {
        apple.fail_with(Fault::Reset);
    });
    assert_eq!(health(&house.await, "").await.unwrap(), ServingStatus::NotServing);
}

#[tokio::test]
async fn what_is_not_served_is_said_to_be_not() {
    let house = House::with("ext_authz.grpc = true").await;
    assert_eq!(health(&house, "other.Service").await.unwrap_err().code(), Code::NotFound);
    let watched = client(&house).await.watch(HealthCheckRequest::default()).await;
    assert_eq!(watched.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn who_has_too_much_to_do_is_well() {
    let limits = "limits.rate_per_second = 1\nlimits.rate_burst = 1";
    let house = House::with(&format!("ext_authz.grpc = true\n{limits}")).await;
    for _ in 0..3 {
        assert_eq!(health(&house, "").await.unwrap(), ServingStatus::Serving);
    }
}
