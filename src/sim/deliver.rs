//! Posting a notification, as Apple does.

use std::time::Duration;

use reqwest::{Certificate, Client, redirect};
use serde_json::json;
use url::Url;

use super::Apple;

/// How long the receiver may take.
const PATIENCE: Duration = Duration::from_secs(20);

impl Apple {
    /// By TLS, notifies from here on those who show this certificate (PEM) and no others, whoever vouches for them. Without,
    /// they are those whom this machine trusts.
    pub fn trust_only(&self, certificate: &str) {
        self.state.lock().certificate = Some(certificate.to_owned());
    }
}

/// Posts `payload` to `url`, by TLS to the one with this `certificate` if there is one; the status that came back.
pub(super) async fn deliver(
    url: Url,
    payload: &str,
    certificate: Option<&str>,
) -> Result<u16, reqwest::Error> {
    // Whoever came first has decided; TLS works with either.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let client = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(PATIENCE);
    let client = match certificate {
        Some(pem) => client.tls_certs_only([Certificate::from_pem(pem.as_bytes())?]),
        None => client,
    };
    let body = json!({ "payload": payload }).to_string();
    let request = client.build()?.post(url).header("content-type", "application/json").body(body);
    Ok(request.send().await?.status().as_u16())
}
