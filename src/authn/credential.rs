//! What a caller presents: exactly one credential, or it is malformed.

use std::fmt;

use http::{
    HeaderMap, HeaderName,
    header::{AUTHORIZATION, COOKIE},
};

use super::rejection::Rejection;
use crate::verify::UnverifiedToken;

/// The credential of one request.
pub(crate) enum Credential<'a> {
    /// `Authorization: Bearer …` (RFC 6750 §2.1) with something in the shape of a token of Apple's.
    Token(UnverifiedToken<'a>),
    /// A bearer token that begins as ours do: it should be the access token of a session.
    Session(&'a str),
    /// What a browser's cookie holds, which is good there alone: who keeps browsers' sessions looks for it in cookies.
    Cookie(&'a str),
}

/// The name of the cookie that holds a browser's session (RFC 6265 §4.1.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionCookieName(String);

impl SessionCookieName {
    /// Takes `text` if a cookie can be called so.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        // A field name is a token, too, as a cookie's name must be.
        text.parse::<HeaderName>().is_ok().then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The values of all cookies of that name in `headers`.
    fn values<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a [u8]> {
        let lines = headers.get_all(COOKIE).iter();
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        pairs.filter_map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = pair.split_at_checked(at)?;
            (name.trim_ascii() == self.0.as_bytes()).then(|| value[1..].trim_ascii())
        })
    }
}

impl<'a> Credential<'a> {
    /// How our own tokens begin, whatever they are for.
    const OURS: &'static [u8] = b"siwa_";

    /// Finds the credential among `headers`; none if there is none. Another scheme than `Bearer` is none of ours. A cookie
    /// is one where `cookie` names it.
    ///
    /// Two `Authorization` lines are refused even if one of them is good, and so is one beside a session's cookie: a good
    /// credential must not carry a bad one to an application that reads the other.
    ///
    /// # Errors
    ///
    /// [`Rejection::SeveralCredentials`], or the token's fault when it has not the shape of a token.
    pub(crate) fn find(
        headers: &'a HeaderMap,
        cookie: Option<&'a SessionCookieName>,
    ) -> Result<Option<Self>, Rejection> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let (line, second) = (lines.next(), lines.next());
        let mut cookies = cookie.into_iter().flat_map(|cookie| cookie.values(headers));
        let (session, another) = (cookies.next(), cookies.next());
        if second.is_some() || another.is_some() || (line.is_some() && session.is_some()) {
            return Err(Rejection::SeveralCredentials);
        }
        if let Some(session) = session {
            return Ok(Some(Self::Cookie(text_of(session))));
        }
        let Some(token) = line.and_then(|line| bearer(line.as_bytes())) else { return Ok(None) };
        if token.starts_with(Self::OURS) {
            return Ok(Some(Self::Session(text_of(token))));
        }
        Ok(Some(Self::Token(UnverifiedToken::outline(token)?)))
    }
}

/// What may be odd about the one `Authorization` line of a request without a credential that we know: most often a token
/// stands there by itself. Nothing of the value is told.
pub(super) fn oddity_of(headers: &HeaderMap) -> Option<&'static str> {
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let (Some(line), None) = (lines.next(), lines.next()) else { return None };
    let is_bearer = bearer(line.as_bytes()).is_some();
    (!is_bearer).then_some("the value of Authorization does not begin with `Bearer `")
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(token) => token.fmt(f),
            Self::Session(_) => f.write_str("Session(..)"),
            Self::Cookie(_) => f.write_str("Cookie(..)"),
        }
    }
}

/// A token is ASCII; what is not becomes a character that no token has.
fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("\u{fffd}")
}

