//! Envoy asks by `ext_authz`, in both of its forms, with the files in `deploy/envoy`.

use std::{fs, process::Command, time::Duration};

use siwa_proxy::sim::{faults::Fault, keys::SigningKey, presets, token::TokenTemplate};

use super::{
    browsers, cookies,
    gateway::{self, Gateway, Kind, Places},
};
use crate::{
    header_spoofing::{NAMES, assert_none, spellings},
    support::exchange_h2,
};

const GRPC_FILE: &str = include_str!("../../deploy/envoy/grpc.yaml");
const HTTP_FILE: &str = include_str!("../../deploy/envoy/http.yaml");

fn envoy(places: &Places<'_>, text: &str) -> Command {
    let file = places.folder.join("envoy.yaml");
    fs::write(&file, places.fill_in(text)).unwrap();
    let mut command = Command::new("envoy");
    command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "off", "-c"]).arg(file);
    command
}

/// `text` with `that` in place of `this`, which must be there.
fn with(text: &str, this: &str, that: &str) -> String {
    assert!(text.contains(this), "{this}");
    text.replace(this, that)
}

/// A file that lets requests through when we fail, and that waits long enough for a busy machine not to fail us: a quarter
/// of it is left when we give up.
fn allowing(text: &str) -> String {
    let text = with(text, "failure_mode_allow: false", "failure_mode_allow: true");
    with(&text, "timeout: 2s", "timeout: 4s")
}

