//! The last good set on disk: what a restart during an outage of Apple's serves from.
//!
//! The file is two lines of text and then the set, byte for byte as it was fetched:
//!
//! ```text
//! siwa-proxy key set 2
//! {"blake3":"…","issuer":"https://appleid.apple.com","place":"…","fetched_at":1800000000}
//! {"keys":[…]}
//! ```
//!
//! The digest tells a whole file from a damaged one. It is no signature: who can write the file can write a digest, so
//! the file is ours alone (0600), and one that others could have written is not believed.

use std::{
    ffi::OsString,
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::{
    fs,
    io::{AsyncReadExt, AsyncWriteExt},
    time::Instant,
};
use tracing::warn;

use super::{super::error::FetchFault, Issuer, JwkSet};
use crate::{
    clock::{Clock, UnixTime},
    telemetry::{JwksFileLabels, Metrics},
};

/// The file of one source.
#[derive(Clone, Debug)]
pub(super) struct SetFile {
    path: PathBuf,
    issuer: Issuer,
    /// Of the place that the set comes from, which may have a secret in its address.
    place_digest: String,
}

/// A set that an earlier process fetched.
#[derive(Debug)]
pub(super) struct Restored {
    pub(super) set: JwkSet,
    pub(super) fetched_at: UnixTime,
    /// By the wall clock, the one thing that both processes share. If it was set back in between, the set seems younger
    /// than it is, by as much.
    pub(super) age: Duration,
    /// When it was of that age: reading it takes time, which must not lengthen its life.
    pub(super) aged_at: Instant,
}

impl Restored {
    /// When it is too old, if sets are believed for `longest`.
    pub(super) fn end(&self, longest: Duration) -> Option<Instant> {
        self.aged_at.checked_add(longest.saturating_sub(self.age))
    }
}

/// One moment, by the wall clock and by the one that is never set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    wall: UnixTime,
    steady: Instant,
}

impl Moment {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), steady: Instant::now() }
    }
}

/// A set that was just fetched.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    pub(super) text: Bytes,
    pub(super) fetched_at: UnixTime,
    /// How often the keys have changed so far.
    pub(super) generation: u64,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
enum FileFault {
    #[error("it cannot be read")]
    Unreadable(#[source] io::Error),
    #[error("others on this machine can write it")]
    WritableByAll,
    #[error("it belongs to another user of this machine, number {owner}")]
    Owner { owner: u32 },
    #[error("it is longer than any key set")]
    Oversized,
    #[error("it is not a key set file of this version")]
    Format,
    #[error("it is damaged: its digest is another")]
    Digest,
    #[error("it holds the keys of another issuer")]
    Issuer,
    #[error("its keys were published elsewhere than where they come from now")]
    Place,
    #[error("it is from the future, {fetched_at}")]
    Future { fetched_at: UnixTime },
    #[error("it is older than keys are kept, from {fetched_at}")]
    TooOld { fetched_at: UnixTime },
    #[error("its key set cannot be used")]
    KeySet(#[source] FetchFault),
}

impl FileFault {
    const fn code(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => "unreadable",
            Self::WritableByAll => "writable_by_all",
            Self::Owner { .. } => "owner",
            Self::Oversized => "oversized",
            Self::Format => "format",
            Self::Digest => "digest",
            Self::Issuer => "issuer",
            Self::Place => "place",
            Self::Future { .. } => "future",
            Self::TooOld { .. } => "too_old",
            Self::KeySet(_) => "key_set",
        }
    }
}

const FIRST_LINE: &[u8] = b"siwa-proxy key set 2\n";

/// The second line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Label {
    blake3: String,
    issuer: String,
    place: String,
    fetched_at: u64,
}

impl SetFile {
    /// A set and its two lines.
    const LONGEST: usize = JwkSet::MAX_BYTES.saturating_add(4096);
    /// A file may be so much ahead of the clock: the usual correction of a clock after a restart.
    const CLOCK_STEP: Duration = Duration::from_mins(1);

