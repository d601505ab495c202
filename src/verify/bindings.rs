//! What ties a token to one sign-in: the nonce that the app sent, and the authorization code or the access token that came
//! beside it.
//!
//! A verdict holds no outcome of these checks. They belong to callers who know what to expect, and they are cheap enough
//! to be asked each time.

use std::fmt;

use aws_lc_rs::{
    constant_time,
    digest::{SHA256, digest},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

use super::{
    error::{Mismatch, TokenFault},
    identity::Identity,
};

/// The nonce that a sign-in was started with (OpenID Connect Core §3.1.2.1).
///
/// It guards against replay only if our side made it, or at least sees to it that each is used once: a nonce that the
/// same caller chooses and reports proves nothing.
pub struct ExpectedNonce {
    raw: Box<str>,
    hashed: String,
}

impl ExpectedNonce {
    /// Expects `raw`, which is what was made before any hashing; `None` if it is empty, as nothing is no nonce.
    #[must_use]
    pub fn new(raw: &str) -> Option<Self> {
        let hashed = || hex(digest(&SHA256, raw.as_bytes()).as_ref());
        (!raw.is_empty()).then(|| Self { raw: raw.into(), hashed: hashed() })
    }

    /// Apple echoes what it was handed. Some clients hand over the nonce itself (Apple JS, Expo, Flutter), others its
    /// SHA-256 in lower-case hexadecimal (Firebase, Supabase, React Native): either is right.
    fn is_echoed_as(&self, claim: &str) -> bool {
        let verbatim = is_same(claim, &self.raw);
        let hashed = is_same(claim, &self.hashed);
        verbatim | hashed
    }
}

impl fmt::Debug for ExpectedNonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExpectedNonce(..)")
    }
}

impl Identity {
    /// The nonce as the token echoes it: verbatim, or hashed by the client.
    pub(crate) fn nonce(&self) -> Option<&str> {
        self.texts.get(Self::NONCE)
    }

    pub(super) fn code_hash(&self) -> Option<&str> {
        self.texts.get(Self::CODE_HASH)
    }

    fn access_token_hash(&self) -> Option<&str> {
        self.texts.get(Self::ACCESS_TOKEN_HASH)
    }

    /// Checks that the token was issued for the sign-in that `expected` started.
    ///
    /// A token without a nonce passes only if Apple says in it that the nonce could not be carried (`nonce_supported` is
    /// `false`, <https://developer.apple.com/documentation/signinwithapplerestapi/authenticating-users-with-sign-in-with-apple>).
    /// That the claim `nonce_supported` is missing excuses nothing: a refresh yields tokens with neither, and such a one
    /// could stand in for the sign-in.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Nonce`].
    pub fn check_nonce(&self, expected: &ExpectedNonce) -> Result<(), TokenFault> {
        match self.require_nonce(expected) {
            Err(TokenFault::Nonce(Mismatch::Missing)) if self.nonce_supported == Some(false) => {
                Ok(())
            }
            required => required,
        }
    }

    /// Likewise, where nothing excuses a token without a nonce: on the web, where Apple carries each, and for a nonce that
    /// must not be used twice.
    ///
    /// # Errors
    ///
    /// [`TokenFault::Nonce`].
    pub fn require_nonce(&self, expected: &ExpectedNonce) -> Result<(), TokenFault> {
        match self.nonce() {
            Some(nonce) if expected.is_echoed_as(nonce) => Ok(()),
            Some(_) => Err(TokenFault::Nonce(Mismatch::Different)),
            None => Err(TokenFault::Nonce(Mismatch::Missing)),
        }
    }

    /// Checks that the authorization `code` was issued beside the token (`c_hash`, OpenID Connect Core §3.3.2.11): the left
    /// half of the code's SHA-256. Works offline, and before the code is spent.
    ///
    /// Apple does not document the claim, but every token from an app or a browser carries it; those from the token
    /// endpoint do not, and no code comes beside those.
    ///
    /// # Errors
    ///
    /// [`TokenFault::CodeHash`].
    pub fn check_code(&self, code: &str) -> Result<(), TokenFault> {
        check_hash(self.code_hash(), code).map_err(TokenFault::CodeHash)
    }

    /// Checks that the token was issued beside `access_token` (`at_hash`, OpenID Connect Core §3.1.3.8): the left half of its
    /// SHA-256. Apple does not document the claim either; the tokens that its token endpoint issues have been seen to carry
    /// it, and no others.
    ///
    /// # Errors
    ///
    /// [`TokenFault::AccessTokenHash`].
    pub fn check_access_token(&self, access_token: &str) -> Result<(), TokenFault> {
        check_hash(self.access_token_hash(), access_token).map_err(TokenFault::AccessTokenHash)
    }
}

