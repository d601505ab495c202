//! Cross-origin reading of our own answers, by the Fetch standard (<https://fetch.spec.whatwg.org/#http-cors-protocol>):
//! a page of another origin sees that it was refused and why, not just that something failed. What the application
//! answers is its own affair, CORS headers included.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
    },
};

use crate::authn::reads_as;

/// Which pages may read our own answers, and whether preflights pass.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cors {
    /// The pages.
    pub(crate) allow_origins: AllowOrigins,
    /// Whether pages that send cookies may read them, too.
    pub(crate) credentials: Credentials,
    /// What becomes of preflights that carry no credential, as none does.
    pub(crate) preflight: Preflight,
}

/// The origins whose pages may read our own answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowOrigins {
    /// These, compared byte for byte, as browsers do; none by default.
    Listed(Vec<HeaderValue>),
    /// All.
    Any,
}

/// Whether pages may read answers to requests with cookies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// They may not.
    #[default]
    Omit,
    /// They may.
    Include,
}

/// What becomes of a CORS preflight on a route that asks for an identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Preflight {
    /// It is a request like any other.
    #[default]
    Judge,
    /// It goes on to the application, which knows its own policy, without an identity.
    Forward,
}

impl Default for AllowOrigins {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// What else than the body and the plainest headers a page may read.
const EXPOSED: HeaderValue =
    HeaderValue::from_static("WWW-Authenticate, X-Request-Id, Retry-After");

impl Cors {
    /// Lets the page of `origin` read the answer with these `headers`, if it may.
    pub(crate) fn allow_origin(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        let allowed = match &self.allow_origins {
            AllowOrigins::Any => Some(HeaderValue::from_static("*")),
            AllowOrigins::Listed(origins) if origins.is_empty() => return,
            AllowOrigins::Listed(origins) => {
                // A cache must not give one page the answer to another, nor to none.
                headers.append(VARY, HeaderValue::from_static("Origin"));
                origins.iter().find(|listed| Some(*listed) == origin).cloned()
            }
        };
        let (Some(allowed), Some(_)) = (allowed, origin) else { return };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        if self.credentials == Credentials::Include {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    /// Whether a request is a preflight that goes on without an identity.
    pub(crate) fn lets_through(&self, method: &Method, headers: &HeaderMap) -> bool {
        self.preflight == Preflight::Forward && is_preflight(method, headers)
    }
}

/// <https://fetch.spec.whatwg.org/#cors-preflight-request>
pub(super) fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    let has = |name| headers.contains_key(name);
    *method == Method::OPTIONS && has(ORIGIN) && has(ACCESS_CONTROL_REQUEST_METHOD)
}

/// What a page of another origin is told that asks before it sends: these `methods`, with these `headers`. Whether it may read
/// the answer is said beside this, as on every answer of ours.
pub(super) fn answer_preflight(methods: &'static str, headers: &'static str) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let told = response.headers_mut();
    told.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    told.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(headers));
    told.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Headers by which some frameworks take a request for one of another method. A browser sends none with a preflight.
const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method-override", "x-method-override", "x-http-method"];

/// Makes sure that a preflight is nothing but an `OPTIONS` to every application.
pub(crate) fn keep_to_the_method(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| overrides_method(name)).cloned() {
        headers.remove(name);
    }
}

/// Whether a request may be of another method than it says, to some application.
pub(super) fn overrides_the_method(headers: &HeaderMap) -> bool {
    headers.keys().any(overrides_method)
}

fn overrides_method(name: &HeaderName) -> bool {
    METHOD_OVERRIDES.iter().any(|known| reads_as(name.as_str(), known))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(origins: &[&'static str]) -> Cors {
        let origins = origins.iter().map(|origin| HeaderValue::from_static(origin)).collect();
        Cors { allow_origins: AllowOrigins::Listed(origins), ..Cors::default() }
    }

    /// The headers that a page of `origin` finds besides: origin, credentials, whether some are exposed, vary.
    fn opened(cors: &Cors, origin: Option<&'static str>) -> [Option<String>; 4] {
        let mut headers = HeaderMap::new();
        cors.allow_origin(&mut headers, origin.map(HeaderValue::from_static).as_ref());
        [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
            VARY,
        ]
        .map(|name| Some(headers.get(name)?.to_str().unwrap().to_owned()))
    }

    fn expected(values: [&str; 4]) -> [Option<String>; 4] {
        values.map(|value| (!value.is_empty()).then(|| value.to_owned()))
    }

    #[test]
    fn only_pages_that_may_read_an_answer_are_told_so() {
        let exposed = EXPOSED.to_str().unwrap().to_owned();
        let (app, cors) =
            ("https://app.example", listed(&["https://app.example", "https://b.example"]));
        assert_eq!(opened(&cors, Some(app)), expected([app, "", &exposed, "Origin"]));
        for other in [
            "https://evil.example",
            "https://app.example.evil",
            "http://app.example",
            "null",
            "https://APP.example",
        ] {
            assert_eq!(opened(&cors, Some(other)), expected(["", "", "", "Origin"]), "{other}");
        }
        assert_eq!(opened(&cors, None), expected(["", "", "", "Origin"]));
        let with_cookies = Cors { credentials: Credentials::Include, ..cors };
        assert_eq!(opened(&with_cookies, Some(app)), expected([app, "true", &exposed, "Origin"]));
        let any = Cors { allow_origins: AllowOrigins::Any, ..Cors::default() };
        assert_eq!(opened(&any, Some(app)), expected(["*", "", &exposed, ""]));
        assert_eq!(opened(&any, None), expected([""; 4]));
        assert_eq!(opened(&Cors::default(), Some(app)), expected([""; 4]));
    }

    #[test]
    fn a_preflight_is_an_options_with_both_headers_and_passes_only_when_asked_for() {
        let lets_through = |cors: &Cors, method: &str, names: &[&'static str]| {
            let line = |name: &&'static str| {
                (HeaderName::from_static(name), HeaderValue::from_static("x"))
            };
            cors.lets_through(&method.parse().unwrap(), &names.iter().map(line).collect())
        };
        let forward = Cors { preflight: Preflight::Forward, ..Cors::default() };
        let both = ["origin", "access-control-request-method"];
        assert!(lets_through(&forward, "OPTIONS", &both));
        assert!(!lets_through(&Cors::default(), "OPTIONS", &both));
        for (method, names) in [
            ("GET", &both[..]),
            ("OPTIONS", &both[..1]),
            ("OPTIONS", &both[1..]),
            ("options", &both),
        ] {
            assert!(!lets_through(&forward, method, names), "{method} {names:?}");
        }
    }

    #[test]
    fn a_preflight_cannot_pose_as_another_method() {
        let mut headers = HeaderMap::new();
        for name in [
            "x-http-method-override",
            "x_http_method_override",
            "x-method_override",
            "x~http~method",
            "x-http-method",
            "x-own",
        ] {
            headers.append(name, HeaderValue::from_static("DELETE"));
        }
        keep_to_the_method(&mut headers);
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-own"]);
    }
}
