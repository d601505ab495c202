//! `[apple]`.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    super::{AppleEntry, problems::Problems},
    check_at_most, check_positive,
    store::read,
};
use crate::{
    apple::{AppleApiSettings, InvalidTeamKey, TeamKey},
    verify::{ClientIds, HttpsOptions, Issuer, TrustedUrl, VerifierBuilder},
};

/// `[apple]`: whose tokens are accepted, and for which apps; and the team key by which Apple knows us, where it is asked
/// something in the name of an app.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AppleSection {
    /// The apps whose tokens are accepted, by bundle id (`com.example.app`) or Services ID. Required: an empty list does not
    /// start, as it would mean anybody's app. Each id more admits the users of one app more; one that is missing gets its
    /// users 401 with the code `token_audience`.
    client_ids: Vec<String>,

    /// Who signs tokens, compared exactly with `iss`; default `https://appleid.apple.com`. Never taken from Apple's
    /// discovery document. Another one is for a simulator, and refuses every token of Apple's.
    issuer: String,

    /// How far our clock and Apple's may differ; default 30 s, at most 5 minutes. Longer forgives a wrong clock; it also
    /// accepts tokens for that much longer after they expired.
    #[serde(with = "humantime_serde")]
    leeway: Duration,

    /// How long ago a token may have been issued; until it expires by default, which is a day for Apple's. Shorter ends a
    /// stolen token sooner; it also sends users back to sign in as often, as Apple hands out no newer token silently.
    #[serde(skip_serializing_if = "Option::is_none", with = "humantime_serde::option")]
    max_token_age: Option<Duration>,

    /// The Team ID of the developer account, ten capitals and digits; none by default. With `key_id` and `private_key_file`
    /// Apple's token endpoint can be asked, in the name of each of `client_ids`.
    #[serde(skip_serializing_if = "Option::is_none")]
    team_id: Option<String>,

    /// The Key ID of a key for Sign in with Apple, ten capitals and digits; none by default. It must be of the group of apps
    /// that all of `client_ids` belong to.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,

    /// The file with that key, as it was downloaded (`AuthKey_….p8`); none by default. Whoever has it can speak for your apps
    /// at Apple until you revoke the key there. `check --online` tells whether Apple knows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    private_key_file: Option<PathBuf>,

    /// Where Apple is asked; default Apple's, `https://appleid.apple.com`. It is reached as the keys are: by `jwks.proxy`, and
    /// believing `jwks.ca_file`. Plain `http` is accepted for a loopback host only, which is what the simulator is.
    #[serde(skip_serializing_if = "Option::is_none")]
    api_url: Option<Url>,

    /// How long Apple may take to answer; default 5 s, at most 1 minute. Whoever signs in waits for it.
    #[serde(with = "humantime_serde")]
    api_timeout: Duration,
}

impl Default for AppleSection {
    fn default() -> Self {
        Self {
            client_ids: Vec::new(),
            issuer: Issuer::APPLE.to_owned(),
            leeway: VerifierBuilder::LEEWAY,
            max_token_age: None,
            team_id: None,
            key_id: None,
            private_key_file: None,
            api_url: None,
            api_timeout: Duration::from_secs(5),
        }
    }
}

/// What `[apple]` settles, but for the way to Apple.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) client_ids: ClientIds,
    pub(super) issuer: Issuer,
    pub(super) leeway: Duration,
    pub(super) max_token_age: Option<Duration>,
    api: Option<Api>,
}

/// How Apple is asked.
#[derive(Debug)]
pub(super) struct Api {
    team_key: TeamKey,
    url: TrustedUrl,
    timeout: Duration,
}

impl Checked {
    /// With the way there, which is that of the keys; or all of `known` in place of what is written.
    pub(super) fn settle(
        self,
        https: &HttpsOptions,
        known: Option<AppleApiSettings>,
    ) -> AppleEntry {
        let Self { client_ids, issuer, leeway, max_token_age, api } = self;
        let api = known.or_else(|| api.map(|api| api.reached_by(https)));
        AppleEntry { client_ids, issuer, leeway, max_token_age, api }
    }
}

impl Api {
    fn reached_by(self, https: &HttpsOptions) -> AppleApiSettings {
        let Self { team_key, url, timeout } = self;
        AppleApiSettings {
            url,
            https: https.clone().timeout(timeout),
            ..AppleApiSettings::new(team_key)
        }
    }
}

impl AppleSection {
    const LONGEST_API_TIMEOUT: Duration = Duration::from_mins(1);

