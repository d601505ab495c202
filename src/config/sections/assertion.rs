//! `[assertion]`.

use std::{fs, path::PathBuf};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::super::{AssertionSettings, Published, problems::Problems};
use crate::authn::AssertionKeys;

/// `[assertion]`: `X-Siwa-Assertion`, a signed proof for applications that want one that a request came through the proxy.
/// It is a JWT signed with ES256 that lives 60 seconds: `iss`, `aud`, `sub`, `sub_id` (whose subject it is,
/// RFC 9493), `iat`, `exp`, `jti`, and `email` with `email_verified` where `X-Apple-Email` is set. There is none
/// without a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AssertionSection {
    /// Files with a private key each, PEM with PKCS#8 on the curve P-256 (`openssl genpkey -algorithm EC -pkeyopt
    /// ec_paramgen_curve:P-256`); none by default. The first signs, and all are told at
    /// `/.well-known/siwa-proxy/jwks.json` of the admin listener. All replicas need the same. To rotate: add the new one
    /// behind, wait until the applications have fetched it, put it first, wait a minute, take out the old one.
    key_files: Vec<PathBuf>,

    /// What the proxy calls itself in `iss`; default `siwa-proxy`. Applications compare it.
    issuer: String,

    /// Whether the public keys are told on the public listener, too; default `false`. `true` for applications that cannot
    /// reach the admin listener; the path is then ours, and not the application's.
    publish: bool,
}

impl Default for AssertionSection {
    fn default() -> Self {
        Self { key_files: Vec::new(), issuer: "siwa-proxy".to_owned(), publish: false }
    }
}

impl AssertionSection {
    pub(super) fn check(self, problems: &mut Problems) -> Option<AssertionSettings> {
        let Self { key_files, issuer, publish } = self;

        if issuer.is_empty() {
            problems.note("assertion.issuer", "must not be empty");
        }
        if key_files.is_empty() {
            if publish {
                let what = "says nothing without assertion.key_files: remove it, or name a key";
                problems.note("assertion.publish", what);
            }
            return None;
        }
        let texts: Vec<_> = key_files.iter().map(|file| check_key(problems, file)).collect();
        let texts = texts.into_iter().collect::<Option<Vec<_>>>()?;
        let keys = AssertionKeys::from_pem(texts).ok()?;
        let published = if publish { Published::Everywhere } else { Published::OnAdmin };
        Some(AssertionSettings { keys, issuer: issuer.into(), published })
    }
}

/// The text of a file, if there is a key in it. Each bad one is noted, not only the first.
fn check_key(problems: &mut Problems, file: &PathBuf) -> Option<Zeroizing<Vec<u8>>> {
    let name = file.display();
    let mut note = |what: String| problems.note("assertion.key_files", what);
    let text = fs::read(file).map_err(|error| note(format!("`{name}` cannot be read: {error}")));
    let text = Zeroizing::new(text.ok()?);
    match AssertionKeys::from_pem([&*text]) {
        Ok(_) => Some(text),
        Err(error) => {
            note(format!("`{name}` {error}"));
            None
        }
    }
}
