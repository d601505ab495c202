//! One request to Apple in the name of one of our apps: a form, a client secret, an answer that is read with suspicion.

use std::sync::Arc;

use reqwest::{
    Client, RequestBuilder,
    header::{ACCEPT, CONTENT_TYPE},
    retry,
};
use tokio::time::Instant;
use tracing::{error, info, warn};
use url::{Url, form_urlencoded};

use super::{
    answer::{Answer, of_transport},
    client_secret::{ClientSecret, ClientSecrets},
    error::{AppleError, AppleFault},
    secrets::AccessToken,
    team_key::TeamKey,
};
use crate::{
    clock::Clock,
    telemetry::{AppleClientLabels, AppleRequestLabels, Metrics, causes},
    verify::{ClientId, HttpsError, HttpsOptions, TrustedUrl},
};

/// By which key Apple knows us, and where it is asked.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppleApiSettings {
    /// What signs client secrets.
    pub team_key: TeamKey,
    /// Where Apple is asked, without `/auth/…`; Apple itself unless it is a simulator. Whoever listens there gets client
    /// secrets and codes.
    pub url: TrustedUrl,
    /// How it is reached, and how long one answer may take.
    pub https: HttpsOptions,
}

impl AppleApiSettings {
    /// Asks Apple itself, directly, and gives it 5 seconds to answer.
    #[must_use]
    pub fn new(team_key: TeamKey) -> Self {
        Self { team_key, url: TrustedUrl::apple(), https: HttpsOptions::default() }
    }
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Exchange,
    Validate,
    Revoke,
    Probe,
    MigrationToken,
    Migrate,
}

impl Operation {
    const fn path(self) -> &'static str {
        match self {
            Self::Exchange | Self::Validate | Self::Probe | Self::MigrationToken => "/auth/token",
            Self::Revoke => "/auth/revoke",
            Self::Migrate => "/auth/usermigrationinfo",
        }
    }

    /// Whether `fault` may be the caller's, or the operator's: a probe tells.
    const fn is_ambiguous(self, fault: &AppleFault) -> bool {
        matches!(self, Self::Exchange) && fault.is_invalid_client()
    }

    const fn label(self) -> &'static str {
        match self {
            Self::Exchange => "exchange",
            Self::Validate => "validate",
            Self::Revoke => "revoke",
            Self::Probe => "probe",
            Self::MigrationToken => "migration_token",
            Self::Migrate => "migrate",
        }
    }
}

/// Whoever asks Apple. Clones share connections and secrets.
#[derive(Clone, Debug)]
pub(super) struct AppleApi(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Client,
    url: TrustedUrl,
    secrets: ClientSecrets,
    metrics: Metrics,
}

impl AppleApi {
    pub(super) fn new(
        settings: AppleApiSettings,
        clock: Arc<dyn Clock>,
        metrics: Metrics,
    ) -> Result<Self, HttpsError> {
        let AppleApiSettings { team_key, url, https } = settings;
        // A second try could burn a code that the first has not.
        let client = https.client()?.retry(retry::never()).build()?;
        let secrets = ClientSecrets::new(team_key, clock);
        Ok(Self(Arc::new(Inner { client, url, secrets, metrics })))
    }

    /// Posts `fields` in the name of `client_id`, once.
    pub(super) async fn post(
        &self,
        operation: Operation,
        client_id: &ClientId,
        fields: &[(&str, &str)],
    ) -> Result<Answer, AppleFault> {
        self.post_with(operation, client_id, fields, None).await
    }

    /// The same, with an access token of Apple's beside the client secret.
    pub(super) async fn post_with(
        &self,
        operation: Operation,
        client_id: &ClientId,
        fields: &[(&str, &str)],
        bearer: Option<&AccessToken>,
    ) -> Result<Answer, AppleFault> {
        let started = Instant::now();
        let outcome = self.attempt(operation, client_id, fields, bearer).await;
        self.0.metrics.apple_request_seconds.observe(started.elapsed());
        self.note(operation, client_id, outcome.as_ref().err());
        outcome
    }

    async fn attempt(
        &self,
        operation: Operation,
        client_id: &ClientId,
        fields: &[(&str, &str)],
        bearer: Option<&AccessToken>,
    ) -> Result<Answer, AppleFault> {
        let secret = self.0.secrets.of(client_id).ok_or(AppleFault::Unsigned)?;
        let mut request = self.request(operation, &form(client_id, &secret, fields));
        if let Some(token) = bearer {
            request = request.bearer_auth(token.expose());
        }
        Answer::read(request.send().await.map_err(of_transport)?).await
    }

    fn request(&self, operation: Operation, form: &str) -> RequestBuilder {
        let form = form.to_owned();
        self.0
            .client
            .post(self.address(operation.path()))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(form)
    }

    fn address(&self, path: &str) -> Url {
        let mut url = self.0.url.as_url().clone();
        let below = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{below}{path}"));
        url
    }

    /// Counts, and says what an operator has to know.
    fn note(&self, operation: Operation, client_id: &ClientId, fault: Option<&AppleFault>) {
        let Inner { metrics, secrets, .. } = &*self.0;
        let (label, result) = (operation.label(), fault.map_or("ok", AppleFault::code));
        let labels = AppleRequestLabels { operation: label, result };
        metrics.apple_requests.get_or_create(&labels).inc();
        match fault {
            None => self.end_alarm(client_id),
            // Of a grant Apple judges only when it knows who asks.
            Some(AppleFault::Refused { error: AppleError::InvalidGrant, .. }) => {
                self.end_alarm(client_id);
            }
            Some(fault) if fault.is_operator_alarm() && !operation.is_ambiguous(fault) => {
                // One that was signed by a clock that is right again by now must not stay.
                secrets.forget(client_id);
                self.raise_alarm(client_id, fault);
            }
            Some(fault) => {
                let cause = causes(fault);
                warn!(
                    operation = label,
                    reason = result,
                    cause,
                    "Apple did not do what it was asked"
                );
            }
        }
    }

    /// Told once, until it is over.
    fn raise_alarm(&self, client_id: &ClientId, fault: &AppleFault) {
        if self.alarm(client_id, 1) != 1 {
            error!(
                client_id = client_id.as_str(),
                reason = fault.code(),
                cause = %fault,
                "Apple does not know the app by the team key: nobody can sign in with a code until [apple] team_id, key_id \
                 and private_key_file are right"
            );
        }
    }

    fn end_alarm(&self, client_id: &ClientId) {
        if self.alarm(client_id, 0) == 1 {
            info!(client_id = client_id.as_str(), "Apple knows the app by the team key again");
        }
    }

    /// Whether it is known already that Apple does not know the app `client_id` by the key.
    pub(super) fn is_alarmed(&self, client_id: &ClientId) -> bool {
        self.0.metrics.apple_client_refused.get_or_create(&labels_of(client_id)).get() == 1
    }

    /// Sets the alarm of `client_id`, and says what it was.
    fn alarm(&self, client_id: &ClientId, value: i64) -> i64 {
        self.0.metrics.apple_client_refused.get_or_create(&labels_of(client_id)).set(value)
    }
}

fn labels_of(client_id: &ClientId) -> AppleClientLabels {
    AppleClientLabels { client_id: client_id.as_str().into() }
}

/// `application/x-www-form-urlencoded`: our names first, then `fields`.
fn form(client_id: &ClientId, secret: &ClientSecret, fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair("client_id", client_id.as_str())
        .append_pair("client_secret", secret.expose())
        .extend_pairs(fields)
        .finish()
}