    pub(super) fn check(self, problems: &mut Problems) -> Option<Checked> {
        let Self { client_ids, issuer, leeway, max_token_age, .. } = &self;

        if issuer.is_empty() {
            problems.note("apple.issuer", "must not be empty: leave it out for Apple's own");
        }
        check_at_most(problems, "apple.leeway", VerifierBuilder::LONGEST_LEEWAY, *leeway);
        if let Some(age) = *max_token_age {
            check_positive(problems, "apple.max_token_age", age);
        }
        let (issuer, leeway, max_token_age) = (Issuer::new(issuer), *leeway, *max_token_age);
        let client_ids = check_client_ids(problems, client_ids);
        let api = self.check_api(problems);
        Some(Checked { client_ids: client_ids?, issuer, leeway, max_token_age, api })
    }

    fn check_api(self, problems: &mut Problems) -> Option<Api> {
        let timeout = self.api_timeout;
        check_positive(problems, "apple.api_timeout", timeout);
        check_at_most(problems, "apple.api_timeout", Self::LONGEST_API_TIMEOUT, timeout);
        let has_url = self.api_url.is_some();
        let url = check_api_url(problems, self.api_url);
        let (team_id, key_id, file) = match (self.team_id, self.key_id, self.private_key_file) {
            (Some(team_id), Some(key_id), Some(file)) => (team_id, key_id, file),
            (None, None, None) => {
                if has_url {
                    let what = "says nothing without apple.team_id, key_id and private_key_file";
                    problems.note("apple.api_url", what);
                }
                return None;
            }
            (team_id, key_id, file) => {
                let is_set = [team_id.is_some(), key_id.is_some(), file.is_some()];
                note_missing(problems, is_set);
                return None;
            }
        };
        let team_key = check_team_key(problems, &team_id, &key_id, &file)?;
        Some(Api { team_key, url: url?, timeout })
    }
}

/// The three that are of no use alone.
const TEAM_KEY: [&str; 3] = ["apple.team_id", "apple.key_id", "apple.private_key_file"];

fn note_missing(problems: &mut Problems, is_set: [bool; 3]) {
    let those = |set: bool| TEAM_KEY.into_iter().zip(is_set).filter(move |(_, it)| *it == set);
    let Some((beside, _)) = those(true).next() else { return };
    for (missing, _) in those(false) {
        problems.note_clash(missing, beside, format!("is missing beside {beside}"));
    }
}

fn check_api_url(problems: &mut Problems, url: Option<Url>) -> Option<TrustedUrl> {
    let Some(url) = url else { return Some(TrustedUrl::apple()) };
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    let is_http = url.scheme() == "http";
    let trusted = TrustedUrl::new(url).filter(|_| plain);
    match &trusted {
        None => problems.note(
            "apple.api_url",
            "must be https, or http to a loopback host, with nothing before the host or behind the path",
        ),
        Some(_) if is_http => problems.warn(
            "apple.api_url",
            "codes and client secrets go to this machine, over plain http: that is for a simulator",
        ),
        Some(_) => {}
    }
    trusted
}

fn check_team_key(
    problems: &mut Problems,
    team_id: &str,
    key_id: &str,
    file: &PathBuf,
) -> Option<TeamKey> {
    let name = file.display();
    for (key, id) in [("apple.team_id", team_id), ("apple.key_id", key_id)] {
        if !TeamKey::is_identifier(id) {
            let what = "Apple's have ten capitals and digits";
            problems.note(key, format!("`{id}` cannot be one: {what}"));
        }
    }
    let text = read(problems, "apple.private_key_file", Some(file))?;
    if let Some(other) = id_in_name(file).filter(|other| *other != key_id) {
        let what =
            format!("`{name}` is, by its name, the key {other}, and apple.key_id is {key_id}");
        problems.warn("apple.private_key_file", what);
    }
    match TeamKey::from_pem(team_id, key_id, text.as_bytes()) {
        Ok(key) => Some(key),
        Err(InvalidTeamKey::TeamId | InvalidTeamKey::KeyId) => None,
        Err(error) => {
            problems.note("apple.private_key_file", format!("`{name}` {error}"));
            None
        }
    }
}

/// Apple names its files `AuthKey_ABC123DEFG.p8`.
fn id_in_name(file: &Path) -> Option<&str> {
    file.file_name()?.to_str()?.strip_prefix("AuthKey_")?.strip_suffix(".p8")
}

