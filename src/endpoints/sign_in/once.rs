//! What may happen once: a nonce of ours is used, and a token signs in, if so configured. It is remembered by the store, for
//! all replicas, before anything comes of the sign-in; and forgotten if nothing comes of it for want of Apple.

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
                warn!(cause = causes(&error), "it cannot be told whether a sign-in is a repetition");
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
            warn!(cause = causes(&error), "a sign-in that failed cannot be repeated with its token");
        }
    }
}
