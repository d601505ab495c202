//! The origins at which browsers sign in: what the operator wrote, never what a request says.

use std::sync::Arc;

use http::{HeaderValue, uri::Authority};

/// One origin of ours (RFC 6454), as browsers write it: `https://app.example`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    text: Box<str>,
    default_port: u16,
}

impl Origin {
    /// The origin `text`, which is known to be one as browsers write it.
    pub(crate) fn new(text: &str) -> Self {
        let default_port = if text.starts_with("https:") { 443 } else { 80 };
        Self { text: text.into(), default_port }
    }

    /// As browsers write it.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether requests for `host`, with or without a port, are for this origin.
    fn is_of(&self, host: &Authority) -> bool {
        let own = self.text.split_once("://").map_or("", |(_, authority)| authority);
        let Ok(own) = own.parse::<Authority>() else { return false };
        let port = |authority: &Authority| authority.port_u16().unwrap_or(self.default_port);
        own.host().eq_ignore_ascii_case(host.host()) && port(&own) == port(host)
    }
}

/// A list of origins. That at which people sign in is never empty; that of others which are trusted may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origins(Arc<[Origin]>);

impl Origins {
    pub(crate) fn new(origins: impl IntoIterator<Item = Origin>) -> Self {
        Self(origins.into_iter().collect())
    }

    /// The one that requests for `host` are for. No cookie is set for any other host, and nobody is sent there.
    pub(super) fn at(&self, host: &str) -> Option<&Origin> {
        let host = host.parse().ok()?;
        self.0.iter().find(|origin| origin.is_of(&host))
    }

    /// Whether an `Origin` header names one of them.
    pub(super) fn has(&self, origin: &HeaderValue) -> bool {
        self.iter().any(|own| own.as_str().as_bytes() == origin.as_bytes())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Origin> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_of_an_origin_with_the_same_port_and_of_no_other() {
        let origins =
            Origins::new(["https://app.example", "http://localhost:8080"].map(Origin::new));
        for (host, origin) in [
            ("app.example", Some("https://app.example")),
            ("APP.example:443", Some("https://app.example")),
            ("localhost:8080", Some("http://localhost:8080")),
            ("app.example:80", None),
            ("app.example:8443", None),
            ("localhost", None),
            ("evil.example", None),
            ("app.example.evil", None),
            ("x.app.example", None),
            ("", None),
        ] {
            assert_eq!(origins.at(host).map(Origin::as_str), origin, "{host}");
        }
    }
}
