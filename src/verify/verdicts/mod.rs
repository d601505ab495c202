//! What was found out about tokens, remembered for as long as it can be true.
//!
//! A verdict says that signature and claims were right under this configuration. It holds no outcome of time, policy or
//! nonce: those are asked again for every request.

mod doorkeeper;

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
use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

use self::doorkeeper::Doorkeeper;
use super::{claims::ClaimRules, identity::Identity, jwks::VerifyingKey, token::UnverifiedToken};
use crate::{
    clock::Clock,
    telemetry::{EvictionLabels, Metrics},
};

/// A keyed digest of a token's exact bytes.
///
/// It is the tag that AES-128-GCM gives data of which nothing is encrypted: GHASH, a universal hash. Two tokens of 8 KiB
/// have the same one for at most one in 2^118 keys, whoever chose them, for as long as nobody sees a tag; and none leaves
/// this folder. So the key is random for each cache, and that the nonce is always the same tells nobody anything. A
/// cryptographic hash would take five times as long.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenDigest([u8; 16]);

impl TokenDigest {
    /// Half of it is as good as a hash of it.
    fn half(&self) -> u64 {
        self.0.first_chunk().map_or(0, |half| u64::from_ne_bytes(*half))
    }
}

impl Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.half());
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
    capacity: u64,
    entries: Arc<Entries>,
    doorkeeper: Arc<Doorkeeper>,
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
        let (leaving, evictions) = (Arc::clone(&entries), Evictions::counted_by(metrics));
        let on_removal = move |_: Arc<TokenDigest>, _: Verdict, cause: RemovalCause| {
            leaving.leave();
            evictions.count(cause);
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
        let doorkeeper = Arc::new(Doorkeeper::of(capacity));
        let digest_key = Arc::new(LessSafeKey::new(digest_key));
        Ok(Self { verdicts, capacity, entries, doorkeeper, digest_key })
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

    /// Whom the token proved when it was judged, if that key is still good; otherwise it is forgotten.
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<Identity>> {
        let verdict = self.verdicts.get(digest)?;
        if verdict.key.is_withdrawn() {
            self.verdicts.invalidate(digest);
            return None;
        }
        Some(verdict.identity)
    }

    /// Remembers that the token proved `identity` by `key`.
    ///
    /// A full cache remembers a token that comes a second time: those that come once, however many, push nobody out, and
    /// cost nothing but their verification.
    pub(super) fn remember(
        &self,
        digest: TokenDigest,
        identity: Arc<Identity>,
        key: Arc<VerifyingKey>,
    ) {
        if self.admits(&digest) {
            self.entries.enter();
            self.verdicts.insert(digest, Verdict { identity, key });
        }
    }

    /// Any while there is room; in a full cache, one whose token was judged before.
    fn admits(&self, digest: &TokenDigest) -> bool {
        match self.capacity {
            0 => false,
            most => self.entries.count() < most || self.doorkeeper.note(digest.half()),
        }
    }
}

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(..)")
    }
}

/// The counters of evictions, looked up once: a family finds them under a lock.
struct Evictions {
    expired: Counter,
    size: Counter,
}

impl Evictions {
    fn counted_by(metrics: &Metrics) -> Self {
        let caused_by = |cause| {
            metrics.verdict_cache_evictions.get_or_create(&EvictionLabels { cause }).clone()
        };
        Self { expired: caused_by("expired"), size: caused_by("size") }
    }

    /// Counts one; not if the verdict made room for a newer one about the same token, or went with its key.
    fn count(&self, cause: RemovalCause) {
        let counter = match cause {
            RemovalCause::Expired => &self.expired,
            RemovalCause::Size => &self.size,
            RemovalCause::Explicit | RemovalCause::Replaced => return,
        };
        counter.inc();
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

    fn count(&self) -> u64 {
        u64::try_from(self.own.load(Ordering::Relaxed)).unwrap_or(0)
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
