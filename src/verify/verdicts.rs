//! What was found out about tokens, remembered for as long as it can be true.
//!
//! A verdict says that signature and claims were right under this configuration. It holds no outcome of time, policy or
//! nonce: those are asked again for every request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use aws_lc_rs::{error::Unspecified, rand};
use moka::{Expiry, sync::Cache};

use super::{identity::Identity, jwks::VerifyingKey, token::UnverifiedToken};

/// A keyed digest of a token's exact bytes. The key is random for each process, so that nobody can aim for a collision.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

/// The verdict cache: bounded in entries, each entry bounded by its token's expiry and by its key's life.
#[derive(Clone, Debug)]
pub(super) struct VerdictCache {
    verdicts: Cache<TokenDigest, Verdict>,
    digest_key: [u8; 32],
}

#[derive(Clone, Debug)]
struct Verdict {
    identity: Arc<Identity>,
    key: Arc<VerifyingKey>,
    lives_for: Duration,
}

impl VerdictCache {
    pub(super) fn new(capacity: u64) -> Result<Self, Unspecified> {
        let verdicts = Cache::builder().max_capacity(capacity).expire_after(AtTokenExpiry).build();
        let mut digest_key = [0; 32];
        rand::fill(&mut digest_key)?;
        Ok(Self { verdicts, digest_key })
    }

    pub(super) fn digest(&self, token: &UnverifiedToken<'_>) -> TokenDigest {
        TokenDigest(*blake3::keyed_hash(&self.digest_key, token.as_bytes()).as_bytes())
    }

    /// Whom the token proved when it was judged, if that key is still good.
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<Identity>> {
        let verdict = self.verdicts.get(digest)?;
        (!verdict.key.is_withdrawn()).then_some(verdict.identity)
    }

    /// Remembers for `lives_for` that the token proved `identity` by `key`.
    pub(super) fn remember(
        &self,
        digest: TokenDigest,
        identity: Arc<Identity>,
        key: Arc<VerifyingKey>,
        lives_for: Duration,
    ) {
        self.verdicts.insert(digest, Verdict { identity, key, lives_for });
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// Frees the memory of a verdict when its token has expired; that it has is checked for every request besides.
struct AtTokenExpiry;

impl Expiry<TokenDigest, Verdict> for AtTokenExpiry {
    fn expire_after_create(
        &self,
        _: &TokenDigest,
        verdict: &Verdict,
        _: Instant,
    ) -> Option<Duration> {
        Some(verdict.lives_for)
    }

    fn expire_after_update(
        &self,
        _: &TokenDigest,
        verdict: &Verdict,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(verdict.lives_for)
    }
}
