//! The table's lines as answers, each in the tongue of who asked.

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
};

use super::{Dialect, Realm, Rejection, problem::Problem};

impl Rejection {
    /// The answer in the tongue of who asks: problem details, a gRPC status, or nothing but status and challenge.
    #[must_use]
    pub fn render(&self, dialect: Dialect, realm: &Realm) -> Response<Bytes> {
        let mut response = match dialect {
            Dialect::Http => self.http_response(realm),
            Dialect::Grpc => self.grpc_response(),
            Dialect::AuthRequest => self.auth_request_response(realm),
        };
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }

    fn http_response(&self, realm: &Realm) -> Response<Bytes> {
        let row = self.row();
        let detail = self.to_string();
        let mut response = Response::new(Problem::of(&row, &detail).to_json());
        *response.status_mut() = row.status;
        let headers = response.headers_mut();
        self.explain_to(headers, realm, row.status, &detail);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }

    /// <https://nginx.org/en/docs/http/ngx_http_auth_request_module.html>: a body is never read there, and one that is left
    /// unread costs the gateway its connection to us.
    fn auth_request_response(&self, realm: &Realm) -> Response<Bytes> {
        let status = match self.status() {
            // A malformed credential is no good one.
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED => StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN => StatusCode::FORBIDDEN,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        self.explain_to(response.headers_mut(), realm, status, &self.to_string());
        response
    }

    /// What a refusal says in headers: when to come back, with which methods, with which credential, and why (`detail`).
    fn explain_to(&self, headers: &mut HeaderMap, realm: &Realm, status: StatusCode, detail: &str) {
        if let Some(seconds) = self.retry_after(status) {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Self::MethodNotAllowed { allow } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        let oauth_error = self.row().oauth_error;
        if status == StatusCode::UNAUTHORIZED || oauth_error.is_some() {
            headers.insert(WWW_AUTHENTICATE, realm.challenge(oauth_error, detail));
        }
    }

    /// When it is worth asking again, in seconds (RFC 9110 §10.2.3).
    fn retry_after(&self, status: StatusCode) -> Option<u64> {
        if let Self::RateLimited { retry_after } = self {
            // Rounded up: who comes back a moment early is refused once more.
            return Some(retry_after.as_secs() + 1);
        }
        let seconds = if matches!(self, Self::Shed) { 1 } else { 5 };
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(seconds)
    }

    /// A `Trailers-Only` response: <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses>
    fn grpc_response(&self) -> Response<Bytes> {
        let mut response = Response::new(Bytes::new());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(self.grpc_code()));
        // Our messages are visible ASCII; a percent sign is all that has to be encoded.
        if let Ok(message) = HeaderValue::from_str(&self.to_string().replace('%', "%25")) {
            headers.insert("grpc-message", message);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::PolicyFault, *};
    use crate::{
        clock::UnixTime,
        verify::{KeysFault, TokenFault},
    };

    fn expired() -> Rejection {
        let (expired_at, now) =
            (UnixTime::from_secs(1_700_000_000), UnixTime::from_secs(1_700_000_100));
        Rejection::Token(TokenFault::Expired { expired_at, now })
    }

    fn problem(response: &Response<Bytes>) -> serde_json::Value {
        serde_json::from_slice(response.body()).unwrap()
    }

    #[test]
    fn an_expired_token_is_told_since_when() {
        let response = expired().render(Dialect::Http, &Realm::default());
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        let detail = "the token expired at 2023-11-14T22:13:20Z, and it is 2023-11-14T22:15:00Z";
        assert_eq!(
            response.headers()[WWW_AUTHENTICATE],
            format!(
                r#"Bearer realm="siwa-proxy", error="invalid_token", error_description="{detail}""#
            )
        );
        assert_eq!(
            problem(&response),
            serde_json::json!({
                "type": "urn:problem-type:siwa-proxy:token_expired", "title": "The token has expired",
                "status": 401, "detail": detail, "code": "token_expired",
            })
        );
    }

    #[test]
    fn a_missing_credential_is_asked_for_without_an_error_code() {
        let response = Rejection::NoCredential.render(Dialect::Http, &Realm::default());
        assert_eq!(response.status(), 401);
        assert_eq!(response.headers()[WWW_AUTHENTICATE], r#"Bearer realm="siwa-proxy""#);
    }

    #[test]
    fn a_known_user_who_is_not_allowed_is_told_which_rule_refused() {
        let rejection = || Rejection::NotAllowed(PolicyFault::EmailMissing);
        let response = rejection().render(Dialect::Http, &Realm::default());
        assert_eq!(response.status(), 403);
        let challenge = response.headers()[WWW_AUTHENTICATE].to_str().unwrap();
        assert!(challenge.contains(r#"error="insufficient_scope""#), "{challenge}");
        assert_eq!(problem(&response)["code"], "not_allowed_email_missing");

        let mut grpc = HeaderMap::new();
        grpc.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        let response = rejection().render(Dialect::Grpc, &Realm::default());
        assert_eq!(response.headers()["grpc-status"], "7");
    }

    #[test]
    fn could_not_judge_is_503_with_retry_after_and_no_challenge() {
        let response = Rejection::KeysUnavailable(KeysFault::NoSet(None))
            .render(Dialect::Http, &Realm::default());
        assert_eq!(response.status(), 503);
        assert!(response.headers().contains_key(RETRY_AFTER));
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    }

    #[test]
    fn a_limit_says_when_to_come_back() {
        for (rejection, status, seconds) in [
            (Rejection::Shed, 503, "1"),
            (Rejection::RateLimited { retry_after: Duration::from_millis(2_300) }, 429, "3"),
        ] {
            let response = rejection.render(Dialect::Http, &Realm::default());
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[RETRY_AFTER], seconds);
        }
    }

    #[test]
    fn a_grpc_caller_gets_a_grpc_status() {
        let response = expired().render(Dialect::Grpc, &Realm::default());
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["grpc-status"], "16");
        assert!(
            response.headers()["grpc-message"]
                .to_str()
                .unwrap()
                .starts_with("the token expired at")
        );
    }

    #[test]
    fn auth_request_gets_one_of_three_statuses_and_no_body() {
        for (rejection, status) in [
            (Rejection::NoCredential, 401),
            (expired(), 401),
            (Rejection::SeveralCredentials, 401),
            (Rejection::BadRequest("the path has a dot segment"), 401),
            (Rejection::NotAllowed(PolicyFault::EmailMissing), 403),
            (Rejection::KeysUnavailable(KeysFault::NoSet(None)), 503),
            (Rejection::RateLimited { retry_after: Duration::from_secs(2) }, 503),
            (Rejection::RequestTimedOut { limit: Duration::from_secs(2) }, 503),
            (Rejection::Shed, 503),
        ] {
            let response = rejection.render(Dialect::AuthRequest, &Realm::default());
            assert_eq!(response.status(), status, "{rejection}");
            assert!(response.body().is_empty(), "{rejection}");
            let asks = response.headers().contains_key(WWW_AUTHENTICATE);
            assert_eq!(asks, status != 503, "{rejection}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), status == 503, "{rejection}");
        }
    }
}
