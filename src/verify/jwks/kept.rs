//! What readers see of one source: the keys that its issuer lists, and those that it has just ceased to list.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{JwkSet, KeyId, VerifyingKey, set::Adoption};

/// The keys of one source that may be used, each with the moment of its end. Swapped whole, never changed.
#[derive(Debug)]
pub(super) struct KeptSet {
    listed: JwkSet,
    leaving: Vec<Arc<VerifyingKey>>,
}

impl KeptSet {
    /// The most keys that are held within their grace: a set that never repeats a key must not fill the memory.
    const MOST_LEAVING: usize = 64;

    /// The first set of a source, to be believed until `end`.
    pub(super) fn new(listed: JwkSet, end: Instant) -> Self {
        listed.keys().for_each(|key| key.believe_until(end));
        Self { listed, leaving: Vec::new() }
    }

    /// A newer set, to be believed until `end`. Keys that both hold stay the same objects, so that verdicts leaning on
    /// them stand. A key that is not listed any more has `grace` left, from the fetch that no longer listed it; one whose
    /// name was given to another key has none.
    pub(super) fn succeed(&self, mut listed: JwkSet, end: Instant, grace: Duration) -> Self {
        let now = Instant::now();
        let grace_end = now.checked_add(grace).unwrap_or(now);
        let mut leaving = Vec::new();
        for key in self.leaving.iter().filter(|key| !key.is_withdrawn()) {
            match listed.adopt(key) {
                Adoption::Stays => {}
                Adoption::Replaced => key.withdraw(),
                Adoption::Unlisted => leaving.push(Arc::clone(key)),
            }
        }
        for key in self.listed.keys() {
            match listed.adopt(key) {
                Adoption::Unlisted if !grace.is_zero() => {
                    key.end_by(grace_end);
                    leaving.push(Arc::clone(key));
                }
                Adoption::Stays => {}
                Adoption::Replaced | Adoption::Unlisted => key.withdraw(),
            }
        }
        let excess = leaving.len().saturating_sub(Self::MOST_LEAVING);
        leaving.drain(..excess).for_each(|key| key.withdraw());
        Self { leaving, ..Self::new(listed, end) }
    }

    /// The usable key of that name.
    pub(super) fn find(&self, key_id: &KeyId) -> Option<&Arc<VerifyingKey>> {
        let leaving = || self.leaving.iter().find(|key| key.key_id() == key_id);
        self.listed.find(key_id).or_else(leaving).filter(|key| !key.is_withdrawn())
    }

    /// The keys that the issuer lists.
    pub(super) const fn listed(&self) -> &JwkSet {
        &self.listed
    }

    /// Ends all keys, and the verdicts with them.
    pub(super) fn withdraw(&self) {
        self.listed.keys().chain(&self.leaving).for_each(|key| key.withdraw());
    }
}

#[cfg(test)]
mod tests {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
    use serde_json::json;
    use tokio::time::advance;

    use super::{super::Issuer, *};

    const HOUR: Duration = Duration::from_hours(1);
    const DAY: Duration = Duration::from_hours(24);

    fn parse(keys: &[(&str, usize)]) -> JwkSet {
        let keys: Vec<_> = keys
            .iter()
            .map(|(kid, bits)| {
                let n = BASE64_URL_SAFE_NO_PAD.encode(vec![0xff; bits / 8]);
                json!({"kty": "RSA", "kid": kid, "n": n, "e": "AQAB"})
            })
            .collect();
        JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes(), &Issuer::apple()).unwrap()
    }

    fn find(set: &KeptSet, kid: &str) -> Option<Arc<VerifyingKey>> {
        set.find(&KeyId::new(kid).unwrap()).cloned()
    }

    fn after(time: Duration) -> Instant {
        Instant::now().checked_add(time).unwrap()
    }

    fn day() -> Instant {
        after(DAY)
    }

    #[tokio::test(start_paused = true)]
    async fn a_successor_keeps_what_stays_and_withdraws_what_goes() {
        let old = KeptSet::new(parse(&[("stays", 2048), ("goes", 2048), ("odd", 2048)]), day());
        let [stays, goes, renamed] = ["stays", "goes", "odd"].map(|kid| find(&old, kid).unwrap());

        let new = old.succeed(parse(&[("stays", 2048), ("odd", 4096)]), day(), Duration::ZERO);
        assert!(Arc::ptr_eq(&find(&new, "stays").unwrap(), &stays));
        assert!(!stays.is_withdrawn());
        assert!(goes.is_withdrawn());
        assert!(renamed.is_withdrawn(), "another key under the same name is another key");
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_not_listed_any_more_has_its_grace_and_no_more() {
        let old = KeptSet::new(parse(&[("stays", 2048), ("goes", 2048)]), day());
        let goes = find(&old, "goes").unwrap();
        let new = old.succeed(parse(&[("stays", 2048)]), day(), HOUR);
        advance(HOUR / 2).await;
        // A second fetch without it gives it no second grace.
        let newer = new.succeed(parse(&[("stays", 2048)]), day(), HOUR);
        assert!(Arc::ptr_eq(&find(&newer, "goes").unwrap(), &goes));
        advance(HOUR / 2).await;
        assert!(goes.is_withdrawn());
        assert!(find(&newer, "goes").is_none());
        assert!(find(&newer, "stays").is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_is_listed_again_within_its_grace_goes_on() {
        let old = KeptSet::new(parse(&[("stays", 2048), ("back", 2048)]), day());
        let back = find(&old, "back").unwrap();
        let without = old.succeed(parse(&[("stays", 2048)]), day(), HOUR);
        let with = without.succeed(parse(&[("stays", 2048), ("back", 2048)]), day(), HOUR);
        advance(2 * HOUR).await;
        assert!(Arc::ptr_eq(&find(&with, "back").unwrap(), &back));
    }

    #[tokio::test(start_paused = true)]
    async fn a_name_given_to_another_key_leaves_the_former_no_grace() {
        let old = KeptSet::new(parse(&[("name", 2048), ("other", 2048)]), day());
        let (former, other) = (find(&old, "name").unwrap(), find(&old, "other").unwrap());
        let new = old.succeed(parse(&[("name", 4096)]), day(), HOUR);
        assert!(former.is_withdrawn());
        let newer = new.succeed(parse(&[("other", 4096)]), day(), HOUR);
        assert!(other.is_withdrawn(), "nor does it when the key was leaving already");
        assert_eq!(find(&newer, "other").unwrap().bits(), 4096);
    }

    #[tokio::test(start_paused = true)]
    async fn a_grace_does_not_outlast_the_set_that_last_held_the_key() {
        let old = KeptSet::new(parse(&[("stays", 2048), ("goes", 2048)]), after(HOUR));
        let new = old.succeed(parse(&[("stays", 2048)]), day(), DAY);
        advance(HOUR).await;
        assert!(find(&new, "goes").is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn keys_within_their_grace_are_bounded() {
        let names: Vec<String> = (0..100).map(|number| format!("key-{number}")).collect();
        let keys: Vec<_> = names.iter().map(|name| (name.as_str(), 2048)).collect();
        let old = KeptSet::new(parse(&keys), day());
        let new = old.succeed(parse(&[("new", 2048)]), day(), HOUR);
        let usable = names.iter().filter(|name| find(&new, name).is_some()).count();
        assert_eq!(usable, KeptSet::MOST_LEAVING);
    }
}