/// The exact bytes behind `Bearer` and its spaces; the scheme is case-insensitive (RFC 9110 §11.1).
fn bearer(line: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"Bearer";
    let (scheme, rest) = line.split_at_checked(SCHEME.len()).unwrap_or((line, b""));
    let separated = rest.is_empty() || rest.starts_with(b" ");
    let leading_spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    (scheme.eq_ignore_ascii_case(SCHEME) && separated).then(|| rest.split_at(leading_spaces).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(lines: &[&[u8]]) -> String {
        find_beside(lines, &[])
    }

    /// What is found in these `Authorization` lines beside these `Cookie` lines, where the session's cookie is `s`.
    fn find_beside(lines: &[&[u8]], cookies: &[&[u8]]) -> String {
        let mut headers = HeaderMap::new();
        for (name, lines) in [(AUTHORIZATION, lines), (COOKIE, cookies)] {
            for line in lines {
                headers.append(&name, http::HeaderValue::from_bytes(line).unwrap());
            }
        }
        let name = SessionCookieName::new("s").unwrap();
        match Credential::find(&headers, Some(&name)) {
            Ok(None) => "none".into(),
            Ok(Some(credential @ Credential::Token(_))) => format!("{credential:?}"),
            Ok(Some(Credential::Session(text))) => format!("session {text}"),
            Ok(Some(Credential::Cookie(text))) => format!("cookie {text}"),
            Err(rejection) => rejection.code().into(),
        }
    }

    #[test]
    fn a_bearer_that_begins_as_ours_is_of_a_session_whatever_it_is() {
        for text in ["siwa_a.AQ", "siwa_c.AQ", "siwa_r.AQ", "siwa_", "siwa_x.a.b"] {
            assert_eq!(find(&[format!("Bearer {text}").as_bytes()]), format!("session {text}"));
        }
        assert_eq!(find(&[b"Bearer Siwa_a.AQ"]), "token_malformed");
    }

    #[test]
    fn the_cookie_of_a_session_is_found_among_others_by_its_exact_name() {
        for cookies in
            [&[&b"s=siwa_c.A"[..]][..], &[b"a=1; s=siwa_c.A ;b=2"], &[b"a=1", b"s=siwa_c.A"]]
        {
            assert_eq!(find_beside(&[], cookies), "cookie siwa_c.A");
        }
        assert_eq!(find_beside(&[], &[b"s=siwa_a.A"]), "cookie siwa_a.A", "whatever it is");
        for cookies in [&b"S=siwa_c.A"[..], b"ss=siwa_c.A", b"a=s=siwa_c.A", b"s", b""] {
            assert_eq!(find_beside(&[], &[cookies]), "none");
        }
        let headers = HeaderMap::from_iter([(COOKIE, "s=siwa_c.A".parse().unwrap())]);
        assert!(Credential::find(&headers, None).unwrap().is_none(), "where no cookie is one");
    }

    #[test]
    fn a_cookie_beside_another_credential_is_one_too_many() {
        let session = &b"s=siwa_c.A"[..];
        assert_eq!(find_beside(&[], &[b"s=1; s=2"]), "several_credentials");
        assert_eq!(find_beside(&[], &[session, session]), "several_credentials");
        assert_eq!(find_beside(&[b"Bearer a.b.c"], &[session]), "several_credentials");
        assert_eq!(find_beside(&[b"Basic x"], &[session]), "several_credentials");
    }

    #[test]
    fn the_name_of_a_cookie_is_a_token_and_a_session_does_not_print() {
        assert!(SessionCookieName::new("__Host-siwa").is_some());
        for name in ["", "a b", "a=b", "a;b", "é"] {
            assert!(SessionCookieName::new(name).is_none(), "{name}");
        }
        assert_eq!(format!("{:?}", Credential::Session("siwa_a.AQ")), "Session(..)");
        assert_eq!(format!("{:?}", Credential::Cookie("siwa_c.AQ")), "Cookie(..)");
    }

    #[test]
    fn a_bearer_token_is_the_exact_bytes_after_the_scheme_in_any_case() {
        for line in ["Bearer a.b.c", "bearer a.b.c", "BEARER   a.b.c"] {
            assert_eq!(find(&[line.as_bytes()]), "UnverifiedToken { bytes: 5, .. }", "{line}");
        }
    }

    #[test]
    fn no_header_and_another_scheme_are_no_credential() {
        assert_eq!(find(&[]), "none");
        for line in ["Basic dXNlcjpwYXNz", "", "Bear", "Bearera.b.c", "Bearer\ta.b.c"] {
            assert_eq!(find(&[line.as_bytes()]), "none", "{line}");
        }
    }

    #[test]
    fn what_has_no_scheme_before_it_is_odd_and_a_bearer_is_not() {
        let oddity = |lines: &[&'static str]| {
            let lines = lines.iter().map(|line| (AUTHORIZATION, line.parse().unwrap()));
            oddity_of(&lines.collect::<HeaderMap>())
        };
        for line in ["a.b.c", "Basic x", "Bearera.b.c", ""] {
            let told = oddity(&[line]).unwrap();
            assert!(told.contains("does not begin with `Bearer `"), "{line}: {told}");
        }
        assert_eq!(
            (oddity(&[]), oddity(&["Bearer a.b.c"]), oddity(&["Bearer"])),
            (None, None, None)
        );
        assert_eq!(oddity(&["a", "b"]), None, "several are refused as such");
    }

    #[test]
    fn a_bearer_that_is_no_token_is_a_bad_token() {
        for line in
            ["Bearer", "Bearer ", "Bearer x", "Bearer a.b. c.", "Bearer a.b.c, Bearer a.b.c"]
        {
            assert_eq!(find(&[line.as_bytes()]), "token_malformed", "{line}");
        }
        assert_eq!(find(&[b"Bearer a.b\xff"]), "token_malformed");
    }

    #[test]
    fn two_credentials_are_none_too_many() {
        assert_eq!(find(&[b"Bearer a.b.c", b"Bearer a.b.c"]), "several_credentials");
        assert_eq!(find(&[b"Bearer a.b.c", b"Basic x"]), "several_credentials");
        assert_eq!(find(&[b"Basic x", b""]), "several_credentials");
    }
}
