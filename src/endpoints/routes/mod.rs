//! Which rules a request is under: by its method, its host and its path.
//!
//! A [`Rule`] says of which requests a [`Route`] speaks, and the route what is asked of them and where they go. Of the
//! rules that match a request one wins, whatever the order in which they are written:
//!
//! 1. a rule for the request's host before one for every host;
//! 2. an exact path before one with a `{…}`, and that before a prefix, the longest first ([`PathPattern`]);
//! 3. a rule for the request's method before one for every method.
//!
//! Two rules that would be equal in all three are refused when the routes are made. A request that no rule matches is
//! under the *fallback* route, which requires an identity: a forgotten rule closes a door and never opens one.
//!
//! Who may pass can depend on the host, and a caller names the host: a rule that opens a path for one host opens it for
//! everybody who names that host.

mod ambiguity;
mod pattern;

use std::{cell::LazyCell, ops::Deref, sync::Arc};

use http::Method;

pub(crate) use self::pattern::PathPattern;
use self::{ambiguity::ambiguity_of, pattern::AskedPath};
use crate::authn::{Policy, Rejection};

/// Who may pass; the strictest first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Those who prove who they are.
    #[default]
    Required,
    /// Those who prove who they are; whoever does not and sits in front of a browser is sent to sign in.
    Browser,
    /// Those who prove who they are, and those who do not try. A bad credential is refused.
    Optional,
    /// Everybody. No credential is looked at.
    Public,
}

/// What becomes of a path that two programs may read differently, where routes differ in who may pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AmbiguousPaths {
    /// It is refused: it could be judged by one route and answered as another's.
    #[default]
    Refuse,
    /// It goes on: the application reads paths as we do.
    Forward,
}

/// Of which requests a route speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Its paths.
    pub(crate) path: PathPattern,
    /// Its hosts; none for every host.
    pub(crate) hosts: Vec<Host>,
    /// Its methods; none for every method.
    pub(crate) methods: Vec<Method>,
}

/// What is asked of requests, and where they go.
#[derive(Clone, Debug)]
pub(crate) struct Route<D> {
    /// What the log and the metrics call it.
    pub(crate) name: Arc<str>,
    /// Who may pass.
    pub(crate) access: Access,
    /// Which of those who proved who they are.
    pub(crate) policy: Policy,
    /// What becomes of ambiguous paths.
    pub(crate) ambiguous_paths: AmbiguousPaths,
    /// Where requests go.
    pub(crate) destination: D,
}

/// A host as rules compare it: in lower case, without a port and without the dot at the end (RFC 9110 §4.2.3, RFC 1034 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Host(Box<str>);

impl Host {
    /// The host of `authority`, which may name a port.
    pub(crate) fn of(authority: &str) -> Self {
        let end = match authority.rfind([':', ']']) {
            Some(at) if authority.as_bytes().get(at) == Some(&b':') => at,
            _ => authority.len(),
        };
        let host = authority.get(..end).unwrap_or(authority);
        Self(host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase().into())
    }
}

/// All routes.
#[derive(Clone, Debug)]
pub(crate) struct Routes<D> {
    /// In the order in which they are asked.
    rules: Vec<(Rule, Route<D>)>,
    fallback: Route<D>,
    differ: bool,
}

/// Two rules of which none comes before the other, by their places in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict(pub(crate) usize, pub(crate) usize);

impl<D> Routes<D> {
    /// Puts the rules in order. `fallback` is for requests that match none of them.
    ///
    /// # Errors
    ///
    /// Every [`Conflict`] among them.
    pub(crate) fn new(
        mut rules: Vec<(Rule, Route<D>)>,
        fallback: Route<D>,
    ) -> Result<Self, Vec<Conflict>> {
        let conflicts = conflicts_of(&rules);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        rules.sort_by_cached_key(|(rule, _)| rule.rank());
        let differ = differ(&rules, &fallback);
        Ok(Self { rules, fallback, differ })
    }

    /// The route of a request.
    ///
    /// # Errors
    ///
    /// [`Rejection::BadRequest`] when routes differ in who may pass, and `path` can be read in two ways.
    pub(crate) fn find(
        &self,
        method: &Method,
        host: &str,
        path: &str,
    ) -> Result<&Route<D>, Rejection> {
        // Few rules ask for it.
        let host = LazyCell::new(|| Host::of(host));
        let asked = AskedPath::of(path);
        let found = self.rules.iter().find(|(rule, _)| rule.matches(method, &host, asked));
        let route = found.map_or(&self.fallback, |(_, route)| route);
        if self.differ && route.ambiguous_paths == AmbiguousPaths::Refuse {
            ambiguity_of(path).map_or(Ok(()), |why| Err(Rejection::BadRequest(why)))?;
        }
        Ok(route)
    }

    /// Every route that some request can be under. Behind a rule for everything the fallback is never reached.
    pub(crate) fn reachable(&self) -> impl Iterator<Item = &Route<D>> {
        reachable(&self.rules, &self.fallback)
    }

