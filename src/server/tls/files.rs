//! The PEM files, and the rustls configuration that they make.

use std::{io, path::PathBuf, sync::Arc};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject},
    },
    server::{
        NoClientAuth, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier,
    },
};

use super::{ClientCertificates, Pem, TlsSettings, expiry::not_after};

/// RFC 9113 §3.2.
pub(super) const HTTP_2: &[u8] = b"h2";
/// RFC 7301 §6.
const HTTP_1_1: &[u8] = b"http/1.1";

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file, or what is in place of one, is not what it should be.
    #[error("{of} is not PEM, or lacks what should be in it")]
    Pem {
        /// Which.
        of: Pem,
        /// What is wrong.
        source: pem::Error,
    },
    /// The certificate and the key cannot be used, or not together.
    #[error("the certificate and the key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// A certificate of the authorities that vouch for clients cannot be used.
    #[error("the authorities for client certificates cannot be used")]
    Authorities(#[from] VerifierBuilderError),
    /// The certificate cannot be taken apart.
    #[error("the certificate does not say how long it is valid")]
    Validity,
}

/// What the files hold at one moment. The key among it is never printed.
pub(super) struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

/// What the files make.
pub(super) struct Loaded {
    pub(super) config: Arc<ServerConfig>,
    /// Unix time.
    pub(super) expires_at: i64,
}

impl Files {
    pub(super) async fn read(settings: &TlsSettings) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: settings.certificate.read().await?,
            key: settings.key.read().await?,
            authorities: match &settings.clients {
                ClientCertificates::NotAsked => Vec::new(),
                ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
                    Pem::File(path.clone()).read().await?
                }
            },
        })
    }

    /// Tells whether anything has changed, without keeping the key about.
    pub(super) fn fingerprint(&self) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new();
        for file in [&self.certificate, &self.key, &self.authorities] {
            hasher.update(blake3::hash(file).as_bytes());
        }
        hasher.finalize()
    }

    pub(super) fn load(&self, settings: &TlsSettings) -> Result<Loaded, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let chain = certificates(&self.certificate, &settings.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key)
            .map_err(|source| TlsError::Pem { of: settings.key.clone(), source })?;
        let expires_at = chain.first().and_then(|own| not_after(own)).ok_or(TlsError::Validity)?;

        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Pair)?
            .with_client_cert_verifier(self.verifier(&settings.clients, provider)?)
            .with_single_cert(chain, key)
            .map_err(TlsError::Pair)?;
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
        Ok(Loaded { config: Arc::new(config), expires_at })
    }

    fn verifier(
        &self,
        clients: &ClientCertificates,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
        let (path, required) = match clients {
            ClientCertificates::NotAsked => return Ok(Arc::new(NoClientAuth)),
            ClientCertificates::Optional(path) => (path, false),
            ClientCertificates::Required(path) => (path, true),
        };
        let mut authorities = RootCertStore::empty();
        for authority in certificates(&self.authorities, &Pem::File(path.clone()))? {
            authorities.add(authority).map_err(TlsError::Pair)?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider);
        Ok(if required { builder.build()? } else { builder.allow_unauthenticated().build()? })
    }
}

/// All certificates of a file, of which there is at least one.
fn certificates(pem: &[u8], of: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |source| TlsError::Pem { of: of.clone(), source };
    let all: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(unusable)?;
    if all.is_empty() { Err(unusable(pem::Error::NoItemsFound)) } else { Ok(all) }
}
