//! `[upstream]` and `[upstreams.NAME]`.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    super::{UpstreamEntry, problems::Problems},
    LONGEST, check_at_most, check_positive,
};
use crate::upstream::{
    ClientCertificate, CredentialForwarding, HeaderCase, HostForwarding, HttpVersion, TlsSettings,
    Upgrades, UpstreamSettings, UpstreamUrl,
};

/// `[upstream]`: the application behind the proxy, and how long it may take. `[upstreams.NAME]`, with the same keys, is
/// another one, for the routes that name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct UpstreamSection {
    /// Where the application is, without a path. Required. `http://host:port` speaks HTTP/1.1, `h2c://host:port` HTTP/2
    /// without TLS (gRPC), `https://host:port` what the two agree on, and `unix:/run/app.sock` HTTP/1.1 over a socket. The
    /// application must not be reachable but through the proxy, else anybody can send it the identity headers that it
    /// believes.
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<Url>,

    /// The version of HTTP to speak: `"auto"`, what the URL says, by default; `"http1"` or `"h2"` for an application that
    /// cannot be asked. A wrong one makes every request fail with 502.
    protocol: Protocol,

    /// The authorities, as PEM, that the certificate of an `https://` application must come from; those of the system by
    /// default. With a file, only those in it are trusted.
    #[serde(skip_serializing_if = "Option::is_none")]
    ca_file: Option<PathBuf>,

    /// The certificate chain, as PEM, by which we prove to an `https://` application who we are. Needs
    /// `client_key_file`. An application that insists on it takes requests from nobody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate_file: Option<PathBuf>,

    /// The key, as PEM, of `client_certificate_file`. Nobody else should be able to read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key_file: Option<PathBuf>,

    /// The name that an `https://` application's certificate must have, and that is asked for (SNI); the URL's host by
    /// default. For an application that is reached by an address its certificate does not name.
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,

    /// The longest that connecting may take, name lookup and TLS included; default 5 s. Then the caller gets 504. Shorter fails sooner when the host is
    /// gone; longer tolerates a busy one.
    #[serde(with = "humantime_serde")]
    connect_timeout: Duration,

    /// The longest from the last byte of the request to the head of the response; default 60 s. Then the caller gets 504.
    /// Shorter frees callers from a hanging application sooner; longer suits slow reports and long polling.
    #[serde(with = "humantime_serde")]
    response_timeout: Duration,

    /// The longest silence inside a response's body; default 60 s. Then the response is broken off. Shorter notices a
    /// stalled application sooner; longer suits event streams with rare events.
    #[serde(with = "humantime_serde")]
    idle_timeout: Duration,

    /// The longest that a whole exchange may take, from the request that was let through to the last byte of the response;
    /// no limit by default, as event streams and downloads have none. Then the caller gets 504, or the response is broken
    /// off. Upgraded connections are not limited by it.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    total_timeout: Option<Duration>,

    /// How long an unused connection to the application is kept; default 4 s, below the 5 s of Node.js. Longer saves
    /// connecting; longer than the application's own keep-alive, it closes connections just as we use them.
    #[serde(with = "humantime_serde")]
    pool_idle_timeout: Duration,

    /// Time between pings on an HTTP/2 connection with requests on it, which find an application that vanished without a
    /// word; default `0s`, none, as gRPC servers end connections that ping too often. 30 s suits a network that forgets
    /// connections.
    #[serde(with = "humantime_serde")]
    h2_ping_interval: Duration,

    /// How header names are written in HTTP/1.1: `"lower"` by default; or, for an application that compares them byte for byte,
    /// which it should not, `"title"` (`Like-This`) or `"preserve"`: as the caller wrote them, and in its answers as the
    /// application did. Then what the proxy writes is in lower case, and so is all of a request that names what only the
    /// proxy may: its caller would choose how that is spelt.
    header_case: HeaderCaseName,

    /// What becomes of requests for another protocol, such as WebSocket. `"end_with_token"` by default: they are passed
    /// on, and the stream ends when the token that opened it expires. `"outlive_token"`: it goes on for as long as both
    /// sides like, whatever becomes of the person's sign-in. `"ignore"`: they are passed on as ordinary requests.
    upgrades: UpgradesName,

    /// Whether `Authorization` goes on to the application; default `false`: it has no use for the token, and cannot leak
    /// what it does not have. `true` for an application that verifies the token itself.
    forward_credential: bool,

    /// Which `Host` the application is told. `keep`, the default: the one that the caller asked for, so that it can make
    /// links that work. `upstream`: its own, from `url`, for an application that answers to no other name.
    /// `X-Forwarded-Host` tells the caller's in any case.
    host: HostKey,

    /// What the application calls itself, and compares with `aud` of `X-Siwa-Assertion`; default its `url`. Two
    /// applications must not share it, or one of them can pass on to the other what it was told.
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
}

/// How [`HostForwarding`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HostKey {
    #[default]
    Keep,
    Upstream,
}

impl HostKey {
    fn forwarding_to(self, url: &UpstreamUrl) -> HostForwarding {
        match self {
            Self::Keep => HostForwarding::Keep,
            Self::Upstream => HostForwarding::Upstream(url.host_header()),
        }
    }
}

impl Default for UpstreamSection {
    fn default() -> Self {
        Self {
            url: None,
            protocol: Protocol::Auto,
            ca_file: None,
            client_certificate_file: None,
            client_key_file: None,
            server_name: None,
            connect_timeout: Duration::from_secs(5),
            response_timeout: Duration::from_mins(1),
            idle_timeout: Duration::from_mins(1),
            total_timeout: None,
            pool_idle_timeout: Duration::from_secs(4),
            h2_ping_interval: Duration::ZERO,
            header_case: HeaderCaseName::Lower,
            upgrades: UpgradesName::EndWithToken,
            forward_credential: CredentialForwarding::default() == CredentialForwarding::Keep,
            host: HostKey::default(),
            audience: None,
        }
    }
}

