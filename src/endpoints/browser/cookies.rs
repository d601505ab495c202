//! Our cookies, read and written (RFC 6265bis).
//!
//! A `Cookie` line does not tell who set a cookie, for which host and path, or how. What it cannot tell, names do: browsers
//! take `__Host-…` from this host alone, over TLS, for all its paths, and `__Secure-…` over TLS alone (§4.1.3). A name that
//! comes twice was set by somebody else, too, and is nobody's word.

use std::{fmt, time::Duration};

use http::{HeaderMap, HeaderValue, header::COOKIE};

/// The cookies in `headers`: names and values as they came. Around them are spaces and tabs and
/// nothing else: whoever trims what looks like a space in some alphabet finds `__Host-…` where the browser saw another name.
pub(super) fn all(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let lines = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
    // Pair by pair: what an application put into a cookie of its own costs nobody their session.
    let pairs = lines.flat_map(|line| line.split(|byte| *byte == b';'));
    let pairs = pairs.filter_map(|pair| str::from_utf8(pair).ok()?.split_once('='));
    pairs.map(|(name, value)| (trimmed(name), trimmed(value)))
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The value of the one cookie called `name`; none if there are several.
pub(super) fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = all(headers).filter(|(found, _)| *found == name).map(|(_, value)| value);
    let first = values.next();
    first.filter(|_| values.next().is_none())
}

/// With which requests a browser sends a cookie (§4.1.2.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SameSite {
    /// With those of our own pages, and when somebody comes here from elsewhere by a link.
    Lax,
    /// With all: Apple's answer is a POST from Apple's page.
    None,
}

/// A cookie to be set. All of them are for this host, for TLS, and for no script.
#[derive(Clone, Copy, Debug)]
pub(super) struct SetCookie<'a> {
    pub(super) name: &'a str,
    pub(super) value: &'a str,
    pub(super) path: &'a str,
    pub(super) same_site: SameSite,
    pub(super) max_age: Duration,
}

impl SetCookie<'_> {
    /// The header value; none if the value is no cookie's.
    pub(super) fn render(&self) -> Option<HeaderValue> {
        let is_legal = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte);
        if !self.value.bytes().all(is_legal) {
            return None;
        }
        let mut value = HeaderValue::try_from(self.to_string()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Display for SetCookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, value, path, same_site, max_age } = self;
        let same_site = match same_site {
            SameSite::Lax => "Lax",
            SameSite::None => "None",
        };
        let max_age = max_age.as_secs();
        write!(
            f,
            "{name}={value}; Path={path}; Max-Age={max_age}; HttpOnly; Secure; SameSite={same_site}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&[u8]]) -> HeaderMap {
        lines.iter().map(|line| (COOKIE, HeaderValue::from_bytes(line).unwrap())).collect()
    }

    #[test]
    fn a_cookie_is_found_wherever_it_stands() {
        for lines in [
            &[&b"__Host-a=1"[..]][..],
            &[b"x=y; __Host-a=1"],
            &[b"x=y;__Host-a=1;z"],
            &[b"x=y", b"__Host-a=1"],
            &[b"__Host-a = 1 ;\tx=y"],
            &[b"__host-a=2; __Host-a=1; __Host-A=3"],
            &["name=Jos\u{e9}; __Host-a=1".as_bytes()],
            &[b"name=Jos\xe9; __Host-a=1"],
        ] {
            assert_eq!(only(&headers(lines), "__Host-a"), Some("1"), "{lines:?}");
        }
        assert_eq!(only(&headers(&[b"a=b=c=="]), "a"), Some("b=c=="));
    }

    #[test]
    fn a_cookie_that_comes_twice_or_under_a_name_that_looks_the_same_is_none() {
        for lines in [
            &[&b"__Host-a=1; __Host-a=1"[..]][..],
            &[b"__Host-a=1", b"__Host-a=2"],
            &[b"x__Host-a=1"],
            &[b"__Host-a"],
            &[b"=__Host-a=1"],
            &["\u{2003}__Host-a=1".as_bytes()],
            &[b"\xa0__Host-a=1"],
            &[b"$Version=1; x=\"y; __Host-b=1\""],
            &[],
        ] {
            assert_eq!(only(&headers(lines), "__Host-a"), None, "{lines:?}");
        }
    }

    #[test]
    fn what_is_set_is_for_this_host_for_tls_and_for_no_script() {
        let cookie = SetCookie {
            name: "__Host-a",
            value: "b",
            path: "/",
            same_site: SameSite::Lax,
            max_age: Duration::from_mins(1),
        };
        let expected = "__Host-a=b; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax";
        assert_eq!(cookie.render().unwrap(), expected);
        for value in ["a b", "a;b", "a,b", "a\"b", "a\\b", "a\r\nb", "é"] {
            assert!(SetCookie { value, ..cookie }.render().is_none(), "{value:?}");
        }
    }
}
