//! Authorization codes (RFC 6749 §4.1): each stands for one sign-in, is good for five minutes, and is taken once.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use thiserror::Error;

use crate::clock::UnixTime;

use super::{
    consents::{Consent, Relay},
    people::Person,
    token::TokenTemplate,
};

/// How long a code is good.
pub(super) const CODE_LIFETIME: Duration = Duration::from_mins(5);

/// Codes that are remembered, taken ones included; older ones are forgotten.
const REMEMBERED: usize = 1000;

/// What a person granted an app by signing in to it: what a code, and the refresh token for it, stand for.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// Who may redeem the code.
    pub(super) client_id: String,
    /// Where the code was sent; native apps get theirs without.
    pub(super) redirect_uri: Option<String>,
    /// Who signed in.
    pub(super) person: Person,
    /// On what they agreed. Once it no longer stands, nothing of this grant does.
    pub(super) consent: Consent,
    /// What the request carried, for the claim of that name.
    pub(super) nonce: Option<String>,
    /// When they signed in: `auth_time`.
    pub(super) at: UnixTime,
}

impl Grant {
    /// An identity token about this sign-in, without a hash claim: it says neither what code nor what access token it
    /// stands beside.
    pub(super) fn identity_token(&self) -> TokenTemplate {
        let plain = TokenTemplate::no_email()
            .without("c_hash")
            .audience(&self.client_id)
            .subject(&self.person.subject)
            .claim("auth_time", self.at.as_secs());
        let template = match &self.nonce {
            Some(nonce) => plain.nonce(nonce),
            None => plain,
        };
        match &self.consent.address {
            Some((email, relay)) => with_email(template, email, *relay, &self.person),
            None => template,
        }
    }
}

fn with_email(
    template: TokenTemplate,
    email: &str,
    relay: Relay,
    person: &Person,
) -> TokenTemplate {
    // A managed account, which has no relay, has an address that Apple did not verify.
    let verified = person.relay_email.is_some();
    let template = template.claim("email", email).claim("email_verified", verified);
    match relay {
        Relay::Yes => template.claim("is_private_email", true),
        Relay::No => template,
    }
}

/// Why a code buys nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum CodeFault {
    /// Never issued, or too long ago to be remembered.
    #[error("no such code")]
    Unknown,
    /// Another app's.
    #[error("the code was issued to another client")]
    OtherClient,
    /// Older than five minutes.
    #[error("the code has expired")]
    Expired,
    /// Somebody has redeemed it.
    #[error("the code has been used")]
    Used,
    /// Its `redirect_uri` was another, or there was none, or there was one and it is not repeated.
    #[error("the code was sent elsewhere")]
    OtherRedirectUri,
    /// Whoever signed in has withdrawn their consent since.
    #[error("the consent was withdrawn")]
    Withdrawn,
}

/// Every code of late.
#[derive(Debug, Default)]
pub(super) struct AuthorizationCodes(Mutex<VecDeque<Issued>>);

#[derive(Debug)]
struct Issued {
    code: String,
    grant: Grant,
    used: bool,
}

impl AuthorizationCodes {
    /// A new code for `grant`, of the form of Apple's.
    pub(super) fn issue(&self, grant: Grant) -> String {
        let code = opaque('c');
        let mut codes = self.lock();
        if codes.len() == REMEMBERED {
            codes.pop_front();
        }
        codes.push_back(Issued { code: code.clone(), grant, used: false });
        code
    }

