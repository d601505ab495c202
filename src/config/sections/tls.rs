//! `[tls]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use super::{super::problems::Problems, check_positive};
use crate::server::{ClientCertificates, Pem, TlsSettings};

/// `[tls]`: whether callers connect by TLS, and what both sides show.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct TlsSection {
    /// The certificate that callers see, a PEM file with the intermediate ones after it. With it every listener but the
    /// admin's speaks TLS 1.2 and 1.3, with HTTP/2 or HTTP/1.1 as the caller chooses; without it none does, and whatever
    /// ends TLS in front must be on a network that nobody else can read.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate: Option<PathBuf>,

    /// The certificate's private key, a PEM file without a passphrase. Only the proxy should be able to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<PathBuf>,

    /// The authorities whose client certificates are accepted, a PEM file; without it callers are asked for none. Each more
    /// admits whoever it vouches for. A client certificate is beside the identity token and does not replace it.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_authorities: Option<PathBuf>,

    /// Whether a caller without a client certificate is let in: `required` or `optional`; default `required`. It means nothing
    /// without `client_authorities`. `required` keeps strangers out before a request is read; `optional` refuses only
    /// certificates of others.
    client_certificates: Clients,

    /// Time that a TLS handshake may take; default 10 s. Shorter frees connections from slow senders sooner; longer is
    /// kinder to bad networks.
    #[serde(with = "humantime_serde")]
    handshake_timeout: Duration,

    /// Time between two looks at the files; default 10 s. New ones serve new connections, and open ones live on; files that
    /// cannot be used change nothing. Shorter notices a renewal sooner.
    #[serde(with = "humantime_serde")]
    reload_every: Duration,
}

/// Whether a caller without a client certificate is let in.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Clients {
    Required,
    Optional,
}

impl Default for TlsSection {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            client_authorities: None,
            client_certificates: Clients::Required,
            handshake_timeout: TlsSettings::HANDSHAKE_TIMEOUT,
            reload_every: TlsSettings::RELOAD_EVERY,
        }
    }
}

impl TlsSection {
    pub(super) fn check(self, problems: &mut Problems) -> Option<TlsSettings> {
        let Self {
            certificate,
            key,
            client_authorities,
            client_certificates,
            handshake_timeout,
            reload_every,
        } = self;

        check_positive(problems, "tls.handshake_timeout", handshake_timeout);
        check_positive(problems, "tls.reload_every", reload_every);
        let clients = match (client_authorities, client_certificates) {
            (None, _) => ClientCertificates::NotAsked,
            (Some(authorities), Clients::Required) => ClientCertificates::Required(authorities),
            (Some(authorities), Clients::Optional) => ClientCertificates::Optional(authorities),
        };
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (Pem::File(certificate), Pem::File(key));
                Some(TlsSettings { certificate, key, clients, handshake_timeout, reload_every })
            }
            (Some(_), None) => {
                problems.note("tls.certificate", "needs its private key: set tls.key");
                None
            }
            (None, Some(_)) => {
                problems.note("tls.key", "needs its certificate: set tls.certificate");
                None
            }
            (None, None) => {
                if clients != ClientCertificates::NotAsked {
                    let what = "can be used with TLS only: set tls.certificate and tls.key";
                    problems.note("tls.client_authorities", what);
                }
                None
            }
        }
    }
}
