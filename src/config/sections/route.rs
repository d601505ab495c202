//! `[[route]]`.

use std::{collections::BTreeMap, time::Duration};

use http::Method;
use serde::{Deserialize, Serialize};

use super::{
    super::{RouteDestination, problems::Problems},
    check_positive,
    policy::PolicySection,
};
use crate::{
    authn::{Policy, PolicyRules},
    endpoints::{Access, AmbiguousPaths, Conflict, Host, PathPattern, Route, Routes, Rule},
    verify::ClientIds,
};

/// `[[route]]`: what is asked of some requests, and where they go. It may be written any number of times. Without one,
/// every request must prove who sends it; with some, a request that none of them matches must, too.
///
/// One route is chosen for a request, whatever their order: one for its host before one for all hosts; among these, an
/// exact path before one with a `{…}`, and that before the longest prefix; among these, one for its method before one for
/// all methods.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RouteSection {
    /// What the log and the metrics call it; default what it matches, such as `GET /public/*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,

    /// Its paths; default `/*`, all. `/status` is that path alone, `/users/{id}` has one segment in place of `{id}`,
    /// `/api/*` is `/api` and everything below. Letters are compared exactly: to protect what an application serves under
    /// several spellings, protect everything and open what is public.
    path: String,

    /// Its hosts; default all. Compared without case and port. A caller is free to name any host, whatever address it
    /// connects to: what is public on one host is public to everybody who names it.
    hosts: Vec<String>,

    /// Its methods; default all. `HEAD` is not `GET`. An application that lets a header or a form field override the
    /// method must not rely on this.
    methods: Vec<String>,

    /// Who may pass. `required`, the default: those who prove who they are. `browser`: those, too; browsers that show a page
    /// are sent to sign in, as `[browser]` says, instead of being answered 401. `optional`: also those who present no
    /// credential; the application finds no identity header, and must expect that. `public`: everybody; no token is looked
    /// at, `Authorization` goes on as it is, and there is never an identity header.
    access: AccessKey,

    /// The apps whose tokens are accepted here, out of `apple.client_ids`; default all of them. The users of the others
    /// get 403.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ids: Option<Vec<String>>,

    /// Who of them may pass here, with the keys of `[policy]`, which holds besides; default everybody. It is written below
    /// the route, as `[route.policy]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicySection>,

    /// Which application it leads to: the NAME of an `[upstreams.NAME]`; default `[upstream]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream: Option<String>,

    /// As `upstream.response_timeout`, for this route; default that of its application.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    response_timeout: Option<Duration>,

    /// As `upstream.idle_timeout`, for this route; default that of its application.
    #[serde(with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    idle_timeout: Option<Duration>,

    /// What becomes of a path that two programs may read differently (`/a/../b`, `//`, `%2F`, `;`, `%2e` …) where routes
    /// differ in who may pass. `refuse`, the default: it is answered 400, as it could be judged here as one path and
    /// answered there as another. `forward`: it goes on, byte for byte; the application must read paths as the proxy does:
    /// no dot segment, no escape and no empty segment means anything special. Where all routes agree in who may pass, such
    /// paths go on in any case.
    ambiguous_paths: AmbiguousPathsKey,
}

/// How [`Access`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AccessKey {
    #[default]
    Required,
    Browser,
    Optional,
    Public,
}

/// How [`AmbiguousPaths`] is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum AmbiguousPathsKey {
    #[default]
    Refuse,
    Forward,
}

impl Default for RouteSection {
    fn default() -> Self {
        Self {
            name: None,
            path: PathPattern::EVERYTHING.to_owned(),
            hosts: Vec::new(),
            methods: Vec::new(),
            access: AccessKey::default(),
            client_ids: None,
            policy: None,
            upstream: None,
            response_timeout: None,
            idle_timeout: None,
            ambiguous_paths: AmbiguousPathsKey::default(),
        }
    }
}

/// What routes may refer to.
pub(super) struct Known<'a> {
    /// The places of `[upstreams.NAME]` in the list of all.
    pub(super) upstreams: &'a BTreeMap<String, usize>,
    /// `apple.client_ids`, if they are legal.
    pub(super) client_ids: Option<&'a ClientIds>,
    /// Whether browsers can sign in.
    pub(super) has_browser: bool,
}

/// What a request meets that no route matches.
fn fallback() -> Route<RouteDestination> {
    Route {
        name: "default".into(),
        access: Access::Required,
        policy: Policy::permissive(),
        ambiguous_paths: AmbiguousPaths::Refuse,
        destination: RouteDestination::default(),
    }
}

/// Checks all routes, each by itself and all together.
pub(super) fn check_all(
    sections: Vec<RouteSection>,
    problems: &mut Problems,
    known: &Known<'_>,
) -> Option<Routes<RouteDestination>> {
    let numbered = sections.into_iter().enumerate();
    let checked = numbered.map(|(i, section)| section.check(problems, &at(i), known));
    // All of them are checked before the first `None` ends it.
    let checked: Vec<_> = checked.collect();
    let rules = checked.into_iter().collect::<Option<Vec<_>>>()?;
    let note = |Conflict(earlier, later): Conflict| {
        let (key, other) = (format!("{}.path", at(later)), format!("{}.path", at(earlier)));
        let what = format!(
            "matches some of the same requests as {}, and none of them comes first: tell them apart by path, hosts or \
             methods, or make them one",
            at(earlier)
        );
        problems.note_clash(&key, &other, what);
    };
    Routes::new(rules, fallback()).map_err(|conflicts| conflicts.into_iter().for_each(note)).ok()
}

/// What the problems call the route at `index`: the first is `route[1]`.
pub(in super::super) fn at(index: usize) -> String {
    format!("route[{}]", index + 1)
}

