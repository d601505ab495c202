//! A sign-in that is under way: what has to be known again when Apple's answer comes. We remember nothing of it; the browser
//! keeps it, sealed, in a cookie for each.

use std::time::Duration;

use aws_lc_rs::{constant_time, digest};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderMap;
use serde::{Deserialize, Serialize};

use super::{
    cookies::{self, SameSite, SetCookie},
    random::random_text,
    return_to::ReturnTo,
};
use crate::{
    clock::UnixTime,
    telemetry::Outcome,
    verify::{Purpose, SealError, SealKeys, Sealed, SessionSpan},
};

/// A sign-in under way (RFC 6749 §10.12).
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PendingSignIn {
    /// What Apple's answer repeats: it tells the sign-ins of one browser apart, and from those of others.
    pub(super) state: Box<str>,
    /// What Apple's token repeats.
    pub(super) nonce: Box<str>,
    /// Where to go then.
    pub(super) return_to: ReturnTo,
    /// The origin at which it began: the return URL, which the token endpoint compares, is there.
    pub(super) origin: Box<str>,
    /// The sessions that this browser was in, which end when the next one begins: with Apple's answer no cookie of theirs
    /// comes.
    pub(super) replaces: Vec<SessionSpan>,
    /// A digest of the [`BrowserMark`].
    browser: Box<str>,
    /// From when on it has taken too long, in seconds since 1970.
    ends_at: u64,
}

/// When and by whom a sign-in is begun.
pub(super) struct Beginning<'a> {
    /// The browser.
    pub(super) mark: &'a BrowserMark,
    /// The sessions that it is in.
    pub(super) replaces: Vec<SessionSpan>,
    /// From when on it has taken too long.
    pub(super) ends_at: UnixTime,
}

/// Why an answer belongs to no sign-in under way here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StateFault {
    /// It names no state, or none of this browser's: it was begun elsewhere, is over, or cookies do not get here.
    Unknown,
    /// The cookie is none of ours, or another browser's.
    Foreign,
    /// It took too long.
    Expired,
}

impl From<StateFault> for Outcome {
    fn from(fault: StateFault) -> Self {
        match fault {
            StateFault::Unknown => Self::StateUnknown,
            StateFault::Foreign => Self::StateForeign,
            StateFault::Expired => Self::StateExpired,
        }
    }
}

/// Tells one browser from another, by a cookie that no other host can set: `__Host-`, where the states, which are for one
/// path, cannot be. Without it a neighbour (`evil.app.example`) could set both, and have people signed in as somebody else.
pub(super) struct BrowserMark(Box<str>);

impl BrowserMark {
    const COOKIE: &str = "__Host-siwa_browser";

    /// The one that the browser has.
    pub(super) fn find(headers: &HeaderMap) -> Option<Self> {
        let value = cookies::only(headers, Self::COOKIE)?;
        // Of the length of ours: what is stuffed in here comes back with every request.
        (value.len() == random_text::<16>().len()).then(|| Self(value.into()))
    }

    /// Another one.
    pub(super) fn make() -> Self {
        Self(random_text::<16>().into())
    }

    fn digest(&self) -> Box<str> {
        let digest = digest::digest(&digest::SHA256, self.0.as_bytes());
        BASE64_URL_SAFE_NO_PAD.encode(digest).into()
    }

    /// Kept for as long as a sign-in may take from now on.
    pub(super) fn cookie(&self, max_age: Duration) -> SetCookie<'_> {
        let same_site = SameSite::None;
        SetCookie { name: Self::COOKIE, value: &self.0, path: "/", same_site, max_age }
    }
}

impl PendingSignIn {
    const PREFIX: &str = "__Secure-siwa_state_";
    /// What of the state the name of its cookie tells, in bytes.
    const NAMED_BY: usize = 8;
    const LONGEST_NAME: usize = Self::PREFIX.len() + Self::NAMED_BY;

    /// Begins one.
    pub(super) fn begin(return_to: ReturnTo, origin: &str, beginning: Beginning<'_>) -> Self {
        let Beginning { mark, replaces, ends_at } = beginning;
        Self {
            state: random_text::<16>().into(),
            nonce: random_text::<32>().into(),
            return_to,
            origin: origin.into(),
            replaces,
            browser: mark.digest(),
            ends_at: ends_at.as_secs(),
        }
    }

