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
    verify::{Purpose, SealError, SealKeys, Sealed},
};

/// A sign-in under way (RFC 6749 §10.12).
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct SignIn {
    /// What Apple's answer repeats: it tells the sign-ins of one browser apart, and from those of others.
    pub(super) state: Box<str>,
    /// What Apple's token repeats.
    pub(super) nonce: Box<str>,
    /// Where to go then.
    pub(super) return_to: ReturnTo,
    /// The origin at which it began: the return URL, which the token endpoint compares, is there.
    pub(super) origin: Box<str>,
    /// A digest of the [`BrowserMark`].
    browser: Box<str>,
    /// When it began, in seconds since 1970.
    started_at: u64,
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

impl StateFault {
    /// What the log and the metrics call it.
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Unknown => "state_unknown",
            Self::Foreign => "state_foreign",
            Self::Expired => "state_expired",
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

    /// The one that the browser has, or another.
    pub(super) fn find_or_make(headers: &HeaderMap) -> Self {
        Self::find(headers).unwrap_or_else(|| Self(random_text::<16>().into()))
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

impl SignIn {
    /// The sign-ins that one browser may have under way, in as many tabs: the oldest goes for the next.
    pub(super) const MOST: usize = 4;

    const PREFIX: &str = "__Secure-siwa_state_";

    /// Begins one in the browser with this `mark`.
    pub(super) fn begin(
        return_to: ReturnTo,
        origin: &str,
        mark: &BrowserMark,
        now: UnixTime,
    ) -> Self {
        Self {
            state: random_text::<16>().into(),
            nonce: random_text::<32>().into(),
            return_to,
            origin: origin.into(),
            browser: mark.digest(),
            started_at: now.as_secs(),
        }
    }

    /// The one that `state` names, if this browser began it less than `limit` ago.
    pub(super) fn find(
        headers: &HeaderMap,
        state: &str,
        keys: &SealKeys,
        now: UnixTime,
        limit: Duration,
    ) -> Result<Self, StateFault> {
        let sealed = cookies::only(headers, &cookie_name(state)).ok_or(StateFault::Unknown)?;
        let sign_in: Self =
            keys.open(Purpose::State, sealed).map_err(|_fault| StateFault::Foreign)?;
        let mark = BrowserMark::find(headers).ok_or(StateFault::Foreign)?;
        let is_same = is_same(&sign_in.state, state) & is_same(&sign_in.browser, &mark.digest());
        if !is_same {
            return Err(StateFault::Foreign);
        }
        if now.saturating_since(UnixTime::from_secs(sign_in.started_at)) > limit {
            return Err(StateFault::Expired);
        }
        Ok(sign_in)
    }

    /// The name of its cookie.
    pub(super) fn cookie_name(&self) -> String {
        cookie_name(&self.state)
    }

    /// The value of its cookie.
    pub(super) fn seal(&self, keys: &SealKeys) -> Result<Sealed, SealError> {
        keys.seal(Purpose::State, self)
    }

    /// The names of the cookies that must go so that there is room for one more: those of nobody first, then the oldest.
    pub(super) fn in_the_way(headers: &HeaderMap, keys: &SealKeys) -> Vec<String> {
        let ours = cookies::all(headers).filter(|(name, _)| name.starts_with(Self::PREFIX));
        let started_at = |sealed: &str| {
            keys.open(Purpose::State, sealed).map_or(0, |sign_in: Self| sign_in.started_at)
        };
        let mut ours: Vec<_> =
            ours.map(|(name, sealed)| (started_at(sealed), name.to_owned())).collect();
        ours.sort();
        let too_many = (ours.len() + 1).saturating_sub(Self::MOST);
        ours.into_iter().take(too_many).map(|(_, name)| name).collect()
    }
}

/// A cookie for each state: two tabs do not take each other's away.
fn cookie_name(state: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let start: String = state.chars().take_while(is_plain).take(8).collect();
    format!("{}{start}", SignIn::PREFIX)
}

/// How long it takes depends on the lengths alone.
fn is_same(one: &str, other: &str) -> bool {
    constant_time::verify_slices_are_equal(one.as_bytes(), other.as_bytes()).is_ok()
}