impl RouteSection {
    fn check(
        self,
        problems: &mut Problems,
        at: &str,
        known: &Known<'_>,
    ) -> Option<(Rule, Route<RouteDestination>)> {
        let described = self.described();
        let Self {
            name,
            path,
            hosts,
            methods,
            access,
            client_ids,
            policy,
            upstream,
            response_timeout,
            idle_timeout,
            ambiguous_paths,
        } = self;

        let key = |key: &str| format!("{at}.{key}");
        for (name, timeout) in
            [("response_timeout", response_timeout), ("idle_timeout", idle_timeout)]
        {
            check_positive(problems, &key(name), timeout.unwrap_or(Duration::from_secs(1)));
        }
        let name = name.unwrap_or(described);
        if name.is_empty() || name.len() > 64 || name.contains(char::is_control) {
            problems.note(&key("name"), "must have 1 to 64 characters, and none that control");
        }
        let path = PathPattern::parse(&path).map_err(|what| problems.note(&key("path"), what));
        let hosts = check_hosts(problems, &key("hosts"), &hosts);
        let methods = check_methods(problems, &key("methods"), &methods);
        for (name, is_set) in [("client_ids", client_ids.is_some()), ("policy", policy.is_some())] {
            if is_set && access == AccessKey::Public {
                let what = "says nothing where access is `public`, as no token is looked at";
                problems.note_clash(&key(name), &key("access"), what);
            }
        }
        if access == AccessKey::Browser && !known.has_browser {
            let what = "is `browser`, and there is nowhere to sign in: set browser.path";
            problems.note_clash(&key("access"), "browser.path", what);
        }
        let client_ids =
            check_client_ids(problems, &key("client_ids"), client_ids, known.client_ids);
        let policy = check_policy(problems, &key("policy"), policy);
        let upstream = check_upstream(problems, &key("upstream"), upstream, known.upstreams);

        let destination = RouteDestination { upstream: upstream?, response_timeout, idle_timeout };
        let rule = Rule { path: path.ok()?, hosts, methods };
        let (access, ambiguous_paths) = (access.settled(), ambiguous_paths.settled());
        let policy = both(client_ids?, policy?);
        Some((rule, Route { name: name.into(), access, policy, ambiguous_paths, destination }))
    }

    /// What it matches: `GET,PUT a.example/api/*`.
    fn described(&self) -> String {
        let separator = if self.methods.is_empty() { "" } else { " " };
        format!("{}{separator}{}{}", self.methods.join(","), self.hosts.join(","), self.path)
    }
}

impl AccessKey {
    const fn settled(self) -> Access {
        match self {
            Self::Required => Access::Required,
            Self::Browser => Access::Browser,
            Self::Optional => Access::Optional,
            Self::Public => Access::Public,
        }
    }
}

impl AmbiguousPathsKey {
    const fn settled(self) -> AmbiguousPaths {
        match self {
            Self::Refuse => AmbiguousPaths::Refuse,
            Self::Forward => AmbiguousPaths::Forward,
        }
    }
}

fn check_hosts(problems: &mut Problems, key: &str, hosts: &[String]) -> Vec<Host> {
    let mut check = |host: &String| {
        let legal = !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:".contains(&byte));
        if !legal {
            problems.note(key, format!("`{host}` is no host such as `app.example`"));
        }
        Host::of(host)
    };
    hosts.iter().map(&mut check).collect()
}

fn check_methods(problems: &mut Problems, key: &str, methods: &[String]) -> Vec<Method> {
    let mut check = |text: &String| {
        let method = text.parse::<Method>().ok().filter(|_| *text == text.to_ascii_uppercase());
        if method.is_none() {
            problems.note(key, format!("`{text}` is no method such as `GET`, in capitals"));
        }
        method
    };
    methods.iter().filter_map(&mut check).collect()
}

/// A route narrows the list of all apps and never adds to it.
#[expect(clippy::option_option, reason = "a problem, no list, a list")]
fn check_client_ids(
    problems: &mut Problems,
    key: &str,
    ids: Option<Vec<String>>,
    all: Option<&ClientIds>,
) -> Option<Option<ClientIds>> {
    let Some(ids) = ids else { return Some(None) };
    let ids = ClientIds::new(&ids).map_err(|error| problems.note(key, error.to_string())).ok()?;
    for id in ids.iter().filter(|id| all.is_some_and(|all| !all.contains(id))) {
        let id = id.as_str();
        problems.note_clash(
            key,
            "apple.client_ids",
            format!("`{id}` is not among apple.client_ids: its tokens are refused everywhere"),
        );
    }
    Some(Some(ids))
}

#[expect(clippy::option_option, reason = "a problem, no policy, a policy")]
fn check_policy(
    problems: &mut Problems,
    at: &str,
    section: Option<PolicySection>,
) -> Option<Option<PolicyRules>> {
    section.map_or(Some(None), |section| section.check(problems, at).map(Some))
}

/// One policy of both, or the one that says nothing: routes that say nothing agree.
fn both(client_ids: Option<ClientIds>, rules: Option<PolicyRules>) -> Policy {
    if client_ids.is_none() && rules.is_none() {
        return Policy::permissive();
    }
    Policy::new(PolicyRules { client_ids, ..rules.unwrap_or_default() })
}

fn check_upstream(
    problems: &mut Problems,
    key: &str,
    name: Option<String>,
    known: &BTreeMap<String, usize>,
) -> Option<usize> {
    let Some(name) = name else { return Some(RouteDestination::default().upstream) };
    let found = known.get(&name).copied();
    if found.is_none() {
        let what = format!("there is no [upstreams.{name}]: write one with its url");
        problems.note(key, what);
    }
    found
}
