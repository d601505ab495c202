//! What the operator wrote, settled: past [`Settings`] nothing is validated again.
//!
//! Every setting has one name: `--jwks-url` is `SIWA_JWKS__URL` is `url` below `[jwks]`. What is written last wins, in
//! the order defaults, file, environment, flags; where it was written is remembered, so that a problem can name its
//! place. The sections (`sections/`) are the manual of the keys, and `config/reference.toml` is tested against them.

mod byte_size;
mod load;
mod merge;
mod names;
mod own_paths;
mod plain;
mod problems;
mod reading;
mod schema;
mod secrets;
mod sections;
mod settled;
mod variables;
mod warnings;
mod written;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;

pub(crate) use self::settled::{
    AdditionalKeys, AppleEntry, AssertionSettings, DoorsEntry, ExtAuthzEntry, IdentityEntry,
    JwksEntry, JwksFrom, Published, RevocationsEntry, RouteDestination, ServerEntry, SessionsEntry,
    StoreSettings, UpstreamEntry,
};
pub use self::{
    load::Flags,
    problems::{Problems, Warnings},
    schema::schema,
    secrets::Secrets,
    written::Written,
};
use crate::{
    apple::AppleApiSettings,
    authn::Policy,
    endpoints::{BrowserSettings, Cors, NotificationSettings, Routes, SignInSettings},
    server::{LimitSettings, TlsSettings},
    telemetry::{LogSettings, TraceSettings},
    upstream::Pseudonym,
    verify::{ClientIds, FetchFault, Issuer},
    webhooks::WebhookSettings,
};

/// Everything that a running proxy needs to know, in the types that use it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where is listened, and how.
    pub(crate) server: ServerEntry,
    /// How callers' connections are secured, if they are.
    pub(crate) tls: Option<TlsSettings>,
    /// How many requests, how often, how long.
    pub(crate) limits: LimitSettings,
    /// Whose tokens are accepted, and how Apple is asked.
    pub(crate) apple: AppleEntry,
    /// Where the keys come from, and how they are kept.
    pub(crate) jwks: JwksEntry,
    /// How many verdicts are remembered at most.
    pub(crate) verdict_capacity: u64,
    /// Who may pass, wherever they go.
    pub(crate) policy: Policy,
    /// The applications; that of `[upstream]` is the first. None where another gateway forwards.
    pub(crate) upstreams: Vec<UpstreamEntry>,
    /// What is asked of which requests, and where they go.
    pub(crate) routes: Routes<RouteDestination>,
    /// Where other gateways ask.
    pub(crate) doors: DoorsEntry,
    /// Where Envoy asks.
    pub(crate) ext_authz: ExtAuthzEntry,
    /// What pages of other origins may do.
    pub(crate) cors: Cors,
    /// Where is kept what must outlive a request.
    pub(crate) store: StoreSettings,
    /// What seals sessions, and how long they live, if there are any.
    pub(crate) sessions: Option<SessionsEntry>,
    /// Where apps sign in, if they do.
    pub(crate) sign_in: Option<SignInSettings>,
    /// How browsers sign in, if they do.
    pub(crate) browser: Option<Arc<BrowserSettings>>,
    /// Where Apple's notifications are taken, if they are.
    pub(crate) notifications: Option<NotificationSettings>,
    /// How the list of revocations is kept, and who may see it.
    pub(crate) revocations: RevocationsEntry,
    /// Who else is told of notifications.
    pub(crate) webhooks: WebhookSettings,
    /// How applications are told who it is.
    pub(crate) identity: IdentityEntry,
    /// How identities are asserted, if they are.
    pub(crate) assertion: Option<AssertionSettings>,
    /// What the proxy calls itself in `Via`.
    pub(crate) via: Option<Pseudonym>,
    /// How the log looks.
    pub(crate) log: LogSettings,
    /// Where traces are exported to, if they are. The variables of OpenTelemetry say so, and no key.
    pub(crate) traces: Option<TraceSettings>,
    /// Time between two looks at the files; none to be told by a signal only.
    pub(crate) watch_every: Option<Duration>,
    /// Where all this was written.
    pub(crate) source: Source,
}

