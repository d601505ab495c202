//! What a `CheckRequest` asks about.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body;

use super::{
    Asked, OriginalRequest, Report,
    messages::{self, CheckRequest, HttpRequest},
    unary::{self, Unread},
};
use crate::authn::Rejection;

/// The longest question that is read, in bytes: headers as long as a gateway may let them become, and what one adds that is
/// told `with_request_body`.
const LONGEST: u32 = 1024 * 1024;

/// Reads a question.
pub(super) async fn read(body: impl Body<Data = Bytes> + Unpin) -> Result<Asked, Rejection> {
    let question: CheckRequest = unary::read(body, LONGEST).await.map_err(refuse)?;
    let request = question.attributes.and_then(|attributes| attributes.request);
    asked_about(request.and_then(|request| request.http).unwrap_or_default())
}

fn refuse(unread: Unread) -> Rejection {
    match unread {
        Unread::TooLong => Rejection::BodyTooLarge { limit: LONGEST.into() },
        Unread::BrokenOff => Rejection::Undecided("the gateway's question broke off"),
        Unread::Compressed => Rejection::Undecided("the gateway's question is compressed"),
        Unread::Malformed => Rejection::Undecided("the gateway's question is malformed"),
    }
}

fn asked_about(request: HttpRequest) -> Result<Asked, Rejection> {
    let HttpRequest { method, headers, path, host, header_map } = request;
    let report =
        Report { method: method.as_bytes(), host: host.as_bytes(), target: path.as_bytes() };
    let raw = header_map.unwrap_or_default().headers;
    Ok(Asked {
        original: OriginalRequest::asked_about(report)?,
        headers: headers_of(headers.into_iter().chain(raw))?,
    })
}

/// What is no header is no header of a request that was forwarded, and nothing that we could judge.
fn headers_of(lines: impl Iterator<Item = messages::HeaderValue>) -> Result<HeaderMap, Rejection> {
    const NO_HEADER: Rejection = Rejection::BadRequest("a reported header is no header");
    const TOO_MANY: Rejection = Rejection::BadRequest("there are too many reported headers");

    let mut headers = HeaderMap::new();
    for messages::HeaderValue { key, value, raw_value } in lines {
        // HTTP/2's method, path and authority, told once more.
        if key.starts_with(':') {
            continue;
        }
        let name = HeaderName::from_bytes(key.as_bytes()).map_err(|_invalid| NO_HEADER)?;
        let raw_value = if raw_value.is_empty() { value.into() } else { raw_value };
        let value = HeaderValue::from_maybe_shared(raw_value).map_err(|_invalid| NO_HEADER)?;
        headers.try_append(name, value).map_err(|_too_many| TOO_MANY)?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, value: &str, raw_value: &'static [u8]) -> messages::HeaderValue {
        let (key, value) = (key.to_owned(), value.to_owned());
        messages::HeaderValue { key, value, raw_value: Bytes::from_static(raw_value) }
    }

    fn request(
        headers: Vec<messages::HeaderValue>,
        raw: Vec<messages::HeaderValue>,
    ) -> HttpRequest {
        HttpRequest {
            method: "PUT".to_owned(),
            path: "/a?b".to_owned(),
            host: "a.example".to_owned(),
            headers,
            header_map: Some(messages::HeaderMap { headers: raw }),
        }
    }

    #[test]
    fn lines_are_taken_as_they_came_whichever_way_they_are_told() {
        let told = vec![line(":path", "/other", b""), line("x-one", "1", b"")];
        let raw = vec![line("x-two", "", b"2"), line("x-two", "", b"\xff")];
        let asked = asked_about(request(told, raw)).unwrap();
        assert_eq!((asked.original.method().as_str(), asked.original.path()), ("PUT", "/a"));
        let values: Vec<_> = asked.headers.get_all("x-two").iter().collect();
        assert_eq!(values, [&b"2"[..], b"\xff"]);
        assert_eq!((asked.headers.len(), &asked.headers["x-one"]), (3, &HeaderValue::from(1)));
    }

    #[test]
    fn a_question_about_no_request_is_about_a_bad_one() {
        for request in [
            HttpRequest::default(),
            HttpRequest { method: String::new(), ..request(vec![], vec![]) },
            HttpRequest { path: "a".to_owned(), ..request(vec![], vec![]) },
            HttpRequest { host: String::new(), ..request(vec![], vec![]) },
            request(vec![line("a b", "", b"")], vec![]),
            request(vec![line("a", "\n", b"")], vec![]),
            request(vec![], vec![line("a", "", b"\0")]),
            request((0..40_000).map(|n| line(&format!("n{n}"), "", b"")).collect(), vec![]),
        ] {
            assert_eq!(asked_about(request).unwrap_err().code(), "bad_request");
        }
    }
}
