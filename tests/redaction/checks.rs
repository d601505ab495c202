//! Questions of Envoy's, by gRPC.

use std::collections::HashMap;

use prost::Message;

use super::scene::Scene;
use crate::ext_authz::protocol::{AttributeContext, CheckRequest, HttpRequest, Request, framed};

/// What is asked, what comes of it, and how the question is made.
type Check = (&'static str, &'static str, fn(&mut Scene) -> Vec<u8>);

#[rustfmt::skip]
pub(super) const CHECKS: &[Check] = &[
    ("Check, yes",             "allowed",         |s| { let t = s.good(); framed(0, &question(s, &t)) }),
    ("Check, no",              "token_malformed", |s| { let word = s.secret(); framed(0, &question(s, &format!("Authorization: Bearer {word}"))) }),
    ("a malformed question",   "undecided",       |s| { let word = s.secret(); framed(0, word.as_bytes()) }),
    ("a compressed question",  "undecided",       |s| { let word = s.secret(); framed(1, word.as_bytes()) }),
];

/// What Envoy asks about a request with this `authorization` line, and secrets wherever else they fit.
fn question(scene: &mut Scene, authorization: &str) -> Vec<u8> {
    let [path, cookie, id] = [(); 3].map(|()| scene.secret());
    let (_, authorization) = authorization.split_once(": ").unwrap();
    let headers = [("authorization", authorization.to_owned()), ("cookie", cookie)];
    let http = HttpRequest {
        id,
        method: "GET".to_owned(),
        host: "app.example".to_owned(),
        path: format!("/{path}?token={path}"),
        headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        request: Some(Request { http: Some(http) }),
        context_extensions: HashMap::new(),
    };
    CheckRequest { attributes: Some(attributes) }.encode_to_vec()
}
