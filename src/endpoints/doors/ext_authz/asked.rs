//! The request that Envoy asks about.

use http::{HeaderMap, Uri, request::Parts};

use super::OriginalRequest;
use crate::{authn::Rejection, upstream::Host};

/// A client's request, as the gateway holds it in its hands.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) original: OriginalRequest<'static>,
    /// Its headers: the credential, and whatever a client may have made up.
    pub(super) headers: HeaderMap,
}

impl Asked {
    /// What the HTTP form asks about: the request at hand, but for what stands before its path.
    ///
    /// # Errors
    ///
    /// [`Rejection::BadRequest`] when that is no request.
    pub(super) fn behind(prefix: &str, head: Parts) -> Result<Self, Rejection> {
        let target = target_behind(prefix, &head.uri).unwrap_or_default();
        let host = Host::asked_for(&head.uri, &head.headers)?;
        let original = OriginalRequest::at_host(host, head.method, target.as_bytes())?;
        Ok(Self { original, headers: head.headers })
    }
}

/// Path and query behind `prefix`.
fn target_behind<'a>(prefix: &str, uri: &'a Uri) -> Option<&'a str> {
    uri.path_and_query()?.as_str().strip_prefix(prefix)
}

/// Whether `path` is a target behind `prefix`.
pub(super) fn is_behind(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/') || rest == "*")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_whatever_the_gateway_wrote_behind_the_prefix() {
        for (path, is_one) in [
            ("/door/", true),
            ("/door/a?b", true),
            ("/door//a", true),
            ("/door/../a", true),
            ("/door*", true),
            ("/door", false),
            ("/doors", false),
            ("/door*a", false),
            ("/Door/", false),
            ("//door/", false),
        ] {
            assert_eq!(is_behind("/door", path), is_one, "{path}");
        }
        let target =
            |uri: &'static str| target_behind("/door", &Uri::from_static(uri)).map(str::to_owned);
        assert_eq!(target("/door/a%2Fb?c=/door/").as_deref(), Some("/a%2Fb?c=/door/"));
        assert_eq!(target("/door/?x").as_deref(), Some("/?x"));
        assert_eq!(target("http://a/door/b").as_deref(), Some("/b"));
    }
}
