//! Settings that can be used and are probably not what is meant. Said by `check`, and in the log at the start.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    JwksFrom, Settings, StoreSettings, UpstreamEntry,
    problems::{Problems, Warnings},
};
use crate::{
    apple::TeamKey,
    authn::Policy,
    peers::Peers,
    server::ListenOn,
    upstream::UpstreamUrl,
    verify::{ClientId, Issuer},
};

impl Settings {
    /// The same, without the warnings: for whoever means it so.
    #[must_use]
    pub fn without_warnings(mut self) -> Self {
        self.source.warnings = Warnings::default();
        self
    }
}

/// Notes what to warn of in `settings`.
pub(super) fn look(settings: &Settings, problems: &mut Problems) {
    for id in settings.apple.client_ids.iter() {
        look_at_client_id(id, problems);
    }
    look_at_keys(settings, problems);
    look_at_peers("server.trusted_peers", &settings.server.trusted_peers, problems);
    look_at_peers(
        "server.proxy_protocol_peers",
        &settings.server.settings.proxy_protocol_peers,
        problems,
    );
    for entry in &settings.upstreams {
        look_at_upstream(settings, entry, problems);
    }
    look_at_denials(settings, problems);
    look_at_reports(settings, problems);
    look_at_store(settings, problems);
    look_at_sessions(settings, problems);
}

fn look_at_client_id(id: &ClientId, problems: &mut Problems) {
    let id = id.as_str();
    if let Some(what) = doubt_about(id) {
        problems.warn("apple.client_ids", format!("`{id}` {what}"));
    }
}

/// Why no token of the operator's own has `id` for its audience, if it looks so.
fn doubt_about(id: &str) -> Option<String> {
    Some(match id.split_once('.') {
        _ if id == ClientId::EXPO_GO => "is Expo Go, which every project of everybody shares: anybody can make tokens for \
                                         it; build a development client with a bundle id of your own"
            .to_owned(),
        _ if id.contains("://") => "is an address, which is no token's audience: name the Services ID to which it belongs, such \
                                    as com.example.web"
            .to_owned(),
        _ if id.contains('*') => "has a `*`, which no token's audience has: name each bundle id and Services ID".to_owned(),
        None if TeamKey::is_identifier(id) => "looks like a Team ID, which is no token's audience: name a bundle id or a \
                                               Services ID, such as com.example.app"
            .to_owned(),
        // So Apple's portal shows App IDs.
        Some((team, rest)) if TeamKey::is_identifier(team) && rest.contains('.') => {
            format!("begins with a Team ID, which no token's audience does: name `{rest}` alone")
        }
        _ => return None,
    })
}

fn look_at_keys(settings: &Settings, problems: &mut Problems) {
    match &settings.jwks.from {
        from if from.is_apple() => {}
        JwksFrom::File(_) => problems.warn(
            "jwks.file",
            "the keys do not come from Apple: whoever writes the file can be anybody to the application, and must \
             follow Apple's rotation",
        ),
        JwksFrom::Url(url) if url.as_url().scheme() == "http" => problems.warn(
            "jwks.url",
            "the keys come over plain http, from this machine: that is for a simulator, and whoever listens there can \
             be anybody to the application",
        ),
        JwksFrom::Url(_) => problems.warn(
            "jwks.url",
            "the keys do not come from Apple: whoever provides them can be anybody to the application",
        ),
    }
    for keys in &settings.jwks.additional {
        let what = format!(
            "tokens of {} are accepted besides: it can name any subject",
            keys.issuer.as_str()
        );
        problems.warn("jwks.additional", what);
    }
    if settings.apple.issuer != Issuer::apple() {
        problems.warn(
            "apple.issuer",
            "is not Apple: that is for a simulator, and every token of Apple's is refused",
        );
    }
}

/// Networks with more addresses than any operator has proxies.
fn look_at_peers(key: &str, peers: &Peers, problems: &mut Problems) {
    for net in peers.nets().iter().filter(|net| is_a_great_part_of_the_internet(net)) {
        let what = format!(
            "`{net}` is a great part of the Internet, and anybody in it can forge a caller's address: list the proxies \
             in front of this one"
        );
        problems.warn(key, what);
    }
}

