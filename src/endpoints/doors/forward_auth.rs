//! Traefik's `ForwardAuth` (<https://doc.traefik.io/traefik/middlewares/http/forwardauth/>) and Caddy's `forward_auth`
//! (<https://caddyserver.com/docs/caddyfile/directives/forward_auth>).

use http::request::Parts;

use super::super::original::{Report, only};
use crate::authn::Rejection;

/// `X-Forwarded-Method`, `X-Forwarded-Host` and `X-Forwarded-Uri`.
pub(super) fn report(head: &Parts) -> Result<Option<Report<'_>>, Rejection> {
    let headers = &head.headers;
    let method = only(headers, "x-forwarded-method")?;
    let target = only(headers, "x-forwarded-uri")?;
    let host = only(headers, "x-forwarded-host")?;
    let (Some(method), Some(host), Some(target)) = (method, host, target) else { return Ok(None) };
    Ok(Some(Report { method, host, target }))
}

/// Whether the gateway wants to be told the cookies that the application is to see: it says so by `?tell=cookies` in the
/// address at which it asks. Traefik has to, and Caddy takes ours out by itself.
pub(super) fn wants_cookies(head: &Parts) -> bool {
    head.uri.query() == Some("tell=cookies")
}
