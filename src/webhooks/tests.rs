//! The queue, by a clock that tests move.

use std::sync::Mutex;

use super::{
    post::{PostFault, Posted},
    *,
};
use crate::{
    apple::{AccountEvent, EventKind, Notification},
    clock::{ManualClock, UnixTime},
    store::MemoryStore,
    verify::{ClientId, fixtures::identity_with},
};

/// A receiver that does what it is told, and remembers what it took.
#[derive(Debug, Default)]
struct Receiver {
    dead: Mutex<bool>,
    refused: Mutex<Vec<String>>,
    taken: Mutex<Vec<(String, String)>>,
    attempts: Mutex<u32>,
}

impl Receiver {
    fn set_dead(&self, dead: bool) {
        *self.dead.lock().unwrap() = dead;
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    fn answer(&self, delivery: &Delivery) -> Result<(), PostFault> {
        *self.attempts.lock().unwrap() += 1;
        if *self.dead.lock().unwrap() {
            return Err(PostFault::Unreachable("nobody is there".into()));
        }
        if self.refused.lock().unwrap().contains(&delivery.id) {
            return Err(PostFault::Refused(500));
        }
        self.taken.lock().unwrap().push((delivery.id.clone(), delivery.body.clone()));
        Ok(())
    }
}

impl Post for Receiver {
    fn post<'a>(&'a self, _: &'a Target, delivery: &'a Delivery, _: UnixTime) -> Posted<'a> {
        Box::pin(std::future::ready(self.answer(delivery)))
    }
}

struct Scene {
    clock: ManualClock,
    store: Arc<dyn Store>,
    receiver: Arc<Receiver>,
}

impl Scene {
    fn new() -> Self {
        let clock = ManualClock::at(UnixTime::from_secs(1_700_000_000));
        let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
        Self { clock, store, receiver: Arc::default() }
    }

    fn webhooks(&self) -> Webhooks {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let target = Target { url: "http://127.0.0.1:9/hook".parse().unwrap(), secret };
        let settings = WebhookSettings {
            targets: vec![target],
            keep: Duration::from_hours(72),
            timeout: Duration::from_secs(5),
        };
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        Webhooks::new(settings, Arc::clone(&self.store), clock, Metrics::new())
    }

    async fn enqueue(&self, webhooks: &Webhooks, id: &str) {
        let now = self.clock.now();
        let notification = Notification::fixture(
            id,
            ClientId::new("com.example.app").unwrap(),
            AccountEvent::Known {
                kind: EventKind::ConsentRevoked,
                subject: "001999.secret".parse().unwrap(),
                at: now,
                relay: None,
            },
        );
        let event = Event::of_notification(&notification).unwrap();
        let _done = self.store.apply(webhooks.deliveries_of(&event)).await.unwrap();
        webhooks.wake();
    }

    /// Somebody signs in with the token `token`.
    async fn sign_in(&self, webhooks: &Webhooks, token: &str) -> Result<(), StoreError> {
        let identity = identity_with(serde_json::json!({ "sub": "001999.secret" }));
        let now = self.clock.now();
        let event = Event::of_sign_in(token, &identity, None::<&String>, now);
        webhooks.queue_sign_in(&event).await
    }

