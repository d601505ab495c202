//! The one decision behind every door: route, credential, verdict, policy.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, header::ORIGIN};
use tokio::time::Instant;

use super::{
    browser::BrowserKeeper,
    cors::{Cors, overrides_the_method},
    exchange::Exchange,
    original::OriginalRequest,
    proxy::Destination,
    routes::{Access, Route, Routes},
};
use crate::{
    authn::{Authenticator, Policy, Realm, Rejection, Standing},
    upstream::CredentialForwarding,
    verify::{Email, Identity},
};

/// Decides who may pass. Doors differ in how they are asked and in how they tell the answer, and in nothing else.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Decides who sends a request.
    pub(crate) authenticator: Authenticator,
    /// Which requests must prove that, and where they go.
    pub(crate) routes: Routes<Destination>,
    /// Which pages may read our answers, and whether preflights pass.
    pub(crate) cors: Cors,
    /// Keeps the sessions of browsers, if any sign in.
    pub(crate) browsers: Option<BrowserKeeper>,
}

/// How a request may go on.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Somebody is proved.
    As(Arc<Identity>),
    /// Nobody is, and nobody need be.
    Anonymously(CredentialForwarding),
    /// It asks what pages may do, and nothing more.
    AsPreflight,
}

/// The permission to go on, and to where.
#[derive(Debug)]
pub(crate) struct Passage<'a> {
    /// As whom.
    pub(crate) admitted: Admitted,
    /// Where the route leads.
    pub(crate) destination: &'a Destination,
}

impl Passage<'_> {
    /// Refuses a preflight whose `headers` name another method. The proxy takes such headers off; where another gateway
    /// forwards, it leaves them on.
    ///
    /// # Errors
    ///
    /// [`Rejection::BadRequest`].
    pub(super) fn check_method(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        if matches!(self.admitted, Admitted::AsPreflight) && overrides_the_method(headers) {
            return Err(Rejection::BadRequest("the preflight names another method"));
        }
        Ok(())
    }
}

impl Gate {
    /// Decides about `original`, whose credential is in `headers`, and tells `exchange` its route.
    pub(super) async fn decide(
        &self,
        original: &OriginalRequest<'_>,
        headers: &HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<Passage<'_>, Rejection> {
        let route = self.routes.find(original.method(), original.host(), original.path())?;
        exchange.note_route(route.destination.label.clone());
        // Where nobody's credential is asked for, there is nothing to let a preflight past.
        let is_let_past =
            route.access != Access::Public && self.cors.lets_through(original.method(), headers);
        let admitted = if is_let_past {
            Admitted::AsPreflight
        } else {
            let admitted = self.admit(route.access, headers, route, exchange).await;
            let admitted = self.keep(admitted, original.method(), headers, exchange).await;
            admitted.inspect_err(|no| self.help(original, headers, route.access, no, exchange))?
        };
        Ok(Passage { admitted, destination: &route.destination })
    }

