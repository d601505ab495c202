//! What was found out about tokens, remembered for as long as it can be true.
//!
//! A verdict says that signature and claims were right under this configuration. It holds no outcome of time, policy or
//! nonce: those are asked again for every request.

use std::{
    hash::{BuildHasherDefault, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    error::Unspecified,
};
use moka::{Expiry, notification::RemovalCause, sync::Cache};
use prometheus_client::metrics::gauge::Gauge;

use super::{claims::ClaimRules, identity::Identity, jwks::VerifyingKey, token::UnverifiedToken};
use crate::{
    clock::Clock,
    telemetry::{EvictionLabels, Metrics},
};

/// A keyed digest of a token's exact bytes.
///
/// It is the tag that AES-128-GCM gives data of which nothing is encrypted: GHASH, a universal hash. Two tokens of 8 KiB
/// have the same one for at most one in 2^118 keys, whoever chose them, for as long as nobody sees a tag; and none leaves
/// this file. So the key is random for each cache, and that the nonce is always the same tells nobody anything. A
/// cryptographic hash would take five times as long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenDigest([u8; 16]);

impl Hash for TokenDigest {
    /// Half of it is as good as a hash of it.
    fn hash<H: Hasher>(&self, state: &mut H) {
        if let Some(half) = self.0.first_chunk() {
            state.write_u64(u64::from_ne_bytes(*half));
        }
    }
}

/// Takes the one number that it is given for the hash.
#[derive(Clone, Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let fold = |hash: u64, byte: &u8| hash.rotate_left(8) ^ u64::from(*byte);
        self.0 = bytes.iter().fold(self.0, fold);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }
}

/// Bytes.
const AES_128_GCM_KEY: usize = 16;

/// The verdict cache: bounded in entries, each entry bounded by its token's expiry and by its key's life.
#[derive(Clone, Debug)]
pub(super) struct VerdictCache {
    verdicts: Cache<TokenDigest, Verdict, BuildHasherDefault<AsItIs>>,
    entries: Arc<Entries>,
    digest_key: Arc<LessSafeKey>,
}

#[derive(Clone, Debug)]
struct Verdict {
    identity: Arc<Identity>,
    key: Arc<VerifyingKey>,
}

impl VerdictCache {
    pub(super) fn new(
        capacity: u64,
        ends: AtTokenExpiry,
        metrics: &Metrics,
    ) -> Result<Self, Unspecified> {
        let entries = Arc::new(Entries::counted_by(metrics.verdict_cache_entries.clone()));
        let (leaving, evictions) = (Arc::clone(&entries), metrics.verdict_cache_evictions.clone());
        let on_removal = move |_: Arc<TokenDigest>, _: Verdict, cause: RemovalCause| {
            leaving.leave();
            if let Some(cause) = told_of(cause) {
                evictions.get_or_create(&EvictionLabels { cause }).inc();
            }
        };
        let verdicts = Cache::builder()
            .max_capacity(capacity)
            .expire_after(ends)
            .eviction_listener(on_removal)
            .build_with_hasher(BuildHasherDefault::default());
        let mut digest_key = [0; AES_128_GCM_KEY];
        // Asked for the first time, aws-lc would test its source of randomness for 40 ms before it answered.
        getrandom::fill(&mut digest_key).map_err(|_no_randomness| Unspecified)?;
        let digest_key = UnboundKey::new(&AES_128_GCM, &digest_key)?;
        Ok(Self { verdicts, entries, digest_key: Arc::new(LessSafeKey::new(digest_key)) })
    }

    /// What the token is remembered by.
    ///
    /// # Errors
    ///
    /// Never in practice: tokens are shorter than what the algorithm takes.
    pub(super) fn digest(&self, token: &UnverifiedToken<'_>) -> Result<TokenDigest, Unspecified> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let aad = Aad::from(token.as_bytes());
        let tag = self.digest_key.seal_in_place_separate_tag(nonce, aad, &mut [])?;
        tag.as_ref().try_into().map(TokenDigest).map_err(|_of_another_length| Unspecified)
    }

    /// Whom the token proved when it was judged, if that key is still good.
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<Identity>> {
        let verdict = self.verdicts.get(digest)?;
        (!verdict.key.is_withdrawn()).then_some(verdict.identity)
    }

    /// Remembers that the token proved `identity` by `key`.
    pub(super) fn remember(
        &self,
        digest: TokenDigest,
        identity: Arc<Identity>,
        key: Arc<VerifyingKey>,
    ) {
        self.entries.enter();
        self.verdicts.insert(digest, Verdict { identity, key });
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// What an eviction is called; none for a verdict that made room for a newer one about the same token.
const fn told_of(cause: RemovalCause) -> Option<&'static str> {
    match cause {
        RemovalCause::Expired => Some("expired"),
        RemovalCause::Size => Some("size"),
        RemovalCause::Explicit | RemovalCause::Replaced => None,
    }
}

/// How many verdicts one cache holds, as a part of what all caches hold; they leave the sum together with their cache.
#[derive(Debug)]
struct Entries {
    own: AtomicI64,
    all: Gauge,
}

impl Entries {
    const fn counted_by(all: Gauge) -> Self {
        Self { own: AtomicI64::new(0), all }
    }

    fn enter(&self) {
        self.own.fetch_add(1, Ordering::Relaxed);
        self.all.inc();
    }

    fn leave(&self) {
        self.own.fetch_sub(1, Ordering::Relaxed);
        self.all.dec();
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        self.all.dec_by(*self.own.get_mut());
    }
}

/// Frees the memory of a verdict when its token has expired; that it has is checked for every request besides.
pub(super) struct AtTokenExpiry {
    pub(super) rules: Arc<ClaimRules>,
    pub(super) clock: Arc<dyn Clock>,
}

impl AtTokenExpiry {
    fn remaining(&self, verdict: &Verdict) -> Duration {
        self.rules.refused_from(&verdict.identity).saturating_since(self.clock.now())
    }
}

impl Expiry<TokenDigest, Verdict> for AtTokenExpiry {
    fn expire_after_create(
        &self,
        _: &TokenDigest,
        verdict: &Verdict,
        _: Instant,
    ) -> Option<Duration> {
        Some(self.remaining(verdict))
    }

    fn expire_after_update(
        &self,
        _: &TokenDigest,
        verdict: &Verdict,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(self.remaining(verdict))
    }
}