    /// Lets `time` pass, for both kinds of clock, while the workers of `webhooks` work.
    async fn live(&self, webhooks: &Webhooks, time: Duration) {
        let post: Arc<dyn Post> = Arc::clone(&self.receiver) as Arc<dyn Post>;
        let worker = webhooks.workers_by(&post).remove(0);
        let step = Duration::from_secs(1);
        let passing = async {
            for _ in 0..time.as_secs() {
                tokio::time::sleep(step).await;
                self.clock.advance(step);
            }
        };
        tokio::select! {
            () = worker => {}
            () = passing => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_event_is_delivered_once_and_leaves_the_queue() {
    let scene = Scene::new();
    let webhooks = scene.webhooks();
    scene.enqueue(&webhooks, "one").await;
    scene.live(&webhooks, Duration::from_mins(5)).await;
    let taken = scene.receiver.taken.lock().unwrap().clone();
    assert_eq!(taken.len(), 1);
    let body: serde_json::Value = serde_json::from_str(&taken[0].1).unwrap();
    assert_eq!(body["type"], "consent-revoked");
    assert_eq!(body["timestamp"], "2023-11-14T22:13:20Z");
    assert_eq!(body["data"]["sub"], "001999.secret");
    assert_eq!(scene.store.list(Space::Deliveries).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_day_of_a_dead_target_and_a_restart_lose_nothing() {
    let scene = Scene::new();
    scene.receiver.set_dead(true);
    let before = scene.webhooks();
    for id in ["one", "two", "three"] {
        scene.enqueue(&before, id).await;
    }
    scene.live(&before, Duration::from_hours(24)).await;
    let attempts = *scene.receiver.attempts.lock().unwrap();
    assert!((100..1000).contains(&attempts), "{attempts} attempts in a day");

    // Another process finds the queue in the store.
    scene.receiver.set_dead(false);
    scene.live(&scene.webhooks(), Duration::from_mins(11)).await;
    let mut taken = scene.receiver.taken();
    taken.sort();
    assert_eq!(taken, ["one", "three", "two"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_refused_does_not_hold_up_the_others() {
    let scene = Scene::new();
    scene.receiver.refused.lock().unwrap().push("poison".to_owned());
    let webhooks = scene.webhooks();
    scene.enqueue(&webhooks, "poison").await;
    scene.enqueue(&webhooks, "good").await;
    scene.live(&webhooks, Duration::from_mins(1)).await;
    assert_eq!(scene.receiver.taken(), ["good"]);
    scene.receiver.refused.lock().unwrap().clear();
    scene.live(&webhooks, Duration::from_mins(11)).await;
    assert_eq!(scene.receiver.taken(), ["good", "poison"]);
}

#[tokio::test(start_paused = true)]
async fn an_event_is_given_up_when_its_time_is_over() {
    let scene = Scene::new();
    scene.receiver.set_dead(true);
    let webhooks = scene.webhooks();
    scene.enqueue(&webhooks, "late").await;
    scene.live(&webhooks, Duration::from_mins(1)).await;
    scene.clock.advance(Duration::from_hours(72));
    scene.live(&webhooks, Duration::from_mins(11)).await;
    assert_eq!(scene.store.list(Space::Deliveries).await.unwrap(), []);
    let labels = crate::telemetry::DeliveryLabels { result: "given_up" };
    assert_eq!(webhooks.0.metrics.webhook_deliveries.get_or_create(&labels).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn two_replicas_that_share_a_store_deliver_an_event_once() {
    let scene = Scene::new();
    let (one, other) = (scene.webhooks(), scene.webhooks());
    for n in 0..20 {
        scene.enqueue(&one, &format!("event-{n}")).await;
    }
    let minute = Duration::from_mins(1);
    tokio::join!(scene.live(&one, minute), scene.live(&other, minute));
    assert_eq!(scene.receiver.taken().len(), 20);
}

#[tokio::test(start_paused = true)]
async fn one_token_waits_once_however_often_it_signs_in() {
    let scene = Scene::new();
    let webhooks = scene.webhooks();
    for token in ["one", "one", "other", "one"] {
        scene.sign_in(&webhooks, token).await.unwrap();
        scene.clock.advance(Duration::from_secs(1));
    }
    assert_eq!(scene.store.list(Space::Deliveries).await.unwrap().len(), 2);
    scene.live(&webhooks, Duration::from_mins(1)).await;
    assert_eq!(scene.receiver.taken().len(), 2);
    assert_eq!(scene.store.list(Space::Deliveries).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn what_apple_tells_does_not_wait_behind_sign_ins() {
    let scene = Scene::new();
    let webhooks = scene.webhooks();
    for n in 0..3 {
        scene.sign_in(&webhooks, &format!("token-{n}")).await.unwrap();
    }
    scene.clock.advance(Duration::from_secs(1));
    scene.enqueue(&webhooks, "urgent").await;
    scene.live(&webhooks, Duration::from_mins(1)).await;
    let taken = scene.receiver.taken();
    assert_eq!((taken.len(), taken[0].as_str()), (4, "urgent"));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_takes_no_sign_in_until_it_was_delivered_and_apples_events_all_the_same() {
    let scene = Scene::new();
    let webhooks = scene.webhooks();
    scene.sign_in(&webhooks, "first").await.unwrap();
    webhooks.0.sign_ins.store(Webhooks::MOST_SIGN_INS, Ordering::Relaxed);
    let refused = scene.sign_in(&webhooks, "second").await;
    assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
    scene.enqueue(&webhooks, "urgent").await;
    scene.live(&webhooks, Duration::from_mins(1)).await;
    assert_eq!(scene.receiver.taken().len(), 2);
    scene.sign_in(&webhooks, "second").await.unwrap();
}
