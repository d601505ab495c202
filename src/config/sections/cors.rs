//! `[cors]`.

use http::HeaderValue;
use serde::{Deserialize, Serialize};
use url::Url;

use super::super::problems::Problems;
use crate::endpoints::{AllowOrigins, Cors, Credentials, Preflight};

/// `[cors]`: what pages of other origins may do. It concerns the proxy's own answers and preflights; what the application
/// answers, its CORS headers included, is passed on as it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CorsSection {
    /// The origins (`https://app.example`) whose pages may read the proxy's own answers, so that a single-page app can
    /// tell a 401 from a broken network; `["*"]` for all, nobody by default. The answers say why a request was refused, or
    /// hold what the page has just shown a token for.
    allow_origins: Vec<String>,

    /// Whether pages may read answers to requests that they send with cookies; default `false`. Not together with `*`,
    /// which browsers ignore then.
    allow_credentials: bool,

    /// Whether preflights (`OPTIONS` with `Origin` and `Access-Control-Request-Method`, which never carry a token) go on
    /// to the application where an identity is required; default `false`. `true` for an application that answers them:
    /// anybody can send it such requests, which arrive without an identity, credential or method override.
    forward_preflight: bool,
}

impl CorsSection {
    pub(super) fn check(self, problems: &mut Problems) -> Cors {
        let Self { allow_origins, allow_credentials, forward_preflight } = self;

        let is_any = allow_origins.iter().any(|origin| origin == "*");
        if is_any && allow_credentials {
            let what = "must be false where cors.allow_origins is `*`: list the origins";
            problems.note_clash("cors.allow_credentials", "cors.allow_origins", what);
        }
        if is_any && allow_origins.len() > 1 {
            problems.note("cors.allow_origins", "has `*` beside others: leave one of them out");
        }
        let listed = allow_origins.iter().filter(|origin| *origin != "*");
        let listed = listed.filter_map(|origin| check_origin(problems, origin)).collect();
        Cors {
            allow_origins: if is_any { AllowOrigins::Any } else { AllowOrigins::Listed(listed) },
            credentials: if allow_credentials { Credentials::Include } else { Credentials::Omit },
            preflight: if forward_preflight { Preflight::Forward } else { Preflight::Judge },
        }
    }
}

/// An origin as browsers write it (RFC 6454 §6.2), as it is compared byte for byte.
fn check_origin(problems: &mut Problems, origin: &str) -> Option<HeaderValue> {
    let written = origin.parse::<Url>().map(|url| url.origin().ascii_serialization());
    if written.as_deref() == Ok(origin) && origin != "null" {
        return HeaderValue::from_str(origin).ok();
    }
    let what = match written {
        Ok(written) if written != "null" => {
            format!("`{origin}` is no origin as browsers write it: write `{written}`")
        }
        _ => format!("`{origin}` is no origin such as `https://app.example`"),
    };
    problems.note("cors.allow_origins", what);
    None
}
