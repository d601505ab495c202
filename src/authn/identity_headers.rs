//! The headers that tell the application who it is, and the only ones who may set them: us.
//!
//! What can be set is always stripped, in every spelling, whether it is set or not. The names are one list, so that no
//! header can be set that is not also stripped.

use std::sync::{Arc, Once};

use http::{HeaderMap, HeaderName, HeaderValue};
use tracing::warn;

use super::assertion::Assertion;
use crate::{
    telemetry::Metrics,
    verify::{Email, Identity},
};

/// A header that we may ever set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityHeader {
    /// The subject: who it is.
    Subject,
    /// The email address; by default only if Apple says that it is verified.
    Email,
    /// Whether the email address is verified: `true` or `false`.
    EmailVerified,
    /// Whether the email address is one of Apple's relay: `true` or `false`.
    PrivateEmail,
    /// 0, 1 or 2: how likely a human is.
    RealUserStatus,
    /// The app that the token was issued to.
    ClientId,
    /// The subject before an app transfer.
    TransferSubject,
    /// Who vouches for the subject, which is unique for its issuer only. It matters where there are several.
    Issuer,
    /// A signed assertion of who it is. It is set where there is an [`Assertion`] to make one with.
    Assertion,
}

impl IdentityHeader {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Subject,
        Self::Email,
        Self::EmailVerified,
        Self::PrivateEmail,
        Self::RealUserStatus,
        Self::ClientId,
        Self::TransferSubject,
        Self::Issuer,
        Self::Assertion,
    ];

    /// The field name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Subject => "x-apple-sub",
            Self::Email => "x-apple-email",
            Self::EmailVerified => "x-apple-email-verified",
            Self::PrivateEmail => "x-apple-private-email",
            Self::RealUserStatus => "x-apple-real-user-status",
            Self::ClientId => "x-apple-client-id",
            Self::TransferSubject => "x-apple-transfer-sub",
            Self::Issuer => "x-apple-issuer",
            Self::Assertion => "x-siwa-assertion",
        }
    }

    fn named(self) -> (HeaderName, Self) {
        (HeaderName::from_static(self.name()), self)
    }
}

/// What becomes of an email address that Apple does not call verified (managed accounts have such).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnverifiedEmail {
    /// It is left out: the application would take it for the user's.
    #[default]
    LeaveOut,
    /// It is forwarded, with `X-Apple-Email-Verified: false` beside it.
    Forward,
}

/// Names of the application's own for what our headers say: what it believes already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnHeaders {
    /// The names that are set, and what each of them says.
    pub set: Vec<(HeaderName, IdentityHeader)>,
    /// Names that are never set, and stripped: the application would believe them just as well.
    pub stripped: Vec<HeaderName>,
}

impl OwnHeaders {
    fn has(&self, name: &str) -> bool {
        let set = self.set.iter().map(|(name, _)| name);
        set.chain(&self.stripped).any(|own| reads_as(name, own.as_str()))
    }
}

/// The proof that a request's headers were stripped, which only [`IdentityHeaders::strip`] gives: setting without stripping is
/// not on offer.
#[derive(Debug)]
pub struct Stripped(());

/// Which headers are set, and how.
#[derive(Clone, Debug)]
pub struct IdentityHeaders {
    /// The names that are set, those of the application's own among them.
    set: Vec<(HeaderName, IdentityHeader)>,
    own: OwnHeaders,
    unverified_email: UnverifiedEmail,
    assertion: Option<Assertion>,
    metrics: Metrics,
    /// Whether the log was told that an address was left out.
    told: Arc<Once>,
}

impl IdentityHeaders {
    /// The headers that are set unless asked otherwise.
    pub const DEFAULT: [IdentityHeader; 2] = [IdentityHeader::Subject, IdentityHeader::Email];

    /// Sets the headers `set`, and strips them all.
    #[must_use]
    pub fn new(
        set: impl Into<Vec<IdentityHeader>>,
        unverified_email: UnverifiedEmail,
        metrics: Metrics,
    ) -> Self {
        let (own, told) = (OwnHeaders::default(), Arc::new(Once::new()));
        let set = set.into().into_iter().map(IdentityHeader::named).collect();
        let mut headers = Self { set, own, unverified_email, assertion: None, metrics, told };
        if unverified_email == UnverifiedEmail::Forward {
            headers.add(IdentityHeader::EmailVerified);
        }
        headers
    }

