//! What a caller presents: exactly one credential, or it is malformed.

use http::{HeaderMap, header::AUTHORIZATION};

use super::rejection::Rejection;
use crate::verify::UnverifiedToken;

/// The credential of one request.
#[derive(Debug)]
pub(crate) enum Credential<'a> {
    /// `Authorization: Bearer …` (RFC 6750 §2.1) with something in the shape of a token.
    Bearer(UnverifiedToken<'a>),
}

impl<'a> Credential<'a> {
    /// Finds the credential among `headers`; none if there is none. Another scheme than `Bearer` is none of ours.
    ///
    /// Two `Authorization` lines are refused even if one of them is good: a good credential must not carry a bad one to
    /// an application that reads the other.
    ///
    /// # Errors
    ///
    /// [`Rejection::SeveralCredentials`], or the token's fault when it has not the shape of a token.
    pub(crate) fn find(headers: &'a HeaderMap) -> Result<Option<Self>, Rejection> {
        let mut lines = headers.get_all(AUTHORIZATION).iter();
        let Some(line) = lines.next() else { return Ok(None) };
        if lines.next().is_some() {
            return Err(Rejection::SeveralCredentials);
        }
        let Some(token) = bearer(line.as_bytes()) else { return Ok(None) };
        // A token is ASCII; what is not becomes a character that no token has.
        let token = std::str::from_utf8(token).unwrap_or("\u{fffd}");
        Ok(Some(Self::Bearer(UnverifiedToken::parse(token)?)))
    }
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
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(AUTHORIZATION, http::HeaderValue::from_bytes(line).unwrap());
        }
        match Credential::find(&headers) {
            Ok(None) => "none".into(),
            Ok(Some(Credential::Bearer(token))) => format!("{token:?}"),
            Err(rejection) => rejection.code().into(),
        }
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
    fn a_bearer_that_is_no_token_is_a_bad_token() {
        for line in ["Bearer", "Bearer ", "Bearer x", "Bearer a.b.c ", "Bearer a.b.c, Bearer a.b.c"]
        {
            assert_eq!(find(&[line.as_bytes()]), "token_malformed", "{line}");
        }
        assert_eq!(find(&[b"Bearer a.b.\xff"]), "token_malformed");
    }

    #[test]
    fn two_credentials_are_none_too_many() {
        assert_eq!(find(&[b"Bearer a.b.c", b"Bearer a.b.c"]), "several_credentials");
        assert_eq!(find(&[b"Bearer a.b.c", b"Basic x"]), "several_credentials");
        assert_eq!(find(&[b"Basic x", b""]), "several_credentials");
    }
}
