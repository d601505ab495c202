//! The sections of the file, one documented struct each: the structs are the manual, and `config/reference.toml` is
//! tested against them.
//!
//! A section `check`s itself and notes every problem; what it returns is of the types that use it.

mod apple;
mod assertion;
mod browser;
mod cors;
mod doors;
mod entrances;
mod examples;
mod ext_authz;
mod header_names;
mod headers;
mod identity;
mod jwks;
mod limits;
mod log;
mod notifications;
mod peers;
mod places;
mod policy;
mod reload;
mod revocations;
pub(super) mod route;
mod server;
mod sessions;
mod sign_in;
mod store;
mod tls;
mod upstream;
mod verdicts;
mod webhooks;

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use toml::Table;

pub(super) use self::examples::example_of;
use self::{
    apple::AppleSection,
    assertion::AssertionSection,
    browser::BrowserSection,
    cors::CorsSection,
    doors::DoorsSection,
    entrances::{EntranceSections, Entrances},
    ext_authz::ExtAuthzSection,
    headers::HeadersSection,
    identity::IdentitySection,
    jwks::JwksSection,
    limits::LimitsSection,
    log::LogSection,
    notifications::NotificationsSection,
    policy::PolicySection,
    reload::ReloadSection,
    revocations::RevocationsSection,
    route::RouteSection,
    server::ServerSection,
    sessions::SessionsSection,
    sign_in::SignInSection,
    store::StoreSection,
    tls::TlsSection,
    upstream::UpstreamSection,
    verdicts::VerdictsSection,
    webhooks::WebhooksSection,
};
use super::{
    AdditionalKeys, IdentityEntry, JwksEntry, ServerEntry, Settings, Source, UpstreamEntry,
    names::keys_of,
    problems::Problems,
    reading::{self, Unreadable},
    secrets::Secrets,
};
use crate::{
    authn::{IdentityHeader, Policy},
    server::ListenOn,
    upstream::HeaderCase,
};

/// All that an operator can write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Sections {
    server: ServerSection,
    tls: TlsSection,
    limits: LimitsSection,
    upstream: UpstreamSection,
    upstreams: BTreeMap<String, UpstreamSection>,
    route: Vec<RouteSection>,
    doors: DoorsSection,
    ext_authz: ExtAuthzSection,
    apple: AppleSection,
    jwks: JwksSection,
    verdicts: VerdictsSection,
    policy: PolicySection,
    identity: IdentitySection,
    assertion: AssertionSection,
    headers: HeadersSection,
    cors: CorsSection,
    store: StoreSection,
    sessions: SessionsSection,
    sign_in: SignInSection,
    browser: BrowserSection,
    notifications: NotificationsSection,
    revocations: RevocationsSection,
    webhooks: WebhooksSection,
    log: LogSection,
    reload: ReloadSection,
}

