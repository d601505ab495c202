//! Whether the files of the settings have changed: by what is in them, looked at from time to time.
//!
//! Looking, and not being told: Kubernetes swaps a symlink (`..data`) far from the file, editors put a new file in the old
//! one's place, and what watches the file itself notices neither.

use std::{path::PathBuf, time::Duration};

use tokio::{fs, time::sleep};

/// How long contents must have been the same before they are believed to be whole: not everybody writes files at once.
const SETTLED_AFTER: Duration = Duration::from_millis(200);

/// Files, and what was in them when they were last read.
#[derive(Debug)]
pub(super) struct Watched {
    files: Vec<PathBuf>,
    seen: Contents,
}

/// What is in each file; none for one that cannot be read.
type Contents = Vec<Option<blake3::Hash>>;

impl Watched {
    /// Watches files that held what they are listed with.
    pub(super) fn new(read: &[(PathBuf, blake3::Hash)]) -> Self {
        let (files, seen) = read.iter().map(|(file, hash)| (file.clone(), Some(*hash))).unzip();
        Self { files, seen }
    }

    /// Looks `every` so often, and resolves when there is something new to read, and it stays as it is.
    pub(super) async fn change(&mut self, every: Duration) {
        loop {
            sleep(every).await;
            let mut found = self.contents().await;
            if found == self.seen {
                continue;
            }
            while found != self.settle().await {
                found = self.contents().await;
            }
            self.seen = found;
            return;
        }
    }

    /// Takes what is there now for seen: it is about to be read.
    pub(super) async fn catch_up(&mut self) {
        self.seen = self.contents().await;
    }

    async fn settle(&self) -> Contents {
        sleep(SETTLED_AFTER).await;
        self.contents().await
    }

    async fn contents(&self) -> Contents {
        let mut contents = Contents::with_capacity(self.files.len());
        for file in &self.files {
            contents.push(fs::read(file).await.ok().map(|text| blake3::hash(&text)));
        }
        contents
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use tokio::time::timeout;

    use super::*;

    const OFTEN: Duration = Duration::from_millis(5);
    const PATIENCE: Duration = Duration::from_secs(20);

    fn watched(file: &Path) -> Watched {
        Watched::new(&[(file.to_owned(), blake3::hash(&fs::read(file).unwrap()))])
    }

    async fn notices(watched: &mut Watched) {
        timeout(PATIENCE, watched.change(OFTEN)).await.expect("the change is noticed");
    }

    #[tokio::test]
    async fn a_symlink_that_is_swapped_as_kubernetes_does_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..v1", "one"), ("..v2", "two")] {
            fs::create_dir(at(version)).unwrap();
            fs::write(at(version).join("siwa.toml"), text).unwrap();
        }
        symlink("..v1", at("..data")).unwrap();
        symlink("..data/siwa.toml", at("siwa.toml")).unwrap();
        let mut watched = watched(&at("siwa.toml"));

        symlink("..v2", at("..data_tmp")).unwrap();
        fs::rename(at("..data_tmp"), at("..data")).unwrap();
        notices(&mut watched).await;
        assert_eq!(watched.seen, [Some(blake3::hash(b"two"))]);
    }

    #[tokio::test]
    async fn a_file_that_is_written_again_with_the_same_content_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("siwa.toml");
        fs::write(&file, "one").unwrap();
        let mut watched = watched(&file);
        fs::write(&file, "one").unwrap();
        let looks = OFTEN * 20;
        assert!(timeout(looks, watched.change(OFTEN)).await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_goes_and_one_that_comes_back_are_changes() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("siwa.toml");
        fs::write(&file, "one").unwrap();
        let mut watched = watched(&file);
        fs::remove_file(&file).unwrap();
        notices(&mut watched).await;
        fs::write(&file, "one").unwrap();
        notices(&mut watched).await;
        assert_eq!(watched.seen, [Some(blake3::hash(b"one"))]);
    }

    #[tokio::test]
    async fn what_was_caught_up_with_is_no_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("siwa.toml");
        fs::write(&file, "one").unwrap();
        let mut watched = watched(&file);
        fs::write(&file, "two").unwrap();
        watched.catch_up().await;
        assert!(timeout(OFTEN * 20, watched.change(OFTEN)).await.is_err());
    }
}
