//! `[doors]`.

use serde::{Deserialize, Serialize};

use super::super::{
    AssertionSettings, DoorsEntry, Published, own_paths::OwnPaths, problems::Problems,
};
use crate::{authn::AssertionKeys, endpoints::DoorPaths};

/// `[doors]`: where other gateways ask whether a request may pass, and as whom. Without an application (no `[upstream]`) all
/// of these doors are open at the paths below; with one, a door is open only where its paths are written, and these are then
/// ours and not the application's. `[]` closes a door.
///
/// Routes apply to the original request that a gateway reports, if `server.trusted_peers` lists the gateway and it reports
/// method, host and path. Otherwise a request passes only if it may pass on every route.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DoorsSection {
    /// Where nginx (`auth_request`) and HAProxy ask, in whatever method: 200 with the identity headers, or 401, 403 or 503
    /// without a body. The original request is reported by `X-Original-Method`, `X-Original-URI` and `Host`.
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_request: Option<Vec<String>>,

    /// Where Traefik (`ForwardAuth`) and Caddy (`forward_auth`) ask, in whatever method: 200 with the identity headers, or
    /// the answer for the client. The original request is reported by `X-Forwarded-Method`, `X-Forwarded-Host` and
    /// `X-Forwarded-Uri`.
    #[serde(skip_serializing_if = "Option::is_none")]
    forward_auth: Option<Vec<String>>,

    /// Where a caller asks who it is (`GET`): its own identity as JSON. Pages of other origins may, as `[cors]` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    userinfo: Option<Vec<String>>,

    /// What the application behind another gateway calls itself, and compares with `aud` of `X-Siwa-Assertion`; needed for
    /// that header where there is no `[upstream]`. Two applications must not share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    audience: Option<String>,
}

/// Where `auth_request` is unless it is said: the second is where oauth2-proxy has it.
pub(super) const AUTH_REQUEST: [&str; 2] = ["/auth/apple/verify", "/oauth2/auth"];
/// Where `forward_auth` is unless it is said.
pub(super) const FORWARD_AUTH: [&str; 1] = ["/auth/apple/forward-auth"];
/// Where `userinfo` is unless it is said.
pub(super) const USERINFO: [&str; 1] = ["/auth/apple/userinfo"];

/// What the section must know of others.
pub(super) struct Known<'a> {
    /// Whether requests are forwarded.
    pub(super) has_application: bool,
    /// How identities are asserted, if they are.
    pub(super) assertion: Option<&'a AssertionSettings>,
}

impl DoorsSection {
    pub(super) fn check(
        self,
        problems: &mut Problems,
        own: &mut OwnPaths<'_>,
        known: &Known<'_>,
    ) -> DoorsEntry {
        let Known { has_application, assertion } = *known;
        let Self { auth_request, forward_auth, userinfo, audience } = self;

        if assertion.is_some_and(|assertion| assertion.published == Published::Everywhere) {
            own.take(problems, "assertion.publish", AssertionKeys::PATH);
        }
        let mut check = |key: &str, written: Option<Vec<String>>, unsaid: &[&str]| {
            let unsaid = if has_application { &[] } else { unsaid };
            let unsaid = || unsaid.iter().copied().map(str::to_owned).collect();
            check_paths(problems, key, written.unwrap_or_else(unsaid), own)
        };
        let paths = DoorPaths {
            auth_request: check("doors.auth_request", auth_request, &AUTH_REQUEST),
            forward_auth: check("doors.forward_auth", forward_auth, &FORWARD_AUTH),
            userinfo: check("doors.userinfo", userinfo, &USERINFO),
        };
        if !has_application && paths.all().next().is_none() && !own.envoy_asks() {
            let what =
                "there is neither an application nor a door: set upstream.url, or open a door";
            problems.note("doors", what);
        }
        if !has_application && assertion.is_some() && audience.is_none() {
            let what = "is missing: assertions need one where there is no [upstream]";
            problems.note_clash("doors.audience", "assertion.key_files", what);
        }
        DoorsEntry { paths, audience }
    }
}

/// The paths of one door, which nobody else has.
fn check_paths(
    problems: &mut Problems,
    key: &str,
    paths: Vec<String>,
    own: &mut OwnPaths<'_>,
) -> Vec<Box<str>> {
    let mut check = |path: String| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
        if path.starts_with('/') && path.bytes().all(is_plain) {
            own.take(problems, key, &path);
        } else {
            let what = format!(
                "`{path}` is no path such as `/auth/apple/verify`, of letters, digits and `/-._~`"
            );
            problems.note(key, what);
        }
        path.into_boxed_str()
    };
    paths.into_iter().map(&mut check).collect()
}

