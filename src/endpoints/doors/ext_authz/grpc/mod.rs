//! The gRPC form: `envoy.service.auth.v3.Authorization/Check`, and `grpc.health.v1.Health` beside it.

mod answer;
mod health;
mod messages;
mod question;
mod unary;

use http::{Extensions, Request, Response};
use hyper::body::Incoming;
use tokio::time::Instant;

pub(super) use self::health::{health, tell_health};
use super::super::super::original::Report;
use super::{
    Allowed, Asked, CHECK, Client, Exchange, ExtAuthzParts, ForBrowser, Form, Head,
    OriginalRequest, ProxyBody, decide_by, verdict::denied,
};
use crate::{authn::Rejection, telemetry::Outcome};

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
        let (method, headers) = (asked.original.method(), &asked.headers);
        let mut exchange = self.begin(Head { method, extensions, headers });
        exchange.set_deadline(deadline);
        let client = Client::of(method, headers);
        match decide_by(deadline, exchange.run(|exchange| self.judge(asked, exchange))).await {
            Ok(allowed) => exchange.finish(answer::allow(&allowed), Ok(Outcome::Allowed)),
            Err(rejection) => self.deny(&rejection, &client, exchange),
        }
    }

    /// A call that is not read is the gateway's affair, and its client, of whom nothing is known, is told no all the same.
    pub(super) fn refuse_call<B>(
        &self,
        call: &Request<B>,
        rejection: &Rejection,
    ) -> Response<ProxyBody> {
        self.deny(rejection, &Client::default(), self.begin(call))
    }

    /// What is told of is the answer that the gateway is to give, and not the one that it is given.
    fn deny(
        &self,
        rejection: &Rejection,
        client: &Client,
        mut exchange: Exchange,
    ) -> Response<ProxyBody> {
        let denied = denied(rejection, client, exchange.for_browser(), &self.gate);
        answer::deny(rejection, exchange.finish(denied, Err(rejection)))
    }
}
