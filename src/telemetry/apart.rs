//! Metrics that are moved by every request: each core has its own, and they are summed when somebody reads them.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric, counter},
};

use crate::per_core::PerCore;

/// A counter.
pub type Counter = counter::Counter<u64, Count>;

/// What a [`Counter`] has counted.
#[derive(Debug, Default)]
pub struct Count(PerCore<AtomicU64>);

impl counter::Atomic<u64> for Count {
    fn inc(&self) -> u64 {
        self.inc_by(1)
    }

    /// Only what this core has counted is told, and nobody asks for it.
    fn inc_by(&self, by: u64) -> u64 {
        self.0.mine().fetch_add(by, Relaxed)
    }

    fn get(&self) -> u64 {
        self.0.all().map(|count| count.load(Relaxed)).sum()
    }
}

/// How many there are now. What one core has seen come another may see go.
#[derive(Clone, Debug, Default)]
pub struct Present(Arc<PerCore<AtomicI64>>);

impl Present {
    /// One more.
    pub fn inc(&self) {
        self.0.mine().fetch_add(1, Relaxed);
    }

    /// One less.
    pub fn dec(&self) {
        self.0.mine().fetch_sub(1, Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.all().map(|count| count.load(Relaxed)).sum()
    }
}

impl TypedMetric for Present {
    const TYPE: MetricType = MetricType::Gauge;
}

impl EncodeMetric for Present {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_gauge(&self.get())
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

/// How often what took how long: a histogram in seconds.
#[derive(Clone, Debug)]
pub struct Timing(Arc<Times>);

#[derive(Debug)]
struct Times {
    /// The longest time of each bucket, in seconds; the last has none.
    bounds: Vec<f64>,
    observed: PerCore<Observed>,
}

#[derive(Debug, Default)]
struct Observed {
    buckets: [AtomicU64; Timing::MOST_BUCKETS],
    nanoseconds: AtomicU64,
}

impl Timing {
    const MOST_BUCKETS: usize = 16;

    /// With `bounds`, which ascend; of more than fifteen the rest is left out.
    pub(super) fn new(bounds: impl Iterator<Item = f64>) -> Self {
        let bounds = bounds.take(Self::MOST_BUCKETS - 1).collect();
        Self(Arc::new(Times { bounds, observed: PerCore::default() }))
    }

    /// Notes that something took `time`.
    pub fn observe(&self, time: Duration) {
        let Times { bounds, observed } = &*self.0;
        let seconds = time.as_secs_f64();
        let bucket = bounds.iter().take_while(|bound| seconds > **bound).count();
        let mine = observed.mine();
        mine.buckets[bucket].fetch_add(1, Relaxed);
        mine.nanoseconds.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    fn buckets(&self) -> Vec<(f64, u64)> {
        let observed =
            |at: usize| self.0.observed.all().map(move |mine| mine.buckets[at].load(Relaxed)).sum();
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        bounds.enumerate().map(|(at, bound)| (bound, observed(at))).collect()
    }
}

impl TypedMetric for Timing {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Timing {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let nanoseconds = self.0.observed.all().map(|mine| mine.nanoseconds.load(Relaxed));
        let sum = nanoseconds.map(Duration::from_nanos).sum::<Duration>().as_secs_f64();
        let buckets = self.buckets();
        let count = buckets.iter().map(|(_, count)| count).sum();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use prometheus_client::{encoding::text, registry::Registry};

    use super::*;

    /// Runs `what` on several threads, and renders `metric` then.
    fn page(
        metric: impl EncodeMetric + TypedMetric + fmt::Debug + Send + Sync + 'static + Clone,
        what: impl Fn() + Sync,
    ) -> String {
        thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(&what))));
        let (mut registry, mut page) = (Registry::default(), String::new());
        registry.register("it", "What it is", metric);
        text::encode(&mut page, &registry).unwrap();
        page
    }

    #[test]
    fn what_was_counted_on_several_threads_is_rendered_as_one_number() {
        let counter = Counter::default();
        let rendered = page(counter.clone(), || assert!(counter.inc_by(3) < 24));
        assert!(rendered.contains("\nit_total 24\n"), "{rendered}");
        assert_eq!(counter.get(), 24);

        let present = Present::default();
        present.inc();
        let rendered = page(present.clone(), || present.inc());
        assert!(rendered.contains("# TYPE it gauge\nit 9\n"), "{rendered}");
        thread::scope(|scope| drop(scope.spawn(|| (0..9).for_each(|_| present.dec()))));
        assert_eq!(present.get(), 0);
    }

    #[test]
    fn a_time_is_in_the_first_bucket_that_it_is_not_too_long_for() {
        let timing = Timing::new([0.1, 0.5].into_iter());
        let rendered = page(timing.clone(), || {
            for milliseconds in [0, 100, 101, 500, 501] {
                timing.observe(Duration::from_millis(milliseconds));
            }
        });
        for line in [
            "it_sum 9.616",
            "it_count 40",
            r#"it_bucket{le="0.1"} 16"#,
            r#"it_bucket{le="0.5"} 32"#,
            r#"it_bucket{le="+Inf"} 40"#,
        ] {
            assert!(rendered.lines().any(|it| it == line), "{line} in {rendered}");
        }
    }
}
