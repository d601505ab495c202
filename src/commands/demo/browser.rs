//! The web application of the demonstration: it stands behind a proxy of its own, over TLS, at which people sign in.

use std::net::SocketAddr;

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
    let secrets = with_certificate(secrets).context("no certificate can be made")?;
    let settings = format!(
        r#"
        server.listen = "{listen}"
        server.admin_listen = "127.0.0.1:0"
        server.drain_timeout = "1s"
        upstream.url = "{upstream}"
        apple.client_ids = ["{client_id}"]
        jwks.url = "{jwks_url}"
        notifications.path = "/auth/apple/notifications"
        revocations.keep = "180days"

        [browser]
        path = "/auth/apple"
        origins = {origins:?}
        name = "the demonstration"
        authorize_url = "{apple}/auth/authorize"

        [[route]]
        access = "browser"
        "#,
        upstream = application.url(),
        client_id = web::CLIENT_ID,
        jwks_url = apple.jwks_url(),
        apple = apple.url(),
        origins = web::origins("https", listen.port()),
    );
    Ok(Settings::from_toml_with(&settings, secrets)?)
}

/// Browsers keep our cookies over TLS alone, and nobody vouches for a host that is this machine.
fn with_certificate(secrets: Secrets) -> Result<Secrets, rcgen::Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names)?;
    Ok(secrets.with_certificate(&cert.pem(), &signing_key.serialize_pem()))
}