fn check_hash(claim: Option<&str>, text: &str) -> Result<(), Mismatch> {
    match claim {
        None => Err(Mismatch::Missing),
        Some(hash) if is_same(hash, &left_half_hash(text)) => Ok(()),
        Some(_) => Err(Mismatch::Different),
    }
}

/// How long it takes depends on the lengths alone.
fn is_same(claim: &str, expected: &str) -> bool {
    constant_time::verify_slices_are_equal(claim.as_bytes(), expected.as_bytes()).is_ok()
}

fn left_half_hash(text: &str) -> String {
    let hash = digest(&SHA256, text.as_bytes());
    let (left, _) = hash.as_ref().split_at(16);
    BASE64_URL_SAFE_NO_PAD.encode(left)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2));
    for byte in bytes {
        for digit in [byte >> 4, byte & 0xf] {
            text.extend(char::from_digit(digit.into(), 16));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::claims::fixtures::identity_with, *};

    const RAW: &str = "7d1f0a50-1d1b-4c39-9a1c-0d7e9ec9f4a2";
    /// `printf %s 7d1f0a50-… | sha256sum`
    const HASHED: &str = "57a5f0ea8ec930ab057da6e9809f3480529c4c0a137244cc279b0c728d6316a8";

    fn nonce_fault(claims: serde_json::Value) -> Option<&'static str> {
        let expected = ExpectedNonce::new(RAW).unwrap();
        match identity_with(claims).check_nonce(&expected) {
            Ok(()) => None,
            Err(TokenFault::Nonce(Mismatch::Missing)) => Some("missing"),
            Err(TokenFault::Nonce(Mismatch::Different)) => Some("different"),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_nonce_is_right_verbatim_and_as_lower_case_hex_of_its_sha_256() {
        assert_eq!(nonce_fault(json!({"nonce": RAW})), None);
        assert_eq!(nonce_fault(json!({"nonce": HASHED})), None);
        for other in [RAW.to_uppercase(), HASHED.to_uppercase(), String::new(), format!("{RAW} ")] {
            assert_eq!(nonce_fault(json!({"nonce": other})), Some("different"), "{other}");
        }
    }

    #[test]
    fn only_apples_word_that_nonces_are_not_supported_excuses_a_missing_one() {
        assert_eq!(nonce_fault(json!({"nonce_supported": true})), Some("missing"));
        assert_eq!(nonce_fault(json!({})), Some("missing"));
        assert_eq!(nonce_fault(json!({"nonce_supported": false})), None);
        assert_eq!(
            nonce_fault(json!({"nonce": "x", "nonce_supported": false})),
            Some("different"),
            "one that is there must be right"
        );
    }

    #[test]
    fn nothing_is_no_nonce_and_a_nonce_is_not_printed() {
        assert!(ExpectedNonce::new("").is_none());
        assert_eq!(format!("{:?}", ExpectedNonce::new(RAW).unwrap()), "ExpectedNonce(..)");
    }

    #[test]
    fn a_code_belongs_to_the_token_that_has_its_hash() {
        // The example of OpenID Connect Core, appendices A.4 and A.6.
        let code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk";
        let identity = identity_with(json!({"c_hash": "LDktKdoQak3Pk0cnXxCltA"}));
        assert!(identity.check_code(code).is_ok());
        for other in ["", "qcb0", code.strip_prefix('Q').unwrap()] {
            let fault = identity.check_code(other).unwrap_err();
            assert!(matches!(fault, TokenFault::CodeHash(Mismatch::Different)), "{other}");
        }
    }

    #[test]
    fn an_access_token_belongs_to_the_token_that_has_its_hash() {
        // The example of OpenID Connect Core, appendix A.3.
        let access_token = "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y";
        let identity = identity_with(json!({"at_hash": "77QmUPtjPfzWtF2AnpK9RQ"}));
        assert!(identity.check_access_token(access_token).is_ok());
        let fault = identity.check_access_token("another").unwrap_err();
        assert!(matches!(fault, TokenFault::AccessTokenHash(Mismatch::Different)));
        let fault = identity_with(json!({"c_hash": "77QmUPtjPfzWtF2AnpK9RQ"}))
            .check_access_token(access_token);
        assert_eq!(fault.unwrap_err().code(), "token_access_token_hash");
    }

    #[test]
    fn a_token_without_c_hash_came_beside_no_code() {
        let fault = identity_with(json!({"at_hash": "LDktKdoQak3Pk0cnXxCltA"})).check_code("code");
        assert_eq!(fault.unwrap_err().code(), "token_code_hash");
    }
}