/// Where settings were written, and what is to be said about that.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// The values as somebody would write them.
    pub(crate) written: Written,
    /// What is probably not meant.
    pub(crate) warnings: Warnings,
    /// The files that were read, and what was in them: whether that changes can be seen.
    pub(crate) files: Vec<(PathBuf, blake3::Hash)>,
}

impl Settings {
    /// Settles the file that `flags` or `SIWA_CONFIG` name, if any, the environment and `flags`.
    ///
    /// # Errors
    ///
    /// All [`Problems`] at once.
    pub fn load(flags: &Flags) -> Result<Self, Problems> {
        load::load(flags, load::environment())
    }

    /// What can be used and is probably not meant.
    #[must_use]
    pub const fn warnings(&self) -> &Warnings {
        &self.source.warnings
    }

    /// `what` about `key`, as [`Problems`] say it.
    #[must_use]
    pub(crate) fn problem(&self, key: &str, what: String) -> String {
        self.source.written.problem(key, what)
    }

    /// The settled values, each with its place.
    #[must_use]
    pub const fn written(&self) -> &Written {
        &self.source.written
    }

    /// Settles a file with this `text`, and nothing else.
    ///
    /// # Errors
    ///
    /// All [`Problems`] at once; their places call the file `config.toml`.
    pub fn from_toml(text: &str) -> Result<Self, Problems> {
        Self::from_toml_with(text, Secrets::default())
    }

    /// The same, with `secrets` in place of the files that it would name.
    ///
    /// # Errors
    ///
    /// As [`Settings::from_toml`].
    pub fn from_toml_with(text: &str, secrets: Secrets) -> Result<Self, Problems> {
        load::from_toml("config.toml", text, secrets)
    }

    /// The apps whose tokens are accepted.
    #[must_use]
    pub const fn client_ids(&self) -> &ClientIds {
        &self.apple.client_ids
    }

    /// How far clocks may differ.
    #[must_use]
    pub const fn leeway(&self) -> Duration {
        self.apple.leeway
    }

    /// How long ago a token may have been issued.
    #[must_use]
    pub const fn max_token_age(&self) -> Option<Duration> {
        self.apple.max_token_age
    }

    /// Whose tokens are accepted.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.apple.issuer
    }

    /// Where the key set comes from: a host, or a file.
    #[must_use]
    pub fn jwks_place(&self) -> String {
        self.jwks.from.place()
    }

    /// Gets the text of the key set, once.
    ///
    /// # Errors
    ///
    /// [`FetchFault`].
    pub async fn fetch_jwks(&self) -> Result<Bytes, FetchFault> {
        self.jwks.from.fetch(&self.jwks.https).await
    }

    /// Gets the texts of the key sets of all further issuers, once.
    ///
    /// # Errors
    ///
    /// The first [`FetchFault`].
    pub async fn fetch_additional_jwks(&self) -> Result<Vec<(Issuer, Bytes)>, FetchFault> {
        let mut texts = Vec::with_capacity(self.jwks.additional.len());
        for AdditionalKeys { issuer, from } in &self.jwks.additional {
            texts.push((issuer.clone(), from.fetch(&self.jwks.https).await?));
        }
        Ok(texts)
    }

    /// Who may pass, wherever they go.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The file with the token that opens the list of revocations on the admin listener.
    #[must_use]
    pub fn admin_token_file(&self) -> Option<&Path> {
        self.revocations.admin_token_file.as_deref()
    }

    /// By which key Apple knows us, if it is to be asked anything.
    #[must_use]
    pub const fn apple_api(&self) -> Option<&AppleApiSettings> {
        self.apple.api.as_ref()
    }

    /// How the log looks.
    #[must_use]
    pub const fn log(&self) -> &LogSettings {
        &self.log
    }

    /// Where traces are exported to, if they are.
    #[must_use]
    pub const fn traces(&self) -> Option<&TraceSettings> {
        self.traces.as_ref()
    }
}

/// What every file needs, for tests that add to it and count its nine lines.
#[cfg(test)]
const NEEDED: &str = r#"# Tests count lines from here.

