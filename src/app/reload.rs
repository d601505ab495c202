//! Settings that are read again while the proxy runs: on SIGHUP, and when their files change.
//!
//! They are read whole, judged whole and taken up whole. What cannot be used changes nothing, and is told in the log, in the
//! metrics and by `/readyz?verbose`. What a running process cannot change is named in the log.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use super::{
    rooms::{CallersService, NotFollowed, Rooms},
    surroundings::Surroundings,
    watching::Watched,
};
use crate::{
    clock::UnixTime,
    config::{Flags, Problems, Settings, Written},
    server::OwnPages,
    telemetry::{ReloadLabels, causes},
    verify::Verifier,
};

/// Keeps the rooms as the settings say.
#[derive(Debug)]
pub(super) struct Reloader {
    rooms: Rooms,
    /// What the process was started with: what needs a restart is compared with it.
    started_with: Written,
    watched: Watched,
    doors: Doors,
    surroundings: Surroundings,
}

/// What is moved when the rooms are.
#[derive(Debug)]
pub(super) struct Doors {
    /// The callers'.
    pub(super) callers: CallersService,
    /// The operator's.
    pub(super) admin_pages: OwnPages,
    /// Whoever waits for keys.
    pub(super) verifier: watch::Sender<Verifier>,
    /// Whoever asks how it went.
    pub(super) last: LastReload,
}

