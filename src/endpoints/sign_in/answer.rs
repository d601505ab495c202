//! Answers in the shape that apps know from the usual tutorial: `{"success":true,"user":{…}}`, and `{"error":"…"}`.

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header::ACCEPT};
use serde::Serialize;

use super::{
    super::{json::json, personal_claims::PersonalClaims},
    name::UnverifiedName,
};
use crate::{
    authn::{Dialect, Realm, Rejection},
    telemetry::Outcome,
    verify::{Identity, SessionTokens},
};

/// An answer, and what the log and the metrics call it.
pub(super) struct Answer {
    pub(super) response: Response<Bytes>,
    pub(super) outcome: Outcome,
}

/// The answer to a sign-in.
#[derive(Serialize)]
pub(super) struct SignedIn<'a> {
    success: bool,
    user: User<'a>,
    #[serde(flatten)]
    session: Option<Tokens<'a>>,
}

/// The tokens of a session, under the names of RFC 6749 §5.1.
#[derive(Serialize)]
pub(super) struct Tokens<'a> {
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    refresh_token: &'a str,
    refresh_expires_in: u64,
}

/// A nonce of ours, and how long it is good for, in seconds.
#[derive(Serialize)]
pub(super) struct Nonce<'a> {
    pub(super) nonce: &'a str,
    pub(super) expires_in: u64,
}

/// Who signed in; what Apple does not say is left out. All of it is from the token but for the name, which says so.
#[derive(Serialize)]
struct User<'a> {
    id: &'a str,
    #[serde(flatten)]
    claims: PersonalClaims<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_unverified: Option<&'a UnverifiedName>,
}

impl<'a> SignedIn<'a> {
    pub(super) fn new(
        identity: &'a Identity,
        name: Option<&'a UnverifiedName>,
        session: Option<&'a SessionTokens>,
    ) -> Self {
        let user = User {
            id: identity.subject().as_str(),
            claims: PersonalClaims::of(identity, identity.email()),
            name_unverified: name,
        };
        Self { success: true, user, session: session.map(Tokens::of) }
    }
}

impl<'a> Tokens<'a> {
    pub(super) fn of(session: &'a SessionTokens) -> Self {
        Self {
            access_token: session.access.as_str(),
            token_type: "Bearer",
            expires_in: session.access_expires_in.as_secs(),
            refresh_token: session.refresh.as_str(),
            refresh_expires_in: session.refresh_expires_in.as_secs(),
        }
    }
}

impl Answer {
    /// 200 with `content`.
    pub(super) fn json(outcome: Outcome, content: &impl Serialize) -> Self {
        Self { response: json(content), outcome }
    }
}

/// The body of a refusal, for whoever does not ask for problem details.
#[derive(Serialize)]
struct Refusal {
    error: &'static str,
    code: &'static str,
}

/// `rejection` for whoever asked with the headers `asked_with`.
pub(super) fn refusal(
    rejection: &Rejection,
    asked_with: &HeaderMap,
    realm: &Realm,
) -> Response<Bytes> {
    let problem = rejection.render(Dialect::Http, realm);
    if asks_for_problems(asked_with) {
        return problem;
    }
    let (mut head, _) = problem.into_parts();
    let (plain, body) =
        json(&Refusal { error: words_for(rejection), code: rejection.code() }).into_parts();
    head.headers.extend(plain.headers);
    Response::from_parts(head, body)
}

/// What the tutorial's apps compare with. The code says which of many reasons it was.
fn words_for(rejection: &Rejection) -> &'static str {
    let is_refused = rejection.status() == StatusCode::UNAUTHORIZED;
    if rejection.token_fault().is_some() {
        "Invalid token"
    } else if is_refused && matches!(rejection, Rejection::Apple(_)) {
        "Invalid code"
    } else {
        rejection.title()
    }
}

/// Whether `Accept` names the type of RFC 9457 (RFC 9110 §12.5.1); that everything is acceptable does not ask for it.
fn asks_for_problems(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_named =
            parts.next().is_some_and(|it| it.eq_ignore_ascii_case("application/problem+json"));
        is_named && !parts.any(|it| it.eq_ignore_ascii_case("q=0"))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn problem_details_are_for_those_who_name_them() {
        let asks = |accept: &'static str| {
            asks_for_problems(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]))
        };
        for yes in [
            "application/problem+json",
            "application/json, Application/Problem+JSON;q=0.5",
            "application/problem+json ; charset=utf-8",
        ] {
            assert!(asks(yes), "{yes}");
        }
        for no in ["", "*/*", "application/json", "application/*", "application/problem+json;q=0"] {
            assert!(!asks(no), "{no}");
        }
    }
}
