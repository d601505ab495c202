//! One request head meets the verifier: the single decision behind every door.

mod body;
mod credential;
mod identity_headers;
mod layer;
mod rejection;

use std::{sync::Arc, time::Duration};

use http::HeaderMap;

use self::credential::Credential;
pub use self::{
    body::RejectionBody,
    identity_headers::{IdentityHeader, IdentityHeaders, UnverifiedEmail},
    layer::{RequireIdentity, RequireIdentityLayer},
    rejection::{Realm, Rejection},
};
use crate::verify::{Identity, Verifier};

/// Decides who sends a request.
#[derive(Clone, Debug)]
pub struct Authenticator {
    verifier: Verifier,
    realm: Realm,
}

impl Authenticator {
    /// Decides by `verifier`; asks for credentials in the name of `realm`.
    #[must_use]
    pub const fn new(verifier: Verifier, realm: Realm) -> Self {
        Self { verifier, realm }
    }

    /// Says who sends the request with these `headers`.
    ///
    /// # Errors
    ///
    /// A [`Rejection`] when nobody is proved, or when that could not be told.
    pub async fn require(&self, headers: &HeaderMap) -> Result<Arc<Identity>, Rejection> {
        match Credential::find(headers)? {
            Some(Credential::Bearer(token)) => Ok(self.verifier.verify(&token).await?),
            None => Err(Rejection::NoCredential),
        }
    }

    /// How long `identity` will still be taken for unexpired.
    #[must_use]
    pub fn remaining(&self, identity: &Identity) -> Duration {
        self.verifier.remaining(identity)
    }

    /// What the challenge of a rejection names.
    #[must_use]
    pub const fn realm(&self) -> &Realm {
        &self.realm
    }
}
