//! What Apple granted at the sign-in, which goes with the session.

use std::fmt;

use zeroize::Zeroizing;

use super::super::identity::ClientId;
use crate::clock::UnixTime;

/// Apple's refresh token: it says at Apple whether the sign-in still holds, and is what is revoked when the account is
/// deleted. It does not print, and memory that held it is wiped.
#[derive(Clone, PartialEq, Eq)]
pub struct AppleRefreshToken(Zeroizing<String>);

impl AppleRefreshToken {
    /// Takes `text` as Apple wrote it.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, for Apple alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AppleRefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppleRefreshToken(..)")
    }
}

/// What Apple granted at the sign-in. It is sealed inside refresh tokens and browsers' cookies, and never inside access
/// tokens, which travel most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppleGrant {
    /// What to ask Apple with.
    pub refresh_token: AppleRefreshToken,
    /// The app that it was granted to: Apple takes it from no other.
    pub client_id: ClientId,
    /// When Apple last said that it holds.
    pub checked_at: UnixTime,
}
