//! How whoever asks wants to be spoken to.

use http::{HeaderMap, HeaderValue, Method, Version, header::CONTENT_TYPE};

/// How whoever asks wants to be spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Status, challenge and problem details.
    Http,
    /// A gRPC status, under HTTP's 200.
    Grpc,
    /// Status and challenge without a body, and of all refusing statuses only those that nginx's `auth_request` knows: 401
    /// and 403; anything else is 503, could not judge.
    AuthRequest,
}

impl Dialect {
    /// The dialect of a request: gRPC is a POST in HTTP/2 of `application/grpc`, alone or with a suffix
    /// (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests>). Nothing less counts: its refusals are
    /// HTTP's 200, which must not be had by a header alone.
    #[must_use]
    pub fn of(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        let content_type = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
        let is_grpc = content_type
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')));
        if is_grpc && method == Method::POST && version == Version::HTTP_2 {
            Self::Grpc
        } else {
            Self::Http
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_a_post_in_http_2_of_its_own_content_type_and_nothing_less() {
        let dialect = |method, version, content_type| {
            let headers =
                HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
            Dialect::of(&method, version, &headers)
        };
        for good in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            assert_eq!(dialect(Method::POST, Version::HTTP_2, good), Dialect::Grpc);
            assert_eq!(dialect(Method::GET, Version::HTTP_2, good), Dialect::Http);
            assert_eq!(dialect(Method::POST, Version::HTTP_11, good), Dialect::Http);
        }
        for other in ["application/grpcX", "application/grpc-web", "application/json", ""] {
            assert_eq!(dialect(Method::POST, Version::HTTP_2, other), Dialect::Http, "{other}");
        }
    }
}
