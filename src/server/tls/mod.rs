//! TLS on accepted connections: rustls on aws-lc-rs, versions 1.2 and 1.3, HTTP/2 or HTTP/1.1 by ALPN.
//!
//! The whole configuration is one immutable value that is swapped when its files change: new handshakes see the new
//! certificate, and connections that are open live on with the old one.

mod expiry;
mod fault;
mod files;
mod pem;

use std::{path::PathBuf, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    sync::{Mutex, watch},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{info, warn};

use crate::telemetry::{CertificateLabels, HandshakeFailureLabels, Metrics};

pub(super) use self::fault::HandshakeFault;
use self::files::{Files, HTTP_2, Loaded, TlsError};
pub(crate) use self::pem::Pem;
use super::{connection::Io, sniff::Protocol};

/// How connections are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// The server's certificate first, then the intermediate ones up to, but without, the root.
    pub(crate) certificate: Pem,

    /// The certificate's private key (PKCS#8, SEC1 or PKCS#1), without a passphrase.
    pub(crate) key: Pem,

    /// Whether those who connect must show a certificate too.
    pub(crate) clients: ClientCertificates,

    /// Time that a handshake may take; default 10 s. Shorter frees connections from slow senders sooner;
    /// longer is kinder to bad networks.
    pub(crate) handshake_timeout: Duration,

    /// Time between two looks at the files; default 10 s.
    pub(crate) reload_every: Duration,
}

impl TlsSettings {
    /// The default of `handshake_timeout`.
    pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
    /// The default of `reload_every`. Looking, and not being told: Kubernetes swaps a symlink far from the file, and
    /// watchers of the file would not notice.
    pub(crate) const RELOAD_EVERY: Duration = Duration::from_secs(10);
}

/// Whether those who connect must show a certificate too (RFC 8446 §4.3.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    /// They are not asked for one.
    #[default]
    NotAsked,
    /// They may show none; one that no authority in this PEM file vouches for ends the handshake.
    Optional(PathBuf),
    /// They must show one that an authority in this PEM file vouches for.
    Required(PathBuf),
}

/// TLS, ready for handshakes. Clones share one state.
#[derive(Clone, Debug)]
pub(crate) struct Tls(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    settings: TlsSettings,
    metrics: Metrics,
    current: watch::Sender<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

/// What the last look at the files found.
#[derive(Debug)]
struct Seen {
    fingerprint: Option<blake3::Hash>,
    failing: bool,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    ///
    /// They cannot be read, or are no certificate with its key.
    pub(crate) async fn load(settings: TlsSettings, metrics: Metrics) -> Result<Self, TlsError> {
        let files = Files::read(&settings).await?;
        let Loaded { config, expires_at } = files.load(&settings)?;
        note_expiry(&metrics, expires_at);
        let seen = Seen { fingerprint: Some(files.fingerprint()), failing: false };
        let (current, seen) = (watch::Sender::new(config), Mutex::new(seen));
        Ok(Self(Arc::new(Parts { settings, metrics, current, seen })))
    }

    /// Looks at the files again from time to time, for ever.
    pub(crate) async fn keep_fresh(self) {
        loop {
            sleep(self.0.settings.reload_every).await;
            self.reload().await;
        }
    }

    /// Looks at the files again now. What cannot be used changes nothing: the certificate in use stays in use.
    pub(crate) async fn reload(&self) {
        let mut seen = self.0.seen.lock().await;
        match self.look(&mut seen).await {
            Ok(()) => seen.failing = false,
            Err(error) => {
                self.0.metrics.tls_reload_failures.inc();
                // Once per change of state. A pair of which only one half has been written yet is whole at the next look.
                if !seen.failing {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "the TLS files cannot be used, the certificate stays the old one"
                    );
                }
                seen.failing = true;
            }
        }
    }

    async fn look(&self, seen: &mut Seen) -> Result<(), TlsError> {
        let Parts { settings, metrics, current, .. } = &*self.0;
        let files = Files::read(settings).await?;
        let fingerprint = Some(files.fingerprint());
        if seen.fingerprint == fingerprint {
            return Ok(());
        }
        let Loaded { config, expires_at } = files.load(settings)?;
        seen.fingerprint = fingerprint;
        current.send_replace(config);
        note_expiry(metrics, expires_at);
        info!("the TLS files have changed, the certificate is a new one");
        Ok(())
    }

    /// Secures `io`; the client chose the protocol by ALPN (RFC 7301). Without ALPN it is HTTP/1.1 (RFC 9113 §3.3).
    pub(super) async fn handshake<IO: Io>(
        &self,
        io: IO,
    ) -> Result<(TlsStream<IO>, Protocol), HandshakeFault> {
        let Parts { settings, metrics, current, .. } = &*self.0;
        let acceptor = TlsAcceptor::from(Arc::clone(&current.borrow()));
        let shaken = timeout(settings.handshake_timeout, acceptor.accept(io)).await;
        let outcome = match shaken {
            Err(_elapsed) => Err(HandshakeFault::TimedOut),
            Ok(Err(error)) => Err(HandshakeFault::from(error)),
            Ok(Ok(stream)) => Ok(stream),
        };
        let stream = outcome.inspect_err(|fault| {
            let labels = HandshakeFailureLabels { reason: fault.as_str() };
            metrics.tls_handshake_failures.get_or_create(&labels).inc();
        })?;
        let speaks_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok((stream, if speaks_http2 { Protocol::Http2 } else { Protocol::Http1 }))
    }
}

fn note_expiry(metrics: &Metrics, expires_at: i64) {
    let labels = CertificateLabels { certificate: "server" };
    metrics.tls_certificate_expiry.get_or_create(&labels).set(expires_at);
}