    /// Sets `header` besides, under our own name.
    fn add(&mut self, header: IdentityHeader) {
        let named = header.named();
        if !self.set.contains(&named) {
            self.set.push(named);
        }
    }

    /// Sets the headers of `own` besides, and strips them like all others.
    #[must_use]
    pub fn with_own(mut self, own: OwnHeaders) -> Self {
        self.set.extend(own.set.iter().cloned());
        Self { own, ..self }
    }

    /// Sets [`IdentityHeader::Assertion`] besides, made by `assertion`.
    #[must_use]
    pub fn with_assertion(mut self, assertion: Assertion) -> Self {
        self.assertion = Some(assertion);
        self.add(IdentityHeader::Assertion);
        self
    }

    /// Removes every identity header in every spelling that some application might read as one.
    pub fn strip(&self, headers: &mut HeaderMap) -> Stripped {
        // Hardly any request carries one, so that nothing is allocated until one does.
        while let Some(name) = headers.keys().find(|name| self.is_ours(name)).cloned() {
            self.metrics.spoofed_headers_stripped.inc();
            headers.remove(name);
        }
        Stripped(())
    }

    /// The names of all identity headers in every spelling, where somebody else is to remove them.
    pub(crate) fn spoofed_in(&self, headers: &HeaderMap) -> Vec<HeaderName> {
        let mut spoofed = Vec::new();
        for name in headers.keys().filter(|name| self.is_ours(name)) {
            self.metrics.spoofed_headers_stripped.inc();
            spoofed.push(name.clone());
        }
        spoofed
    }

    fn is_ours(&self, name: &HeaderName) -> bool {
        is_identity_name(name.as_str()) || self.own.has(name.as_str())
    }

    /// Strips, then sets what `identity` says.
    pub fn replace(&self, headers: &mut HeaderMap, identity: &Identity) {
        let stripped = self.strip(headers);
        self.set(stripped, headers, identity);
    }

    /// Sets what `identity` says in `headers`, once they have been stripped.
    pub fn set(&self, _: Stripped, headers: &mut HeaderMap, identity: &Identity) {
        for (name, header) in &self.set {
            if let Some(value) = self.value(*header, identity) {
                headers.insert(name, value);
            }
        }
    }

    /// The email address of `identity`, if anybody is told it: by default only if Apple calls it verified.
    #[must_use]
    pub fn email_of<'a>(&self, identity: &'a Identity) -> Option<Email<'a>> {
        identity.email().filter(|email| self.may_forward(*email))
    }

    fn value(&self, header: IdentityHeader, identity: &Identity) -> Option<HeaderValue> {
        let email = self.email_of(identity);
        match header {
            IdentityHeader::Subject => HeaderValue::from_str(identity.subject().as_str()).ok(),
            IdentityHeader::Email => self.email_value(email?),
            IdentityHeader::EmailVerified => Some(flag(email?.is_verified())),
            IdentityHeader::PrivateEmail => Some(flag(email?.is_private())),
            IdentityHeader::RealUserStatus => {
                Some(u16::from(identity.real_user_status()?.as_wire()).into())
            }
            IdentityHeader::ClientId => HeaderValue::from_str(identity.client_id().as_str()).ok(),
            IdentityHeader::TransferSubject => {
                HeaderValue::from_str(identity.transfer_subject()?.as_str()).ok()
            }
            IdentityHeader::Issuer => HeaderValue::from_str(identity.issuer().as_str()).ok(),
            IdentityHeader::Assertion => {
                let email = email.filter(|_| self.tells_email());
                self.assertion.as_ref()?.of(identity, email)
            }
        }
    }

    fn tells_email(&self) -> bool {
        self.set.iter().any(|(_, header)| *header == IdentityHeader::Email)
    }

    fn may_forward(&self, email: Email<'_>) -> bool {
        email.is_verified() || self.unverified_email == UnverifiedEmail::Forward
    }

    /// An address outside visible ASCII has no agreed form in a header, so that it is left out and the request goes on.
    fn email_value(&self, email: Email<'_>) -> Option<HeaderValue> {
        let legal = email.address().bytes().all(|byte| byte.is_ascii_graphic());
        if !legal {
            self.metrics.emails_left_out.inc();
            self.told.call_once(|| {
                warn!("an email address is no header field value and left out; further ones are counted alone");
            });
            return None;
        }
        HeaderValue::from_str(email.address()).ok()
    }
}

