//! Another replica, as far as sessions go: whoever has the key.

use std::sync::Arc;

use siwa_proxy::{
    ClientIds, Identity, UnverifiedToken, Verifier,
    sim::token::TokenTemplate,
    verify::{HttpsJwks, SealKeys, SessionSettings, SessionTokens, Sessions, TrustedUrl},
};
use tempfile::TempDir;

use crate::support::House;

/// Keys in files, of which the first seals.
pub(super) struct Keyring {
    folder: TempDir,
    keys: SealKeys,
}

impl Keyring {
    /// Those of these numbers.
    pub(super) fn new(numbers: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (place, number) in numbers.iter().enumerate() {
            std::fs::write(folder.path().join(place.to_string()), key(*number)).unwrap();
        }
        let keys = SealKeys::parse(numbers.iter().map(|number| key(*number))).unwrap();
        Self { folder, keys }
    }

    /// The setting that names them.
    pub(super) fn setting(&self) -> String {
        let mut files: Vec<_> =
            std::fs::read_dir(self.folder.path()).unwrap().map(|it| it.unwrap().path()).collect();
        files.sort();
        format!("sessions.key_files = {files:?}")
    }

    /// Begins a session of whom a token made from `template` proves.
    pub(super) async fn begin(&self, house: &House, template: &TokenTemplate) -> SessionTokens {
        self.begin_by(SessionSettings::default(), house, template).await
    }

    /// Likewise, by other settings than ours.
    pub(super) async fn begin_by(
        &self,
        settings: SessionSettings,
        house: &House,
        template: &TokenTemplate,
    ) -> SessionTokens {
        let (_, identity) = self.prove(house, template).await;
        Sessions::new(self.keys.clone(), settings).begin(&identity, None).unwrap()
    }

    /// A verifier that believes the house's Apple and has these keys, and whom it says a token from `template` proves.
    pub(super) async fn prove(
        &self,
        house: &House,
        template: &TokenTemplate,
    ) -> (Verifier, Arc<Identity>) {
        let url = TrustedUrl::new(house.apple.jwks_url().parse().unwrap()).unwrap();
        let ids = ClientIds::new(["com.example.app", "com.example.web"]).unwrap();
        let verifier = Verifier::builder(ids)
            .jwks_source(HttpsJwks::new(url).unwrap())
            .sessions(Sessions::new(self.keys.clone(), SessionSettings::default()))
            .build()
            .unwrap();
        let token = house.apple.mint(template);
        let token = UnverifiedToken::parse(&token).unwrap();
        let identity = verifier.verify(&token).await.unwrap();
        (verifier, identity)
    }
}

/// A session of `identity`, by the verifier's own keys.
pub(super) fn begin_with(verifier: &Verifier, identity: &Identity) -> SessionTokens {
    verifier.sessions().unwrap().begin(identity, None).unwrap()
}

/// An access token in shape, by the key of these bytes' name, which nobody has.
pub(super) fn forge(name: &[u8]) -> String {
    use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};

    let bytes = [&[1][..], &name.repeat(4 / name.len()), &[7; 60]].concat();
    format!("siwa_a.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// 32 bytes of one number in base64.
fn key(number: u8) -> String {
    use base64::{Engine, prelude::BASE64_STANDARD};

    BASE64_STANDARD.encode([number; 32])
}