/// Each illegal one is noted, not only the first.
fn check_client_ids(problems: &mut Problems, ids: &[String]) -> Option<ClientIds> {
    let all = ClientIds::new(ids);
    if all.is_err() && !ids.is_empty() {
        for error in ids.iter().filter_map(|id| ClientIds::new([id]).err()) {
            problems.note("apple.client_ids", error.to_string());
        }
        return None;
    }
    all.map_err(|error| problems.note("apple.client_ids", error.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{super::super::Settings, Problems};

    const KEY: &str = include_str!("../../../tests/fixtures/assertion/one.pem");

    /// The settings with these keys, or what is wrong with them.
    fn settle(more: &str) -> Result<Settings, Vec<String>> {
        let text = format!(
            "[upstream]\nurl = 'http://app'\n[apple]\nclient_ids = ['com.example.app']\n{more}"
        );
        let lines = |problems: Problems| problems.to_string().lines().map(str::to_owned).collect();
        Settings::from_toml(&text).map_err(lines)
    }

    fn problems_of(more: &str) -> Vec<String> {
        settle(more).unwrap_err()
    }

    /// The three keys, with the key of a file of this `name`.
    fn team_key(directory: &tempfile::TempDir, name: &str) -> String {
        let file = directory.path().join(name);
        fs::write(&file, KEY).unwrap();
        let file = file.display();
        format!("team_id = 'DEF123GHIJ'\nkey_id = 'ABC123DEFG'\nprivate_key_file = '{file}'\n")
    }

    #[test]
    fn a_team_key_is_read_at_the_start_and_apple_is_reached_as_its_keys_are() {
        let directory = tempfile::tempdir().unwrap();
        let key = team_key(&directory, "AuthKey_ABC123DEFG.p8");
        let more = format!("{key}api_timeout = '7s'\n[jwks]\nca_file = '/ca.pem'");
        let settings = settle(&more).unwrap();
        assert_eq!(settings.warnings().lines().count(), 0);
        let api = settings.apple.api.unwrap();
        assert_eq!((api.team_key.team_id(), api.team_key.key_id()), ("DEF123GHIJ", "ABC123DEFG"));
        assert_eq!(api.url.as_url().as_str(), "https://appleid.apple.com/");
        assert_eq!(api.https.timeout.as_secs(), 7);
        assert_eq!(api.https.ca_file.unwrap().to_str(), Some("/ca.pem"));
        assert!(settle("").unwrap().apple.api.is_none());
    }

    #[test]
    fn a_team_key_is_whole_or_none() {
        let problems = problems_of("key_id = 'ABC123DEFG'");
        assert_eq!(
            problems,
            [
                "apple.private_key_file: is missing beside apple.key_id (from config.toml:5)",
                "apple.team_id: is missing beside apple.key_id (from config.toml:5)",
            ]
        );
        let problems = problems_of("api_url = 'https://apple.example'");
        assert!(problems[0].starts_with("apple.api_url: says nothing without"), "{problems:?}");
    }

    #[test]
    fn everything_that_is_wrong_with_a_team_key_is_said_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("key.p8");
        fs::write(&file, "-----BEGIN PUBLIC KEY-----\nMIGH\n-----END PUBLIC KEY-----\n").unwrap();
        let file = file.display();
        let problems = problems_of(&format!(
            "team_id = 'com.example'\nkey_id = 'abc123defg'\nprivate_key_file = '{file}'\n\
             api_url = 'http://apple.example'\napi_timeout = '2m'"
        ));
        let keys = ["team_id", "key_id", "private_key_file", "api_url", "api_timeout"];
        assert_eq!(problems.len(), keys.len(), "{problems:?}");
        for (problem, key) in problems.iter().zip(keys) {
            assert!(problem.starts_with(&format!("apple.{key}: ")), "{problem}");
        }
        let only_the_file =
            format!("team_id = 'DEF123GHIJ'\nkey_id = 'ABC123DEFG'\nprivate_key_file = '{file}'");
        let problems = problems_of(&only_the_file);
        assert!(
            problems[0].contains("it holds a `PUBLIC KEY`, and no `PRIVATE KEY`"),
            "{problems:?}"
        );
        let problems = problems_of(&only_the_file.replace("key.p8", "none.p8"));
        assert!(problems[0].contains("none.p8` cannot be read"), "{problems:?}");
    }

    #[test]
    fn a_file_that_is_another_key_by_its_name_is_doubted_and_so_is_plain_http() {
        let directory = tempfile::tempdir().unwrap();
        let key = team_key(&directory, "AuthKey_ZZZ123DEFG.p8");
        let settings = settle(&format!("{key}api_url = 'http://127.0.0.1:4190'")).unwrap();
        let warnings: Vec<_> = settings.warnings().lines().collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].contains("the key ZZZ123DEFG, and apple.key_id is ABC123DEFG"));
        assert!(warnings[1].starts_with("apple.api_url: codes and client secrets go"));
    }
}