    /// The one that `state` names, if this browser began it and it has not taken too long.
    pub(super) fn find(
        headers: &HeaderMap,
        state: &str,
        keys: &SealKeys,
        now: UnixTime,
    ) -> Result<Self, StateFault> {
        let sealed = cookies::only(headers, &cookie_name(state)).ok_or(StateFault::Unknown)?;
        let sign_in: Self =
            keys.open(Purpose::State, sealed).map_err(|_fault| StateFault::Foreign)?;
        let mark = BrowserMark::find(headers).ok_or(StateFault::Foreign)?;
        let is_same = is_same(&sign_in.state, state) & is_same(&sign_in.browser, &mark.digest());
        if !is_same {
            return Err(StateFault::Foreign);
        }
        if sign_in.ends_at() <= now { Err(StateFault::Expired) } else { Ok(sign_in) }
    }

    /// From when on it has taken too long.
    pub(super) const fn ends_at(&self) -> UnixTime {
        UnixTime::from_secs(self.ends_at)
    }

    /// The same, in a browser that is in the session of `span` by now, and in no other.
    pub(super) fn replacing(self, span: SessionSpan) -> Self {
        Self { replaces: vec![span], ..self }
    }

    /// The name of its cookie.
    pub(super) fn cookie_name(&self) -> String {
        cookie_name(&self.state)
    }

    /// The value of its cookie.
    pub(super) fn seal(&self, keys: &SealKeys) -> Result<Sealed, SealError> {
        keys.seal(Purpose::State, self)
    }
}

/// The sign-ins that one browser has under way, in as many tabs.
pub(super) struct PendingSignIns {
    /// The oldest first.
    own: Vec<PendingSignIn>,
    /// The names of cookies that are called so, too, and are none of this browser's: a neighbour may set any number of them.
    strange: Vec<String>,
}

impl PendingSignIns {
    /// The most that there may be.
    const MOST: usize = 4;

    /// Those whose cookies are in `headers`, in the browser with this `mark`.
    pub(super) fn find(headers: &HeaderMap, mark: Option<&BrowserMark>, keys: &SealKeys) -> Self {
        let digest = mark.map(BrowserMark::digest);
        let open = |sealed: &str| {
            let sign_in: PendingSignIn = keys.open(Purpose::State, sealed).ok()?;
            is_same(&sign_in.browser, digest.as_ref()?).then_some(sign_in)
        };
        let (mut own, mut strange) = (Vec::new(), Vec::new());
        for (name, sealed) in cookies::all(headers) {
            if !name.starts_with(PendingSignIn::PREFIX) {
                continue;
            }
            match open(sealed) {
                Some(sign_in) => own.push(sign_in),
                None if name.len() <= PendingSignIn::LONGEST_NAME => strange.push(name.to_owned()),
                // As long as somebody pleases, and in nobody's way.
                None => {}
            }
        }
        own.sort_by_key(|sign_in| sign_in.ends_at);
        Self { own, strange }
    }

    /// Whether there is room for one more only if another one goes.
    pub(super) fn are_many(&self) -> bool {
        self.own.len() >= Self::MOST
    }

    /// The names of the cookies that must go so that there is room for one more: the oldest, and a few of nobody's, which
    /// take no room from anybody and are never so many that the answer grows with them.
    pub(super) fn in_the_way(&self) -> impl Iterator<Item = String> {
        let too_many = (self.own.len() + 1).saturating_sub(Self::MOST);
        let oldest = self.own.iter().take(too_many).map(PendingSignIn::cookie_name);
        oldest.chain(self.strange.iter().cloned()).take(Self::MOST)
    }

    /// All but `this` one, the oldest first.
    pub(super) fn others_than(
        self,
        this: &PendingSignIn,
    ) -> impl DoubleEndedIterator<Item = PendingSignIn> {
        self.own.into_iter().filter(|other| other.state != this.state)
    }
}

/// A cookie for each state: two tabs do not take each other's away.
fn cookie_name(state: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let start: String = state.chars().take_while(is_plain).take(PendingSignIn::NAMED_BY).collect();
    format!("{}{start}", PendingSignIn::PREFIX)
}

/// How long it takes depends on the lengths alone.
fn is_same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
