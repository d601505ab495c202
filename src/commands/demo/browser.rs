//! The web application of the demonstration: it stands behind a proxy of its own, over TLS, at which people sign in.

use std::net::{IpAddr, SocketAddr};

use anyhow::Context;
use rcgen::CertifiedKey;
use siwa_proxy::{
    config::{Secrets, Settings},
    sim::{Apple, echo::Echo},
};

use super::web;

/// What an operator would write for it, with the simulator in Apple's place.
pub(super) fn settings(
    listen: SocketAddr,
    apple: &Apple,
    application: &Echo,
    secrets: Secrets,
) -> anyhow::Result<Settings> {
    let (certificate, key) = certify(listen.ip()).context("no certificate can be made")?;
    // Another user of this machine may listen in our place, and must be told nothing.
    apple.trust_only(&certificate);
    let secrets = secrets.with_certificate(&certificate, &key);
    let settings = format!(
        r#"
        server.listen = "{listen}"
        server.admin_listen = "127.0.0.1:0"
        server.drain_timeout = "1s"
        upstream.url = "{upstream}"
        apple.client_ids = ["{client_id}"]
        jwks.url = "{jwks_url}"
        notifications.path = "/auth/apple/notifications"

        [browser]
        path = "/auth/apple"
        origins = ["{origin}"]
        name = "the demonstration"
        authorize_url = "{apple}/auth/authorize"

        [[route]]
        access = "browser"
        "#,
        upstream = application.url(),
        client_id = web::CLIENT_ID,
        jwks_url = apple.jwks_url(),
        apple = apple.url(),
        origin = origin(listen),
    );
    Ok(Settings::from_toml_with(&settings, secrets)?)
}

/// What browsers call a proxy that listens there. It has no name: `localhost` is several addresses, and another user of this
/// machine may listen at those that are not ours.
pub(super) fn origin(listen: SocketAddr) -> String {
    format!("https://{listen}")
}

/// A certificate and its key, as PEM: browsers keep our cookies over TLS alone, and nobody vouches for a host that is this
/// machine.
fn certify(host: IpAddr) -> Result<(String, String), rcgen::Error> {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed([host.to_string()])?;
    Ok((cert.pem(), signing_key.serialize_pem()))
}
