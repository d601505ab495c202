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
    pub fn apple_keys() -> Self {
        Self::pinned(Self::APPLE_KEYS)
    }

    /// Where Apple is asked for tokens.
    #[must_use]
    pub fn apple() -> Self {
        Self::pinned(Self::APPLE)
    }

    /// The address of Apple's discovery document, which says nothing that we act on: see [`CanarySettings`].
    ///
    /// [`CanarySettings`]: super::CanarySettings
    #[must_use]
    pub fn apple_discovery() -> Self {
        Self::pinned(Self::APPLE_DISCOVERY)
    }

    #[expect(clippy::expect_used, reason = "the constants, checked by a test")]
    fn pinned(constant: &str) -> Self {
        Self::new(constant.parse().expect("the constant is a URL")).expect("the constant is https")
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