[upstream]
# Where the application listens.
url = "http://127.0.0.1:3000"

[apple]
# Whose tokens are accepted.
client_ids = ["com.example.app"]
"#;

#[cfg(test)]
mod tests {
    use toml::Table;

    use super::*;
    use crate::{
        authn::{IdentityHeader, Realm, UnverifiedEmail},
        peers::{NOWHERE, Peers},
        server::{ClientCertificates, ServerSettings},
        upstream::CredentialForwarding,
        verify::{JwksSettings, TrustedUrl, VerifierBuilder},
    };

    const MINIMAL: &str = include_str!("../../config/minimal.toml");
    const REFERENCE: &str = include_str!("../../config/reference.toml");

    /// What is wrong with a file, line by line.
    fn problems_of(text: &str) -> Vec<String> {
        let problems = Settings::from_toml(text).unwrap_err().to_string();
        problems.lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_minimal_file_starts_with_the_defaults_of_the_types() {
        let settings = Settings::from_toml(MINIMAL).unwrap();
        assert_eq!(settings.server.listen, ["0.0.0.0:4180".parse().unwrap()]);
        assert_eq!(settings.server.admin_listen.to_string(), "127.0.0.1:4181");
        assert_eq!(
            format!("{:?}", settings.server.settings),
            format!("{:?}", ServerSettings::default())
        );
        assert_eq!(settings.limits, LimitSettings::default());
        assert_eq!(settings.tls, None);
        assert_eq!(settings.jwks.settings, JwksSettings::default());
        assert_eq!(settings.jwks.from, JwksFrom::Url(TrustedUrl::apple_keys()));
        assert_eq!(settings.apple.issuer, Issuer::apple());
        assert_eq!(settings.apple.leeway, VerifierBuilder::LEEWAY);
        assert_eq!(settings.identity.realm, Realm::default());
        assert_eq!(settings.upstreams[0].credential, CredentialForwarding::Remove);
        assert_eq!(settings.log, LogSettings::default());
        assert_eq!(settings.server.trusted_peers, Peers::default());
    }

    /// The keys of `table`, as `section.key`.
    fn keys_in(table: &Table) -> Vec<String> {
        let mut keys: Vec<String> = table
            .iter()
            .flat_map(|(section, content)| {
                members_of(section, content)
                    .into_iter()
                    .flat_map(Table::keys)
                    .map(move |key| format!("{section}.{key}"))
            })
            .collect();
        keys.sort();
        keys
    }

    /// What is written below the name `section`: one section, or all of a group.
    fn members_of<'a>(section: &str, content: &'a toml::Value) -> Vec<&'a Table> {
        let members: Vec<&toml::Value> = match (section, content) {
            ("route", _) => content.as_array().unwrap().iter().collect(),
            ("upstreams", _) => content.as_table().unwrap().values().collect(),
            (_, section) => vec![section],
        };
        members.into_iter().map(|member| member.as_table().unwrap()).collect()
    }

    /// The reference with every key that it only shows.
    fn reference_in_full() -> String {
        let uncomment = |line: &str| {
            let shown = line.strip_prefix("# ").filter(|shown| {
                let is_header = shown.starts_with('[') && shown.ends_with(']');
                is_header
                    || shown.split_once(" = ").is_some_and(|(key, _)| {
                        key.chars()
                            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
                    })
            });
            shown.unwrap_or(line).to_owned() + "\n"
        };
        REFERENCE.lines().map(uncomment).collect()
    }

    #[test]
    fn the_reference_has_every_key_in_its_order() {
        let full: Table = reference_in_full().parse().unwrap();
        let mut known: Vec<String> = sections::known_keys()
            .into_iter()
            .chain(sections::known_groups())
            .flat_map(|(section, keys)| keys.iter().map(move |key| format!("{section}.{key}")))
            .collect();
        let mut at = 0;
        for key in &known {
            let (section, key) = key.split_once('.').unwrap();
            at += reference_in_full()[at..]
                .find(&format!("\n{key} = "))
                .unwrap_or_else(|| panic!("[{section}] {key} is not in its place"));
        }
        known.sort();
        assert_eq!(keys_in(&full), known);
    }

    #[test]
    fn the_reference_shows_the_defaults() {
        let written: sections::Sections = toml::from_str(REFERENCE).unwrap();
        assert_eq!(written, sections::Sections::default());
        let defaults = Table::try_from(sections::Sections::default()).unwrap();
        assert_eq!(keys_in(&REFERENCE.parse().unwrap()), keys_in(&defaults));
    }

    #[test]
    fn the_reference_lacks_only_what_is_required() {
        let line = 1 + REFERENCE.lines().position(|line| line == "client_ids = []").unwrap();
        let missing =
            "apple.client_ids: no client id is given: name your app's bundle id or Services ID";
        assert_eq!(problems_of(REFERENCE), [format!("{missing} (from config.toml:{line})")]);
        let full = reference_in_full()
            .replace("client_ids = []", "client_ids = [\"com.example.app\"]")
            .replace("url = \"http://127.0.0.1:3000\"", "url = \"https://app\"");
        // Files of examples are nowhere to be found; what else is wrong is that of two ways both are shown, and that no key is.
        let mut problems = problems_of(&full);
        problems.retain(|problem| !problem.contains("cannot be read"));
        let clashes = [
            "jwks.url: is set beside jwks.file",
            "store.redis_url: is set beside store.file",
            "browser.path: needs sessions",
        ];
        assert_eq!(problems.len(), clashes.len(), "{problems:?}");
        for (problem, clash) in problems.iter().zip(clashes) {
            assert!(problem.starts_with(clash), "{problem}");
        }
    }

    #[test]
    fn what_can_be_written_becomes_what_is_used() {
        let settings = Settings::from_toml(&format!(
            "{NEEDED}\n{}",
            r#"
        [server]
        max_body_bytes = "1MiB"
        h2_ping_interval = "0s"
        listen = ["127.0.0.1:4180", "unix:/run/siwa.sock?mode=600", "systemd:0"]
        drain_delay = "5s"
        proxy_protocol_peers = ["unix"]
        trusted_peers = ["10.0.0.0/8", "::1"]
        [tls]
        certificate = "/c.pem"
        key = "/k.pem"
        client_certificates = "required"
        client_authorities = "/ca.pem"
        [limits]
        rate_per_second = 5
        [jwks]
        file = "/keys.json"
        refresh_every = "50ms"
        keep_while_failing = "50ms"
        unknown_key_cooldown = "50ms"
        [identity]
        headers = ["x-apple-sub", "X-APPLE-CLIENT-ID", "X-Apple-Sub"]
        unverified_email = "forward"
        realm = "my app"
        [log]
        filter = "warn"
        format = "json"
        "#,
        ))
        .unwrap();
        assert_eq!(settings.server.request_body.max_bytes, Some(1 << 20));
        assert_eq!(settings.server.settings.h2_ping_interval, None);
        assert_eq!(settings.server.listen.len(), 3);
        assert_eq!(settings.server.drain_delay, Duration::from_secs(5));
        assert!(settings.server.settings.proxy_protocol_peers.contains(NOWHERE.ip()));
        assert!(settings.server.trusted_peers.contains("10.1.2.3".parse().unwrap()));
        let clients = settings.tls.clone().unwrap().clients;
        assert_eq!(clients, ClientCertificates::Required("/ca.pem".into()));
        let rate = settings.limits.rate.clone().unwrap();
        assert_eq!((rate.per_second.get(), rate.burst.get()), (5, 50));
        assert!(rate.trusted_peers.contains("::1".parse().unwrap()));
        assert_eq!(settings.jwks.from, JwksFrom::File(PathBuf::from("/keys.json")));
        assert_eq!(settings.jwks.settings.unknown_key_cooldown, Duration::from_millis(50));
        assert_eq!(settings.identity.headers, [IdentityHeader::Subject, IdentityHeader::ClientId]);
        assert_eq!(settings.identity.unverified_email, UnverifiedEmail::Forward);
        assert_eq!(settings.identity.realm.as_str(), "my app");
        assert_eq!(settings.log().filter.as_str(), "warn");
    }
}
