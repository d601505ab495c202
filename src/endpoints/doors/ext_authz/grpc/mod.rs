//! The gRPC form: `envoy.service.auth.v3.Authorization/Check`, and `grpc.health.v1.Health` beside it.

mod answer;
mod health;
mod messages;
mod question;
mod unary;

use http::{Extensions, Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::Instant;

pub(super) use self::health::{health, tell_health};
use super::{
    Allowed, Asked, CHECK, Client, ExtAuthzParts, ForBrowser, Form, OriginalRequest, ProxyBody,
    Report, decide_by, mem, verdict::denied,
};
use crate::authn::Rejection;

/// Which of the methods that we serve is at `path`.
pub(super) fn form_of(path: &str) -> Option<Form> {
    match path {
        CHECK => Some(Form::Check),
        health::CHECK | health::WATCH => Some(Form::Health),
        _ => None,
    }
}

impl ExtAuthzParts {
    pub(super) async fn check(&self, call: Request<Incoming>) -> Response<ProxyBody> {
        let deadline = self.deadline(unary::timeout(call.headers()));
        let (head, body) = call.into_parts();
        match decide_by(deadline, question::read(body)).await {
            Ok(asked) => self.answer_check(&asked, &head.extensions, deadline).await,
            Err(unread) => self.refuse_call(&Request::from_parts(head, ()), &unread),
        }
    }

    async fn answer_check(
        &self,
        asked: &Asked,
        extensions: &Extensions,
        deadline: Instant,
    ) -> Response<ProxyBody> {
        let mut exchange = self.begin(asked.original.method(), extensions, &asked.headers);
        exchange.hurries(deadline);
        let method = asked.original.method();
        let client = Client::of(exchange.arrival(), method, &asked.headers);
        match decide_by(deadline, self.judge(asked, &mut exchange)).await {
            Ok(allowed) => {
                exchange.allowed(StatusCode::OK);
                answer::allow(&allowed)
            }
            Err(rejection) => {
                let mut for_browser = mem::take(exchange.for_browser());
                let denied = denied(&rejection, &client, &mut for_browser, &self.gate);
                exchange.refused(&rejection, denied.status());
                answer::deny(&rejection, denied)
            }
        }
    }

    /// A call that is not read is the gateway's affair, and its client, of whom nothing is known, is told no all the same.
    pub(super) fn refuse_call<B>(
        &self,
        call: &Request<B>,
        rejection: &Rejection,
    ) -> Response<ProxyBody> {
        let exchange = self.begin(call.method(), call.extensions(), call.headers());
        exchange.refused(rejection, rejection.status());
        let nobody = &mut ForBrowser::default();
        answer::deny(rejection, denied(rejection, &Client::default(), nobody, &self.gate))
    }
}
