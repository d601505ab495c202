//! Whether a request is one and the same to all who read it.

use http::{
    HeaderMap, HeaderValue, Request, Version,
    header::{HOST, TRANSFER_ENCODING},
};

use super::host::Host;
use crate::authn::Rejection;

/// The proof that all who read a request agree where its body ends and which host it is for (RFC 9112 §3.2, §6.1). It is made
/// of one request, and goes with that one.
#[derive(Debug)]
pub(crate) struct WellFormed {
    host: Host,
}

impl WellFormed {
    /// Judges a `request` before anything is taken off it: what it means must not depend on headers that a `Connection` line
    /// may name. It comes before the question who is asking, since it tells whether there is a question, and where it ends.
    ///
    /// # Errors
    ///
    /// [`Rejection::Unsupported`] when there is a transfer coding other than one `chunked`, and [`Rejection::BadRequest`] when
    /// no host is named, or several, or what is none.
    pub(crate) fn check<B>(request: &Request<B>) -> Result<Self, Rejection> {
        let headers = request.headers();
        check_framing(headers)?;
        // HTTP/1.1 wants a line even beside a target that names a host (RFC 9112 §3.2).
        let only_by_target = request.uri().authority().is_some() && !headers.contains_key(HOST);
        if request.version() == Version::HTTP_11 && only_by_target {
            return Err(Rejection::BadRequest("the request names no host"));
        }
        Ok(Self { host: Host::asked_for(request.uri(), headers)? })
    }

    /// The host that is asked for.
    pub(crate) const fn host(&self) -> &Host {
        &self.host
    }

    pub(super) fn into_host(self) -> Host {
        self.host
    }
}

/// Of all transfer codings we undo `chunked` alone, once, and another would go on under a name that is not told
/// (RFC 9112 §6.1).
fn check_framing(headers: &HeaderMap) -> Result<(), Rejection> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    if codings.next().is_none_or(is_chunked) && codings.next().is_none() {
        return Ok(());
    }
    Err(Rejection::Unsupported("the body has a transfer coding other than chunked"))
}