fn is_a_great_part_of_the_internet(net: &IpNet) -> bool {
    match net {
        // 10.0.0.0/8 is the largest network that is private.
        IpNet::V4(net) => (1..8).contains(&net.prefix_len()),
        // Nobody is given more than a /20.
        IpNet::V6(net) => (1..19).contains(&net.prefix_len()) && !is_private(net.network().into()),
    }
}

fn look_at_upstream(settings: &Settings, entry: &UpstreamEntry, problems: &mut Problems) {
    let url = &entry.settings.url;
    let key = format!("{}.url", entry.section);
    if is_ourselves(settings, url) {
        let what = "is where the proxy itself listens: every request would go round in circles; name the application's \
                    own address";
        return problems.warn(&key, what);
    }
    let proves_itself = entry.settings.tls.client_certificate.is_some();
    if let Some(host) = url.host()
        && !is_nearby(host)
        && !proves_itself
    {
        let what = format!(
            "`{host}` is not on this machine or a private network: if others can reach it too, they can send it any \
             identity; close it to all but the proxy, or let it ask for a client certificate (client_certificate_file)"
        );
        problems.warn(&key, what);
    }
}

/// Whether what is connected to is one of our own listeners.
fn is_ourselves(settings: &Settings, url: &UpstreamUrl) -> bool {
    let ours = settings.server.listen.iter().chain([&settings.server.admin_listen]);
    ours.into_iter().any(|on| match on {
        ListenOn::Unix { path, .. } => url.socket() == Some(path.as_path()),
        ListenOn::Tcp(address) => {
            url.port() == Some(address.port())
                && url.host().is_some_and(|host| reaches(host, address.ip()))
        }
        ListenOn::Systemd(_) => false,
    })
}

/// Whether connecting to `host` leads to a listener on `address` of this machine, as far as can be told from here.
fn reaches(host: &str, address: IpAddr) -> bool {
    let is_here = |ip: IpAddr| ip.is_loopback() || ip.is_unspecified();
    match host.parse::<IpAddr>() {
        Ok(ip) => ip == address || (is_here(ip) && address.is_unspecified()),
        Err(_name) => host == "localhost" && is_here(address),
    }
}

/// Whether only neighbours can reach `host`: an address that is not routed, a name that is not a public one.
fn is_nearby(host: &str) -> bool {
    const LOCAL_ZONES: [&str; 8] = [
        ".localhost",
        ".internal",
        ".local",
        ".lan",
        ".home.arpa",
        ".svc",
        ".intranet",
        ".private",
    ];
    match host.parse::<IpAddr>() {
        Ok(ip) => is_private(ip),
        // A single label is a neighbour's name: a container's, a Service's.
        Err(_name) => !host.contains('.') || LOCAL_ZONES.iter().any(|zone| host.ends_with(zone)),
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            // RFC 6598: shared between carriers and clusters.
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0b1100_0000 == 64;
            ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || is_shared
        }
        IpAddr::V6(ip) => {
            ip.is_loopback()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || ip.is_unspecified()
        }
    }
}

/// A list of denied addresses looks as if it kept people out, and keeps out only those who show a verified address.
fn look_at_denials(settings: &Settings, problems: &mut Problems) {
    for (route, key) in missed_denials(settings) {
        let what = format!(
            "bars nobody without a verified address, on route `{route}`: set require_verified_email, or deny subjects"
        );
        problems.warn(key, what);
    }
}

/// The routes of which that is true, and which policy it is: a route's own, or the one of all.
fn missed_denials(settings: &Settings) -> Vec<(&str, &'static str)> {
    let all = &settings.policy;
    let missed_by = |here: &Policy| {
        if here.may_miss_denied_emails() && !all.requires_verified_email() {
            Some("route.policy")
        } else if all.may_miss_denied_emails() && !here.requires_verified_email() {
            Some("policy.deny_emails")
        } else {
            None
        }
    };
    let routes = settings.routes.policies();
    routes.filter_map(|(name, here)| Some((name, missed_by(here)?))).collect()
}

