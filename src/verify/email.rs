//! The email address that Apple told.

use std::fmt;

/// An address from a signed token. `Debug` does not show it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Email<'a> {
    pub(super) address: &'a str,
    pub(super) verified: bool,
    pub(super) private: bool,
}

impl<'a> Email<'a> {
    /// The address as Apple wrote it; it may hold any characters.
    #[must_use]
    pub const fn address(self) -> &'a str {
        self.address
    }

    /// Whether Apple says that the address is the user's (`email_verified`); managed accounts may have others.
    #[must_use]
    pub const fn is_verified(self) -> bool {
        self.verified
    }

    /// Whether it is an address of Apple's private email relay (`is_private_email`). Only the claim tells, not the domain.
    #[must_use]
    pub const fn is_private(self) -> bool {
        self.private
    }
}

impl fmt::Debug for Email<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Email")
            .field("verified", &self.verified)
            .field("private", &self.private)
            .finish_non_exhaustive()
    }
}