    /// Where requests go that no rule matches.
    pub(crate) const fn fallback(&self) -> &Route<D> {
        &self.fallback
    }

    /// Whether it matters for who may pass which route a request is under.
    pub(crate) const fn differ(&self) -> bool {
        self.differ
    }

    /// The routes that ask for a token, by name, each with what it asks besides; that of whatever no rule matches is
    /// the last.
    pub(crate) fn policies(&self) -> impl Iterator<Item = (&str, &Policy)> {
        let routes = self.rules.iter().map(|(_, route)| route).chain([&self.fallback]);
        routes
            .filter(|route| route.access != Access::Public)
            .map(|route| (&*route.name, &route.policy))
    }

    /// The same routes to other destinations, each made of a route's name and of where it led.
    pub(crate) fn map<E>(self, mut to: impl FnMut(&Arc<str>, &D) -> E) -> Routes<E> {
        let mut map = |route: Route<D>| {
            let Route { name, access, policy, ambiguous_paths, destination } = route;
            let destination = to(&name, &destination);
            Route { name, access, policy, ambiguous_paths, destination }
        };
        let rules = self.rules.into_iter().map(|(rule, route)| (rule, map(route))).collect();
        Routes { rules, fallback: map(self.fallback), differ: self.differ }
    }
}

impl Rule {
    fn matches(
        &self,
        method: &Method,
        host: &impl Deref<Target = Host>,
        path: AskedPath<'_>,
    ) -> bool {
        (self.methods.is_empty() || self.methods.contains(method))
            && (self.hosts.is_empty() || self.hosts.contains(&**host))
            && self.path.matches(path)
    }

    fn rank(&self) -> impl Ord + use<> {
        (self.hosts.is_empty(), self.path.rank(), self.methods.is_empty())
    }

    /// Whether some request matches both, and none of them comes first.
    fn conflicts_with(&self, other: &Self) -> bool {
        self.path == other.path
            && overlap(&self.hosts, &other.hosts)
            && overlap(&self.methods, &other.methods)
    }

    fn is_everything(&self) -> bool {
        self.hosts.is_empty() && self.methods.is_empty() && self.path.is_everything()
    }
}

/// Whether two lists of names, where none means all, rank alike and share a name.
fn overlap<T: PartialEq>(one: &[T], other: &[T]) -> bool {
    (one.is_empty() && other.is_empty()) || one.iter().any(|name| other.contains(name))
}

fn conflicts_of<D>(rules: &[(Rule, Route<D>)]) -> Vec<Conflict> {
    let numbered = || rules.iter().enumerate();
    let with_earlier = |(later, (rule, _)): (usize, &(Rule, Route<D>))| {
        let earlier = numbered().take(later).find(|(_, (earlier, _))| earlier.conflicts_with(rule));
        earlier.map(|(earlier, _)| Conflict(earlier, later))
    };
    numbered().filter_map(with_earlier).collect()
}

fn reachable<'a, D>(
    rules: &'a [(Rule, Route<D>)],
    fallback: &'a Route<D>,
) -> impl Iterator<Item = &'a Route<D>> {
    let fallback = (!rules.iter().any(|(rule, _)| rule.is_everything())).then_some(fallback);
    rules.iter().map(|(_, route)| route).chain(fallback)
}

