//! Reading what Apple answers: what it says, what it refuses, and what is no answer of Apple's at all.

use std::sync::Arc;

use http::StatusCode;
use reqwest::Response;
use serde::{Deserialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::error::{AppleError, AppleFault, ErrorDescription, Unavailable};
use crate::https::{has_content_encoding, is_html};

/// The body of an answer that says yes. It may hold tokens, and is overwritten when it is dropped.
#[derive(Debug)]
pub(super) struct Answer(Zeroizing<Vec<u8>>);

impl Answer {
    /// The most that is read, in bytes. Apple's answers have some two thousand.
    const MAX_BYTES: usize = 64 * 1024;

    /// Reads `response` whole.
    pub(super) async fn read(response: Response) -> Result<Self, AppleFault> {
        let status = response.status();
        match status {
            StatusCode::TOO_MANY_REQUESTS => return Err(Unavailable::Throttled.into()),
            _ if is_html(response.headers()) => return Err(Unavailable::Html.into()),
            StatusCode::OK => {}
            _ if status.is_client_error() => {}
            _ => return Err(Unavailable::Status(status.as_u16()).into()),
        }
        if has_content_encoding(response.headers()) {
            return Err(Unavailable::ContentEncoding.into());
        }
        let body = Self(Self::body_of(response).await?);
        if status == StatusCode::OK { Ok(body) } else { Err(body.refusal(status)) }
    }

    async fn body_of(mut response: Response) -> Result<Zeroizing<Vec<u8>>, Unavailable> {
        // Of its full length from the start: growing would leave copies behind.
        let mut body = Zeroizing::new(Vec::with_capacity(Self::MAX_BYTES));
        while let Some(chunk) = response.chunk().await.map_err(of_transport)? {
            if body.len() + chunk.len() > Self::MAX_BYTES {
                return Err(Unavailable::Oversized { limit: Self::MAX_BYTES });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// A 4xx says no only in JSON: anything may stand between Apple and us, and answer in Apple's place.
    fn refusal(&self, status: StatusCode) -> AppleFault {
        #[derive(Deserialize)]
        struct Wire {
            error: String,
            #[serde(default)]
            error_description: Option<String>,
        }

        match serde_json::from_slice(&self.0) {
            Ok(Wire { error, error_description }) => AppleFault::Refused {
                error: AppleError::from_wire(&error),
                description: error_description.as_deref().and_then(ErrorDescription::new),
            },
            Err(_no_json) => Unavailable::Status(status.as_u16()).into(),
        }
    }

    /// What it says, as `T`.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, AppleFault> {
        let read = serde_json::from_slice(&self.0);
        read.map_err(|error| Unavailable::malformed(place_of(&error)).into())
    }

    /// Checks that it says nothing, which is how Apple says that it has done what it was asked.
    pub(super) fn nothing(&self) -> Result<(), AppleFault> {
        if self.0.trim_ascii().is_empty() {
            Ok(())
        } else {
            Err(Unavailable::malformed("it is not empty").into())
        }
    }
}

/// Where an answer is wrong, without what stands there: that may be a token.
fn place_of(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "it is JSON of another kind",
        serde_json::error::Category::Syntax => "it is no JSON",
        serde_json::error::Category::Eof | serde_json::error::Category::Io => "it ends too early",
    };
    format!("{what}, at line {} column {}", error.line(), error.column())
}

/// Why there was no answer.
pub(super) fn of_transport(error: reqwest::Error) -> Unavailable {
    let (is_connect, is_timeout) = (error.is_connect(), error.is_timeout());
    let cause = Arc::new(error.without_url());
    if is_connect {
        Unavailable::Unreachable(cause)
    } else if is_timeout {
        Unavailable::TimedOut
    } else {
        Unavailable::Interrupted(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(status: u16, kind: &str, body: &str) -> Result<Answer, AppleFault> {
        let response = http::Response::builder()
            .status(status)
            .header("content-type", kind)
            .body(body.to_owned())
            .unwrap();
        Answer::read(response.into()).await
    }

    async fn code(status: u16, kind: &str, body: &str) -> &'static str {
        read(status, kind, body).await.unwrap_err().code()
    }

    const JSON: &str = "application/json;charset=ISO-8859-1";
    const REFUSAL: &str = r#"{"error":"invalid_grant","error_description":"It is used."}"#;

    #[tokio::test]
    async fn only_a_4xx_in_json_says_no() {
        assert_eq!(code(400, JSON, REFUSAL).await, "apple_invalid_grant");
        assert_eq!(code(401, "text/plain", REFUSAL).await, "apple_invalid_grant");
        assert_eq!(code(429, JSON, REFUSAL).await, "apple_throttled");
        assert_eq!(code(503, JSON, REFUSAL).await, "apple_status");
        assert_eq!(code(400, "text/html; charset=utf-8", REFUSAL).await, "apple_html");
        assert_eq!(code(403, "text/plain", "no").await, "apple_status");
        assert_eq!(code(302, JSON, REFUSAL).await, "apple_status");
        let refused = read(400, JSON, REFUSAL).await.unwrap_err();
        assert_eq!(refused.to_string(), "Apple refuses it: invalid_grant (It is used.)");
    }

    #[tokio::test]
    async fn what_is_no_answer_of_apples_is_neither_yes_nor_no() {
        assert_eq!(code(200, "text/html", "<html>").await, "apple_html");
        assert_eq!(code(204, JSON, "").await, "apple_status");
        let long = " ".repeat(Answer::MAX_BYTES + 1);
        assert_eq!(code(200, JSON, &long).await, "apple_oversized");
        let garbage = read(200, JSON, "{\"access_token\":\"a0ffee").await.unwrap();
        let fault = garbage.json::<serde_json::Value>().unwrap_err();
        assert_eq!(fault.code(), "apple_malformed");
        let something = read(200, JSON, "{}").await.unwrap();
        assert_eq!(something.nothing().unwrap_err().code(), "apple_malformed");
        read(200, JSON, "\r\n").await.unwrap().nothing().unwrap();
    }

    #[tokio::test]
    async fn what_is_wrong_with_an_answer_is_told_without_the_answer() {
        let answer = read(200, JSON, r#"{"a":"a0ffee.secret"}"#).await.unwrap();
        let AppleFault::Unavailable(Unavailable::Malformed(cause)) =
            answer.json::<std::collections::BTreeMap<String, u64>>().unwrap_err()
        else {
            panic!("it is another fault");
        };
        assert_eq!(cause.to_string(), "it is JSON of another kind, at line 1 column 20");
    }
}
