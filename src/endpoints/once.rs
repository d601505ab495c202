//! What may happen once: a nonce of ours is used, and a token signs in, if so configured. It is remembered by the store, for
//! all replicas, before anything comes of the sign-in; and forgotten if an app's comes to nothing for want of Apple.

use std::time::Duration;

use tracing::warn;

use crate::{
    authn::{Rejection, SignInFault},
    clock::UnixTime,
    store::{Applied, Record, Space, Store, Write},
    telemetry::causes,
};

/// What one sign-in uses up. It has no clones: nothing is used up by accident.
#[derive(Default)]
pub(super) struct Once {
    marks: Vec<(Space, Record)>,
}

impl Once {
    /// The clocks of replicas may differ by so much.
    const SKEW: Duration = Duration::from_mins(1);

    /// Uses up `nonce`, which ends at `end`.
    pub(super) fn nonce(&mut self, nonce: &str, end: UnixTime) {
        self.mark(Space::SpentNonces, nonce, end);
    }

    /// Uses up `token`, which is refused from `end` on.
    pub(super) fn token(&mut self, token: &str, end: UnixTime) {
        self.mark(Space::SpentTokens, token, end);
    }

    fn mark(&mut self, space: Space, text: &str, end: UnixTime) {
        let record = Record {
            // Whoever reads the store finds nothing to sign in with.
            key: blake3::hash(text.as_bytes()).to_hex().to_string(),
            value: String::new(),
            expires_at: end.saturating_add(Self::SKEW),
        };
        self.marks.push((space, record));
    }

    /// Uses all of it up, or nothing.
    ///
    /// # Errors
    ///
    /// [`SignInFault::NonceSpent`] or [`SignInFault::TokenSpent`] if it was used before; [`Rejection::StoreUnavailable`] if
    /// that cannot be told.
    pub(super) async fn spend(&self, store: &dyn Store) -> Result<(), Rejection> {
        if self.marks.is_empty() {
            return Ok(());
        }
        let insert = |(space, record): &(Space, Record)| Write::Insert(*space, record.clone());
        match store.apply(self.marks.iter().map(insert).collect()).await {
            Ok(Applied::Done) => Ok(()),
            Ok(Applied::AlreadyThere) => Err(self.spent().into()),
            Err(error) => {
                warn!(
                    cause = causes(&error),
                    "it cannot be told whether a sign-in is a repetition"
                );
                Err(Rejection::StoreUnavailable)
            }
        }
    }

    /// Either may be what is there; who repeats a token repeats its nonce.
    fn spent(&self) -> SignInFault {
        let has_nonce = self.marks.iter().any(|(space, _)| *space == Space::SpentNonces);
        if has_nonce { SignInFault::NonceSpent } else { SignInFault::TokenSpent }
    }

    /// Lets it be used again, as nothing came of it.
    pub(super) async fn give_back(self, store: &dyn Store) {
        if self.marks.is_empty() {
            return;
        }
        let delete = |(space, record): (Space, Record)| Write::Delete(space, record.key);
        let given_back = store.apply(self.marks.into_iter().map(delete).collect()).await;
        if let Err(error) = given_back {
            warn!(
                cause = causes(&error),
                "a sign-in that failed cannot be repeated with its token"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{future::ready, sync::Arc};

    use super::*;
    use crate::{
        clock::ManualClock,
        store::{Answer, Follower, Forever, MemoryStore, StoreError},
    };

    /// A store that does nothing but fail.
    #[derive(Debug)]
    struct Broken;

    impl Store for Broken {
        fn apply(&self, _: Vec<Write>) -> Answer<'_, Applied> {
            Box::pin(ready(Err(StoreError::TimedOut)))
        }

        fn list(&self, _: Space) -> Answer<'_, Vec<Record>> {
            Box::pin(ready(Err(StoreError::TimedOut)))
        }

        fn get(&self, _: Space, _: String) -> Answer<'_, Option<Record>> {
            Box::pin(ready(Err(StoreError::TimedOut)))
        }

        fn follow<'a>(&'a self, _: Space, _: &'a dyn Follower) -> Forever<'a> {
            Box::pin(std::future::pending())
        }

        fn sweep(&self) -> Answer<'_, ()> {
            Box::pin(ready(Err(StoreError::TimedOut)))
        }
    }

    const END: UnixTime = UnixTime::from_secs(1_700_000_600);

    fn token() -> Once {
        let mut once = Once::default();
        once.token("a.b.c", END);
        once
    }

    fn both() -> Once {
        let mut once = token();
        once.nonce("siwa_n.x", END);
        once
    }

    fn store() -> (ManualClock, MemoryStore) {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        (clock.clone(), MemoryStore::new(Arc::new(clock)))
    }

    async fn code(once: Once, store: &dyn Store) -> Option<&'static str> {
        once.spend(store).await.err().map(|rejection| rejection.code())
    }

    #[tokio::test]
    async fn what_cannot_be_told_is_503_and_never_a_yes() {
        let rejection = token().spend(&Broken).await.unwrap_err();
        assert_eq!((rejection.status().as_u16(), rejection.code()), (503, "store_unavailable"));
        assert_eq!(code(Once::default(), &Broken).await, None, "nothing is asked of it");
    }

    #[tokio::test]
    async fn a_token_and_a_nonce_are_used_up_together_or_not_at_all() {
        let (_, store) = store();
        assert_eq!(code(token(), &store).await, None);
        assert_eq!(code(both(), &store).await, Some("nonce_spent"));
        let mut nonce = Once::default();
        nonce.nonce("siwa_n.x", END);
        assert_eq!(code(nonce, &store).await, None, "it was not used up by who was refused");
        assert_eq!(code(token(), &store).await, Some("token_spent"));
    }

    #[tokio::test]
    async fn what_is_given_back_can_be_used_again() {
        let (_, store) = store();
        let once = both();
        once.spend(&store).await.unwrap();
        once.give_back(&store).await;
        assert_eq!(code(both(), &store).await, None);
    }

    #[tokio::test]
    async fn what_was_used_is_remembered_until_it_ends_for_the_slowest_clock_and_does_not_say_what_it_was()
     {
        let (clock, store) = store();
        token().spend(&store).await.unwrap();
        let kept = store.list(Space::SpentTokens).await.unwrap();
        assert_eq!(kept.len(), 1);
        assert!(!kept[0].key.contains("a.b.c") && kept[0].value.is_empty());
        clock.advance(Duration::from_secs(600 + 59));
        assert_eq!(code(token(), &store).await, Some("token_spent"));
        clock.advance(Duration::from_secs(1));
        assert!(store.list(Space::SpentTokens).await.unwrap().is_empty());
    }
}