    /// The file at `path` for the keys of `issuer` that `place` publishes.
    pub(super) fn new(path: PathBuf, issuer: Issuer, place: &str) -> Self {
        Self { path, issuer, place_digest: blake3::hash(place.as_bytes()).to_hex().to_string() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The set in the file, if it can be used now: it is no older than `longest`. A file that cannot be used is ignored
    /// with a warning; that there is none is how every first start goes.
    pub(super) async fn load(
        &self,
        now: Moment,
        longest: Duration,
        metrics: &Metrics,
    ) -> Option<Restored> {
        let loaded = match self.read().await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                count(metrics, "load", "absent");
                return None;
            }
            Err(error) => Err(FileFault::Unreadable(error)),
            Ok(Err(fault)) => Err(fault),
            Ok(Ok(text)) => self.parse(&text, now, longest),
        };
        match loaded {
            Ok(restored) => {
                count(metrics, "load", "ok");
                Some(restored)
            }
            Err(fault) => {
                count(metrics, "load", fault.code());
                let cause: &dyn std::error::Error = &fault;
                let source = cause.source().map(ToString::to_string);
                let (path, code) = (self.path.display(), fault.code());
                warn!(%path, code, %fault, source, "the key set on disk is ignored");
                None
            }
        }
    }

    async fn read(&self) -> io::Result<Result<Vec<u8>, FileFault>> {
        let file = fs::File::open(&self.path).await?;
        let metadata = file.metadata().await?;
        if let Err(fault) = check_trusted(metadata.uid(), metadata.mode()) {
            return Ok(Err(fault));
        }
        let mut text = Vec::new();
        // One byte past the limit is enough to see that it is passed.
        let limit = u64::try_from(Self::LONGEST).unwrap_or(u64::MAX).saturating_add(1);
        file.take(limit).read_to_end(&mut text).await?;
        Ok(if text.len() > Self::LONGEST { Err(FileFault::Oversized) } else { Ok(text) })
    }

    fn parse(&self, text: &[u8], now: Moment, longest: Duration) -> Result<Restored, FileFault> {
        let labelled = text.strip_prefix(FIRST_LINE).ok_or(FileFault::Format)?;
        let end = labelled.iter().position(|byte| *byte == b'\n').ok_or(FileFault::Format)?;
        let (line, rest) = labelled.split_at_checked(end).ok_or(FileFault::Format)?;
        let label: Label = serde_json::from_slice(line).ok().ok_or(FileFault::Format)?;
        let set = rest.strip_prefix(b"\n").ok_or(FileFault::Format)?;

        // Damage first, so that nothing else is said about a damaged file.
        if digest(&label.issuer, &label.place, label.fetched_at, set) != label.blake3 {
            return Err(FileFault::Digest);
        }
        if label.issuer != self.issuer.as_str() {
            return Err(FileFault::Issuer);
        }
        if label.place != self.place_digest {
            return Err(FileFault::Place);
        }
        let fetched_at = UnixTime::from_secs(label.fetched_at);
        if fetched_at > now.wall.saturating_add(Self::CLOCK_STEP) {
            return Err(FileFault::Future { fetched_at });
        }
        let age = now.wall.saturating_since(fetched_at);
        if age >= longest {
            return Err(FileFault::TooOld { fetched_at });
        }
        let set = JwkSet::parse(set, &self.issuer).map_err(FileFault::KeySet)?;
        Ok(Restored { set, fetched_at, age, aged_at: now.steady })
    }

    fn render(&self, snapshot: &Snapshot) -> Result<Vec<u8>, serde_json::Error> {
        let (issuer, fetched_at) = (self.issuer.as_str(), snapshot.fetched_at.as_secs());
        let place = self.place_digest.clone();
        let blake3 = digest(issuer, &place, fetched_at, &snapshot.text);
        let label = Label { blake3, issuer: issuer.to_owned(), place, fetched_at };
        let label = serde_json::to_vec(&label)?;
        Ok([FIRST_LINE, &label, b"\n", &snapshot.text].concat())
    }

