//! Asking about one user after the other, some at a time, at the pace that Apple allows.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};
use siwa_proxy::{
    apple::{AppleError, AppleFault, MigrationEndpoint, MigrationGrant},
    verify::ClientId,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::{
    Direction,
    journal::{Journal, Outcome},
};

/// Who asks, about which app.
#[derive(Debug)]
pub(super) struct Moving {
    pub(super) endpoint: MigrationEndpoint,
    pub(super) client_id: ClientId,
    pub(super) direction: Direction,
    pub(super) parallel: usize,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Users about whom this run found out.
    pub(super) moved: usize,
    /// Users about whom an earlier one had.
    pub(super) known: usize,
    /// Users about whom Apple does not tell.
    pub(super) refused: usize,
}

/// A user who was asked about, and what came of it.
type Asked = (String, Result<Vec<String>, AppleFault>);

impl Moving {
    /// Asks about all of `users` who are not known yet.
    pub(super) async fn run(
        self,
        users: Vec<String>,
        mut journal: Journal,
    ) -> anyhow::Result<Tally> {
        let mut waiting: VecDeque<String> =
            users.iter().filter(|user| !journal.knows(user)).cloned().collect();
        let mut tally = Tally { known: users.len() - waiting.len(), ..Tally::default() };
        let bar = bar(users.len(), tally.known);
        let mut permission = Permission::new(self.endpoint.clone(), self.client_id.clone());
        let mut pace = Pace::default();
        let mut asking = JoinSet::new();
        while !(waiting.is_empty() && asking.is_empty()) {
            while asking.len() < self.parallel && !pace.is_troubled(asking.len()) {
                let Some(user) = waiting.pop_front() else { break };
                let grant = permission.get(&mut pace).await?;
                asking.spawn(ask(self.endpoint.clone(), grant, self.direction.clone(), user));
            }
            let Some(asked) = asking.join_next().await else { continue };
            let (user, outcome) = asked.context("a request ended before its time")?;
            let Some(outcome) = judge(outcome, &mut permission)? else {
                waiting.push_front(user);
                pace.pause("Apple's answer cannot be had").await?;
                continue;
            };
            pace.went_well();
            tally.count(&outcome);
            bar.inc(1);
            journal.keep(user, outcome)?;
        }
        bar.finish();
        journal.finish(&users)?;
        Ok(tally)
    }
}

async fn ask(
    endpoint: MigrationEndpoint,
    grant: Arc<MigrationGrant>,
    direction: Direction,
    user: String,
) -> Asked {
    let outcome = match &direction {
        Direction::Send { target } => {
            endpoint.send(&grant, &user, target).await.map(|transfer_sub| vec![transfer_sub])
        }
        Direction::Receive => endpoint.receive(&grant, &user).await.map(|found| {
            let is_private = found.is_private_email.map(|it| it.to_string());
            vec![found.sub, found.email.unwrap_or_default(), is_private.unwrap_or_default()]
        }),
    };
    (user, outcome)
}

/// What is to be kept of an answer; nothing if the user is to be asked about again.
fn judge(
    outcome: Result<Vec<String>, AppleFault>,
    permission: &mut Permission,
) -> anyhow::Result<Option<Outcome>> {
    match outcome {
        Ok(found) => Ok(Some(Ok(found))),
        Err(AppleFault::Unavailable(_)) => Ok(None),
        Err(fault) if fault.is_operator_alarm() => Err(fault.into()),
        Err(fault) => {
            // Perhaps it was about the permission, of which the next one will tell.
            if let AppleFault::Refused { error: AppleError::Other(_), .. } = &fault {
                permission.renew();
            }
            Ok(Some(Err(fault.to_string())))
        }
    }
}

impl Tally {
    const fn count(&mut self, outcome: &Outcome) {
        match outcome {
            Ok(_) => self.moved += 1,
            Err(_) => self.refused += 1,
        }
    }
}

/// The permission to ask, renewed before it ends.
struct Permission {
    endpoint: MigrationEndpoint,
    client_id: ClientId,
    current: Option<(Arc<MigrationGrant>, Instant)>,
}

impl Permission {
    /// How long one is used about whose life Apple says nothing.
    const ASSUMED: Duration = Duration::from_mins(10);

    const fn new(endpoint: MigrationEndpoint, client_id: ClientId) -> Self {
        Self { endpoint, client_id, current: None }
    }

    async fn get(&mut self, pace: &mut Pace) -> anyhow::Result<Arc<MigrationGrant>> {
        if let Some((grant, until)) = &self.current
            && Instant::now() < *until
        {
            return Ok(Arc::clone(grant));
        }
        let grant = loop {
            match self.endpoint.authorize(&self.client_id).await {
                Ok(grant) => break Arc::new(grant),
                Err(AppleFault::Unavailable(why)) => pace.pause(&why.to_string()).await?,
                Err(fault) => return Err(fault).context("Apple does not let us ask"),
            }
        };
        pace.went_well();
        let lives_for = grant.expires_in.unwrap_or(Self::ASSUMED);
        self.current = Some((Arc::clone(&grant), Instant::now() + lives_for / 2));
        Ok(grant)
    }

    fn renew(&mut self) {
        self.current = None;
    }
}

/// How fast is asked: as fast as Apple answers, and ever slower while it does not.
#[derive(Debug, Default)]
struct Pace {
    failures: u32,
}

impl Pace {
    const SHORTEST: Duration = Duration::from_millis(500);
    const LONGEST: Duration = Duration::from_mins(1);
    /// Some ten minutes of trying.
    const MOST_FAILURES: u32 = 16;

    const fn went_well(&mut self) {
        self.failures = 0;
    }

    /// Whether one request at a time is enough, as the last one failed.
    const fn is_troubled(&self, asking: usize) -> bool {
        self.failures > 0 && asking > 0
    }

    /// Waits longer each time, and not for ever.
    async fn pause(&mut self, why: &str) -> anyhow::Result<()> {
        self.failures += 1;
        if self.failures > Self::MOST_FAILURES {
            bail!(Unavailable(why.to_owned()));
        }
        let pause = Self::SHORTEST.saturating_mul(1 << (self.failures - 1).min(10));
        // Several who wait must not come back at once.
        let spread = fastrand::f64().mul_add(0.5, 0.75);
        sleep(pause.min(Self::LONGEST).mul_f64(spread)).await;
        Ok(())
    }
}

/// Apple did not answer for too long.
#[derive(Debug, thiserror::Error)]
#[error("{0}, again and again: the same command goes on where this one ends")]
pub(crate) struct Unavailable(String);

/// Drawn on a terminal alone.
fn bar(all: usize, known: usize) -> ProgressBar {
    const SHOWN: &str = "{bar:40} {pos}/{len} users, {per_sec}, {eta} left";

    let number = |it: usize| u64::try_from(it).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(number(all)).with_position(number(known));
    match ProgressStyle::with_template(SHOWN) {
        Ok(style) => bar.with_style(style),
        Err(_invalid) => bar,
    }
}
