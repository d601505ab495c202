//! Why Apple did not do what it was asked, and whose fault that is.

use std::{error::Error, fmt, sync::Arc};

use crate::verify::{Fault, Printable};

/// Why Apple did not do what it was asked. The first two variants are never mixed up with the last two: *no* is not *we could
/// not tell*.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppleFault {
    /// Apple said no, and would again.
    #[error("Apple refuses it: {error}{}", because(.description.as_ref()))]
    Refused {
        /// Its reason.
        error: AppleError,
        /// What it says besides, which is for people.
        description: Option<ErrorDescription>,
    },
    /// Apple knows the app by its key, and not the code together with the `redirect_uri` that was sent with it: the code was
    /// sent elsewhere, or is from the web and came without one.
    #[error("Apple refuses the code: it was sent to another redirect_uri")]
    OtherRedirectUri,
    /// Nothing was asked: no client secret could be signed.
    #[error("no client secret could be signed")]
    Unsigned,
    /// Apple could not be asked, or did not answer as documented. It may be otherwise later.
    #[error("Apple's answer cannot be had")]
    Unavailable(#[from] Unavailable),
}

fn because(description: Option<&ErrorDescription>) -> String {
    description.map_or_else(String::new, |text| format!(" ({text})"))
}

/// Apple's reasons (RFC 6749 §5.2,
/// <https://developer.apple.com/documentation/signinwithapplerestapi/errorresponse>).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AppleError {
    /// `invalid_request`: a parameter is missing, unknown or there twice, or the person withdrew consent meanwhile.
    InvalidRequest,
    /// `invalid_client`: the client secret is no good. The key was revoked or belongs to another team, the Team ID or Key ID
    /// is wrong, the client id is none of the key's group, or our clock is wrong. (It is Apple's word for another `redirect_uri`,
    /// too: see [`AppleFault::OtherRedirectUri`].)
    InvalidClient,
    /// `invalid_grant`: the code was used, has expired or is another app's; or the refresh token was revoked. The person has
    /// to sign in again.
    InvalidGrant,
    /// `unauthorized_client`: this app may not ask for this.
    UnauthorizedClient,
    /// `unsupported_grant_type`.
    UnsupportedGrantType,
    /// `invalid_scope`.
    InvalidScope,
    /// What Apple did not say yet when this was written.
    Other(Printable),
}

impl AppleError {
    pub(super) fn from_wire(name: &str) -> Self {
        match name {
            "invalid_request" => Self::InvalidRequest,
            "invalid_client" => Self::InvalidClient,
            "invalid_grant" => Self::InvalidGrant,
            "unauthorized_client" => Self::UnauthorizedClient,
            "unsupported_grant_type" => Self::UnsupportedGrantType,
            "invalid_scope" => Self::InvalidScope,
            other => Self::Other(Printable::new(other)),
        }
    }

    /// The name on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope => "invalid_scope",
            Self::Other(name) => name.as_str(),
        }
    }
}

impl fmt::Display for AppleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What Apple says about a refusal, as far as it can be shown: 200 visible ASCII characters at most, and no word as long as
/// a code or a token, lest it repeats ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorDescription(Box<str>);

impl ErrorDescription {
    const MOST_WORDS: usize = 30;
    const LONGEST_WORD: usize = 30;
    const LONGEST: usize = 200;

    pub(super) fn new(foreign: &str) -> Option<Self> {
        let show = |word: &str| match word.len() {
            ..=Self::LONGEST_WORD => Printable::new(word).as_str().to_owned(),
            _ => "...".to_owned(),
        };
        let words = foreign.split_whitespace().take(Self::MOST_WORDS).map(show);
        let mut text = words.collect::<Vec<_>>().join(" ");
        text.truncate(Self::LONGEST);
        (!text.is_empty()).then(|| Self(text.into()))
    }
}

