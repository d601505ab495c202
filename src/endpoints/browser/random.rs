//! What nobody can guess.

use aws_lc_rs::rand;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

/// `N` random bytes, in base64url.
pub(super) fn random_text<const N: usize>() -> String {
    let mut bytes = [0; N];
    #[expect(
        clippy::expect_used,
        reason = "the operating system's generator, which TLS needs, too"
    )]
    rand::fill(&mut bytes).expect("there is randomness");
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