    /// Writes beside the file and then renames, so that a reader finds the old set or the new one and nothing between.
    pub(super) async fn store(&self, snapshot: &Snapshot) -> io::Result<()> {
        let text = self.render(snapshot)?;
        let beside = beside(&self.path);
        // What a process of the same number left when it was killed.
        drop(fs::remove_file(&beside).await);
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside).await?;
        file.write_all(&text).await?;
        file.sync_all().await?;
        drop(file);
        fs::rename(&beside, &self.path).await
    }

    /// Removes the file if it lists a key that `snapshot` does not: a set that could not be replaced must not bring a
    /// withdrawn key back after a restart. A file that would not be believed anyway stays, as it may be somebody's.
    pub(super) async fn remove_if_outdated_by(&self, snapshot: &Snapshot) -> io::Result<()> {
        // Whatever the clock will say then, so that no file is from its future.
        let some_day = Moment { wall: UnixTime::from_secs(u64::MAX), steady: Instant::now() };
        let text = match self.read().await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
            Ok(Err(_not_believed)) => return Ok(()),
            Ok(Ok(text)) => text,
        };
        let written = self.parse(&text, some_day, Duration::MAX);
        let fetched = JwkSet::parse(&snapshot.text, &self.issuer);
        match (written, fetched) {
            (Ok(old), Ok(new)) if !new.holds_all_of(&old.set) => fs::remove_file(&self.path).await,
            _ => Ok(()),
        }
    }
}

/// Whoever can write the file can add a key: that must be us, or root, and nobody else.
fn check_trusted(owner: u32, mode: u32) -> Result<(), FileFault> {
    if mode & 0o022 != 0 {
        return Err(FileFault::WritableByAll);
    }
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(FileFault::Owner { owner });
    }
    Ok(())
}

/// In the same directory, since a rename does not cross file systems; of this process, since replicas may share it.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    path.with_file_name(name)
}

/// Over everything that is believed; the lengths keep the parts apart.
fn digest(issuer: &str, place: &str, fetched_at: u64, set: &[u8]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(FIRST_LINE);
    for part in [issuer, place] {
        let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
        hasher.update(&length.to_le_bytes()).update(part.as_bytes());
    }
    hasher.update(&fetched_at.to_le_bytes()).update(set);
    hasher.finalize().to_hex().to_string()
}