const fn flag(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "true" } else { "false" })
}

/// All of them begin so, and hardly anything else does.
const BEGINNINGS: [&str; 2] = ["x-apple-", "x-siwa-"];

fn is_identity_name(name: &str) -> bool {
    let begins = |with: &&str| name.get(..with.len()).is_some_and(|start| reads_as(start, with));
    // Most names differ in the first letter, and each name of each request is looked at.
    name.starts_with(['x', 'X'])
        && BEGINNINGS.iter().any(begins)
        && IdentityHeader::ALL.iter().any(|header| reads_as(name, header.name()))
}

/// Whether some application reads the field name `name` as `canonical`, which is in lower case.
///
/// CGI (RFC 3875 §4.1.18) and its heirs (WSGI, Rack, PHP) turn a field name into a variable by writing `_` for what is no
/// letter or digit: to them `x_apple_sub` and `x.apple.sub` are `x-apple-sub`.
pub(crate) fn reads_as(name: &str, canonical: &str) -> bool {
    let same = |(byte, wanted): (u8, u8)| {
        byte.eq_ignore_ascii_case(&wanted) || (wanted == b'-' && !byte.is_ascii_alphanumeric())
    };
    name.len() == canonical.len() && name.bytes().zip(canonical.bytes()).all(same)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::verify::fixtures::identity_with;

    #[test]
    fn every_spelling_of_every_name_is_stripped() {
        let headers = IdentityHeaders::new(
            IdentityHeaders::DEFAULT,
            UnverifiedEmail::LeaveOut,
            Metrics::new(),
        );
        for header in IdentityHeader::ALL {
            let name = header.name();
            assert!(BEGINNINGS.iter().any(|beginning| name.starts_with(beginning)));
            for spelling in [
                name.to_owned(),
                name.to_uppercase(),
                name.replace('-', "_"),
                name.replacen('-', "_", 1),
                name.replace('-', "."),
            ] {
                let mut map = HeaderMap::new();
                map.append(
                    spelling.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_static("spoof"),
                );
                map.append(
                    spelling.parse::<HeaderName>().unwrap(),
                    HeaderValue::from_static("again"),
                );
                map.append("accept", HeaderValue::from_static("*/*"));
                headers.strip(&mut map);
                assert_eq!(map.len(), 1, "{spelling}");
            }
        }
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in ["x-apple", "x-apple-subject", "apple-sub", "x-apple-sub-x", "xxapple-sub"] {
            assert!(!is_identity_name(name), "{name}");
        }
    }

    #[test]
    fn an_address_that_is_left_out_is_counted_each_time_and_logged_once_without_it() {
        let (metrics, log) = (Metrics::new(), tempfile::NamedTempFile::new().unwrap());
        let headers = IdentityHeaders::new(
            IdentityHeaders::DEFAULT,
            UnverifiedEmail::LeaveOut,
            metrics.clone(),
        );
        let claims = json!({"email": "jäne@example.com", "email_verified": true});
        let identity = identity_with(claims);
        let lines = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap())).finish();
        tracing::subscriber::with_default(lines, || {
            for _ in 0..3 {
                let mut map = HeaderMap::new();
                headers.clone().replace(&mut map, &identity);
                assert!(map.contains_key("x-apple-sub") && !map.contains_key("x-apple-email"));
            }
        });
        assert_eq!(metrics.emails_left_out.get(), 3);
        let log = std::fs::read_to_string(log.path()).unwrap();
        assert_eq!(log.matches("left out").count(), 1, "{log}");
        assert!(!log.contains("jäne") && !log.contains("example"), "{log}");
    }
}