/// The names of the keys of each section, in the order of the manual.
pub(super) fn known_keys() -> [(&'static str, &'static [&'static str]); 23] {
    [
        ("server", keys_of::<ServerSection>()),
        ("tls", keys_of::<TlsSection>()),
        ("limits", keys_of::<LimitsSection>()),
        ("upstream", keys_of::<UpstreamSection>()),
        ("doors", keys_of::<DoorsSection>()),
        ("ext_authz", keys_of::<ExtAuthzSection>()),
        ("apple", keys_of::<AppleSection>()),
        ("jwks", keys_of::<JwksSection>()),
        ("verdicts", keys_of::<VerdictsSection>()),
        ("policy", keys_of::<PolicySection>()),
        ("identity", keys_of::<IdentitySection>()),
        ("assertion", keys_of::<AssertionSection>()),
        ("headers", keys_of::<HeadersSection>()),
        ("cors", keys_of::<CorsSection>()),
        ("store", keys_of::<StoreSection>()),
        ("sessions", keys_of::<SessionsSection>()),
        ("sign_in", keys_of::<SignInSection>()),
        ("browser", keys_of::<BrowserSection>()),
        ("notifications", keys_of::<NotificationsSection>()),
        ("revocations", keys_of::<RevocationsSection>()),
        ("webhooks", keys_of::<WebhooksSection>()),
        ("log", keys_of::<LogSection>()),
        ("reload", keys_of::<ReloadSection>()),
    ]
}

/// The names of the keys of each section that may be written several times, in a file alone: `[upstreams.NAME]`, and
/// `[[route]]`.
pub(super) fn known_groups() -> [(&'static str, &'static [&'static str]); 2] {
    [("upstreams", keys_of::<UpstreamSection>()), ("route", keys_of::<RouteSection>())]
}

impl Sections {
    /// Reads what is written in `values`. The one place that does: each way of reading all of this is much code.
    ///
    /// # Errors
    ///
    /// The first value that cannot be read, and where it stands.
    pub(super) fn read(values: Table) -> Result<Self, Unreadable> {
        reading::read(values)
    }

    /// Where health and metrics are served.
    pub(super) fn admin_listen(self) -> ListenOn {
        self.server.admin_listen()
    }

    /// The same with what holds in place of what was written, where another section decides that.
    pub(super) fn in_effect(&self) -> Self {
        let sections = self.clone();
        if !sections.sessions.names_keys() {
            return sections;
        }
        Self { revocations: sections.revocations.beside_sessions(), ..sections }
    }

    /// Turns what was written into settings; `None` only with a problem noted.
    pub(super) fn check(self, secrets: Secrets, problems: &mut Problems) -> Option<Settings> {
        // Taken apart whole, here and in each section, so that a new key does not compile until it is judged.
        let Self {
            server,
            tls,
            limits,
            upstream,
            upstreams,
            route,
            doors,
            ext_authz,
            apple,
            jwks,
            verdicts,
            policy,
            identity,
            assertion,
            headers,
            cors,
            store,
            sessions,
            sign_in,
            browser,
            notifications,
            revocations,
            webhooks,
            log,
            reload,
        } = self;

        let server = server.check(problems);
        let tls = tls.check(problems);
        let trusted_peers = server.as_ref().map(|server| server.trusted_peers.clone());
        let limits = limits.check(&trusted_peers.unwrap_or_default());
        let (upstreams, names) = check_upstreams(problems, upstream, upstreams);
        let apple = apple.check(problems);
        let client_ids = apple.as_ref().map(|apple| &apple.client_ids);
        let has_browser = browser.is_open();
        let known = route::Known { upstreams: &names, client_ids, has_browser };
        let routes = route::check_all(route, problems, &known);
        let jwks = jwks.check(problems);
        check_issuers(problems, apple.as_ref(), jwks.as_ref(), &policy);
        let policy = policy.check(problems, "policy").map(Policy::new);
        let identity = identity.check(problems);
        let assertion = assertion.check(problems);
        let store = store.check(problems);
        // A key that cannot be used is one problem; what needs sessions has none of its own.
        let has_keys = sessions.names_keys() || secrets.session_keys.is_some();
        let sessions = sessions.check(problems, secrets.session_keys, store.as_ref());
        let known = entrances::Known {
            has_application: upstreams.as_ref().is_none_or(|list| !list.is_empty()),
            has_sessions: has_keys,
            assertion: assertion.as_ref(),
            client_ids,
        };
        let entrances = EntranceSections { doors, ext_authz, notifications, sign_in, browser };
        let Entrances { doors, ext_authz, notifications, sign_in, browser } =
            entrances.check(problems, &known);
        let known =
            revocations::Known { client_ids, store: store.as_ref(), has_sessions: has_keys };
        let revocations = revocations.check(problems, &known);
        let known = webhooks::Known {
            has_notifications: notifications.is_some(),
            has_sessions: has_keys,
            sign_in: sign_in.as_ref(),
            browser: browser.as_deref(),
        };
        let webhooks = webhooks.check(problems, &known);
        let (cors, via, log) = (cors.check(problems), headers.check(problems), log.check(problems));
        let (verdict_capacity, watch_every) = (verdicts.check(), reload.check(problems));

        let (upstreams, jwks) = (upstreams?, jwks?);
        Some(Settings {
            server: keeping_header_case(server?, &upstreams),
            tls: secrets.tls.or(tls),
            limits,
            apple: apple?.settle(&jwks.https, secrets.apple_api),
            verdict_capacity,
            policy: policy?,
            upstreams,
            routes: routes?,
            doors,
            ext_authz,
            cors,
            store: store?,
            sessions,
            sign_in,
            browser,
            notifications,
            revocations,
            webhooks,
            identity: telling_issuer(identity?, &jwks.additional),
            jwks,
            assertion,
            via,
            log: log?,
            traces: None,
            watch_every,
            source: Source::default(),
        })
    }
}

/// Only if an application needs it is it kept how callers spell their headers.
fn keeping_header_case(mut server: ServerEntry, upstreams: &[UpstreamEntry]) -> ServerEntry {
    let is_preserved = |entry: &UpstreamEntry| entry.settings.header_case == HeaderCase::Preserve;
    server.settings.preserve_header_case = upstreams.iter().any(is_preserved);
    server
}

/// With several issuers a subject alone says no longer who it is, so that their order of trust must be written down.
fn check_issuers(
    problems: &mut Problems,
    apple: Option<&apple::Checked>,
    jwks: Option<&JwksEntry>,
    policy: &PolicySection,
) {
    let (Some(apple), Some(JwksEntry { additional, .. })) = (apple, jwks) else { return };
    if additional.iter().any(|keys| keys.issuer == apple.issuer) {
        let what = "names the issuer of [apple], whose keys come from one place: remove it";
        problems.note_clash("jwks.additional", "apple.issuer", what);
    }
    if !additional.is_empty() && !policy.names_issuers() {
        let what = "is missing: each issuer of jwks.additional can name any subject, so say whose users may pass";
        problems.note_clash("policy.issuers", "jwks.additional", what);
    }
}

/// The application must be able to tell one issuer's subjects from another's.
fn telling_issuer(mut identity: IdentityEntry, additional: &[AdditionalKeys]) -> IdentityEntry {
    if !additional.is_empty() && !identity.headers.contains(&IdentityHeader::Issuer) {
        identity.headers.push(IdentityHeader::Issuer);
    }
    identity
}

/// All applications, that of `[upstream]` first, and the places of the others by their names. If nothing is said of any
/// there is none, and other gateways ask.
fn check_upstreams(
    problems: &mut Problems,
    first: UpstreamSection,
    others: BTreeMap<String, UpstreamSection>,
) -> (Option<Vec<UpstreamEntry>>, BTreeMap<String, usize>) {
    let mut names = BTreeMap::new();
    if others.is_empty() && first == UpstreamSection::default() {
        return (Some(Vec::new()), names);
    }
    let mut checked = vec![first.check(problems, "upstream")];
    for (name, section) in others {
        let at = format!("upstreams.{name}");
        names.insert(name, checked.len());
        checked.push(section.check(problems, &at));
    }
    (checked.into_iter().collect(), names)
}

/// Nothing here is sensibly longer than a year, and clocks overflow far beyond.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// A duration that may be zero, where zero has a meaning.
fn check_at_most(problems: &mut Problems, key: &str, longest: Duration, value: Duration) {
    if value > longest {
        let longest = humantime::format_duration(longest);
        problems.note(key, format!("is too long: `{longest}` is the most"));
    }
}

/// A duration that bounds something, which zero would forbid.
fn check_positive(problems: &mut Problems, key: &str, value: Duration) {
    if value.is_zero() {
        problems.note(key, "must be more than zero, which would leave no time at all");
    }
    check_at_most(problems, key, LONGEST, value);
}

#[cfg(test)]
mod tests {
    use super::super::{NEEDED, Settings};

    /// What is wrong with a file, line by line.
    fn problems_of(text: &str) -> Vec<String> {
        let problems = Settings::from_toml(text).unwrap_err().to_string();
        problems.lines().map(str::to_owned).collect()
    }

    /// The one problem with what every file needs and `more`.
    fn problem_of(more: &str) -> String {
        let problems = problems_of(&format!("{NEEDED}\n{more}"));
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.into_iter().next().unwrap()
    }

    #[test]
    fn without_a_client_id_it_does_not_start() {
        let problems = problems_of("[upstream]\nurl = 'http://127.0.0.1:3000'\n");
        assert_eq!(
            problems,
            ["apple.client_ids: no client id is given: name your app's bundle id or Services ID"]
        );
    }

    #[test]
    fn each_illegal_client_id_is_named() {
        let text =
            "[upstream]\nurl = 'http://app'\n[apple]\nclient_ids = ['a b', 'com.example', '']\n";
        let problems = problems_of(text);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems.iter().all(|line| line.ends_with("(from config.toml:4)")), "{problems:?}");
    }

    #[test]
    fn each_check_speaks_once() {
        for (more, key) in [
            ("[server]\nlisten = '127.0.0.1:4181'", "server.admin_listen"),
            ("[server]\nmax_connections = 0", "server.max_connections"),
            ("[server]\nheader_read_timeout = '0s'", "server.header_read_timeout"),
            ("[server]\nkeep_alive_timeout = '0s'", "server.keep_alive_timeout"),
            ("[server]\nbody_idle_timeout = '0s'", "server.body_idle_timeout"),
            ("[server]\ndrain_timeout = '2years'", "server.drain_timeout"),
            ("[server]\nh2_ping_timeout = '0s'", "server.h2_ping_timeout"),
            ("[server]\nh2_max_concurrent_streams = 0", "server.h2_max_concurrent_streams"),
            ("[server]\nmax_header_bytes = '1KiB'", "server.max_header_bytes"),
            ("[server]\nmax_header_bytes = '1GiB'", "server.max_header_bytes"),
            ("[server]\nmax_body_bytes = -1", "server.max_body_bytes"),
            ("[server]\nlisten = []", "server.listen"),
            ("[server]\nlisten = ['unix:a.sock']", "server.listen"),
            ("[server]\nadmin_listen = 'systemd'", "server.admin_listen"),
            ("[server]\nadmin_listen = 'localhost'", "server.admin_listen"),
            ("[server]\nmax_headers = 0", "server.max_headers"),
            ("[server]\ndrain_delay = '2years'", "server.drain_delay"),
            ("[server]\nh2_max_pending_resets = 0", "server.h2_max_pending_resets"),
            ("[server]\nh2_max_local_resets = 0", "server.h2_max_local_resets"),
            ("[server]\nproxy_protocol_peers = ['lb']", "server.proxy_protocol_peers"),
            ("[tls]\ncertificate = 'a'", "tls.certificate"),
            ("[tls]\nkey = 'a'", "tls.key"),
            ("[tls]\nclient_authorities = 'a'", "tls.client_authorities"),
            ("[tls]\nclient_certificates = 'some'", "tls.client_certificates"),
            ("[tls]\nhandshake_timeout = '0s'", "tls.handshake_timeout"),
            ("[tls]\nreload_every = '0s'", "tls.reload_every"),
            ("[limits]\nmax_requests = 0", "limits.max_requests"),
            ("[limits]\nrate_per_second = 0", "limits.rate_per_second"),
            ("[limits]\nrate_burst = 0", "limits.rate_burst"),
            ("[server]\ntrusted_peers = ['::/0']", "server.trusted_peers"),
            ("[server]\ntrusted_peers = ['gateway']", "server.trusted_peers"),
            ("[jwks]\nrefresh_every = '0s'", "jwks.refresh_every"),
            ("[jwks]\nkeep_while_failing = '1m'", "jwks.keep_while_failing"),
            ("[jwks]\nunknown_key_cooldown = '0s'", "jwks.unknown_key_cooldown"),
            ("[jwks]\nremoved_key_grace = '25h'", "jwks.removed_key_grace"),
            ("[jwks]\ncache_file = ''", "jwks.cache_file"),
            ("[jwks]\nca_file = '/'", "jwks.ca_file"),
            ("[jwks]\nproxy = 'socks5://127.0.0.1:9'", "jwks.proxy"),
            ("[jwks]\nfile = ''", "jwks.file"),
            ("[jwks]\nurl = 'keys'", "jwks.url"),
            ("[jwks]\nfile = 'a'\nurl = 'https://a'", "jwks.url"),
            ("[jwks]\nadditional = [{ issuer = '', file = 'a' }]", "jwks.additional"),
            ("[jwks]\nadditional = [{ issuer = 'a' }]", "jwks.additional"),
            ("[jwks]\nadditional = [{ issuer = 'a', url = 'http://a' }]", "jwks.additional"),
            ("[jwks]\nadditional = [{ issuer = 'a', keys = 'b' }]", "jwks.additional"),
            ("[jwks]\nadditional = [{ issuer = 'a', file = 'b' }]", "policy.issuers"),
            ("[policy]\nissuers = []", "policy.issuers"),
            ("[policy]\nrequire_email = 'yes'", "policy.require_email"),
            ("[policy]\nprivate_relay = 'deny'", "policy.private_relay"),
            ("[policy]\nminimum_real_user_status = 2", "policy.minimum_real_user_status"),
            ("[policy]\nrequired_claims = ['']", "policy.required_claims"),
            ("[policy]\nallow_subjects = []", "policy.allow_subjects"),
            ("[policy]\nallow_emails = []", "policy.allow_emails"),
            ("[policy]\nallow_emails = ['a b']", "policy.allow_emails"),
            ("[policy]\ndeny_emails = ['@']", "policy.deny_emails"),
            ("[policy]\ndeny_subjects = ['a b']", "policy.deny_subjects"),
            ("[verdicts]\ncapacity = -1", "verdicts.capacity"),
            ("[identity]\nheaders = ['X-Siwa-Assertion']", "identity.headers"),
            ("[identity]\nheaders = ['X-User']", "identity.headers"),
            ("[identity]\nheaders = 'oauth3-proxy'", "identity.headers"),
            ("[identity]\nheaders = ['X-User=name']", "identity.headers"),
            ("[identity]\nheaders = ['Host=sub']", "identity.headers"),
            ("[identity]\nunverified_email = 'trust'", "identity.unverified_email"),
            ("[identity]\nrealm = 'a\"b'", "identity.realm"),
            ("[store]\nfile = '/'", "store.file"),
            ("[store]\nredis_url = 'http://redis'", "store.redis_url"),
            ("[store]\nredis_url = 'redis://user:word@redis'", "store.redis_url"),
            ("[store]\nredis_username = 'proxy'", "store.redis_username"),
            ("[store]\nredis_prefix = ''", "store.redis_prefix"),
            ("[store]\nredis_timeout = '0s'", "store.redis_timeout"),
            ("[notifications]\npath = '/'", "notifications.path"),
            ("[notifications]\npath = 'apple'", "notifications.path"),
            ("[notifications]\npath = '/a/../b'", "notifications.path"),
            (
                "[notifications]\npath = '/auth/apple/verify'\n[doors]\nauth_request = ['/auth/apple/verify']",
                "notifications.path",
            ),
            (
                "[notifications]\npath = '/ask/a'\n[ext_authz]\npath_prefixes = ['/ask']",
                "notifications.path",
            ),
            ("[notifications]\nrate_per_second = 0", "notifications.rate_per_second"),
            ("[sign_in]\npath = 'auth'", "sign_in.path"),
            ("[sign_in]\nrate_burst = 0", "sign_in.rate_burst"),
            ("[revocations]\ngroups = [['com.example.other']]", "revocations.groups"),
            ("[revocations]\nkeep = '23h'", "revocations.keep"),
            ("[revocations]\nmax_staleness = '1m'", "revocations.max_staleness"),
            ("[revocations]\nadmin_token_file = '/nowhere'", "revocations.admin_token_file"),
            ("[webhooks]\nsecret_files = ['/nowhere']", "webhooks.secret_files"),
            ("[webhooks]\ntimeout = '0s'", "webhooks.timeout"),
            ("[log]\nfilter = 'debgu'", "log.filter"),
            ("[log]\nformat = 'xml'", "log.format"),
            ("[reload]\nwatch_every = '2years'", "reload.watch_every"),
        ] {
            let problem = problem_of(more);
            assert!(problem.starts_with(&format!("{key}: ")), "{more}: {problem}");
            assert!(problem.contains("config.toml:12"), "{more}: {problem}");
        }
    }

    #[test]
    fn each_check_of_the_application_speaks_once() {
        for (key, value) in [
            ("ca_file", "ca.pem"),
            ("server_name", "app"),
            ("client_key_file", "key.pem"),
            ("client_certificate_file", "a"),
            ("protocol", "http3"),
            ("total_timeout", "0s"),
            ("header_case", "upper"),
            ("upgrades", "always"),
        ] {
            let text = format!(
                "[upstream]\nurl = 'http://app'\n{key} = '{value}'\n[apple]\nclient_ids = ['com.example.app']\n"
            );
            let problems = problems_of(&text);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(&format!("upstream.{key}: ")), "{problems:?}");
        }
        let text =
            "[upstream]\nurl = 'h2c://app'\nprotocol = 'http1'\n[apple]\nclient_ids = ['a']\n";
        assert!(problems_of(text)[0].starts_with("upstream.protocol: must be `h2`"));
    }
}