/// A gateway whose word is not believed cannot tell on which route a request is.
fn look_at_reports(settings: &Settings, problems: &mut Problems) {
    let ignored = settings.doors.paths.takes_reports() && settings.server.trusted_peers.is_empty();
    if ignored && settings.routes.differ() {
        problems.warn(
            "server.trusted_peers",
            "lists no gateway, and routes differ in who may pass: what gateways report is ignored, and a request passes \
             only if it may pass on every route",
        );
    }
}

/// What is in memory is gone at the next start.
fn look_at_store(settings: &Settings, problems: &mut Problems) {
    if !matches!(settings.store, StoreSettings::Memory) {
        return;
    }
    for forgotten in remembered(settings) {
        let what = format!("is not set, nor is store.redis_url: a restart forgets {forgotten}");
        problems.warn("store.file", what);
    }
}

/// What these settings have the proxy remember, and what would come of its being forgotten.
fn remembered(settings: &Settings) -> impl Iterator<Item = &'static str> {
    let revocations =
        settings.notifications.is_some() || settings.revocations.admin_token.is_some();
    let single_use = settings.sign_in.as_ref().is_some_and(|sign_in| sign_in.single_use);
    [
        (revocations, "the revocations, and lets in whom they refuse"),
        (
            settings.sessions.is_some(),
            "which sessions have ended and which refresh tokens and nonces are used up, and takes them again",
        ),
        (single_use, "which tokens have signed in, and lets each sign in once more"),
    ]
    .into_iter()
    .filter_map(|(is_kept, what)| is_kept.then_some(what))
}

