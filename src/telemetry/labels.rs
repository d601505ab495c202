//! What the metrics are told apart by. Every label is bounded: never a subject, a path, a `kid` or an address.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::{Arc, OnceLock},
};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

use super::{Outcome, apart::Counter};

/// How one request ended: the labels of `siwa_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    /// The door it came through: `proxy`, or one at which another gateway asks: `auth_request`, `forward_auth`,
    /// `ext_authz`; `userinfo`, `notifications`, `sign_in`, `browser`, or `pages`.
    pub door: &'static str,
    /// The route: its configured name, `default` for what no rule matches, `none` for what has no route.
    pub route: RouteLabel,
    /// What it came to.
    pub outcome: Outcome,
    /// Whose fault a rejection was: `none`, `caller`, `apple`, `upstream` or `us`.
    pub fault: &'static str,
}

impl Hash for RequestLabels {
    /// By what tells most series apart, and no more: every refusal asks for it. Those that differ in door or fault alone share
    /// a bucket.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.outcome.as_str().hash(state);
        self.route.hash(state);
    }
}

impl RequestLabels {
    /// Whether it ended as nearly all do: forwarded by the proxy.
    pub(super) fn is_of_most(&self) -> bool {
        matches!(self.outcome, Outcome::Forwarded) && self.door == "proxy" && self.fault == "none"
    }
}

/// The name of a route, as a label: one of those that are configured, so that there are no more than those.
#[derive(Clone, Debug)]
pub struct RouteLabel(Option<Arc<NamedRoute>>);

#[derive(Debug)]
struct NamedRoute {
    name: Arc<str>,
    /// The count of the requests that are forwarded, which is looked up once: nearly all are.
    forwarded: OnceLock<Counter>,
}

impl RouteLabel {
    /// The route called `name`.
    #[must_use]
    pub fn new(name: &Arc<str>) -> Self {
        let (name, forwarded) = (Arc::clone(name), OnceLock::new());
        Self(Some(Arc::new(NamedRoute { name, forwarded })))
    }

    /// No route.
    #[must_use]
    pub const fn none() -> Self {
        Self(None)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_ref().map_or("none", |route| &route.name)
    }

    /// Where its forwarded requests are counted, if it is a route. A label belongs to one server, and so does the count.
    pub(super) fn forwarded(&self) -> Option<&OnceLock<Counter>> {
        self.0.as_ref().map(|route| &route.forwarded)
    }
}

// By the text: two labels that read the same are one series.
impl PartialEq for RouteLabel {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for RouteLabel {}

impl Hash for RouteLabel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for RouteLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

/// Where a verdict came from: the label of `siwa_verdicts_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct VerdictLabels {
    /// `hit` (remembered), `miss` (judged now).
    pub cache: &'static str,
}

/// Why a verdict left the cache: the label of `siwa_verdict_cache_evictions_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct EvictionLabels {
    /// `expired` (its token has), or `size` (there was no room left).
    pub cause: &'static str,
}

/// How good the keys are: the label of `siwa_jwks_state`. The later, the worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyState {
    /// The last fetch succeeded.
    Fresh,
    /// There are keys, and they could not be brought up to date, or are from disk.
    Stale,
    /// There are none: no token can be judged.
    Empty,
}

impl KeyState {
    pub(super) const ALL: [Self; 3] = [Self::Fresh, Self::Stale, Self::Empty];

    /// The label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Stale => "stale",
            Self::Empty => "empty",
        }
    }
}

/// The label of `siwa_jwks_state`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KeyStateLabels {
    /// `fresh`, `stale` or `empty`.
    pub state: &'static str,
}

/// What is running: the labels of `siwa_build_info`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BuildLabels {
    /// The version of the crate.
    pub version: &'static str,
    /// The commit, if the builder told it, else `unknown`.
    pub commit: &'static str,
}

/// How one fetch of the key set ended: the label of `siwa_jwks_fetches_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FetchLabels {
    /// `ok`, or the code of the fault, e.g. `status`, `transport`.
    pub result: &'static str,
}

/// Why a TLS handshake failed: the label of `siwa_tls_handshake_failures_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HandshakeFailureLabels {
    /// `timeout`, `closed`, `not_tls`, `incompatible`, `no_certificate`, `bad_certificate`, `refused` or `other`.
    pub reason: &'static str,
}

/// Whose certificate: the label of `siwa_tls_certificate_expiry_timestamp_seconds`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CertificateLabels {
    /// `server`: the one that callers see.
    pub certificate: &'static str,
}

/// What ended a response of the application before it was whole: the label of `siwa_upstream_broken_responses_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BrokenResponseLabels {
    /// `broken` (the connection, or what came on it), `silent` (`idle_timeout`) or `too_long` (`total_timeout`).
    pub reason: &'static str,
}

/// What the application answered: the label of the times it took.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StatusLabels {
    /// `1xx` to `5xx`, or `other`.
    pub status: &'static str,
}

impl StatusLabels {
    /// The class of `status` (RFC 9110 §15).
    #[must_use]
    pub fn of(status: http::StatusCode) -> Self {
        let status = match status.as_u16() / 100 {
            1 => "1xx",
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            5 => "5xx",
            _ => "other",
        };
        Self { status }
    }
}

/// What became of the key set on disk: the labels of `siwa_jwks_file_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JwksFileLabels {
    /// `load`, `store` or `remove`.
    pub operation: &'static str,
    /// `ok`, `failed`, `absent`, or why the file was not believed, e.g. `digest`, `too_old`.
    pub result: &'static str,
}

/// What Apple publishes otherwise than it is pinned: the label of `siwa_apple_drift`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DriftLabels {
    /// `issuer`, `jwks_uri`, `algorithms` or `keys`.
    pub what: &'static str,
}

/// How one look for drift ended: the label of `siwa_apple_drift_checks_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DriftCheckLabels {
    /// `ok`, or the code of the fault, e.g. `status`, `html`.
    pub result: &'static str,
}

/// What became of one notification: the labels of `siwa_notifications_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NotificationLabels {
    /// `consent_revoked`, `account_deleted`, `email_enabled`, `email_disabled`, `unknown`, or `none` for what is no
    /// notification.
    pub event: &'static str,
    /// `stored`, `repeated`, `ignored`, or the reason code of the rejection, e.g. `token_signature`.
    pub outcome: &'static str,
}

/// What became of a session: the label of `siwa_sessions_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SessionLabels {
    /// `begun`, `renewed`, `ended` (somebody signed out, or it was ended for them), or `reused` (a refresh token was used a
    /// second time, which ends it, too).
    pub event: &'static str,
}

/// How one attempt to deliver an event ended: the label of `siwa_webhook_deliveries_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DeliveryLabels {
    /// `ok`, `refused` (a status that is none of success), `unreachable` or `given_up`.
    pub result: &'static str,
}

/// What Apple was asked in an app's name, and what it answered: the labels of `siwa_apple_requests_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AppleRequestLabels {
    /// `exchange` (a code), `validate` (a refresh token), `revoke`, `probe`, `migration_token` or `migrate`.
    pub operation: &'static str,
    /// `ok`, or the reason code, e.g. `apple_invalid_grant`, `apple_timed_out`.
    pub result: &'static str,
}

/// Which app: the label of `siwa_apple_client_refused`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AppleClientLabels {
    /// Its client id, which is one of those that are configured.
    pub client_id: String,
}

/// How one attempt to read the settings again ended: the label of `siwa_config_reloads_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReloadLabels {
    /// `ok` or `failed`.
    pub result: &'static str,
}
