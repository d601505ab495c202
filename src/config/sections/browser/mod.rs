//! `[browser]`.

mod checks;

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use url::Url;

use self::checks::{
    check_after_logout, check_android, check_client_id, check_name, check_origins,
    check_own_origins, check_page, check_path, open_userinfo,
};
use super::{
    super::{own_paths::OwnPaths, problems::Problems},
    check_positive,
};
use crate::{
    endpoints::{AndroidApp, BrowserSettings, CrossOrigin, DoorPaths, Login},
    verify::ClientIds,
};

/// `[browser]`: where people sign in with a browser, at Apple's page, for routes with `access = "browser"`. It needs
/// `sessions.key_files`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BrowserSection {
    /// What our own paths begin with, such as `/auth/apple`: `/login`, `/start`, `/callback`, `/android-callback`,
    /// `/logout` and `/userinfo` below it are ours from then on, and not the application's. None by default, and then no browser signs in here.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,

    /// The origins at which people use the application, as their browsers show them: `https://app.example`. Register each of
    /// them, followed by `path` and `/callback`, as a return URL of the Services ID. Nobody is sent anywhere else after
    /// signing in, and no cookie is set for any other host. `http` is for loopback alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    origins: Vec<String>,

    /// The Services ID that people sign in to, one of `apple.client_ids`; default the only one, where there is only one.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,

    /// What Apple is asked to tell, out of `name` and `email`; default `email`. Each one more is one more question to people
    /// who sign in for the first time.
    scopes: Vec<Scope>,

    /// What somebody sees first who has to sign in. `page`, the default: a page with Apple's button. `redirect`: Apple's page
    /// at once, which is one click less, and a surprise to those who did not know.
    login: LoginKey,

    /// What the application is called on our pages (`Sign in to NAME`); nothing by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,

    /// The longest that somebody may take at Apple's page; default 10 minutes. Longer is kinder to those who look for their
    /// telephone; shorter leaves less time to whoever finds an unfinished sign-in.
    #[serde(with = "humantime_serde")]
    sign_in_timeout: Duration,

    /// How long a session may lie idle; default a week, and never longer than `sessions.refresh_lifetime`. Each use renews it,
    /// up to `sessions.absolute_lifetime`. Shorter has people sign in more often.
    #[serde(with = "humantime_serde")]
    session_lifetime: Duration,

    /// Where people are sent when they have signed out: a path (`/goodbye`) or an address; default a page that says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    after_logout: Option<String>,

    /// Whether `webhooks.urls` are told of each sign-in, with the name at the first one; default `false`.
    webhook: bool,

    /// What becomes of requests that change something (any method but `GET`, `HEAD` and `OPTIONS`, and `WebSocket`s) and come
    /// from another site's page with the session's cookie. `refuse`, the default: 403. `forward`: the application tells
    /// forged requests from others itself.
    cross_origin: CrossOriginKey,

    /// Other origins whose pages may send such requests all the same; none by default.
    cross_origin_trusted: Vec<String>,

    /// Apple's page; default `https://appleid.apple.com/auth/authorize`. Another one is for a simulator.
    authorize_url: Url,

    /// The package of an Android app (`com.example.app`), whose return URL at Apple is then `path` and `/android-callback`:
    /// Apple's answer is handed on to it by an `intent:` address. None by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    android_package: Option<String>,

    /// The scheme that the app listens to; default `signinwithapple`, as Flutter's plugin does.
    android_scheme: String,
}

/// What Apple can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Name,
    Email,
}

/// How [`Login`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LoginKey {
    #[default]
    Page,
    Redirect,
}

/// How [`CrossOrigin`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum CrossOriginKey {
    #[default]
    Refuse,
    Forward,
}

const APPLE: &str = "https://appleid.apple.com/auth/authorize";

impl Default for BrowserSection {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "a constant, and a default that every test reads")]
        let authorize_url = Url::parse(APPLE).expect("a URL");
        Self {
            path: None,
            origins: Vec::new(),
            client_id: None,
            scopes: vec![Scope::Email],
            login: LoginKey::default(),
            name: None,
            sign_in_timeout: Duration::from_mins(10),
            session_lifetime: Duration::from_hours(7 * 24),
            after_logout: None,
            webhook: false,
            cross_origin: CrossOriginKey::default(),
            cross_origin_trusted: Vec::new(),
            authorize_url,
            android_package: None,
            android_scheme: AndroidApp::SCHEME.to_owned(),
        }
    }
}

/// What the section may refer to.
pub(super) struct Known<'a> {
    /// `apple.client_ids`, if they are legal.
    pub(super) client_ids: Option<&'a ClientIds>,
    /// Whether there are keys to seal sessions with.
    pub(super) has_sessions: bool,
    /// The path of `[sign_in]`, which shares `/logout`: who comes with a token is an app.
    pub(super) sign_in: Option<&'a str>,
}

impl BrowserSection {
    /// Whether browsers sign in.
    pub(super) const fn is_open(&self) -> bool {
        self.path.is_some()
    }

