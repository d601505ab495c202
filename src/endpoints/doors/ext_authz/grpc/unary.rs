//! A gRPC call of one message each way, in our own hands
//! (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
//!
//! A gRPC framework answers a message that it cannot read, or that is too long or compressed, with a gRPC error, and to an
//! Envoy that is told `failure_mode_allow` an error is a yes. Here whoever reads a call is told what is wrong with it, and
//! says no in their own way.

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, header::CONTENT_TYPE};
use http_body::Body;
use http_body_util::BodyExt;
use prost::Message;

use crate::authn::RejectionBody;

/// What stands before a message: whether it is compressed, and its length in bytes.
const PREFIX: usize = 5;

/// Why a message was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unread {
    /// It is longer than is read.
    #[error("the message is too long")]
    TooLong,
    /// It did not come whole.
    #[error("the message broke off")]
    BrokenOff,
    /// It is compressed; we never said that we could read such.
    #[error("the message is compressed")]
    Compressed,
    /// There is no message, more than one, or one that is not of the kind that was asked for.
    #[error("the message is malformed")]
    Malformed,
}

/// Reads the one message of a call, which has at most `limit` bytes.
pub(super) async fn read<M, B>(mut body: B, limit: u32) -> Result<M, Unread>
where
    M: Message + Default,
    B: Body<Data = Bytes> + Unpin,
{
    let most = usize::try_from(limit).unwrap_or(usize::MAX).saturating_add(PREFIX);
    let mut framed = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Unread::BrokenOff) };
        let Ok(piece) = frame.into_data() else { continue };
        if framed.len().saturating_add(piece.len()) > most {
            return Err(Unread::TooLong);
        }
        framed.extend_from_slice(&piece);
    }
    unframe(framed.freeze())
}

fn unframe<M: Message + Default>(mut framed: Bytes) -> Result<M, Unread> {
    if framed.len() < PREFIX {
        return Err(Unread::Malformed);
    }
    let (compressed, length) = (framed.get_u8(), framed.get_u32());
    if compressed != 0 {
        return Err(Unread::Compressed);
    }
    if usize::try_from(length) != Ok(framed.len()) {
        return Err(Unread::Malformed);
    }
    M::decode(framed).map_err(|_what_protobuf_says_of_it| Unread::Malformed)
}

/// The answer that is `message`.
pub(super) fn answer<B>(message: &impl Message) -> Response<RejectionBody<B>> {
    let length = message.encoded_len();
    let mut framed = BytesMut::with_capacity(PREFIX.saturating_add(length));
    framed.put_u8(0);
    framed.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    framed.extend_from_slice(&message.encode_to_vec());
    let ok = HeaderMap::from_iter([(GRPC_STATUS, HeaderValue::from_static("0"))]);
    let mut response = Response::new(RejectionBody::with_trailers(framed.freeze(), ok));
    response.headers_mut().insert(CONTENT_TYPE, APPLICATION_GRPC);
    response
}

/// The answer that there is none, and why: a status, and no message to send it after.
pub(super) fn fail<B>(status: u16, why: &'static str) -> Response<RejectionBody<B>> {
    let mut response = Response::new(RejectionBody::rejected(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, APPLICATION_GRPC);
    headers.insert(GRPC_STATUS, HeaderValue::from(status));
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(why));
    response
}

const APPLICATION_GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How long the caller waits for an answer, if it says so: at most eight digits and a unit.
pub(super) fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count = digits.parse::<u64>().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};

    use super::{
        super::messages::{HealthCheckRequest, HealthCheckResponse},
        *,
    };

    fn framed(compressed: u8, length: u32, message: &[u8]) -> Vec<u8> {
        [&[compressed][..], &length.to_be_bytes(), message].concat()
    }

    async fn read_all(bytes: Vec<u8>) -> Result<String, Unread> {
        let read = read::<HealthCheckRequest, _>(Full::new(Bytes::from(bytes)), 16).await;
        read.map(|request| request.service)
    }

    #[tokio::test]
    async fn one_whole_message_is_read() {
        assert_eq!(read_all(framed(0, 3, b"\x0a\x01a")).await.as_deref(), Ok("a"));
        assert_eq!(read_all(framed(0, 0, b"")).await.as_deref(), Ok(""));
    }

    #[tokio::test]
    async fn what_is_no_whole_message_is_not_read() {
        for (bytes, why) in [
            (vec![], Unread::Malformed),
            (framed(0, 3, b""), Unread::Malformed),
            (framed(0, 4, b"\x0a\x01a"), Unread::Malformed),
            (framed(0, 2, b"\x0a\x01a"), Unread::Malformed),
            (framed(0, u32::MAX, b"\x0a\x01a"), Unread::Malformed),
            (framed(0, 3, b"\x0a\x01\xff"), Unread::Malformed),
            (framed(0, 3, b"\xff\xff\xff"), Unread::Malformed),
            (framed(1, 3, b"\x0a\x01a"), Unread::Compressed),
            (framed(0, 17, &[0; 17]), Unread::TooLong),
            (framed(0, 3, &[0; 64]), Unread::TooLong),
        ] {
            assert_eq!(read_all(bytes.clone()).await, Err(why), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn a_message_whose_sender_goes_away_broke_off() {
        let frames = [Ok(http_body::Frame::data(Bytes::from_static(b"\0"))), Err("gone")];
        let body = StreamBody::new(tokio_stream::iter(frames));
        let read = read::<HealthCheckRequest, _>(body, 16).await;
        assert_eq!(read, Err(Unread::BrokenOff));
    }

    #[tokio::test]
    async fn an_answer_is_a_message_and_a_status() {
        let response = answer::<Full<Bytes>>(&HealthCheckResponse { status: 1 });
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.trailers().unwrap()["grpc-status"], "0");
        assert_eq!(body.to_bytes(), framed(0, 2, b"\x08\x01"));
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        let of = |value: &str| {
            timeout(&HeaderMap::from_iter([(
                "grpc-timeout".parse().unwrap(),
                HeaderValue::from_str(value).unwrap(),
            )]))
        };
        for (value, said) in [
            ("200m", Some(Duration::from_millis(200))),
            ("1S", Some(Duration::from_secs(1))),
            ("99999999H", Some(Duration::from_hours(99_999_999))),
            ("2M", Some(Duration::from_mins(2))),
            ("5u", Some(Duration::from_micros(5))),
            ("0n", Some(Duration::ZERO)),
            ("100000000m", None),
            ("m", None),
            ("", None),
            ("1", None),
            ("-1m", None),
            ("+1m", None),
            ("1.5S", None),
            ("1s", None),
            ("1\u{b5}", None),
        ] {
            assert_eq!(of(value), said, "{value}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }
}
