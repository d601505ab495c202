//! Where a browser goes once it has signed in: somewhere on an origin of ours, and nowhere else.

use serde::{Deserialize, Serialize};
use url::Url;

use super::origin::Origins;

/// A place of ours: a path and its query, behind one of our origins if it was written so. It is a `Location` as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ReturnTo(Box<str>);

impl ReturnTo {
    /// The longest that is remembered, in bytes: it travels in a cookie, and with as many as there are sign-ins under way.
    const LONGEST: usize = 512;

    /// Where to go when nothing better is known.
    pub(super) fn home() -> Self {
        Self("/".into())
    }

    /// Takes `text` if it leads to one of `origins`, and not into `own_path`, where signing in would lead to signing in.
    ///
    /// Browsers read a URL more generously than anybody writes one: they drop tabs and line breaks, and take `\` for `/`. So
    /// what holds any of these is nothing to go to, encoded or not being no question: nobody here decodes.
    pub(super) fn parse(text: &str, origins: &Origins, own_path: &str) -> Option<Self> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        if !is_plain || text.len() > Self::LONGEST || text.contains('#') {
            return None;
        }
        let origin = origins.iter().find(|own| text.starts_with(own.as_str()));
        let path = origin.map_or(text, |own| text.get(own.as_str().len()..).unwrap_or_default());
        let is_ours = origins.iter().all(|own| stays_at(path, own.as_str(), own_path));
        (path.starts_with('/') && is_ours).then(|| Self(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whether a browser at `origin` that is sent to `path` stays there, and outside `own_path`: by the same reading as the
/// browser's own (<https://url.spec.whatwg.org/>), not by ours.
fn stays_at(path: &str, origin: &str, own_path: &str) -> bool {
    let Ok(origin) = Url::parse(origin) else { return false };
    let Ok(url) = origin.join(path) else { return false };
    let inside = url.path().strip_prefix(own_path);
    url.origin() == origin.origin()
        && !url.path().starts_with("//")
        && !inside.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::{super::origin::Origin, *};

    fn parse(text: &str) -> Option<ReturnTo> {
        let origins = ["https://app.example", "https://other.example:8443"].map(Origin::new);
        ReturnTo::parse(text, &Origins::new(origins), "/auth/apple")
    }

    #[test]
    fn a_place_of_ours_is_gone_to_as_it_was_written() {
        for place in [
            "/",
            "/a?b=c&d=%2F%2Fevil.example",
            "/a//b",
            "/%2F%2Fevil.example",
            "/%5C%5Cevil.example",
            "/?url=https://evil.example/",
            "/@evil.example",
            "/.well-known/x",
            "/auth/apples",
            "/auth/apple-pie",
            "https://app.example/a?b",
            "https://other.example:8443/",
        ] {
            assert_eq!(parse(place).as_ref().map(ReturnTo::as_str), Some(place), "{place}");
        }
        let longest = format!("/{}", "a".repeat(ReturnTo::LONGEST - 1));
        assert!(parse(&longest).is_some());
        assert!(parse(&format!("{longest}a")).is_none());
    }

    #[test]
    fn nobody_is_sent_anywhere_else() {
        for trick in [
            "",
            "a",
            "?a",
            "evil.example",
            "//evil.example",
            "///evil.example",
            "////evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "\\\\evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "\t//evil.example",
            " //evil.example",
            "/ /evil.example",
            "/\r\nSet-Cookie: a=b",
            "/\u{0}",
            "/\u{a0}/evil.example",
            "/\u{ff0f}evil.example",
            "/é",
            "/.//evil.example",
            "/a/..//evil.example",
            "/%2e//evil.example",
            "https://evil.example/",
            "http://app.example/",
            "HTTPS://app.example/",
            "https:app.example/",
            "https:/app.example/",
            "https:///app.example/",
            "https://app.example",
            "https://app.example.evil/",
            "https://app.example@evil.example/",
            "https://app.example:443@evil.example/",
            "https://app.example:443/",
            "https://app.example//evil.example",
            "https://app.example/\\evil.example",
            "https://app.example?/",
            "https://user@app.example/",
            "https://other.example/",
            "javascript:alert(1)",
            "javascript://app.example/%0aalert(1)",
            "data:text/html,x",
            "/#/x",
            "/auth/apple",
            "/auth/apple/logout",
            "/x/../auth/apple/login",
            "/auth/./apple/start",
            "https://app.example/auth/apple/login?return_to=/",
        ] {
            assert_eq!(parse(trick), None, "{trick:?}");
        }
    }
}
