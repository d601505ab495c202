//! The ways in which asking Apple fails, in the field or in a nightmare.

use std::{error::Error, future, time::Duration};

use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, LOCATION},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Answer, Body, Dropped, Refusal, json_of, respond};

/// The size of [`Fault::Oversized`]: 10 MiB in pieces of 64 KiB.
const OVERSIZED_PIECE: usize = 64 * 1024;
const OVERSIZED_PIECES: usize = 160;

/// What goes wrong with every fetch of the key set, until [`Apple::recover`](super::Apple::recover), or with what apps ask
/// (see [`Apple::fail_api_with`](super::Apple::fail_api_with)).
#[derive(Clone, Debug)]
pub enum Fault {
    /// The right answer, this much later.
    Slow(Duration),
    /// This status, 200 or above, with an HTML page, as Apple's edge answers clients that it does not like.
    Status(StatusCode),
    /// 200 with an HTML page that says it is one.
    Html200,
    /// 200 `application/json` that is no JSON.
    Garbage,
    /// A set without a key in it.
    EmptySet,
    /// 302 to this location.
    Redirect(HeaderValue),
    /// 10 MiB of white space, of no announced length: so far it is legal JSON, and only a cap can end it.
    Oversized,
    /// The right answer, said to be gzip although nobody asked for that.
    Compressed,
    /// The request is taken and never answered.
    Hang,
    /// The connection is closed without an answer.
    Reset,
    /// `{"error": …}` with this status, and nothing is done: 400 as Apple refuses, 429 for whoever asks too often.
    Refusal(StatusCode, String),
}

impl Fault {
    /// The answer that this fault makes of the right one.
    pub(super) async fn spoil(self, right: Response<Body>) -> Answer {
        match self {
            Self::Slow(delay) => {
                tokio::time::sleep(delay).await;
                Ok(right)
            }
            Self::Status(status) => Ok(edge_page(status)),
            Self::Html200 => Ok(edge_page(StatusCode::OK)),
            Self::Garbage => {
                Ok(respond(StatusCode::OK, "application/json", "{\"keys\":[{\"kty\":"))
            }
            Self::EmptySet => Ok(json_of(&json!({ "keys": [] }))),
            Self::Redirect(location) => Ok(redirect(location)),
            Self::Oversized => Ok(oversized()),
            Self::Compressed => Ok(compressed(right)),
            Self::Hang => future::pending().await,
            Self::Reset => Err(Dropped),
            Self::Refusal(status, error) => {
                let content = json!({ "error": error });
                Ok(respond(status, "application/json", content.to_string()))
            }
        }
    }

    /// The fault that `{"fault": "slow", "milliseconds": 500}` and the like ask for; `{"fault": null}` asks for none.
    pub(super) fn parse(order: Value) -> Result<Option<Self>, Refusal> {
        if order.get("fault").is_some_and(Value::is_null) {
            return Ok(None);
        }
        let fault = match serde_json::from_value(order).map_err(refuse)? {
            Order::Slow { milliseconds } => Self::Slow(Duration::from_millis(milliseconds)),
            Order::Status { status } => Self::Status(final_status(status)?),
            Order::Html200 => Self::Html200,
            Order::Garbage => Self::Garbage,
            Order::EmptySet => Self::EmptySet,
            Order::Redirect { to } => Self::Redirect(to.parse().map_err(refuse)?),
            Order::Oversized => Self::Oversized,
            Order::Compressed => Self::Compressed,
            Order::Hang => Self::Hang,
            Order::Reset => Self::Reset,
            Order::Refusal { status, error } => Self::Refusal(final_status(status)?, error),
        };
        Ok(Some(fault))
    }
}

/// A fault as it is asked for over HTTP.
#[derive(Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
enum Order {
    Slow { milliseconds: u64 },
    Status { status: u16 },
    Html200,
    Garbage,
    EmptySet,
    Redirect { to: String },
    Oversized,
    Compressed,
    Hang,
    Reset,
    Refusal { status: u16, error: String },
}

fn refuse(error: impl Error) -> Refusal {
    Refusal::bad_request(error.to_string())
}

fn final_status(code: u16) -> Result<StatusCode, Refusal> {
    match StatusCode::from_u16(code) {
        Ok(status) if !status.is_informational() => Ok(status),
        Ok(_) | Err(_) => Err(Refusal::bad_request("status must be from 200 to 999")),
    }
}

fn edge_page(status: StatusCode) -> Response<Body> {
    let page = format!(
        "<html>\n<head><title>{status}</title></head>\n<body>\n<center><h1>{status}</h1></center>\n\
         <hr><center>Apple</center>\n</body>\n</html>\n"
    );
    respond(status, "text/html", page)
}

fn redirect(location: HeaderValue) -> Response<Body> {
    let mut response = respond(StatusCode::FOUND, "text/html", "");
    response.headers_mut().insert(LOCATION, location);
    response
}

fn compressed(mut right: Response<Body>) -> Response<Body> {
    right.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    right
}

fn oversized() -> Response<Body> {
    let piece = Bytes::from(vec![b' '; OVERSIZED_PIECE]);
    let mut response = Response::new(Body::repeated(piece, OVERSIZED_PIECES));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_asked_for_by_name() {
        for (order, expected) in [
            (json!({"fault": null}), "None"),
            (json!({"fault": "slow", "milliseconds": 1500}), "Some(Slow(1.5s))"),
            (json!({"fault": "status", "status": 403}), "Some(Status(403))"),
            (json!({"fault": "html200"}), "Some(Html200)"),
            (json!({"fault": "garbage"}), "Some(Garbage)"),
            (json!({"fault": "empty_set"}), "Some(EmptySet)"),
            (json!({"fault": "redirect", "to": "/elsewhere"}), r#"Some(Redirect("/elsewhere"))"#),
            (json!({"fault": "oversized"}), "Some(Oversized)"),
            (json!({"fault": "compressed"}), "Some(Compressed)"),
            (json!({"fault": "hang"}), "Some(Hang)"),
            (json!({"fault": "reset"}), "Some(Reset)"),
            (
                json!({"fault": "refusal", "status": 429, "error": "slow_down"}),
                r#"Some(Refusal(429, "slow_down"))"#,
            ),
        ] {
            assert_eq!(format!("{:?}", Fault::parse(order).unwrap()), expected);
        }
    }

    #[test]
    fn a_fault_that_makes_no_sense_is_refused() {
        for order in [
            json!({}),
            json!([]),
            json!({"fault": "flood"}),
            json!({"fault": "slow"}),
            json!({"fault": "slow", "milliseconds": -1}),
            json!({"fault": "status", "status": 101}),
            json!({"fault": "status", "status": 500, "body": ""}),
            json!({"fault": "redirect", "to": "two\nlines"}),
        ] {
            Fault::parse(order).unwrap_err();
        }
    }
}