#[cfg(test)]
mod tests {
    use super::{super::super::Settings, *};

    const APP: &str = "apple.client_ids = ['com.example.app']\n";

    fn settled(text: &str) -> Settings {
        Settings::from_toml(&format!("{APP}{text}")).unwrap_or_else(|problems| panic!("{problems}"))
    }

    fn problem(text: &str) -> String {
        Settings::from_toml(&format!("{APP}{text}")).unwrap_err().to_string()
    }

    fn paths(settings: &Settings) -> Vec<&str> {
        settings.doors.paths.all().collect()
    }

    #[test]
    fn without_an_application_every_door_is_open_unless_it_is_closed() {
        let settings = settled("");
        assert!(settings.upstreams.is_empty());
        let all = [&AUTH_REQUEST[..], &FORWARD_AUTH, &USERINFO].concat();
        assert_eq!(paths(&settings), all);
        let settings = settled("doors.auth_request = ['/ask']\ndoors.forward_auth = []");
        assert_eq!(paths(&settings), ["/ask", USERINFO[0]]);
    }

    #[test]
    fn with_an_application_a_door_is_open_where_its_path_is_written() {
        let settings = settled("upstream.url = 'http://app'");
        assert_eq!(paths(&settings), [""; 0]);
        let settings = settled("upstream.url = 'http://app'\ndoors.userinfo = ['/me']");
        assert_eq!(paths(&settings), ["/me"]);
    }

    #[test]
    fn what_is_said_of_an_application_asks_for_its_url() {
        for text in ["upstream.host = 'upstream'", "[upstreams.b]\nurl = 'http://b'"] {
            assert!(problem(text).starts_with("upstream.url: is missing"), "{text}");
        }
    }

    #[test]
    fn neither_an_application_nor_a_door_is_a_mistake() {
        let none = "[ext_authz]\ngrpc = false\npath_prefixes = []\n\
                    [doors]\nauth_request = []\nforward_auth = []\nuserinfo = []";
        assert!(problem(none).starts_with("doors: there is neither an application nor a door"));
    }

    #[test]
    fn no_door_is_where_envoy_asks() {
        for path in ["/ask", "/ask/", "/ask/me"] {
            let problem = problem(&format!(
                "ext_authz.path_prefixes = ['/ask']\ndoors.userinfo = ['{path}']"
            ));
            let expected = format!(
                "doors.userinfo: `{path}` is behind `/ask`, where Envoy asks: choose a path outside \
                 (from config.toml:3 and config.toml:2)"
            );
            assert_eq!(problem, expected);
        }
        let beside = settled("ext_authz.path_prefixes = ['/ask']\ndoors.userinfo = ['/asking']");
        assert!(paths(&beside).contains(&"/asking"));
        let unsaid = problem("ext_authz.path_prefixes = ['/oauth2']");
        assert!(unsaid.starts_with("doors.auth_request: `/oauth2/auth` is behind"), "{unsaid}");
    }

    #[test]
    fn no_door_is_where_envoy_asks_by_grpc() {
        for path in ["/envoy.service.auth.v3.Authorization/Check", "/grpc.health.v1.Health/Check"] {
            let text = format!("{APP}doors.userinfo = ['{path}']");
            let settled = Settings::from_toml(&text).map_err(|problems| problems.to_string());
            if cfg!(feature = "ext-authz") {
                let problem = settled.unwrap_err();
                let expected = format!("doors.userinfo: `{path}` is where Envoy asks: ");
                assert!(problem.starts_with(&expected), "{problem}");
            }
            let closed = format!("{text}\next_authz.grpc = false");
            Settings::from_toml(&closed).unwrap();
        }
    }

    #[test]
    fn a_path_is_plain_and_belongs_to_one_door() {
        for path in ["ask", "", "/a?b", "/a b", "/%61", "/a/*", "https://a/b"] {
            let problem = problem(&format!("doors.userinfo = ['{path}']"));
            assert!(problem.starts_with("doors.userinfo: `"), "{path}: {problem}");
        }
        let problem = problem("doors.auth_request = ['/a']\ndoors.userinfo = ['/b', '/a']");
        assert!(problem.starts_with("doors.userinfo: `/a` is taken"), "{problem}");
    }
}
