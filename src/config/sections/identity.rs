//! `[identity]`.

use serde::{Deserialize, Serialize};

use super::{
    super::{IdentityEntry, problems::Problems},
    header_names::{HeaderNames, SettledHeaders},
};
use crate::authn::{Realm, UnverifiedEmail};

/// `[identity]`: how the application is told who it is, and how a caller is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdentitySection {
    /// The headers that are set, in any case; default `X-Apple-Sub` and `X-Apple-Email`. There are also
    /// `X-Apple-Email-Verified`, `X-Apple-Private-Email`, `X-Apple-Real-User-Status`, `X-Apple-Client-Id`,
    /// `X-Apple-Transfer-Sub` and `X-Apple-Issuer`, which `jwks.additional` implies. Each more tells the application more
    /// about a person; without the subject, the one name that never changes, it cannot tell people apart, and an empty list
    /// only keeps strangers out.
    ///
    /// For an application that believes other names already: `"oauth2-proxy"` stands for `X-Forwarded-User` (the subject) and
    /// `X-Forwarded-Email`, `"authelia"` for `Remote-User` and `Remote-Email`, `"apple"` for the default, and `"NAME=VALUE"`
    /// for a name of your own, `X-…` or `Remote-…`, and what it says: `"X-User=sub"`, or `email`, `client-id` … as above.
    ///
    /// All `X-Apple-*` names and all that are set are stripped from what callers send, and with the presets their kin, too
    /// (`X-Forwarded-Groups`, `X-Auth-Request-User`, `Remote-Groups` …).
    headers: HeaderNames,

    /// What becomes of an email address that Apple does not call verified. `leave_out`, the default: it is not forwarded,
    /// as the application would take it for the user's. `forward`: it is, with `X-Apple-Email-Verified: false` beside it,
    /// and the application must look there before it believes the address.
    #[serde(with = "UnverifiedEmailKey")]
    unverified_email: UnverifiedEmail,

    /// What a 401 asks a credential for (`WWW-Authenticate: Bearer realm="…"`); default `siwa-proxy`. Visible ASCII and
    /// spaces, without `"` and `\`. It is shown to callers and changes nothing else.
    realm: String,
}

/// How [`UnverifiedEmail`] is written.
#[derive(Serialize, Deserialize)]
#[serde(remote = "UnverifiedEmail", rename_all = "snake_case")]
enum UnverifiedEmailKey {
    LeaveOut,
    Forward,
}

impl Default for IdentitySection {
    fn default() -> Self {
        Self {
            headers: HeaderNames::default(),
            unverified_email: UnverifiedEmail::default(),
            realm: Realm::default().as_str().to_owned(),
        }
    }
}

impl IdentitySection {
    pub(super) fn check(self, problems: &mut Problems) -> Option<IdentityEntry> {
        let Self { headers, unverified_email, realm } = self;

        let SettledHeaders { ours, own } = headers.check(problems, "identity.headers");
        let realm = Realm::new(&realm);
        if realm.is_none() {
            problems
                .note("identity.realm", "must be visible ASCII and spaces, without `\"` and `\\`");
        }
        Some(IdentityEntry { headers: ours, own_headers: own, unverified_email, realm: realm? })
    }
}
