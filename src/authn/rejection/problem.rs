//! Problem details (RFC 9457), the body of a refusal.

use bytes::Bytes;
use serde::Serialize;

use super::Row;
use crate::verify::{SessionFault, TokenFault};

/// Problem details (RFC 9457 §3), with our reason code as an extension member.
#[derive(Serialize)]
pub(super) struct Problem<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
}

impl<'a> Problem<'a> {
    pub(super) fn of(row: &Row, detail: &'a str) -> Self {
        let r#type = format!("urn:problem-type:siwa-proxy:{}", row.code);
        Self { r#type, title: row.title, status: row.status.as_u16(), detail, code: row.code }
    }

    pub(super) fn to_json(&self) -> Bytes {
        // Strings and a number: serialising them cannot fail, and an empty body would still carry the status.
        let mut text = serde_json::to_vec(self).unwrap_or_default();
        text.push(b'\n');
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