impl fmt::Display for ErrorDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How asking Apple failed. Only these are worth another try, and of a code not even these: see
/// [`AppleFault::is_uncertain`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// There was no connection to be had.
    #[error("Apple cannot be reached")]
    Unreachable(#[source] Arc<dyn Error + Send + Sync>),
    /// The connection broke before the answer was whole.
    #[error("the connection to Apple broke")]
    Interrupted(#[source] Arc<dyn Error + Send + Sync>),
    /// There was no answer in time.
    #[error("Apple did not answer in time")]
    TimedOut,
    /// Another status than those that mean something.
    #[error("Apple answered with status {0}")]
    Status(u16),
    /// We asked too often (status 429).
    #[error("Apple was asked too often")]
    Throttled,
    /// A web page, whatever the status: Apple's edge answers so in trouble, and so do captive portals.
    #[error("Apple answered with an HTML page")]
    Html,
    /// Compressed, which we did not ask for: 64 KiB of it could be any length.
    #[error("Apple answered with a content encoding that was not asked for")]
    ContentEncoding,
    /// Longer than any answer.
    #[error("Apple's answer has more than {limit} bytes")]
    Oversized {
        /// The most that is read, in bytes.
        limit: usize,
    },
    /// Not what is documented.
    #[error("Apple's answer is not what is documented")]
    Malformed(#[source] Arc<dyn Error + Send + Sync>),
}

impl Unavailable {
    pub(super) fn malformed(what: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Malformed(Arc::from(what.into()))
    }
}

impl AppleFault {
    /// The stable reason code, for programs: clients, logs and metrics.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Refused { error, .. } => match error {
                AppleError::InvalidRequest => "apple_invalid_request",
                AppleError::InvalidClient => "apple_invalid_client",
                AppleError::InvalidGrant => "apple_invalid_grant",
                AppleError::UnauthorizedClient => "apple_unauthorized_client",
                AppleError::UnsupportedGrantType => "apple_unsupported_grant_type",
                AppleError::InvalidScope => "apple_invalid_scope",
                AppleError::Other(_) => "apple_other_error",
            },
            Self::OtherRedirectUri => "apple_other_redirect_uri",
            Self::Unsigned => "client_secret_unsigned",
            Self::Unavailable(unavailable) => match unavailable {
                Unavailable::Unreachable(_) => "apple_unreachable",
                Unavailable::Interrupted(_) => "apple_interrupted",
                Unavailable::TimedOut => "apple_timed_out",
                Unavailable::Status(_) => "apple_status",
                Unavailable::Throttled => "apple_throttled",
                Unavailable::Html => "apple_html",
                Unavailable::ContentEncoding => "apple_content_encoding",
                Unavailable::Oversized { .. } => "apple_oversized",
                Unavailable::Malformed(_) => "apple_malformed",
            },
        }
    }

    /// Whose fault it was. A grant that is no good is the caller's, and so is a code that comes without its `redirect_uri`; what
    /// else Apple refuses is our way of asking.
    #[must_use]
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Refused { error: AppleError::InvalidGrant, .. } | Self::OtherRedirectUri => {
                Fault::Caller
            }
            Self::Refused { .. } | Self::Unsigned => Fault::Us,
            Self::Unavailable(_) => Fault::Apple,
        }
    }

    /// Whether Apple says that the code or the refresh token is no good, or not any more.
    #[must_use]
    pub const fn is_invalid_grant(&self) -> bool {
        matches!(self, Self::Refused { error: AppleError::InvalidGrant, .. })
    }

    /// Whether it goes on for everybody until the operator does something: Apple does not know us by our key.
    #[must_use]
    pub const fn is_operator_alarm(&self) -> bool {
        match self {
            Self::Refused { error, .. } => {
                matches!(error, AppleError::InvalidClient | AppleError::UnauthorizedClient)
            }
            Self::Unsigned => true,
            Self::OtherRedirectUri | Self::Unavailable(_) => false,
        }
    }

    /// Whether Apple says that it does not know the app by the key, which it says of another `redirect_uri`, too.
    pub(super) const fn is_invalid_client(&self) -> bool {
        matches!(self, Self::Refused { error: AppleError::InvalidClient, .. })
    }

    /// Whether Apple may have done what it was asked although it cannot be told: a code may be spent, then.
    #[must_use]
    pub const fn is_uncertain(&self) -> bool {
        match self {
            Self::Unavailable(Unavailable::Unreachable(_) | Unavailable::Throttled)
            | Self::Refused { .. }
            | Self::OtherRedirectUri
            | Self::Unsigned => false,
            Self::Unavailable(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: &str) -> AppleFault {
        AppleFault::Refused { error: AppleError::from_wire(error), description: None }
    }

    #[test]
    fn every_error_of_apples_has_a_reason_of_its_own() {
        for (name, fault, is_alarm) in [
            ("invalid_request", Fault::Us, false),
            ("invalid_client", Fault::Us, true),
            ("invalid_grant", Fault::Caller, false),
            ("unauthorized_client", Fault::Us, true),
            ("unsupported_grant_type", Fault::Us, false),
            ("invalid_scope", Fault::Us, false),
        ] {
            let refused = refused(name);
            assert_eq!(refused.code(), format!("apple_{name}"));
            assert_eq!(refused.fault(), fault, "{name}");
            assert_eq!(refused.is_operator_alarm(), is_alarm, "{name}");
            assert!(!refused.is_uncertain(), "{name}");
            assert_eq!(refused.to_string(), format!("Apple refuses it: {name}"));
        }
        assert_eq!(refused("slow_down").code(), "apple_other_error");
        assert_eq!(refused("a b@c").to_string(), "Apple refuses it: a?b?c");
    }

    #[test]
    fn a_code_may_be_spent_unless_apple_was_not_asked_or_said_no() {
        assert!(AppleFault::from(Unavailable::TimedOut).is_uncertain());
        assert!(AppleFault::from(Unavailable::Status(502)).is_uncertain());
        assert!(AppleFault::from(Unavailable::malformed("")).is_uncertain());
        assert!(!AppleFault::from(Unavailable::Throttled).is_uncertain());
        assert!(!AppleFault::Unsigned.is_uncertain());
    }

    #[test]
    fn a_description_is_shown_without_what_could_be_a_secret() {
        let shown = |text: &str| ErrorDescription::new(text).map(|text| text.to_string());
        let usual = "The token has expired or has been revoked.";
        assert_eq!(shown(usual).as_deref(), Some(usual));
        let code = "c".repeat(64);
        let echo = format!("The code {code} of jane@example.com\n is \u{1b}[1mbad");
        assert_eq!(shown(&echo).as_deref(), Some("The code ... of jane?example.com is ?[1mbad"));
        assert_eq!(shown(" "), None);
        assert_eq!(shown(&"word ".repeat(1_000)).unwrap().len(), 149);
        assert_eq!(shown(&format!("{} ", "x".repeat(30)).repeat(30)).unwrap().len(), 200);
    }
}
