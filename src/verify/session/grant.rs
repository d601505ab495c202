//! What Apple granted at the sign-in, which goes with the session.

use super::super::{identity::ClientId, secret::AppleRefreshToken};
use crate::clock::UnixTime;

/// What Apple granted at the sign-in. It is sealed inside refresh tokens and browsers' cookies, and never inside access
/// tokens, which travel most.
#[derive(Clone, Debug)]
pub struct AppleGrant {
    /// What to ask Apple with.
    pub refresh_token: AppleRefreshToken,
    /// The app that it was granted to: Apple takes it from no other.
    pub client_id: ClientId,
    /// When Apple last said that it holds.
    pub checked_at: UnixTime,
}
