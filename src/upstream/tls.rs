//! TLS towards the application, by rustls.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName,
        pem::{self, PemObject},
    },
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{socket::Socket, url::HttpVersion};

/// How the application's certificate is judged, and what we show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsSettings {
    /// Authorities to trust instead of the system's, as PEM.
    pub(crate) ca_file: Option<PathBuf>,
    /// The certificate chain and the key that we show, as PEM.
    pub(crate) client_certificate: Option<ClientCertificate>,
    /// The name to ask for (SNI) and to find in the certificate, if not the URL's host.
    pub(crate) server_name: Option<String>,
}

/// The files of a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    /// The chain, our own certificate first.
    pub(crate) chain_file: PathBuf,
    /// Its key.
    pub(crate) key_file: PathBuf,
}

/// Why TLS towards the application cannot be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read, or holds no PEM of the kind that is needed.
    #[error("cannot use {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why not.
        source: pem::Error,
    },
    /// A file holds no certificate.
    #[error("{} holds no certificate", path.display())]
    NoCertificate {
        /// Which.
        path: PathBuf,
    },
    /// A certificate or key cannot be used, or the system names no authority.
    #[error("the certificates cannot be used")]
    Unusable(#[from] rustls::Error),
    /// The name cannot stand in a certificate.
    #[error("no certificate can be for that name")]
    Name(#[from] InvalidDnsNameError),
}

/// Speaks TLS with one application.
#[derive(Clone)]
pub(super) struct Tls {
    /// Offers what the application may choose from.
    offering: TlsConnector,
    /// Offers HTTP/1.1 only: what an upgrade needs.
    http1_only: TlsConnector,
    name: ServerName<'static>,
}

impl Tls {
    /// Reads the files. `host` is the name to expect unless the settings have another; without a `version` the
    /// application may choose.
    pub(super) fn new(
        settings: &TlsSettings,
        host: &str,
        version: Option<HttpVersion>,
    ) -> Result<Self, TlsError> {
        let name = settings.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned())?;
        let mut config = client_config(settings)?;
        config.alpn_protocols = match version {
            Some(version) => vec![protocol_of(version)],
            None => vec![protocol_of(HttpVersion::Http2), protocol_of(HttpVersion::Http1)],
        };
        let mut http1_config = config.clone();
        http1_config.alpn_protocols = vec![protocol_of(HttpVersion::Http1)];
        Ok(Self {
            offering: TlsConnector::from(Arc::new(config)),
            http1_only: TlsConnector::from(Arc::new(http1_config)),
            name,
        })
    }

    /// Shakes hands on `socket`, and tells what the application chose.
    pub(super) async fn connect(
        &self,
        socket: Socket,
        only_http1: bool,
    ) -> io::Result<(TlsStream<Socket>, Option<HttpVersion>)> {
        let connector = if only_http1 { &self.http1_only } else { &self.offering };
        let stream = connector.connect(self.name.clone(), socket).await?;
        let chosen = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => Some(HttpVersion::Http2),
            Some(_) => Some(HttpVersion::Http1),
            None => None,
        };
        Ok((stream, chosen))
    }
}

/// The names of RFC 7301 §6.
fn protocol_of(version: HttpVersion) -> Vec<u8> {
    match version {
        HttpVersion::Http1 => b"http/1.1".to_vec(),
        HttpVersion::Http2 => b"h2".to_vec(),
    }
}

fn client_config(settings: &TlsSettings) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match &settings.ca_file {
        Some(path) => builder.with_root_certificates(authorities_in(path)?),
        None => builder.with_platform_verifier()?,
    };
    Ok(match &settings.client_certificate {
        None => builder.with_no_client_auth(),
        Some(ClientCertificate { chain_file, key_file }) => {
            let key = PrivateKeyDer::from_pem_file(key_file)
                .map_err(|source| TlsError::File { path: key_file.clone(), source })?;
            builder.with_client_auth_cert(certificates_in(chain_file)?, key)?
        }
    })
}

fn authorities_in(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut authorities = RootCertStore::empty();
    for certificate in certificates_in(path)? {
        authorities.add(certificate)?;
    }
    Ok(authorities)
}

fn certificates_in(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |source| TlsError::File { path: path.to_owned(), source };
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(fault)?.collect();
    let certificates = certificates.map_err(fault)?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(certificates)
}