/// Whether routes differ in who may pass.
fn differ<D>(rules: &[(Rule, Route<D>)], fallback: &Route<D>) -> bool {
    let mut routes = reachable(rules, fallback);
    let first = routes.next();
    routes.any(|route| {
        first.is_some_and(|first| (first.access, &first.policy) != (route.access, &route.policy))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(name: &str, access: Access) -> Route<()> {
        Route {
            name: name.into(),
            access,
            policy: Policy::default(),
            ambiguous_paths: AmbiguousPaths::Refuse,
            destination: (),
        }
    }

    /// `GET,PUT host.example/path`, where methods and host may be left out.
    fn rule(text: &str) -> Rule {
        let (methods, rest) = text.split_once(' ').unwrap_or(("", text));
        let (host, path) = rest.split_at(rest.find('/').unwrap());
        let named = |list: &str| !list.is_empty();
        Rule {
            path: PathPattern::parse(path).unwrap(),
            hosts: Some(host).filter(|host| named(host)).map(Host::of).into_iter().collect(),
            methods: methods.split(',').filter(|m| named(m)).map(|m| m.parse().unwrap()).collect(),
        }
    }

    /// Routes named as their rules; those that begin with `!` are public.
    fn routes(rules: &[&str]) -> Result<Routes<()>, Vec<Conflict>> {
        let make = |text: &&str| {
            let access = if text.starts_with('!') { Access::Public } else { Access::Required };
            let text = text.trim_start_matches('!');
            (rule(text), route(text, access))
        };
        Routes::new(rules.iter().map(make).collect(), route("fallback", Access::Required))
    }

    fn found<'a>(routes: &'a Routes<()>, request: &str) -> &'a str {
        let (method, target) = request.split_once(' ').unwrap();
        let (host, path) = target.split_at(target.find('/').unwrap_or(target.len()));
        match routes.find(&method.parse().unwrap(), host, path) {
            Ok(route) => &route.name,
            Err(rejection) => rejection.code(),
        }
    }

    #[test]
    fn the_narrowest_rule_wins_whatever_the_order() {
        let mut rules = [
            "/*",
            "/api/*",
            "/api/v1/*",
            "/api/{version}/*",
            "/api/{version}/users",
            "/api/v1/users",
            "GET /api/v1/users",
            "GET,PUT /api/*",
            "b.example/*",
            "b.example/api/*",
            "DELETE b.example/api/*",
            "/x/{a}/c",
            "/x/b/{a}",
        ];
        for _ in 0..2 {
            let routes = routes(&rules).unwrap();
            for (request, expected) in [
                ("GET a.example/", "/*"),
                ("GET a.example/apis", "/*"),
                ("POST a.example/api", "/api/*"),
                ("PUT a.example/api/", "GET,PUT /api/*"),
                ("GET a.example/api/v1", "/api/v1/*"),
                ("GET a.example/api/v2/x", "/api/{version}/*"),
                ("GET a.example/api/v2/users", "/api/{version}/users"),
                ("POST a.example/api/v1/users", "/api/v1/users"),
                ("GET a.example/api/v1/users", "GET /api/v1/users"),
                ("HEAD a.example/api/v1/users", "/api/v1/users"),
                ("GET a.example/api/v1/Users", "/api/v1/*"),
                ("GET b.example/api/v1/users", "b.example/api/*"),
                ("DELETE B.Example.:8443/api/v1/users", "DELETE b.example/api/*"),
                ("GET b.example/x", "b.example/*"),
                ("GET c.b.example/x", "/*"),
                ("GET a/x/b/c", "/x/b/{a}"),
                ("GET a/x/y/c", "/x/{a}/c"),
                ("OPTIONS *", "fallback"),
            ] {
                assert_eq!(found(&routes, request), expected, "{request}");
            }
            rules.reverse();
        }
    }

    #[test]
    fn what_no_rule_matches_requires_an_identity() {
        let routes = routes(&["!/public/*", "!GET /status"]).unwrap();
        for request in
            ["GET a/", "GET a/publicity", "POST a/status", "GET a/status/", "GET a/Public/x"]
        {
            assert_eq!(found(&routes, request), "fallback", "{request}");
        }
    }

    #[test]
    fn a_host_is_compared_without_case_port_and_dot() {
        for authority in
            ["a.example", "A.EXAMPLE", "a.example.", "a.example:80", "a.example.:80", "a.example:"]
        {
            assert_eq!(Host::of(authority), Host("a.example".into()), "{authority}");
        }
        assert_eq!(Host::of("[::1]:80"), Host("[::1]".into()));
        assert_eq!(Host::of("[::1]"), Host("[::1]".into()));
        assert_ne!(Host::of("a.example.."), Host::of("a.example"));
    }

    #[test]
    fn rules_of_which_none_comes_first_are_refused() {
        for (rules, expected) in [
            (&["/a", "/a"][..], &[Conflict(0, 1)][..]),
            (&["/{a}", "/b", "/{b}"], &[Conflict(0, 2)]),
            (&["/%40a", "/@a"], &[Conflict(0, 1)]),
            (&["GET /a", "PUT,GET /a", "PUT /a"], &[Conflict(0, 1), Conflict(1, 2)]),
            (&["x/a", "X:80/a"], &[Conflict(0, 1)]),
        ] {
            assert_eq!(routes(rules).unwrap_err(), expected, "{rules:?}");
        }
        assert!(
            routes(&["/a", "GET /a", "PUT /a", "x/a", "GET x/a", "/a/", "/a/*", "/{a}"]).is_ok()
        );
    }

    #[test]
    fn an_ambiguous_path_is_refused_where_routes_differ_and_passes_where_they_agree() {
        let differing = [&["!/public/*"][..], &["!/*", "/admin/*"], &["!GET /*"], &["!a/*"]];
        let agreeing = [&[][..], &["/*"], &["!/*"], &["/a/*", "/b/{c}"], &["!/*", "!/b"]];
        for path in ambiguity::tests::AMBIGUOUS {
            for rules in differing {
                let routes = routes(rules).unwrap();
                assert_eq!(
                    found(&routes, &format!("GET a{path}")),
                    "bad_request",
                    "{rules:?} {path}"
                );
            }
            for rules in agreeing {
                let routes = routes(rules).unwrap();
                assert_ne!(
                    found(&routes, &format!("GET a{path}")),
                    "bad_request",
                    "{rules:?} {path}"
                );
            }
        }
    }

    #[test]
    fn a_route_may_let_ambiguous_paths_through() {
        let mut files = route("files", Access::Public);
        files.ambiguous_paths = AmbiguousPaths::Forward;
        let routes =
            Routes::new(vec![(rule("/files/*"), files)], route("fallback", Access::Required))
                .unwrap();
        assert_eq!(found(&routes, "GET a/files/a%2Fb"), "files");
        assert_eq!(found(&routes, "GET a/other/a%2Fb"), "bad_request");
    }
}