const fn kind(command: fn(&Places<'_>) -> Command) -> Kind {
    let settings = include_str!("../../deploy/envoy/siwa-proxy.toml");
    Kind { settings, command, malformed: 400, unreachable: 503, not_yet: None }
}

const GRPC: Kind = kind(|places| envoy(places, GRPC_FILE));
const HTTP: Kind = kind(|places| envoy(places, HTTP_FILE));
const GRPC_ALLOWING: Kind = kind(|places| envoy(places, &allowing(GRPC_FILE)));
const HTTP_ALLOWING: Kind = kind(|places| envoy(places, &allowing(HTTP_FILE)));

/// With the lines that are marked to be for people with browsers.
fn for_browsers(text: &str) -> String {
    with(text, "#browser: ", "")
}

const fn kind_for_browsers(command: fn(&Places<'_>) -> Command) -> cookies::Kind {
    let settings = include_str!("../../deploy/envoy/siwa-proxy.toml");
    cookies::Kind { settings, command, not_yet: None, to_caches: cookies::ToCaches::NoStoreAlone }
}

const GRPC_FOR_BROWSERS: cookies::Kind =
    kind_for_browsers(|places| envoy(places, &for_browsers(GRPC_FILE)));
const HTTP_FOR_BROWSERS: cookies::Kind =
    kind_for_browsers(|places| envoy(places, &for_browsers(HTTP_FILE)));

mod grpc {
    use super::{
        super::{cookies, gateway},
        GRPC, GRPC_FOR_BROWSERS,
    };

    gateway::tests!(
        "needs envoy",
        super::GRPC,
        judges_the_request_as_it_is_tidied_up,
        lets_no_spoofed_trailer_through
    );
    cookies::tests!("needs envoy", super::GRPC_FOR_BROWSERS);
}

mod http {
    use super::{
        super::{cookies, gateway},
        HTTP, HTTP_FOR_BROWSERS,
    };

    gateway::tests!(
        "needs envoy",
        super::HTTP,
        judges_the_request_as_it_is_tidied_up,
        lets_no_spoofed_trailer_through
    );
    cookies::tests!(
        "needs envoy",
        super::HTTP_FOR_BROWSERS,
        hears_nothing_in_our_name_from_the_application
    );
}

#[tokio::test]
#[ignore = "needs envoy, chromium and chromium-driver"]
async fn people_sign_in_with_a_browser_behind_envoy() {
    for kind in [GRPC_FOR_BROWSERS, HTTP_FOR_BROWSERS] {
        browsers::sign_in_and_out(&kind).await;
    }
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn what_we_refuse_is_refused_where_failures_are_allowed() {
    for kind in [GRPC_ALLOWING, HTTP_ALLOWING] {
        let gateway = Gateway::troubled(&kind, |apple| apple.fail_with(Fault::Reset)).await;
        let good = format!("Authorization: {}\r\nX-Apple-Sub: spoof\r\n", gateway.bearer());
        let reply = gateway.send("GET /", &good).await;
        assert_eq!((reply.status, &reply.json()["code"]), (503, &"keys_unavailable".into()));
        assert_eq!(reply.header("retry-after"), ["5"]);
        assert_eq!(gateway.send("GET /", "").await.status, 401);
        assert_eq!(gateway.arrived(), 0);
    }
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn a_limit_refuses_where_failures_are_allowed() {
    for kind in [GRPC_ALLOWING, HTTP_ALLOWING] {
        let limits = "limits = { rate_per_second = 1, rate_burst = 1 }\n".to_owned();
        let settings: &'static str = (limits + kind.settings).leak();
        let gateway = Gateway::start(&Kind { settings, ..kind }).await;
        assert_eq!(gateway.send("GET /public/", "").await.status, 200);
        let reply = gateway.send("GET /public/", "").await;
        assert_eq!((reply.status, &reply.json()["code"]), (429, &"rate_limited".into()));
        assert_eq!(gateway.arrived(), 1);
    }
}

/// Envoy says how long it waits, and is answered sooner, whatever we are told.
#[tokio::test]
#[ignore = "needs envoy"]
async fn a_decision_that_takes_too_long_is_a_no_in_time_where_failures_are_allowed() {
    for kind in [GRPC_ALLOWING, HTTP_ALLOWING] {
        let settings = with(kind.settings, "[ext_authz]", "[ext_authz]\ntimeout = '1h'").leak();
        let gateway = Gateway::start(&Kind { settings, ..kind }).await;
        gateway.house.apple.fail_with(Fault::Slow(Duration::from_secs(15)));
        let token =
            gateway.house.apple.mint_with(&SigningKey::generate(), &TokenTemplate::native());
        let lines = format!("Authorization: Bearer {token}\r\nX-Apple-Sub: spoof\r\n");
        let reply = gateway.send("GET /", &lines).await;
        assert_eq!((reply.status, &reply.json()["code"]), (503, &"undecided".into()));
        assert_eq!(gateway.arrived(), 0);
    }
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn a_dead_verifier_lends_nobody_an_identity_where_failures_are_allowed() {
    for kind in [GRPC_ALLOWING, HTTP_ALLOWING] {
        let mut gateway = Gateway::start(&kind).await;
        gateway.way.cut().await;
        for spelling in NAMES.into_iter().flat_map(spellings) {
            let lines = format!("{spelling}: spoof\r\nConnection: {spelling}\r\n");
            assert_eq!(gateway.send("GET /", &lines).await.status, 200, "{spelling}");
            assert_none(&gateway.house.application.requests().pop().unwrap(), &spelling);
        }
    }
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn filters_behind_ours_can_read_who_it_is_and_until_when() {
    const TOLD: Kind = kind(|places| {
        let telling = "route: { cluster: application }\n                          request_headers_to_add: \
             [{ header: { key: x-told, value: \"%DYNAMIC_METADATA(envoy.filters.http.ext_authz)%\" } }]";
        envoy(places, &with(GRPC_FILE, "route: { cluster: application }", telling))
    });
    let gateway = Gateway::start(&TOLD).await;
    gateway.get("/", &[("Authorization", &gateway.bearer())]).await;
    let received = gateway.house.application.only_request();
    let told: serde_json::Value = serde_json::from_str(received.header("x-told")[0]).unwrap();
    assert_eq!((&told["sub"], &told["aud"]), (&presets::SUBJECT.into(), &"com.example.app".into()));
    assert!(told["exp"].as_f64().unwrap() > 1_700_000_000.0, "{told}");
}

/// By default Envoy drops HTTP/1's trailers itself; those of HTTP/2 it passes on.
#[tokio::test]
#[ignore = "needs envoy"]
async fn trailers_that_are_passed_on_spoof_nothing() {
    const PASSING: Kind = kind(|places| {
        let ask =
            "stat_prefix: public\n                http_protocol_options: { enable_trailers: true }";
        let text = with(GRPC_FILE, "stat_prefix: public", ask);
        let forward = "- name: application\n      connect_timeout: 1s\n      typed_extension_protocol_options:\n        \
             envoy.extensions.upstreams.http.v3.HttpProtocolOptions:\n          \"@type\": \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions\n          \
             explicit_http_config: { http_protocol_options: { enable_trailers: true } }";
        let cluster = "- name: application\n      connect_timeout: 1s";
        envoy(places, &with(&text, cluster, forward))
    });
    gateway::lets_no_spoofed_trailer_through(&PASSING).await;
}

#[tokio::test]
#[ignore = "needs envoy"]
async fn a_grpc_client_is_refused_in_grpc() {
    for kind in [GRPC, HTTP] {
        let gateway = Gateway::start(&kind).await;
        let call = ::http::Request::post(format!("http://{}/a.B/C", gateway.address))
            .header("content-type", "application/grpc")
            .body(String::new());
        let reply = exchange_h2(gateway.address, call.unwrap()).await;
        assert_eq!((reply.status, reply.header("grpc-status")), (200, vec!["16"]));
    }
}