/// With a key alone there is nothing that a session could begin with.
fn look_at_sessions(settings: &Settings, problems: &mut Problems) {
    let can_begin = settings.sign_in.is_some() || settings.browser.is_some();
    if settings.sessions.is_some() && !can_begin {
        problems.warn(
            "sessions.key_files",
            "no session can begin: set sign_in.path for apps, or browser.path for browsers",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn warnings(text: &str) -> Vec<String> {
        Settings::from_toml(text).unwrap().warnings().lines().collect()
    }

    /// The warnings about an application at `url`, and `more`.
    fn warnings_about(url: &str, more: &str) -> Vec<String> {
        warnings(&format!("upstream.url = '{url}'\napple.client_ids = ['com.example.app']\n{more}"))
    }

    #[test]
    fn the_minimal_file_needs_no_warning() {
        assert_eq!(warnings(include_str!("../../config/minimal.toml")), Vec::<String>::new());
    }

    #[test]
    fn what_a_restart_would_forget_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        let sign_in = "sign_in.path = '/auth/apple'";
        let sessions = format!("{sign_in}\nsessions.key_files = ['{}']", key.display());
        for (kept, forgotten) in [
            ("notifications.path = '/auth/apple/notifications'", &["the revocations"][..]),
            (&sessions, &["which sessions have ended"]),
            (sign_in, &[]),
            (&format!("{sign_in}\nsign_in.single_use = true"), &["which tokens have signed in"]),
            (
                &format!("{sessions}\nsign_in.single_use = true"),
                &["which sessions have ended", "which tokens have signed in"],
            ),
        ] {
            let warnings = warnings_about("http://app", kept);
            assert_eq!(warnings.len(), forgotten.len(), "{kept}: {warnings:?}");
            for (warning, forgotten) in warnings.iter().zip(forgotten) {
                assert!(warning.starts_with("store.file: is not set"), "{warning}");
                assert!(warning.contains(&format!("a restart forgets {forgotten}")), "{warning}");
            }
            let stored = format!("{kept}\nstore.file = '/var/lib/store'");
            assert_eq!(warnings_about("http://app", &stored), Vec::<String>::new(), "{kept}");
        }
    }

    #[test]
    fn an_audience_that_everybody_shares_and_one_that_no_token_has_are_warned_of() {
        let text = "upstream.url = 'http://app'\napple.client_ids = ['host.exp.Exponent', 'A1B2C3D4E5', 'com.a']";
        let warnings = warnings(text);
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("looks like a Team ID") && warnings[1].contains("is Expo Go"));
        assert!(warnings.iter().all(|line| line.ends_with("(from config.toml:2)")), "{warnings:?}");
    }

    #[test]
    fn what_is_no_client_id_though_it_could_be_one_is_warned_of() {
        for (id, doubt) in [
            ("DEF123GHIJ.com.acme.notes", "name `com.acme.notes` alone"),
            ("com.acme.*", "has a `*`"),
            ("*", "has a `*`"),
            ("https://acme.example", "is an address"),
        ] {
            let warnings =
                warnings(&format!("upstream.url = 'http://app'\napple.client_ids = ['{id}']"));
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].starts_with(&format!("apple.client_ids: `{id}` ")), "{warnings:?}");
            assert!(warnings[0].contains(doubt), "{warnings:?}");
        }
        for id in ["com.example.app", "ABCDEFGHIJ.notes", "notes"] {
            let text = format!("upstream.url = 'http://app'\napple.client_ids = ['{id}']");
            assert_eq!(warnings(&text), Vec::<String>::new(), "{id}");
        }
    }

    /// A file with a key for sessions, in a folder that goes with the first of the pair.
    fn session_key() -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        let line = format!("store.file = '/s'\nsessions.key_files = ['{}']", key.display());
        (folder, line)
    }

    #[test]
    fn sessions_that_nobody_can_begin_are_warned_of() {
        let (_folder, sessions) = session_key();
        let warnings = warnings_about("http://app", &sessions);
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(
            warnings[0].starts_with("sessions.key_files: no session can begin"),
            "{warnings:?}"
        );
        let sign_in = format!("{sessions}\nsign_in.path = '/auth/apple'");
        assert_eq!(warnings_about("http://app", &sign_in), Vec::<String>::new());
    }

    #[test]
    fn how_long_revocations_are_kept_beside_sessions_is_shown_and_what_is_ignored_is_warned_of() {
        let (_folder, sessions) = session_key();
        let sessions = format!("{sessions}\nsign_in.path = '/auth/apple'");
        let settled = |more: &str| {
            let needed = "upstream.url = 'http://app'\napple.client_ids = ['com.example.app']";
            Settings::from_toml(&format!("{needed}\n{more}")).unwrap()
        };
        let shown = |settings: &Settings| {
            let shown = settings.written().to_string();
            let keep = shown.lines().find_map(|line| line.strip_prefix("keep = \"")).unwrap();
            let keep = keep.split_once('"').unwrap().0.to_owned();
            humantime::parse_duration(&keep).unwrap()
        };
        let alone = settled("revocations.keep = '72h'");
        assert_eq!(shown(&alone), alone.revocations.settings.keep);
        let default = settled(&sessions);
        assert_eq!(shown(&default), default.revocations.settings.keep);
        assert_eq!(default.warnings().lines().count(), 0);
        let written = settled(&format!("{sessions}\nrevocations.keep = '72h'"));
        assert_eq!(shown(&written), written.revocations.settings.keep);
        let warnings: Vec<_> = written.warnings().lines().collect();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].starts_with("revocations.keep: is not used"), "{warnings:?}");
    }

    #[test]
    fn keys_and_issuers_that_are_not_apple_s_are_warned_of() {
        for (more, expected) in [
            (
                "jwks.url = 'http://127.0.0.1:4190/auth/keys'",
                "jwks.url: the keys come over plain http",
            ),
            ("jwks.url = 'https://keys.example/'", "jwks.url: the keys do not come from Apple"),
            ("jwks.file = '/keys.json'", "jwks.file: the keys do not come from Apple"),
            ("apple.issuer = 'https://sim'", "apple.issuer: is not Apple"),
        ] {
            let warnings = warnings_about("http://app", more);
            assert!(
                warnings.len() == 1 && warnings[0].starts_with(expected),
                "{more}: {warnings:?}"
            );
        }
        assert!(
            warnings_about("http://app", "jwks.url = 'https://appleid.apple.com/auth/keys'")
                .is_empty()
        );
    }

    #[test]
    fn a_list_of_peers_that_is_most_of_the_internet_is_warned_of() {
        for (list, count) in [
            ("'0.0.0.0/1', '128.0.0.0/1'", 2),
            ("'2000::/3'", 1),
            ("'10.0.0.0/8', '2001:db8::/32', 'fc00::/7', 'unix'", 0),
        ] {
            let warnings =
                warnings_about("http://app", &format!("server.trusted_peers = [{list}]"));
            assert_eq!(warnings.len(), count, "{list}: {warnings:?}");
        }
        assert_eq!(
            warnings_about("http://app", "server.proxy_protocol_peers = ['64.0.0.0/2']").len(),
            1
        );
    }

    #[test]
    fn an_application_that_strangers_may_reach_is_warned_of() {
        for url in ["http://app.example.com", "https://93.184.216.34", "http://[2606:4700::1]:80"] {
            let warnings = warnings_about(url, "");
            assert!(
                warnings.len() == 1 && warnings[0].contains("private network"),
                "{url}: {warnings:?}"
            );
        }
        for url in [
            "http://127.0.0.1:3000",
            "http://localhost:3000",
            "http://[::1]:3000",
            "unix:/run/app.sock",
            "http://app:3000",
            "http://10.1.2.3",
            "http://192.168.0.9",
            "http://100.64.0.1",
            "http://[fd00::1]",
            "http://app.default.svc.cluster.local",
            "https://app.internal",
        ] {
            assert_eq!(warnings_about(url, ""), Vec::<String>::new(), "{url}");
        }
        let proof = "[upstreams.b]\nurl = 'https://b.example.com'\nclient_certificate_file = 'c'\nclient_key_file = 'k'";
        assert!(warnings_about("http://app", proof).is_empty());
        let named = warnings_about("http://app", "[upstreams.b]\nurl = 'https://b.example.com'");
        assert!(named[0].starts_with("upstreams.b.url: "), "{named:?}");
    }

    #[test]
    fn a_denied_address_that_need_not_be_shown_is_warned_of() {
        let deny = "[policy]\ndeny_emails = ['example.com']\n";
        let verified = "require_verified_email = true\n";
        let route =
            |policy: &str| format!("[[route]]\npath = '/a'\nname = 'a'\npolicy = {policy}\n");
        let deny_here = route("{ deny_emails = ['example.com'] }");
        let said = |more: &str| warnings_about("http://app", more);
        assert_eq!(said(""), Vec::<String>::new());
        assert!(said(deny)[0].starts_with("policy.deny_emails: bars nobody"));
        assert_eq!(said(&format!("{deny}{verified}")), Vec::<String>::new());
        assert!(
            said(&deny_here)[0]
                .starts_with("route.policy: bars nobody without a verified address, on route `a`")
        );
        assert_eq!(said(&format!("[policy]\n{verified}{deny_here}")), Vec::<String>::new());
        // Where the route asks for a verified address, what holds everywhere misses nobody there.
        let asked_here = route("{ require_verified_email = true }");
        let elsewhere = said(&format!("{deny}{asked_here}"));
        assert!(elsewhere.len() == 1 && elsewhere[0].contains("route `default`"), "{elsewhere:?}");
    }

    #[test]
    fn an_application_that_is_the_proxy_itself_is_warned_of() {
        for (url, more) in [
            ("http://127.0.0.1:4180", ""),
            ("http://localhost:4180", ""),
            ("http://127.0.0.1:4181", ""),
            ("http://[::1]:9", "server.listen = '[::]:9'"),
            ("http://10.0.0.7:9", "server.listen = '10.0.0.7:9'"),
            ("unix:/run/a.sock", "server.listen = 'unix:/run/a.sock'"),
            ("http://127.0.0.1", "server.listen = '0.0.0.0:80'"),
        ] {
            let warnings = warnings_about(url, more);
            assert!(
                warnings.len() == 1 && warnings[0].contains("itself listens"),
                "{url}: {warnings:?}"
            );
        }
        for url in ["http://127.0.0.1:4182", "http://10.0.0.7:4180", "http://app:4180"] {
            assert_eq!(warnings_about(url, ""), Vec::<String>::new(), "{url}");
        }
    }
}