impl UpstreamSection {
    pub(super) const EXAMPLE_URL: &str = "http://127.0.0.1:3000";

    /// `at` is the name of the section: `upstream`, or `upstreams.NAME`.
    pub(super) fn check(self, problems: &mut Problems, at: &str) -> Option<UpstreamEntry> {
        self.check_times(problems, at);
        let Self {
            url,
            protocol,
            ca_file,
            client_certificate_file,
            client_key_file,
            server_name,
            connect_timeout,
            response_timeout,
            idle_timeout,
            total_timeout,
            pool_idle_timeout,
            h2_ping_interval,
            header_case,
            upgrades,
            forward_credential,
            host,
            audience,
        } = self;

        let client_certificate =
            check_certificate(problems, at, client_certificate_file, client_key_file);
        let tls = TlsSettings { ca_file, client_certificate, server_name };
        let url = check_url(problems, &format!("{at}.url"), url.as_ref())?;
        let version = check_version(problems, at, &url, protocol);
        check_tls_is_used(problems, at, &url, &tls);

        let credential = if forward_credential {
            CredentialForwarding::Keep
        } else {
            CredentialForwarding::Remove
        };
        let host = host.forwarding_to(&url);
        let audience = audience.unwrap_or_else(|| url.origin());
        let settings = UpstreamSettings {
            url,
            version,
            tls,
            connect_timeout,
            response_timeout,
            idle_timeout,
            total_timeout,
            pool_idle_timeout,
            h2_ping_interval: (!h2_ping_interval.is_zero()).then_some(h2_ping_interval),
            header_case: header_case.into(),
            upgrades: upgrades.into(),
        };
        Some(UpstreamEntry { section: at.to_owned(), settings, credential, host, audience })
    }

    fn check_times(&self, problems: &mut Problems, at: &str) {
        let key = |key: &str| format!("{at}.{key}");
        for (name, time) in [
            ("connect_timeout", Some(self.connect_timeout)),
            ("response_timeout", Some(self.response_timeout)),
            ("idle_timeout", Some(self.idle_timeout)),
            ("total_timeout", self.total_timeout),
            ("pool_idle_timeout", Some(self.pool_idle_timeout)),
        ] {
            if let Some(time) = time {
                check_positive(problems, &key(name), time);
            }
        }
        check_at_most(problems, &key("h2_ping_interval"), LONGEST, self.h2_ping_interval);
    }
}

/// How `protocol` is written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Protocol {
    Auto,
    Http1,
    H2,
}

/// How `header_case` is written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HeaderCaseName {
    Lower,
    Title,
    Preserve,
}

impl From<HeaderCaseName> for HeaderCase {
    fn from(name: HeaderCaseName) -> Self {
        match name {
            HeaderCaseName::Lower => Self::Lower,
            HeaderCaseName::Title => Self::Title,
            HeaderCaseName::Preserve => Self::Preserve,
        }
    }
}

/// How `upgrades` is written.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum UpgradesName {
    EndWithToken,
    OutliveToken,
    Ignore,
}

impl From<UpgradesName> for Upgrades {
    fn from(name: UpgradesName) -> Self {
        match name {
            UpgradesName::EndWithToken => Self::EndWithToken,
            UpgradesName::OutliveToken => Self::OutliveToken,
            UpgradesName::Ignore => Self::Ignore,
        }
    }
}

fn check_version(
    problems: &mut Problems,
    at: &str,
    url: &UpstreamUrl,
    protocol: Protocol,
) -> Option<HttpVersion> {
    let version = match protocol {
        Protocol::Auto => return None,
        Protocol::Http1 => HttpVersion::Http1,
        Protocol::H2 => HttpVersion::Http2,
    };
    if !url.allows(version) {
        problems.note_clash(
            &format!("{at}.protocol"),
            &format!("{at}.url"),
            "must be `h2` where the URL is h2c://",
        );
    }
    Some(version)
}

fn check_certificate(
    problems: &mut Problems,
    at: &str,
    chain_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
) -> Option<ClientCertificate> {
    match (chain_file, key_file) {
        (Some(chain_file), Some(key_file)) => Some(ClientCertificate { chain_file, key_file }),
        (Some(_), None) => {
            problems.note(
                &format!("{at}.client_certificate_file"),
                format!("needs {at}.client_key_file"),
            );
            None
        }
        (None, Some(_)) => {
            problems.note(
                &format!("{at}.client_key_file"),
                format!("needs {at}.client_certificate_file"),
            );
            None
        }
        (None, None) => None,
    }
}

/// A certificate that is checked by nobody is worse than none: the operator believes in it.
fn check_tls_is_used(problems: &mut Problems, at: &str, url: &UpstreamUrl, tls: &TlsSettings) {
    if url.is_tls() {
        return;
    }
    for (key, written) in [
        ("ca_file", tls.ca_file.is_some()),
        ("client_certificate_file", tls.client_certificate.is_some()),
        ("server_name", tls.server_name.is_some()),
    ] {
        if written {
            problems.note_clash(
                &format!("{at}.{key}"),
                &format!("{at}.url"),
                "is for an https:// application",
            );
        }
    }
}

fn check_url(problems: &mut Problems, key: &str, url: Option<&Url>) -> Option<UpstreamUrl> {
    let Some(url) = url else {
        let example = UpstreamSection::EXAMPLE_URL;
        problems
            .note(key, format!("is missing: say where the application is, such as `{example}`"));
        return None;
    };
    UpstreamUrl::new(url).map_err(|what| problems.note(key, what)).ok()
}