    /// Lets the session of a browser go on that was let in by one, and no other site's page use it.
    async fn keep(
        &self,
        admitted: Result<Admitted, Rejection>,
        method: &Method,
        headers: &HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<Admitted, Rejection> {
        let admitted = admitted?;
        if let Admitted::As(identity) = &admitted {
            self.keep_session(identity, method, headers, exchange).await?;
        }
        Ok(admitted)
    }

    async fn keep_session(
        &self,
        identity: &Identity,
        method: &Method,
        headers: &HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<(), Rejection> {
        let Some(browsers) = &self.browsers else { return Ok(()) };
        browsers.check_origin(method, headers)?;
        if browsers.is_due(identity) {
            // Rare, as it asks Apple.
            let renewed = Box::pin(browsers.renewed(headers, exchange.apple_deadline()));
            exchange.for_browser().cookie = renewed.await?;
        }
        Ok(())
    }

    /// Notes what a browser gets that is refused.
    fn help(
        &self,
        original: &OriginalRequest<'_>,
        headers: &HeaderMap,
        access: Access,
        rejection: &Rejection,
        exchange: &mut Exchange,
    ) {
        let Some(browsers) = &self.browsers else { return };
        let for_browser = exchange.for_browser();
        for_browser.cookie = BrowserKeeper::withdrawn(headers, rejection);
        if access == Access::Browser {
            for_browser.instead = browsers.help(original, headers, rejection);
            for_browser.origin = browsers.origin_of(original);
        }
    }

    /// Decides about a request of which only the `headers` are known: whichever it is, it must be one that may pass. So it
    /// passes if it may pass on every route.
    pub(super) async fn decide_unseen(
        &self,
        headers: &HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<Passage<'_>, Rejection> {
        let strictest = self.routes.reachable().map(|route| route.access).min();
        let fallback = self.routes.fallback();
        let strictest = strictest.unwrap_or_default();
        let admitted = self.admit(strictest, headers, fallback, exchange).await;
        // A page that asks for more than to read says where it comes from.
        let worst = if headers.contains_key(ORIGIN) { Method::POST } else { Method::GET };
        let admitted = self.keep(admitted, &worst, headers, exchange).await?;
        if let Admitted::As(identity) = &admitted {
            for route in self.routes.reachable() {
                route.policy.check(identity)?;
            }
        }
        Ok(Passage { admitted, destination: &fallback.destination })
    }

    /// Decides by the credential in `headers`, and tells `exchange` whom it proves.
    async fn admit(
        &self,
        access: Access,
        headers: &HeaderMap,
        route: &Route<Destination>,
        exchange: &mut Exchange,
    ) -> Result<Admitted, Rejection> {
        let admitted = self.judge(access, headers, route).await;
        match &admitted {
            Ok(Admitted::As(identity)) => exchange.note_identity(identity),
            Ok(Admitted::Anonymously(_) | Admitted::AsPreflight) => {}
            Err(_) => exchange.note_unproved(headers),
        }
        admitted
    }

    async fn judge(
        &self,
        access: Access,
        headers: &HeaderMap,
        route: &Route<Destination>,
    ) -> Result<Admitted, Rejection> {
        match access {
            // Its credential is none of our business: it may be for the application.
            Access::Public => Ok(Admitted::Anonymously(CredentialForwarding::Keep)),
            Access::Required | Access::Browser => {
                self.authenticator.require(headers, &route.policy).await.map(Admitted::As)
            }
            Access::Optional => {
                let anonymously = || Admitted::Anonymously(route.destination.rules.credential);
                let identity = self.authenticator.identify(headers, &route.policy).await?;
                Ok(identity.map_or_else(anonymously, Admitted::As))
            }
        }
    }

    /// Who sends the request with this `method` and these `headers`, wherever it goes. Their session goes on, and ends, as by
    /// any other request.
    pub(super) async fn caller(
        &self,
        method: &Method,
        headers: &HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<Arc<Identity>, Rejection> {
        let caller = self.judge_caller(method, headers, exchange).await;
        if let (Some(_), Err(rejection)) = (&self.browsers, &caller) {
            exchange.for_browser().cookie = BrowserKeeper::withdrawn(headers, rejection);
        }
        caller
    }

    async fn judge_caller(
        &self,
        method: &Method,
        headers: &HeaderMap,
        exchange: &mut Exchange,
    ) -> Result<Arc<Identity>, Rejection> {
        let caller = self.authenticator.require(headers, &Policy::permissive()).await;
        let identity = caller.inspect_err(|_no| exchange.note_unproved(headers))?;
        exchange.note_identity(&identity);
        self.keep_session(&identity, method, headers, exchange).await?;
        Ok(identity)
    }

    /// The email address of `identity`, if applications are told it.
    pub(super) fn told_email_of<'a>(&self, identity: &'a Identity) -> Option<Email<'a>> {
        self.routes.fallback().destination.rules.identity_headers.email_of(identity)
    }

    /// When the token ends that opened the door, if one did.
    pub(super) fn end_of(&self, admitted: &Admitted) -> Option<Instant> {
        let Admitted::As(identity) = admitted else { return None };
        Instant::now().checked_add(self.authenticator.remaining(identity))
    }

    /// For how long whoever was let in may stay, if that can end before the token does.
    pub(super) fn standing_of(&self, admitted: &Admitted) -> Option<Standing> {
        let Admitted::As(identity) = admitted else { return None };
        self.authenticator.standing(identity)
    }

    /// What a credential is asked for.
    pub(super) const fn realm(&self) -> &Realm {
        self.authenticator.realm()
    }

    /// Lets the page of `origin` read the answer with these `headers`, if it may.
    pub(super) fn allow_origin(&self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        self.cors.allow_origin(headers, origin);
    }
}
