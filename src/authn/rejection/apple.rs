//! What Apple said no to, or did not say, when it was asked about a sign-in.

use http::StatusCode;

use super::{GrpcStatus, Row};
use crate::{apple::AppleFault, verify::Fault};

/// Only a grant that is no good is an answer about the caller: to whoever has another, it may be the right one. All else is
/// no answer, whoever is to blame.
pub(super) const fn row(fault: &AppleFault) -> Row {
    let code = fault.code();
    match fault.fault() {
        Fault::Caller => Row {
            status: StatusCode::UNAUTHORIZED,
            oauth_error: Some("invalid_token"),
            grpc: GrpcStatus::Unauthenticated,
            fault: Fault::Caller,
            code,
            title: "Apple does not confirm the sign-in",
        },
        whose @ (Fault::Apple | Fault::Us | Fault::Upstream) => Row {
            status: StatusCode::SERVICE_UNAVAILABLE,
            oauth_error: None,
            grpc: GrpcStatus::Unavailable,
            fault: whose,
            code,
            title: "Apple cannot confirm sign-ins now",
        },
    }
}

/// What callers are told: how Apple and the operator get on is not their business.
pub(super) fn detail(fault: &AppleFault) -> String {
    if matches!(fault, AppleFault::OtherRedirectUri) {
        return "Apple does not confirm the sign-in: its code was sent to another redirect URI than it came with"
            .to_owned();
    }
    match fault.fault() {
        Fault::Caller => {
            "Apple does not confirm the sign-in: it was used, it has expired, or it was withdrawn; a new one is accepted"
                .to_owned()
        }
        Fault::Apple | Fault::Us | Fault::Upstream => {
            "Apple cannot be asked at the moment whether the sign-in is good".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};

    use super::super::{Dialect, Realm, Rejection};
    use crate::apple::{AppleError, AppleFault, Unavailable};

    fn refused(error: AppleError) -> AppleFault {
        AppleFault::Refused { error, description: None }
    }

    #[test]
    fn a_grant_that_is_no_good_is_401_and_everything_else_is_no_answer() {
        for (fault, status) in [
            (refused(AppleError::InvalidGrant), 401),
            (AppleFault::OtherRedirectUri, 401),
            (refused(AppleError::InvalidRequest), 503),
            (refused(AppleError::InvalidClient), 503),
            (refused(AppleError::UnauthorizedClient), 503),
            (refused(AppleError::UnsupportedGrantType), 503),
            (refused(AppleError::InvalidScope), 503),
            (AppleFault::Unsigned, 503),
            (Unavailable::TimedOut.into(), 503),
            (Unavailable::Html.into(), 503),
            (Unavailable::Throttled.into(), 503),
        ] {
            let code = fault.code();
            let rejection = Rejection::from(fault);
            assert_eq!((rejection.code(), rejection.status().as_u16()), (code, status));
            let response = rejection.render(Dialect::Http, &Realm::default());
            let is_no = status == 401;
            assert_eq!(response.headers().contains_key(WWW_AUTHENTICATE), is_no, "{code}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), !is_no, "{code}");
            let body = String::from_utf8(response.into_body().to_vec()).unwrap();
            assert!(body.contains(code) && !body.contains("client_id"), "{body}");
        }
    }
}