    /// What `code` stands for, this once. A refused attempt does not use it up.
    pub(super) fn redeem(
        &self,
        code: &str,
        client_id: &str,
        redirect_uri: Option<&str>,
        now: UnixTime,
    ) -> Result<Grant, CodeFault> {
        let mut codes = self.lock();
        let issued =
            codes.iter_mut().find(|issued| issued.code == code).ok_or(CodeFault::Unknown)?;
        issued.check(client_id, redirect_uri, now)?;
        issued.used = true;
        Ok(issued.grant.clone())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Issued>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Issued {
    fn check(
        &self,
        client_id: &str,
        redirect_uri: Option<&str>,
        now: UnixTime,
    ) -> Result<(), CodeFault> {
        if self.grant.client_id != client_id {
            return Err(CodeFault::OtherClient);
        }
        if self.used {
            return Err(CodeFault::Used);
        }
        if now >= self.grant.at.saturating_add(CODE_LIFETIME) {
            return Err(CodeFault::Expired);
        }
        if self.grant.redirect_uri.as_deref() != redirect_uri {
            return Err(CodeFault::OtherRedirectUri);
        }
        Ok(())
    }
}

/// A text that means nothing to whoever holds it, as Apple's look: `c` begins a code, `a` an access token, `r` a refresh
/// token.
pub(super) fn opaque(kind: char) -> String {
    let letters: String = (0..4).map(|_| fastrand::lowercase()).collect();
    let tail: String = (0..22).map(|_| fastrand::alphanumeric()).collect();
    format!("{kind}{:032x}.0.{letters}.{tail}", fastrand::u128(..))
}

#[cfg(test)]
mod tests {
    use super::{
        super::consents::{Consents, EmailChoice, Scopes},
        *,
    };

    const APP: &str = "com.example.app";
    const THERE: Option<&str> = Some("https://app.example/callback");
    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn grant(redirect_uri: Option<&str>) -> Grant {
        let person = Person::jane();
        let scopes = Scopes::NAME_AND_EMAIL;
        let (consent, _) = Consents::default().give(&person, APP, scopes, EmailChoice::Share);
        Grant {
            client_id: APP.to_owned(),
            redirect_uri: redirect_uri.map(str::to_owned),
            person,
            consent,
            nonce: Some("n-1".to_owned()),
            at: NOW,
        }
    }

    #[test]
    fn a_code_is_taken_once_by_its_client_within_five_minutes() {
        let codes = AuthorizationCodes::default();
        let code = codes.issue(grant(THERE));
        let redeem = |client_id, redirect_uri, after| {
            let now = NOW.saturating_add(Duration::from_secs(after));
            codes.redeem(&code, client_id, redirect_uri, now).map(|grant| grant.person.subject)
        };
        assert_eq!(redeem("com.example.web", THERE, 0), Err(CodeFault::OtherClient));
        assert_eq!(redeem(APP, THERE, 300), Err(CodeFault::Expired));
        assert_eq!(redeem(APP, None, 0), Err(CodeFault::OtherRedirectUri));
        assert_eq!(redeem(APP, THERE, 299), Ok(Person::jane().subject));
        assert_eq!(redeem(APP, THERE, 299), Err(CodeFault::Used));
        assert_eq!(
            codes.redeem("c0", APP, None, NOW).map(drop),
            Err(CodeFault::Unknown),
            "a code that nobody issued"
        );
    }

    #[test]
    fn a_native_code_was_sent_nowhere() {
        let codes = AuthorizationCodes::default();
        let code = codes.issue(grant(None));
        assert_eq!(
            codes.redeem(&code, APP, THERE, NOW).map(drop),
            Err(CodeFault::OtherRedirectUri)
        );
        codes.redeem(&code, APP, None, NOW).unwrap();
    }

    #[test]
    fn only_the_last_thousand_codes_are_remembered() {
        let codes = AuthorizationCodes::default();
        let issued: Vec<String> = (0..=REMEMBERED).map(|_| codes.issue(grant(None))).collect();
        assert_eq!(codes.redeem(&issued[0], APP, None, NOW).map(drop), Err(CodeFault::Unknown));
        codes.redeem(&issued[1], APP, None, NOW).unwrap();
    }

    #[test]
    fn a_code_has_the_form_of_apples() {
        let parts: Vec<usize> = opaque('c').split('.').map(str::len).collect();
        assert_eq!(parts, [33, 1, 4, 22]);
    }
}
