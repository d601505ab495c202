//! TLS for tests: an authority, its certificates on disk, and a client that trusts it.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, ServerName},
};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};

/// The name in the server's certificate.
const HOST: &str = "app.example";

/// Vouches for certificates, and keeps a folder for them.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // To OpenSSL, a certificate whose subject is its issuer's has signed itself.
        params.distinguished_name.push(DnType::CommonName, "an authority");
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self { issuer, folder: tempfile::tempdir().unwrap() };
        fs::write(authority.path("authority.pem"), authority.issuer.pem()).unwrap();
        authority
    }

    /// A file in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a new certificate for the server and puts it, and then its key, where the server reads them.
    pub(crate) fn renew(&self) {
        self.certify(HOST);
    }

    /// Likewise for a server of another name or address.
    pub(crate) fn certify(&self, host: &str) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        replace(&self.path("server.pem"), &certificate.pem());
        replace(&self.path("server.key"), &key.serialize_pem());
    }

    /// What accepts connections in the name of `host`.
    pub(crate) fn acceptor_for(&self, host: &str) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// What the server's configuration says.
    pub(crate) fn configuration(&self) -> String {
        self.renew();
        format!(
            "[tls]\ncertificate = '{}'\nkey = '{}'\nreload_every = '20ms'\n",
            self.path("server.pem").display(),
            self.path("server.key").display()
        )
    }

    /// A client that trusts this authority and speaks these versions and protocols.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        protocols: &[&str],
    ) -> Client {
        let config = self.builder(versions).with_no_client_auth();
        Client::new(config, protocols)
    }

    /// A client with a certificate of `issuer`'s.
    pub(crate) fn client_of(&self, issuer: &Self) -> Client {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = self
            .builder(rustls::ALL_VERSIONS)
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Client::new(config, &[])
    }

    fn builder(
        &self,
        versions: &[&'static SupportedProtocolVersion],
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
    }
}

/// A reader sees the old file or the new one, and nothing in between.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, path).unwrap();
}

#[derive(Clone)]
pub(crate) struct Client(TlsConnector);

impl Client {
    fn new(mut config: ClientConfig, protocols: &[&str]) -> Self {
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // A resumed session shows no certificate.
        config.resumption = rustls::client::Resumption::disabled();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// A connection, if the handshake succeeds; with TLS 1.3 the server's refusal comes with the first read.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        self.0.connect(ServerName::try_from(HOST).unwrap(), stream).await
    }
}
