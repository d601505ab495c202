//! A proxy from the first task to the last request.

use std::time::Duration;

use tokio::{
    sync::watch,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    App, AppError,
    background::Background,
    health::{await_keys, describe},
    reload::{Doors, LastReload, Reloader},
    rooms::{CallersService, Rooms},
    surroundings::Surroundings,
};
use crate::{
    endpoints::{AdminToken, RevocationsView},
    server::{Admin, Drained, Listener, OwnPages, Server, ServerSettings, Tls},
    telemetry::Metrics,
    verify::Verifier,
};

impl App {
    /// Runs until `shutdown`, then finishes what is in flight.
    ///
    /// # Errors
    ///
    /// [`AppError`] when it cannot start.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), AppError> {
        let Self { public, admin, tls, metrics, settings, clock, flags, reload } = self;
        let callers = CallersDoor {
            listeners: public,
            settings: settings.server.settings.clone(),
            tls: tls.clone(),
            drain_delay: settings.server.drain_delay,
        };
        let surroundings = Surroundings::new(&settings, clock, metrics)?;
        let _none_outlives_this_future = surroundings.streams.end_on_drop();
        let background = Background::new(surroundings.tasks.clone());
        let rooms = Rooms::new(settings, &surroundings)?;
        let service = rooms.callers_service(&surroundings);
        let (verifier, verifiers) = watch::channel(rooms.verifier.clone());
        let first_keys = await_keys(verifiers.clone(), surroundings.readiness.latch("keys"));
        surroundings.tasks.spawn(shutdown.clone().run_until_cancelled_owned(first_keys));
        surroundings.start_lists(&background)?;

        let last = LastReload::started(surroundings.clock.now());
        describe(&surroundings, &callers.listeners, &last);
        let admin_token = rooms.settings.revocations.admin_token.clone();
        let admin_pages = serve_admin(admin, admin_token, verifiers, &surroundings, &background);
        admin_pages.set(rooms.admin_pages());
        let doors = Doors { callers: service.clone(), admin_pages, verifier, last };
        let reloader = Reloader::new(rooms, doors, surroundings.clone());
        background.spawn(reloader.run(flags, reload));
        if let Some(tls) = tls {
            background.spawn(tls.keep_fresh());
        }
        callers.serve(service, &surroundings, shutdown).await;
        background.end().await;
        Ok(())
    }
}

/// Serves the operator, and returns the pages there that may be set later. Those connections are not counted, and it is
/// answered until the last request is done.
fn serve_admin(
    listeners: Vec<Listener>,
    token: Option<AdminToken>,
    verifiers: watch::Receiver<Verifier>,
    surroundings: &Surroundings,
    background: &Background,
) -> OwnPages {
    let Surroundings { readiness, metrics, clock, recorder, .. } = surroundings.clone();
    let door = Admin::new(readiness, metrics, clock);
    let pages = door.pages();
    let door = RevocationsView::new(door, token.zip(recorder), verifiers);
    let server = Server::new(ServerSettings::default(), Metrics::new());
    background.spawn(server.serve(listeners, door, CancellationToken::new()));
    pages
}

/// Where callers connect to, and how it is closed.
struct CallersDoor {
    listeners: Vec<Listener>,
    settings: ServerSettings,
    tls: Option<Tls>,
    drain_delay: Duration,
}

impl CallersDoor {
    /// Serves until `shutdown`, and then until nothing is in flight or the time for that is over.
    async fn serve(
        self,
        service: CallersService,
        surroundings: &Surroundings,
        shutdown: CancellationToken,
    ) {
        let Self { listeners, settings, tls, drain_delay } = self;
        let drain_timeout = settings.drain_timeout;
        let close = CancellationToken::new();
        let closing = async {
            shutdown.cancelled().await;
            surroundings.readiness.drain();
            // Whoever balances load needs a moment to notice; until then we go on as before.
            sleep(drain_delay).await;
            close.cancel();
            Instant::now() + drain_timeout
        };

        for listener in &listeners {
            info!(address = listener.describe(), "listening");
        }
        let server = Server::new(settings, surroundings.metrics.clone()).with_tls(tls);
        let serving = server.serve(listeners, service, close.clone());
        let (drained, deadline) = tokio::join!(serving, closing);
        surroundings.streams.drain_until(deadline).await;
        match drained {
            Drained::All => info!("every request was finished"),
            Drained::Aborted { connections } => warn!(connections, "dropped at the deadline"),
        }
    }
}