    pub(super) fn check(
        self,
        problems: &mut Problems,
        own: &mut OwnPaths<'_>,
        doors: &mut DoorPaths,
        known: &Known<'_>,
    ) -> Option<Arc<BrowserSettings>> {
        let Self {
            path,
            origins,
            client_id,
            scopes,
            login,
            name,
            sign_in_timeout,
            session_lifetime,
            after_logout,
            webhook,
            cross_origin,
            cross_origin_trusted,
            authorize_url,
            android_package,
            android_scheme,
        } = self;

        let path = path?;
        if !known.has_sessions {
            let what = "needs sessions: set sessions.key_files";
            problems.note_clash("browser.path", "sessions.key_files", what);
        }
        check_path(problems, own, &path, known.sign_in);
        open_userinfo(problems, own, &path, doors);
        let origins = check_own_origins(problems, &origins);
        let client_id = check_client_id(problems, client_id, known.client_ids);
        check_positive(problems, "browser.sign_in_timeout", sign_in_timeout);
        check_positive(problems, "browser.session_lifetime", session_lifetime);
        check_name(problems, name.as_deref());
        check_after_logout(problems, after_logout.as_deref());
        check_page(problems, &authorize_url);
        let trusted =
            check_origins(problems, "browser.cross_origin_trusted", &cross_origin_trusted);
        let android = check_android(problems, android_package, android_scheme);
        Some(Arc::new(BrowserSettings {
            path: path.into(),
            origins,
            client_id: client_id?,
            scopes: wire_names(&scopes).into(),
            authorize_url,
            login: login.settled(),
            name: name.map(Into::into),
            sign_in_timeout,
            session_lifetime,
            after_logout: after_logout.map(Into::into),
            webhook,
            cross_origin: match cross_origin {
                CrossOriginKey::Refuse => CrossOrigin::RefuseBut(trusted),
                CrossOriginKey::Forward => CrossOrigin::Forward,
            },
            android,
        }))
    }
}

impl LoginKey {
    const fn settled(self) -> Login {
        match self {
            Self::Page => Login::Page,
            Self::Redirect => Login::Redirect,
        }
    }
}

/// As Apple is asked for them.
fn wire_names(scopes: &[Scope]) -> String {
    let has = |scope| scopes.contains(&scope);
    let names = [(Scope::Name, "name"), (Scope::Email, "email")];
    let names: Vec<_> =
        names.into_iter().filter(|(scope, _)| has(*scope)).map(|(_, name)| name).collect();
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::super::Settings;

    /// The settings with `more` of them, and the keys that sessions need.
    fn settled(more: &str) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=").unwrap();
        let text = format!(
            "apple.client_ids = ['com.example.app', 'com.example.web']\n\
             sessions.key_files = ['{}']\n\
             upstream.url = 'http://127.0.0.1:3000'\n{more}",
            key.display()
        );
        Settings::from_toml(&text).map_err(|problems| problems.to_string())
    }

    const GOOD: &str = "[browser]\npath = '/auth/apple'\norigins = ['https://app.example']\n";

    #[test]
    fn a_browser_needs_a_path_an_origin_and_an_app() {
        let settings = settled(&format!("{GOOD}client_id = 'com.example.web'")).unwrap();
        assert_eq!(settings.browser.unwrap().client_id.as_str(), "com.example.web");
        assert!(settled("").unwrap().browser.is_none());
        for (text, problem) in [
            (GOOD.to_owned(), "browser.client_id: is missing"),
            (format!("{GOOD}client_id = 'x'"), "browser.client_id: `x` is not among"),
            ("browser.path = '/a'".to_owned(), "browser.origins: is missing"),
        ] {
            let problems = settled(&text).unwrap_err();
            assert!(problems.contains(problem), "{text}: {problems}");
        }
    }

    #[test]
    fn what_would_lead_astray_is_a_mistake() {
        for (key, value) in [
            ("origins", "['https://app.example/']"),
            ("origins", "['https://app.example:443']"),
            ("origins", "['http://app.example']"),
            ("origins", "['https://APP.example']"),
            ("origins", "['app.example']"),
            ("origins", "['null']"),
            ("origins", "['https://10.0.0.5']"),
            ("path", "'/auth/'"),
            ("path", "'auth'"),
            ("after_logout", "'//evil.example'"),
            ("after_logout", "'javascript:alert(1)'"),
            ("after_logout", "'http://app.example/'"),
            ("after_logout", "'/a b'"),
            ("authorize_url", "'http://appleid.apple.com/auth/authorize'"),
            ("authorize_url", "'https://appleid.apple.com/auth/authorize?x=y'"),
            ("name", "''"),
            ("sign_in_timeout", "'0s'"),
            ("android_package", "'app'"),
            ("android_package", "'com.example;end'"),
            ("cross_origin_trusted", "['*']"),
        ] {
            let rest = GOOD.lines().filter(|line| !line.starts_with(&format!("{key} =")));
            let rest = rest.collect::<Vec<_>>().join("\n");
            let text = format!("{rest}\nclient_id = 'com.example.web'\n{key} = {value}");
            let problems = settled(&text).unwrap_err();
            assert!(problems.starts_with(&format!("browser.{key}: ")), "{text}: {problems}");
        }
        let android = "android_package = 'com.example.app'\nandroid_scheme = 'a;b'";
        let text = format!("{GOOD}client_id = 'com.example.web'\n{android}");
        assert!(settled(&text).unwrap_err().starts_with("browser.android_scheme: "));
    }

    #[test]
    fn routes_for_browsers_need_a_place_to_sign_in() {
        let route = "[[route]]\naccess = 'browser'\n";
        let problems = settled(route).unwrap_err();
        assert!(problems.starts_with("route[1].access: "), "{problems}");
        settled(&format!("{GOOD}client_id = 'com.example.web'\n{route}")).unwrap();
    }
}
