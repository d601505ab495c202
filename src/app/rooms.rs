//! The rooms that serve requests under one set of settings, put together, and how a next set follows.

use std::time::Duration;

use tokio::time::timeout;

use super::{
    AppError,
    router::{JWK_SET, build_router, refusal},
    surroundings::Surroundings,
    swappable::Swappable,
    upstreams::build_upstreams,
    verifier::{Earlier, build_verifier},
};
use crate::{
    authn::AssertionKeys,
    config::Settings,
    endpoints::ProxyBody,
    server::{LimitedBody, Limits, OwnPage},
    upstream::Upstream,
    verify::Verifier,
};

/// What answers callers, replaced whole.
pub(super) type CallersService = Swappable<LimitedBody<ProxyBody>>;

/// What one set of settings led to.
#[derive(Debug)]
pub(super) struct Rooms {
    pub(super) settings: Settings,
    pub(super) verifier: Verifier,
    limits: Limits,
    upstreams: Vec<Upstream>,
}

/// Why some rooms cannot follow others.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotFollowed {
    /// They cannot be put together.
    #[error(transparent)]
    Broken(#[from] AppError),
    /// The keys come from elsewhere now, and cannot be had there.
    #[error("the keys cannot be had from where they are to come from now")]
    Keys,
}

impl Rooms {
    /// The first ones.
    pub(super) fn new(settings: Settings, surroundings: &Surroundings) -> Result<Self, AppError> {
        let verifier = build_verifier(&settings, Earlier::None, surroundings)?;
        let upstreams = build_upstreams(&settings, None, surroundings)?;
        let limits = Limits::new(settings.limits.clone(), surroundings.metrics.clone());
        Ok(Self { settings, verifier, limits, upstreams })
    }

    /// Those for `settings`, which keep what they can of these: keys, verdicts, connections, and who is within limits.
    ///
    /// They can serve at once: nobody will wait for keys that nobody waits for now.
    pub(super) async fn followed_by(
        &self,
        settings: Settings,
        surroundings: &Surroundings,
    ) -> Result<Self, NotFollowed> {
        let earlier = self.verifier_for(&settings);
        let fetches_anew = matches!(earlier, Earlier::None);
        let verifier = build_verifier(&settings, earlier, surroundings).map_err(AppError::from)?;
        if fetches_anew && self.has_keys().await {
            let first_keys = timeout(Self::LONGEST_FETCH, verifier.ready());
            first_keys.await.map_err(|_elapsed| NotFollowed::Keys)?;
        }
        let upstreams =
            build_upstreams(&settings, Some((&self.settings, &self.upstreams)), surroundings)
                .map_err(AppError::from)?;
        let limits = if settings.limits == self.settings.limits {
            self.limits.clone()
        } else {
            Limits::new(settings.limits.clone(), surroundings.metrics.clone())
        };
        Ok(Self { settings, verifier, limits, upstreams })
    }

    /// How long new keys are waited for, before the old settings are held on to.
    const LONGEST_FETCH: Duration = Duration::from_secs(10);

    /// Verdicts hold for as long as nothing changes of what they were found by.
    fn verifier_for(&self, next: &Settings) -> Earlier<'_> {
        let changes = next.written().changes_since(self.settings.written());
        let is_changed = |section: &str| changes.iter().any(|key| key.starts_with(section));
        if is_changed("jwks.") || is_changed("apple.issuer") {
            Earlier::None
        } else if is_changed("apple.") || is_changed("verdicts.") {
            Earlier::Keys(&self.verifier)
        } else {
            Earlier::Same(&self.verifier)
        }
    }

    async fn has_keys(&self) -> bool {
        timeout(Duration::ZERO, self.verifier.ready()).await.is_ok()
    }

    pub(super) fn callers_service(&self, surroundings: &Surroundings) -> CallersService {
        let Self { settings, verifier, limits, upstreams } = self;
        let router = build_router(settings, verifier.clone(), upstreams, surroundings);
        let refuse = refusal(router.clone());
        Swappable::new(limits.clone().in_front_of(router, refuse))
    }

    /// The pages for the admin listener.
    pub(super) fn admin_pages(&self) -> Vec<OwnPage> {
        let page = |keys: &AssertionKeys| OwnPage {
            path: AssertionKeys::PATH,
            kind: JWK_SET,
            body: keys.page(),
        };
        self.settings.assertion.iter().map(|assertion| page(&assertion.keys)).collect()
    }
}
