//! Apple's addresses, which are pinned.

use crate::https::TrustedUrl;

impl TrustedUrl {
    /// Apple's keys (<https://developer.apple.com/documentation/signinwithapplerestapi/fetch-apple's-public-key-for-verifying-token-signature>).
    pub const APPLE_KEYS: &'static str = "https://appleid.apple.com/auth/keys";
    /// Where Apple is asked for tokens, without the path.
    pub const APPLE: &'static str = "https://appleid.apple.com";
    /// Apple's discovery document (OpenID Connect Discovery 1.0 §4).
    pub const APPLE_DISCOVERY: &'static str =
        "https://appleid.apple.com/.well-known/openid-configuration";

    /// The address of Apple's keys.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a constant, checked by a test"
    )]
    pub fn apple_keys() -> Self {
        Self::new(Self::APPLE_KEYS.parse().expect("the constant is a URL"))
            .expect("the constant is https")
    }

    /// Where Apple is asked for tokens.
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a constant, checked by a test"
    )]
    pub fn apple() -> Self {
        Self::new(Self::APPLE.parse().expect("the constant is a URL"))
            .expect("the constant is https")
    }

    /// The address of Apple's discovery document, which says nothing that we act on: see [`CanarySettings`].
    ///
    /// [`CanarySettings`]: super::CanarySettings
    #[must_use]
    #[expect(
        clippy::expect_used,
        clippy::missing_panics_doc,
        reason = "a constant, checked by a test"
    )]
    pub fn apple_discovery() -> Self {
        Self::new(Self::APPLE_DISCOVERY.parse().expect("the constant is a URL"))
            .expect("the constant is https")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_are_what_the_constants_say() {
        assert_eq!(TrustedUrl::apple_keys().as_url().as_str(), TrustedUrl::APPLE_KEYS);
        assert_eq!(TrustedUrl::apple().as_url().as_str(), "https://appleid.apple.com/");
        assert_eq!(TrustedUrl::apple_discovery().as_url().as_str(), TrustedUrl::APPLE_DISCOVERY);
    }
}
