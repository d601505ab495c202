//! What callers are told of who somebody is.

use serde::Serialize;

use crate::verify::{Email, Identity, RealUserStatus, Subject};

/// What Apple may say of somebody; left out where it said nothing. The names are those of Apple's claims.
#[derive(Serialize)]
pub(super) struct PersonalClaims<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_private_email: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    real_user_status: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer_sub: Option<&'a str>,
}

impl<'a> PersonalClaims<'a> {
    /// What is told of `identity`, with this `email` address of theirs if it is told here.
    pub(super) fn of(identity: &'a Identity, email: Option<Email<'a>>) -> Self {
        Self {
            email: email.map(Email::address),
            email_verified: email.map(Email::is_verified),
            is_private_email: email.map(Email::is_private),
            real_user_status: identity.real_user_status().map(RealUserStatus::as_wire),
            transfer_sub: identity.transfer_subject().map(Subject::as_str),
        }
    }
}
