//! What becomes of the client's request: the headers that the gateway sets and removes, or the answer to the client.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Response, Version,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, ORIGIN},
};

use super::{Admitted, Asked, ForBrowser, Gate, Passage};
use crate::{
    authn::{Dialect, Rejection},
    upstream::{CookiesLeft, CredentialForwarding},
    verify::Identity,
};

/// A yes: what the gateway is to do to the request before the application sees it.
#[derive(Debug)]
pub(super) struct Allowed {
    /// As whom, if as anybody.
    #[cfg_attr(not(feature = "ext-authz"), expect(dead_code, reason = "for the gRPC form alone"))]
    pub(super) identity: Option<Arc<Identity>>,
    /// Set, whatever was there.
    pub(super) set: HeaderMap,
    /// Removed. None of those that are set: Envoy removes after it sets.
    pub(super) remove: Vec<HeaderName>,
    /// For the client, beside the application's answer: the session's next cookie.
    pub(super) set_cookie: Option<HeaderValue>,
}

impl Allowed {
    /// How the request that was `asked` about goes on.
    ///
    /// # Errors
    ///
    /// [`Rejection::BadRequest`] when a preflight names another method than `OPTIONS`.
    pub(super) fn of(passage: Passage<'_>, asked: &Asked) -> Result<Self, Rejection> {
        passage.check_method(&asked.headers)?;
        let rules = &passage.destination.rules;
        let mut set = HeaderMap::new();
        let (identity, credential) = match passage.admitted {
            Admitted::As(identity) => {
                rules.identity_headers.replace(&mut set, &identity);
                (Some(identity), rules.credential)
            }
            Admitted::Anonymously(credential) => (None, credential),
            Admitted::AsPreflight => (None, CredentialForwarding::Remove),
        };
        let mut remove = rules.identity_headers.spoofed_in(&asked.headers);
        remove.retain(|name| !set.contains_key(name));
        if credential == CredentialForwarding::Remove && asked.headers.contains_key(AUTHORIZATION) {
            remove.push(AUTHORIZATION);
        }
        match rules.cookies_left(&asked.headers) {
            CookiesLeft::All => {}
            CookiesLeft::Some(cookies) => drop(set.insert(COOKIE, cookies)),
            CookiesLeft::None => remove.push(COOKIE),
        }
        Ok(Self { identity, set, remove, set_cookie: None })
    }

    /// Has all cookies removed in place of some, so that whoever asked is not told any.
    pub(super) fn withhold_cookies(&mut self) {
        if self.set.remove(COOKIE).is_some() {
            self.remove.push(COOKIE);
        }
    }
}

/// Whom a no is told: what the answer to a client depends on.
#[derive(Debug)]
pub(super) struct Client {
    /// What it speaks.
    dialect: Dialect,
    /// The page that asks.
    origin: Option<HeaderValue>,
}

impl Default for Client {
    /// Of whom nothing is known.
    fn default() -> Self {
        Self { dialect: Dialect::Http, origin: None }
    }
}

impl Client {
    pub(super) fn of(method: &Method, headers: &HeaderMap) -> Self {
        // In the eyes of a gateway gRPC is what says so, in whichever version of HTTP it came.
        let dialect = Dialect::of(method, Version::HTTP_2, headers);
        Self { dialect, origin: headers.get(ORIGIN).cloned() }
    }
}

/// A no, as the client is to see it: in a browser the way to sign in, or a page. To a gRPC client it is told by the gateway,
/// which makes a gRPC status of the status and a message of the body.
pub(super) fn denied(
    rejection: &Rejection,
    client: &Client,
    for_browser: &mut ForBrowser,
    gate: &Gate,
) -> Response<Bytes> {
    let mut response = for_browser.or(|| refusal(rejection, client.dialect, gate));
    gate.allow_origin(response.headers_mut(), client.origin.as_ref());
    response
}

fn refusal(rejection: &Rejection, dialect: Dialect, gate: &Gate) -> Response<Bytes> {
    let mut response = rejection.render(Dialect::Http, gate.realm());
    if dialect == Dialect::Grpc {
        *response.body_mut() = rejection.to_string().into();
        response.headers_mut().remove(CONTENT_TYPE);
    }
    response
}
