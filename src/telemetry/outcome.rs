//! What a request came to.

use std::fmt;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// What a request came to: a label of `siwa_requests_total`, and a field of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The application has answered.
    Forwarded,
    /// Another gateway was told that its client may pass, or a caller who it is.
    Allowed,
    /// It was refused, for the reason that this is the code of, e.g. `token_expired`.
    Refused(&'static str),
    /// The caller hung up before there was an answer.
    ClientGone,
    /// A page of another origin was told what it may send.
    Preflight,
    /// A page of ours was shown that is the same for everybody.
    Page,
    /// An app was given a nonce to start a sign-in with.
    NonceIssued,
    /// Somebody signed in, at an app or in a browser.
    SignedIn,
    /// An app was given the next tokens of its session.
    Renewed,
    /// Somebody signed out.
    SignedOut,
    /// Somebody deleted their account.
    AccountDeleted,
    /// A browser was shown Apple's button.
    Asked,
    /// A browser was sent to Apple's page.
    Started,
    /// A browser came to sign in that was signed in.
    SignedInAlready,
    /// The user did not want to sign in.
    Cancelled,
    /// Apple's answer was handed on to an Android app.
    HandedOn,
    /// Apple's answer belongs to no sign-in under way.
    StateUnknown,
    /// Apple's answer belongs to a sign-in that was begun elsewhere.
    StateForeign,
    /// Apple's answer came too late.
    StateExpired,
    /// Apple's answer came a second time.
    StateReplayed,
    /// A notification was stored.
    Stored,
    /// A notification had been stored before.
    Repeated,
    /// A notification was of a kind that means nothing here.
    Ignored,
}

impl Outcome {
    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Allowed => "allowed",
            Self::Refused(code) => code,
            Self::ClientGone => "client_gone",
            Self::Preflight => "preflight",
            Self::Page => "page",
            Self::NonceIssued => "nonce_issued",
            Self::SignedIn => "signed_in",
            Self::Renewed => "renewed",
            Self::SignedOut => "signed_out",
            Self::AccountDeleted => "account_deleted",
            Self::Asked => "asked",
            Self::Started => "started",
            Self::SignedInAlready => "signed_in_already",
            Self::Cancelled => "cancelled",
            Self::HandedOn => "handed_on",
            Self::StateUnknown => "state_unknown",
            Self::StateForeign => "state_foreign",
            Self::StateExpired => "state_expired",
            Self::StateReplayed => "state_replayed",
            Self::Stored => "stored",
            Self::Repeated => "repeated",
            Self::Ignored => "ignored",
        }
    }
}

impl EncodeLabelValue for Outcome {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}
