//! The flags that settle how the proxy runs, which several commands have in common.

use std::path::PathBuf;

use siwa_proxy::config::Flags;

/// The settings.
#[derive(clap::Args, Debug)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
pub(crate) struct SettingsOptions {
    /// The settings, in TOML; SIWA_CONFIG names them too. None are read unless named.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where your application listens, such as http://127.0.0.1:3000. Only the proxy should be able to reach it. Without one,
    /// other gateways ask, and nothing is forwarded.
    #[arg(long, value_name = "URL")]
    upstream: Option<String>,

    /// The bundle id or Services ID of your app; repeat it for several. Tokens for other apps are refused.
    #[arg(long, value_name = "ID")]
    client_id: Vec<String>,

    /// Where callers connect to: an address, unix:PATH or systemd; repeat it for several [default: 0.0.0.0:4180].
    #[arg(long, value_name = "ADDRESS")]
    listen: Vec<String>,

    /// Where /livez, /readyz and /metrics are served, for you alone [default: 127.0.0.1:4181].
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,

    /// The certificate that callers see, in PEM; with it callers connect by TLS.
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<String>,

    /// The certificate's private key, in PEM.
    #[arg(long, value_name = "FILE")]
    tls_key: Option<String>,

    /// Where to fetch the keys, instead of from Apple: https, or http to loopback for the simulator.
    #[arg(long, value_name = "URL")]
    jwks_url: Option<String>,

    /// A file to read the keys from, instead of fetching them.
    #[arg(long, value_name = "FILE")]
    jwks_file: Option<String>,

    /// Who signs tokens, instead of Apple: for a simulator [default: https://appleid.apple.com].
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,

    /// What is logged: a level (error, warn, info, debug, trace) or target=level pairs [default: info].
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,

    /// How the log looks: text, json, or auto for text on a terminal and JSON elsewhere [default: auto].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl From<SettingsOptions> for Flags {
    fn from(options: SettingsOptions) -> Self {
        let SettingsOptions {
            config,
            upstream,
            client_id,
            listen,
            admin_listen,
            tls_cert,
            tls_key,
            jwks_url,
            jwks_file,
            issuer,
            log,
            log_format,
        } = options;
        Self::new(config)
            .with("--upstream", ("upstream", "url"), upstream)
            .with("--client-id", ("apple", "client_ids"), client_id)
            .with("--listen", ("server", "listen"), listen)
            .with("--admin-listen", ("server", "admin_listen"), admin_listen)
            .with("--tls-cert", ("tls", "certificate"), tls_cert)
            .with("--tls-key", ("tls", "key"), tls_key)
            .with("--jwks-url", ("jwks", "url"), jwks_url)
            .with("--jwks-file", ("jwks", "file"), jwks_file)
            .with("--issuer", ("apple", "issuer"), issuer)
            .with("--log", ("log", "filter"), log)
            .with("--log-format", ("log", "format"), log_format)
    }
}