/// Why new settings were not taken up.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("they have problems")]
    Settings(#[from] Problems),
    #[error(transparent)]
    Rooms(#[from] NotFollowed),
}

impl Reloader {
    pub(super) fn new(rooms: Rooms, doors: Doors, surroundings: Surroundings) -> Self {
        let started_with = rooms.settings.written().clone();
        let watched = Watched::new(&rooms.settings.source.files);
        surroundings.metrics.settings_taken_up(surroundings.clock.now());
        Self { rooms, started_with, watched, doors, surroundings }
    }

    /// Reads what `flags` name again whenever it is `asked` to or a file has changed. For ever; without flags there is
    /// nothing to read again.
    pub(super) async fn run(mut self, flags: Option<Flags>, asked: Arc<Notify>) {
        let Some(flags) = flags else { return std::future::pending().await };
        loop {
            let watch_every = self.rooms.settings.watch_every;
            let change = async {
                match watch_every {
                    Some(every) => self.watched.change(every).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = change => info!("the files of the settings have changed"),
                () = asked.notified() => {
                    info!("asked to read the settings again");
                    self.watched.catch_up().await;
                }
            }
            self.reload(flags.clone()).await;
        }
    }

    async fn reload(&mut self, flags: Flags) {
        match self.next_rooms(flags).await {
            Ok(rooms) => self.move_into(rooms),
            Err(refused) => self.stay(&refused),
        }
    }

    async fn next_rooms(&self, flags: Flags) -> Result<Rooms, Refused> {
        // In place, as settings and the keys that they name are small files.
        let settings = Settings::load(&flags)?;
        Ok(self.rooms.followed_by(settings, &self.surroundings).await?)
    }

    fn move_into(&mut self, rooms: Rooms) {
        let Self { doors, surroundings, .. } = self;
        doors.callers.swap(&rooms.callers_service(surroundings));
        doors.admin_pages.set(rooms.admin_pages());
        doors.verifier.send_replace(rooms.verifier.clone());

        let now = surroundings.clock.now();
        doors.last.set(Outcome::TakenUp(now));
        surroundings.metrics.settings_taken_up(now);
        surroundings.metrics.config_reloads.get_or_create(&ReloadLabels { result: "ok" }).inc();
        self.tell(&rooms.settings);
        self.rooms = rooms;
    }

    fn tell(&self, next: &Settings) {
        let changed = next.written().changes_since(self.rooms.settings.written());
        info!(changed = changed.join(" "), "settings reloaded");
        let differs = next.written().changes_since(&self.started_with);
        let waiting: Vec<String> = differs.into_iter().filter(|key| needs_restart(key)).collect();
        if !waiting.is_empty() {
            warn!(keys = waiting.join(" "), "settings that need a restart are not in effect yet");
        }
        for warning in next.warnings().lines() {
            warn!(warning, "doubtful settings");
        }
    }

    fn stay(&self, refused: &Refused) {
        let problems: Vec<String> = match refused {
            Refused::Settings(problems) => problems.lines().collect(),
            Refused::Rooms(error) => vec![causes(error)],
        };
        let Self { doors, surroundings, .. } = self;
        let now = surroundings.clock.now();
        doors.last.set(Outcome::Refused { at: now, problems: problems.len() });
        surroundings.metrics.config_last_reload_successful.set(0);
        surroundings.metrics.config_reloads.get_or_create(&ReloadLabels { result: "failed" }).inc();
        for problem in problems {
            warn!(problem, "the new settings cannot be used, the old ones stay");
        }
    }
}

/// Whether a change of `key` takes effect only in a new process: it is about sockets, about the log, about the store and
/// what lives by it, or about how Apple knows us.
fn needs_restart(key: &str) -> bool {
    const RELOADED: [&str; 3] =
        ["server.max_body_bytes", "server.body_idle_timeout", "server.trusted_peers"];
    const TEAM_KEY: [&str; 5] = [
        "apple.team_id",
        "apple.key_id",
        "apple.private_key_file",
        "apple.api_url",
        "apple.api_timeout",
    ];
    let section = key.split('.').next().unwrap_or(key);
    match section {
        "tls" | "log" | "store" | "sessions" | "sign_in" | "notifications" | "revocations"
        | "webhooks" => true,
        "server" => !RELOADED.contains(&key),
        "apple" => TEAM_KEY.contains(&key),
        _ => false,
    }
}

/// How the last reload went, for whoever asks. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct LastReload(Arc<Mutex<Outcomes>>);

#[derive(Debug)]
struct Outcomes {
    taken_up: UnixTime,
    refused: Option<(UnixTime, usize)>,
}

#[derive(Clone, Copy)]
enum Outcome {
    TakenUp(UnixTime),
    Refused { at: UnixTime, problems: usize },
}

impl LastReload {
    /// None was needed since the settings of the start, of `now`.
    pub(super) fn started(now: UnixTime) -> Self {
        Self(Arc::new(Mutex::new(Outcomes { taken_up: now, refused: None })))
    }

    fn set(&self, outcome: Outcome) {
        let mut outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::TakenUp(at) => *outcomes = Outcomes { taken_up: at, refused: None },
            Outcome::Refused { at, problems } => outcomes.refused = Some((at, problems)),
        }
    }
}

impl fmt::Display for LastReload {
    /// `of 2026-11-21T09:18:00Z; newer ones were refused at 2026-11-21T09:20:00Z for 2 problems, which the log names`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcomes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "of {}", outcomes.taken_up)?;
        match outcomes.refused {
            None => Ok(()),
            Some((at, 1)) => {
                write!(f, "; newer ones were refused at {at} for a problem, which the log names")
            }
            Some((at, count)) => {
                write!(
                    f,
                    "; newer ones were refused at {at} for {count} problems, which the log names"
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_sockets_the_log_and_the_store_needs_a_restart() {
        for key in ["server.listen", "server.max_connections", "tls.certificate", "log.filter"] {
            assert!(needs_restart(key), "{key}");
        }
        for key in ["store.file", "sessions.key_files", "webhooks.urls", "apple.key_id"] {
            assert!(needs_restart(key), "{key}");
        }
        for key in ["server.trusted_peers", "apple.client_ids", "route[1].path", "upstream.url"] {
            assert!(!needs_restart(key), "{key}");
        }
    }

    #[test]
    fn a_refusal_is_told_until_settings_are_taken_up() {
        let last = LastReload::started(UnixTime::from_secs(0));
        assert_eq!(last.to_string(), "of 1970-01-01T00:00:00Z");
        last.set(Outcome::Refused { at: UnixTime::from_secs(60), problems: 2 });
        let expected = "of 1970-01-01T00:00:00Z; newer ones were refused at 1970-01-01T00:01:00Z for 2 problems, which \
                        the log names";
        assert_eq!(last.to_string(), expected);
        last.set(Outcome::TakenUp(UnixTime::from_secs(120)));
        assert_eq!(last.to_string(), "of 1970-01-01T00:02:00Z");
    }
}
