//! Problem details (RFC 9457), the body of a refusal.

use bytes::Bytes;
use http::StatusCode;

use super::Row;
use crate::verify::{SessionFault, TokenFault};

/// Problem details (RFC 9457 §3), with our reason code as an extension member.
pub(super) struct Problem<'a> {
    title: &'static str,
    status: StatusCode,
    detail: &'a str,
    code: &'static str,
}

impl<'a> Problem<'a> {
    pub(super) const fn of(row: &Row, detail: &'a str) -> Self {
        Self { title: row.title, status: row.status, detail, code: row.code }
    }

    /// Written by hand, as a flood of forged tokens is answered with it. Only the detail may need escapes: the rest is ours.
    pub(super) fn to_json(&self) -> Bytes {
        let Self { title, status, detail, code } = self;
        let mut text = Vec::with_capacity(512);
        let write = |text: &mut Vec<u8>, pieces: &[&str]| {
            for piece in pieces {
                text.extend_from_slice(piece.as_bytes());
            }
        };
        let start = [r#"{"type":"urn:problem-type:siwa-proxy:"#, code, r#"","title":""#, title];
        write(&mut text, &start);
        write(&mut text, &[r#"","status":"#, status.as_str(), r#","detail":"#]);
        // A string: to serialise it cannot fail.
        serde_json::to_writer(&mut text, detail).unwrap_or_default();
        write(&mut text, &[r#","code":""#, code, "\"}\n"]);
        text.into()
    }
}

pub(super) const fn title_of(fault: &TokenFault) -> &'static str {
    match fault {
        TokenFault::Oversized { .. } => "The token is too long",
        TokenFault::Malformed(_) => "The token is malformed",
        TokenFault::UnsupportedHeader { .. } => "The token's header asks for what is not supported",
        TokenFault::Algorithm { .. } => "The token's algorithm is not Apple's",
        TokenFault::UnknownKey { .. } => "The token's key is not one of Apple's",
        TokenFault::Signature(_) => "The token's signature is wrong",
        TokenFault::Claim { .. } => "The token's claims are not Apple's",
        TokenFault::Issuer { .. } => "The token has another issuer",
        TokenFault::Audience { .. } => "The token is for another app",
        TokenFault::Expired { .. } => "The token has expired",
        TokenFault::NotYetValid { .. } => "The token is not valid yet",
        TokenFault::TooOld { .. } => "The token is too old",
        TokenFault::Nonce(_) => "The token is for another sign-in",
        TokenFault::CodeHash(_) => "The token is for another authorization code",
        TokenFault::AccessTokenHash(_) => "The token is for another access token",
        TokenFault::Revoked { .. } => "The sign-in was revoked",
        TokenFault::Notification => "A notification is no identity token",
        TokenFault::Session(fault) => title_of_session(fault),
    }
}

const fn title_of_session(fault: &SessionFault) -> &'static str {
    match fault {
        SessionFault::Malformed => "The token of the session is malformed",
        SessionFault::WrongKind => "The token of the session is for something else",
        SessionFault::UnknownKey => "The key of the session's token is not known",
        SessionFault::Forged => "The token of the session is forged",
        SessionFault::Expired { .. } => "The token of the session has expired",
        SessionFault::Ended => "The session has ended",
        SessionFault::Reused => "The refresh token was used before",
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Rejection, *};

    #[test]
    fn whatever_the_detail_says_the_body_is_json_with_its_members_in_their_order() {
        let row = Rejection::NoCredential.row();
        for detail in ["plain", "a \"b\" \\ \n é", ""] {
            let body = Problem::of(&row, detail).to_json();
            let body = std::str::from_utf8(&body).unwrap();
            let quoted = serde_json::to_string(detail).unwrap();
            assert_eq!(
                body,
                format!(
                    "{{\"type\":\"urn:problem-type:siwa-proxy:no_credential\",\
                     \"title\":\"Sign in with Apple is required\",\"status\":401,\
                     \"detail\":{quoted},\"code\":\"no_credential\"}}\n"
                )
            );
        }
    }
}
