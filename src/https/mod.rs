//! The HTTPS client with which keys are fetched, Apple is asked and webhooks are sent: no redirects, and nothing from the
//! environment.

mod answer;
mod options;
mod trusted_url;

use reqwest::{Client, ClientBuilder, redirect};

pub(crate) use self::answer::{has_content_encoding, is_html};
pub use self::{
    options::{HttpsError, HttpsOptions},
    trusted_url::TrustedUrl,
};

/// Apple's edge has refused requests with no or a library's user agent (403).
const USER_AGENT: &str = concat!("siwa-proxy/", env!("CARGO_PKG_VERSION"));

/// What every client of ours begins with. Installs aws-lc-rs as the process's TLS provider unless one is installed.
pub(crate) fn client() -> ClientBuilder {
    // Whoever came first has decided; TLS works with either.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    Client::builder().user_agent(USER_AGENT).redirect(redirect::Policy::none()).no_proxy()
}
