//! What the settings name files for, at hand: for whoever has no files, and no place for any.

use std::sync::Arc;

use crate::{
    apple::AppleApiSettings,
    server::{ClientCertificates, Pem, TlsSettings},
    verify::SealKeys,
};

/// Secrets that no file holds. They take the place of what the settings say, and do not print.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    /// In place of `sessions.key_files`.
    pub(super) session_keys: Option<SealKeys>,
    /// In place of `apple.team_id` and what goes with it.
    pub(super) apple_api: Option<AppleApiSettings>,
    /// In place of `[tls]`.
    pub(super) tls: Option<TlsSettings>,
}

impl Secrets {
    /// Sessions are sealed by `keys`, and Apple is asked as `api` says.
    #[must_use]
    pub const fn new(keys: SealKeys, api: AppleApiSettings) -> Self {
        Self { session_keys: Some(keys), apple_api: Some(api), tls: None }
    }

    /// Callers connect by TLS and see `certificate`, whose private key is `key`; both are PEM.
    #[must_use]
    pub fn with_certificate(self, certificate: &str, key: &str) -> Self {
        let text = |pem: &str| Pem::Text(Arc::from(pem));
        let tls = TlsSettings {
            certificate: text(certificate),
            key: text(key),
            clients: ClientCertificates::NotAsked,
            handshake_timeout: TlsSettings::HANDSHAKE_TIMEOUT,
            reload_every: TlsSettings::RELOAD_EVERY,
        };
        Self { tls: Some(tls), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    #[test]
    fn what_is_at_hand_needs_no_file_and_does_not_print() {
        let keys = SealKeys::parse([KEY]).unwrap();
        let secrets = Secrets { session_keys: Some(keys), ..Secrets::default() };
        let secrets =
            secrets.with_certificate("-----BEGIN CERTIFICATE-----", "-----BEGIN KEY-----");
        let printed = format!("{secrets:?}");
        assert!(!printed.contains("BEGIN") && !printed.contains("AQEB"), "{printed}");
        let text = "upstream.url = 'http://a'\napple.client_ids = ['a']\n\
                    browser = { path = '/a', origins = ['https://a.example'] }";
        Settings::from_toml(text).unwrap_err();
        let settings = Settings::from_toml_with(text, secrets).unwrap();
        assert!(settings.tls.is_some() && settings.sessions.is_some());
    }
}