pub(super) fn count(metrics: &Metrics, operation: &'static str, result: &'static str) {
    metrics.jwks_file.get_or_create(&JwksFileLabels { operation, result }).inc();
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
    const DAY: Duration = Duration::from_hours(24);

    fn text() -> Bytes {
        let path = "tests/fixtures/jwks/2026-06-30-three-keys.json";
        std::fs::read(path).unwrap().into()
    }

    fn file_in(directory: &tempfile::TempDir) -> SetFile {
        SetFile::new(directory.path().join("keys"), Issuer::apple(), "https://here.example/keys")
    }

    fn snapshot() -> Snapshot {
        Snapshot { text: text(), fetched_at: NOW, generation: 1 }
    }

    fn at(wall: UnixTime) -> Moment {
        Moment { wall, steady: Instant::now() }
    }

    /// What loading said, by the metrics.
    async fn load(file: &SetFile, now: UnixTime) -> (Option<Restored>, String) {
        let metrics = Metrics::new();
        let restored = file.load(at(now), DAY, &metrics).await;
        let page = metrics.render(now).unwrap();
        let result = page
            .lines()
            .find_map(|line| line.strip_prefix(r#"siwa_jwks_file_total{operation="load",result=""#))
            .unwrap();
        (restored, result.split('"').next().unwrap().to_owned())
    }

    async fn code(file: &SetFile, now: UnixTime) -> String {
        load(file, now).await.1
    }

    #[tokio::test]
    async fn what_is_written_is_read_again_with_its_age() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        assert_eq!(code(&file, NOW).await, "absent");
        file.store(&snapshot()).await.unwrap();
        file.store(&snapshot()).await.unwrap();
        let (restored, result) = load(&file, NOW.saturating_add(DAY / 2)).await;
        assert_eq!(result, "ok");
        let restored = restored.unwrap();
        assert_eq!((restored.set.len(), restored.age), (3, DAY / 2));
        assert_eq!(restored.fetched_at, NOW);

        let names: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "nothing is left beside it: {names:?}");
        let mode = std::fs::metadata(&file.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_file_that_is_too_old_or_from_the_future_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        file.store(&snapshot()).await.unwrap();
        let later = |seconds: i64| UnixTime::from_secs(NOW.as_secs().strict_add_signed(seconds));
        assert_eq!(code(&file, later(24 * 3600 - 1)).await, "ok");
        assert_eq!(code(&file, later(24 * 3600)).await, "too_old");
        assert_eq!(code(&file, later(-60)).await, "ok", "clocks are corrected");
        assert_eq!(code(&file, later(-61)).await, "future");
    }

    #[tokio::test]
    async fn keys_of_a_place_that_was_left_are_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        file.store(&snapshot()).await.unwrap();
        let elsewhere = "https://elsewhere.example/keys";
        let moved = SetFile::new(file.path().to_owned(), Issuer::apple(), elsewhere);
        assert_eq!(code(&moved, NOW).await, "place");
        assert_eq!(code(&file, NOW).await, "ok");
    }

    #[tokio::test]
    async fn a_file_of_another_issuer_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        let other = SetFile { issuer: Issuer::new("https://other.example"), ..file.clone() };
        other.store(&snapshot()).await.unwrap();
        assert_eq!(code(&file, NOW).await, "issuer");
    }

    #[tokio::test]
    async fn a_file_with_any_byte_changed_or_cut_off_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        let whole = file.render(&snapshot()).unwrap();
        for place in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[place] ^= 1;
            assert!(file.parse(&damaged, at(NOW), DAY).is_err(), "byte {place}");
            assert!(file.parse(&whole[..place], at(NOW), DAY).is_err(), "cut at {place}");
        }
        assert!(file.parse(&whole, at(NOW), DAY).is_ok());
    }

    #[tokio::test]
    async fn a_file_that_everybody_can_write_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        file.store(&snapshot()).await.unwrap();
        std::fs::set_permissions(&file.path, std::fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(code(&file, NOW).await, "writable_by_all");
    }

    #[test]
    fn a_file_of_another_user_is_ignored_unless_that_is_root() {
        let us = rustix::process::geteuid().as_raw();
        for owner in [0, us] {
            assert!(check_trusted(owner, 0o100_600).is_ok());
        }
        let stranger = us + 1;
        assert_eq!(check_trusted(stranger, 0o100_600).unwrap_err().code(), "owner");
        assert_eq!(check_trusted(us, 0o100_620).unwrap_err().code(), "writable_by_all");
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_that_reading_takes_does_not_lengthen_a_sets_life() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        file.store(&snapshot()).await.unwrap();
        let asked_at = at(NOW.saturating_add(DAY / 2));
        tokio::time::advance(Duration::from_secs(2)).await;
        let restored = file.load(asked_at, DAY, &Metrics::new()).await.unwrap();
        assert_eq!(restored.end(DAY), asked_at.steady.checked_add(DAY / 2));
    }

    #[tokio::test]
    async fn a_file_is_removed_if_it_lists_a_key_that_is_listed_no_more() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        file.remove_if_outdated_by(&snapshot()).await.unwrap();
        file.store(&snapshot()).await.unwrap();

        let more = snapshot();
        file.remove_if_outdated_by(&more).await.unwrap();
        assert!(file.path.exists(), "the same keys");
        let mut fewer: serde_json::Value = serde_json::from_slice(&text()).unwrap();
        fewer["keys"].as_array_mut().unwrap().pop();
        let fewer = Snapshot { text: fewer.to_string().into(), ..snapshot() };
        file.remove_if_outdated_by(&fewer).await.unwrap();
        assert!(!file.path.exists());

        file.store(&fewer).await.unwrap();
        file.remove_if_outdated_by(&more).await.unwrap();
        assert!(file.path.exists(), "fewer keys bring back none");

        std::fs::write(&file.path, "somebody's").unwrap();
        file.remove_if_outdated_by(&more).await.unwrap();
        assert!(file.path.exists(), "it is no key set");
    }

    #[tokio::test]
    async fn a_file_that_is_no_key_set_is_ignored() {
        let directory = tempfile::tempdir().unwrap();
        let file = file_in(&directory);
        std::fs::write(&file.path, "something else").unwrap();
        assert_eq!(code(&file, NOW).await, "format");
        std::fs::write(&file.path, vec![b' '; SetFile::LONGEST + 1]).unwrap();
        assert_eq!(code(&file, NOW).await, "oversized");
        let empty = Snapshot { text: Bytes::from_static(b"{\"keys\":[]}"), ..snapshot() };
        file.store(&empty).await.unwrap();
        assert_eq!(code(&file, NOW).await, "key_set");
        let directory = SetFile { path: directory.path().to_owned(), ..file };
        assert_eq!(code(&directory, NOW).await, "unreadable");
    }
}
