//! nginx's `auth_request`: <https://nginx.org/en/docs/http/ngx_http_auth_request_module.html>.

use http::{header::HOST, request::Parts};

use super::super::original::{Report, only};
use crate::authn::Rejection;

/// `X-Original-Method` and `X-Original-URI`; the host is that of the subrequest, which is the original's.
pub(super) fn report(head: &Parts) -> Result<Option<Report<'_>>, Rejection> {
    let method = only(&head.headers, "x-original-method")?;
    let target = only(&head.headers, "x-original-uri")?;
    let authority = head.uri.authority().map(|authority| authority.as_str().as_bytes());
    let host =
        authority.map_or_else(|| only(&head.headers, HOST.as_str()), |host| Ok(Some(host)))?;
    let (Some(method), Some(host), Some(target)) = (method, host, target) else { return Ok(None) };
    Ok(Some(Report { method, host, target }))
}
