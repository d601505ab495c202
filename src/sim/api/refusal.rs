//! Apple's refusals (RFC 6749 §5.2): 400, a name, and words for people.

use http::{HeaderValue, Response, StatusCode, header::CACHE_CONTROL};
use serde_json::json;

use super::{
    super::{
        answer::{self, Body, respond},
        codes::CodeFault,
    },
    secret::SecretFault,
};

/// A no.
#[derive(Debug)]
pub(super) struct Refusal {
    error: &'static str,
    description: String,
}

impl Refusal {
    pub(super) fn invalid_request(description: impl Into<String>) -> Self {
        Self { error: "invalid_request", description: description.into() }
    }

    pub(super) fn invalid_grant() -> Self {
        let description = "The token has expired or has been revoked.".to_owned();
        Self { error: "invalid_grant", description }
    }

    pub(super) fn unsupported_grant_type() -> Self {
        Self { error: "unsupported_grant_type", description: "there is no such grant".to_owned() }
    }

    pub(super) fn invalid_scope() -> Self {
        Self { error: "invalid_scope", description: "the scope is not user.migration".to_owned() }
    }

    pub(super) fn invalid_token() -> Self {
        Self { error: "invalid_token", description: "the bearer token is no good".to_owned() }
    }

    pub(super) fn render(self) -> Response<Body> {
        let Self { error, description } = self;
        let content = json!({ "error": error, "error_description": description });
        let status = StatusCode::BAD_REQUEST;
        uncached(respond(status, "application/json", content.to_string()))
    }
}

/// Tokens and refusals alike are for nobody's cache.
pub(super) fn uncached(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl From<SecretFault> for Refusal {
    fn from(fault: SecretFault) -> Self {
        Self { error: "invalid_client", description: fault.to_string() }
    }
}

impl From<CodeFault> for Refusal {
    /// Where the code was sent is the client's registration, and not the grant's.
    fn from(fault: CodeFault) -> Self {
        let error = match fault {
            CodeFault::OtherRedirectUri => "invalid_client",
            CodeFault::Unknown
            | CodeFault::OtherClient
            | CodeFault::Expired
            | CodeFault::Used
            | CodeFault::Withdrawn => "invalid_grant",
        };
        Self { error, description: fault.to_string() }
    }
}

impl From<answer::Refusal> for Refusal {
    fn from(_: answer::Refusal) -> Self {
        Self::invalid_request("the body cannot be read")
    }
}
