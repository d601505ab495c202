//! `[identity]`.

use serde::{Deserialize, Serialize};

use super::super::problems::Problems;
use crate::authn::{IdentityHeader, IdentityHeaders, Realm, UnverifiedEmail};

/// `[identity]`: how the application is told who it is, and how a caller is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct IdentitySection {
    /// The headers that are set, in any case; default `X-Apple-Sub` and `X-Apple-Email`. There are also
    /// `X-Apple-Email-Verified`, `X-Apple-Private-Email`, `X-Apple-Real-User-Status`, `X-Apple-Client-Id`,
    /// `X-Apple-Transfer-Sub` and `X-Apple-Issuer`, which `jwks.additional` implies. All of them are stripped from what
    /// callers send, set or not. Each more tells the application more about a person; without `X-Apple-Sub`, the one
    /// name that never changes, it cannot tell people apart, and an empty list only keeps strangers out.
    headers: Vec<String>,

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
            headers: IdentityHeaders::DEFAULT.map(spelled).into(),
            unverified_email: UnverifiedEmail::default(),
            realm: Realm::default().as_str().to_owned(),
        }
    }
}

/// What `[identity]` settles.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) headers: Vec<IdentityHeader>,
    pub(super) unverified_email: UnverifiedEmail,
    pub(super) realm: Realm,
}

impl IdentitySection {
    pub(super) fn check(self, problems: &mut Problems) -> Option<Checked> {
        let Self { headers, unverified_email, realm } = self;

        let mut settled: Vec<IdentityHeader> = Vec::with_capacity(headers.len());
        for header in headers.iter().filter_map(|name| check_header(problems, name)) {
            if !settled.contains(&header) {
                settled.push(header);
            }
        }
        let realm = Realm::new(&realm);
        if realm.is_none() {
            problems
                .note("identity.realm", "must be visible ASCII and spaces, without `\"` and `\\`");
        }
        Some(Checked { headers: settled, unverified_email, realm: realm? })
    }
}

fn check_header(problems: &mut Problems, name: &str) -> Option<IdentityHeader> {
    let named = |header: &IdentityHeader| header.name().eq_ignore_ascii_case(name);
    match IdentityHeader::ALL.into_iter().find(named) {
        Some(IdentityHeader::Assertion) => {
            let name = spelled(IdentityHeader::Assertion);
            problems.note("identity.headers", format!("`{name}` is reserved: remove it"));
            None
        }
        None => {
            let what = format!("`{name}` is no identity header: there are {}", settable());
            problems.note("identity.headers", what);
            None
        }
        known => known,
    }
}

fn settable() -> String {
    let may_be_set = |header: &IdentityHeader| *header != IdentityHeader::Assertion;
    let names: Vec<String> =
        IdentityHeader::ALL.into_iter().filter(may_be_set).map(spelled).collect();
    names.join(", ")
}

/// The name as people write it: `X-Apple-Sub`.
fn spelled(header: IdentityHeader) -> String {
    let mut at_start = true;
    let spell = |c: char| {
        let spelled = if at_start { c.to_ascii_uppercase() } else { c };
        at_start = c == '-';
        spelled
    };
    header.name().chars().map(spell).collect()
}
