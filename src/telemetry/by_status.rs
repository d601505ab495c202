//! A time for each class of status, found by its place and not by its name: it is asked for twice in each request.

use std::{sync::OnceLock, time::Duration};

use http::StatusCode;
use prometheus_client::metrics::family::Family;

use super::{StatusLabels, Timing};

/// A time for each class of status.
#[derive(Debug)]
pub struct ByStatus {
    family: Family<StatusLabels, Timing, fn() -> Timing>,
    /// 100 to 199 and so on; what is no class is the last.
    classes: [OnceLock<Timing>; 6],
}

impl ByStatus {
    pub(super) fn of(family: Family<StatusLabels, Timing, fn() -> Timing>) -> Self {
        Self { family, classes: Default::default() }
    }

    /// Notes that what ended with `status` took `time`.
    pub fn observe(&self, status: StatusCode, time: Duration) {
        let place = usize::from(status.as_u16() / 100).checked_sub(1);
        let [.., other] = &self.classes;
        let class = place.and_then(|place| self.classes.get(place)).unwrap_or(other);
        let of_family = || self.family.get_or_create_owned(&StatusLabels::of(status));
        class.get_or_init(of_family).observe(time);
    }
}
