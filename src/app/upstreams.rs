//! The clients of the applications, and which of them stay.

use super::surroundings::Surroundings;
use crate::{
    config::{Settings, UpstreamEntry},
    upstream::{TlsError, Upstream},
};

/// The clients of all applications. Where an application is spoken to as by the `earlier` settings, its connections stay: by
/// the same values, and with the same in the files that they name.
pub(super) fn build_upstreams(
    settings: &Settings,
    earlier: Option<(&Settings, &[Upstream])>,
    surroundings: &Surroundings,
) -> Result<Vec<Upstream>, TlsError> {
    let Surroundings { tasks, streams, metrics, .. } = surroundings;
    let changes = earlier
        .map_or_else(Vec::new, |(earlier, _)| settings.written().changes_since(earlier.written()));
    let kept = |entry: &UpstreamEntry| {
        let (earlier, upstreams) = earlier?;
        if changes.iter().any(|key| names_file_of(&entry.section, key)) {
            return None;
        }
        let same = earlier.upstreams.iter().position(|it| it.settings == entry.settings)?;
        upstreams.get(same).cloned()
    };
    let new = |entry: &UpstreamEntry| {
        Upstream::new(entry.settings.clone(), tasks.clone(), streams.clone(), metrics.clone())
    };
    let entries = settings.upstreams.iter();
    entries.map(|entry| kept(entry).map_or_else(|| new(entry), Ok)).collect()
}

fn names_file_of(section: &str, key: &str) -> bool {
    let key = key.strip_prefix(section).and_then(|key| key.strip_prefix('.'));
    key.is_some_and(|key| key.ends_with("_file"))
}
