//! The gRPC form: `envoy.service.auth.v3.Authorization/Check`, and `grpc.health.v1.Health` beside it.

mod answer;
mod health;
mod messages;
mod question;
mod unary;

use http::{Request, Response, StatusCode, request::Parts};
use hyper::body::Incoming;
use tokio::time::Instant;

pub(super) use self::{
    answer::deny,
    health::{health, tell_health},
};
use super::{
    Allowed, Asked, CHECK, Client, Exchange, ExtAuthz, ExtAuthzParts, Form, Gate, OriginalRequest,
    ProxyBody, Report, decide_by, verdict::denied,
};
use crate::{authn::Rejection, upstream::Arrival};

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
            Ok(asked) => self.answer_check(&head, asked, deadline).await,
            Err(unread) => self.answer_nothing(&head, &unread),
        }
    }

    async fn answer_check(
        &self,
        head: &Parts,
        asked: Asked,
        deadline: Instant,
    ) -> Response<ProxyBody> {
        let arrival = Arrival::new(&head.extensions, &asked.headers, &self.trusted_peers);
        let client = Client::of(&arrival, asked.original.method(), &asked.headers);
        let method = asked.original.method().clone();
        let mut exchange = Exchange::begin(&self.metrics, ExtAuthz::NAME, method, arrival);
        match decide_by(deadline, self.judge(&asked, &mut exchange)).await {
            Ok(allowed) => {
                exchange.allowed(StatusCode::OK);
                answer::allow(&allowed)
            }
            Err(rejection) => {
                exchange.refused(&rejection, rejection.status());
                deny(&rejection, &client, &self.gate)
            }
        }
    }

    /// A question that cannot be read is the gateway's affair, and its client is told no all the same.
    fn answer_nothing(&self, head: &Parts, unread: &Rejection) -> Response<ProxyBody> {
        let arrival = Arrival::new(&head.extensions, &head.headers, &self.trusted_peers);
        let exchange = Exchange::begin(&self.metrics, ExtAuthz::NAME, head.method.clone(), arrival);
        exchange.refused(unread, unread.status());
        deny(unread, &Client::default(), &self.gate)
    }
}
