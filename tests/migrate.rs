//! `siwa-proxy migrate`: users move along when an app moves, whatever comes between.

use std::{collections::HashSet, fs, path::PathBuf, process::Child, sync::Arc, time::Duration};

use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, faults::Fault, teams::TeamKeyFile},
};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::{PATIENCE, program::command};

const APP: &str = "com.example.app";
const GIVES: &str = "DEF123GHIJ";
const TAKES: &str = "ZZZ123GHIJ";

/// Two teams, and a folder for their files.
struct Scene {
    apple: Apple,
    folder: TempDir,
    gives: TeamKeyFile,
    takes: TeamKeyFile,
}

impl Scene {
    async fn new() -> Self {
        let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
        let (gives, takes) = (apple.issue_team_key(GIVES, &[]), apple.issue_team_key(TAKES, &[]));
        let folder = tempfile::tempdir().unwrap();
        Self { apple, folder, gives, takes }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, lines: impl IntoIterator<Item = String>) {
        fs::write(self.path(name), lines.into_iter().collect::<Vec<_>>().join("\n")).unwrap();
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    fn start(&self, key: &TeamKeyFile, direction: &[&str], input: &str, output: &str) -> Child {
        let file = self.path(&format!("AuthKey_{}.p8", key.key_id));
        fs::write(&file, &key.text).unwrap();
        command()
            .arg("migrate")
            .args(direction)
            .arg("--input")
            .arg(self.path(input))
            .arg("--output")
            .arg(self.path(output))
            .args(["--client-id", APP, "--team-id", &key.team_id, "--key-id", &key.key_id])
            .arg("--private-key-file")
            .arg(file)
            .args(["--api-url", &self.apple.url()])
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn start_sending(&self, input: &str, output: &str) -> Child {
        self.start(&self.gives, &["send", "--target", TAKES], input, output)
    }

    async fn send(&self, input: &str, output: &str) -> (Option<i32>, String) {
        end_of(self.start_sending(input, output)).await
    }

    /// How often Apple was asked about a user.
    fn asked(&self) -> usize {
        self.asked_about().len()
    }

    fn asked_about(&self) -> Vec<String> {
        let asked = self.apple.asked().into_iter();
        asked.filter_map(|it| it.field("sub").map(str::to_owned)).collect()
    }
}

/// The code that it ended with, and what it said.
async fn end_of(child: Child) -> (Option<i32>, String) {
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let output = timeout(PATIENCE, output).await.unwrap().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn subject(number: usize) -> String {
    format!("{number:06}.{number:032x}.{:04}", number % 10_000)
}

#[tokio::test]
async fn one_team_hands_its_users_to_another() {
    let scene = Scene::new().await;
    let header = "id,sub,since".to_owned();
    let rows = (1..=20).map(|number| format!("{number},\"{}\",2021", subject(number)));
    scene.write("users.csv", std::iter::once(header).chain(rows));
    let (code, said) = scene.send("users.csv", "sent.csv").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("moved: 20, were known before: 0, refused: 0"), "{said}");
    let sent = scene.lines("sent.csv");
    assert_eq!((sent.len(), sent[0].as_str()), (21, "sub,transfer_sub,error"));
    assert!(
        sent[20].starts_with(&format!("{},000020.r", subject(20))),
        "in the order of the input"
    );

    let taking = scene.start(&scene.takes, &["receive"], "sent.csv", "taken.csv");
    let (code, said) = end_of(taking).await;
    assert_eq!(code, Some(0), "{said}");
    let taken = scene.lines("taken.csv");
    assert_eq!(taken[0], "transfer_sub,sub,email,is_private_email,error");
    let fields: Vec<&str> = taken[1].split(',').collect();
    let [transfer_sub, sub, email, is_private, error] = fields[..] else { panic!("{fields:?}") };
    assert_eq!(sent[1].split(',').nth(1), Some(transfer_sub));
    assert!(sub.starts_with("000001.") && sub != subject(1));
    assert!(email.ends_with("@privaterelay.appleid.com"));
    assert_eq!((is_private, error), ("true", ""));
    let news: HashSet<&str> = taken.iter().skip(1).filter_map(|it| it.split(',').nth(1)).collect();
    assert_eq!(news.len(), 20);
}

#[tokio::test]
async fn a_kill_in_the_middle_loses_nothing_and_the_next_run_goes_on_from_there() {
    const USERS: usize = 300;
    const AT_A_TIME: usize = 4;

    let scene = Scene::new().await;
    scene.write("users.csv", (1..=USERS).map(subject));
    scene.apple.fail_api_with(Fault::Slow(Duration::from_millis(20)));
    let mut child = scene.start_sending("users.csv", "sent.csv");
    while scene.asked() < 60 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!scene.path("sent.csv").exists(), "what is not whole is not there");
    let kept = scene.lines("sent.csv.part").len();
    assert!((1..USERS).contains(&kept), "{kept}");
    // As if the machine had stopped in the middle of a line.
    let mut part = fs::read(scene.path("sent.csv.part")).unwrap();
    part.extend_from_slice(b"000299.");
    fs::write(scene.path("sent.csv.part"), part).unwrap();

    scene.apple.recover_api();
    let (code, said) = scene.send("users.csv", "sent.csv").await;
    assert_eq!(code, Some(0), "{said}");
    let sent = scene.lines("sent.csv");
    let subjects: Vec<&str> = sent.iter().skip(1).filter_map(|it| it.split(',').next()).collect();
    assert_eq!(subjects, (1..=USERS).map(subject).collect::<Vec<_>>());
    assert!(sent.iter().skip(1).all(|line| line.contains(".r") && line.ends_with(',')));
    let asked = scene.asked();
    assert!(asked <= USERS + AT_A_TIME, "{asked}: only those on their way are asked about again");
    assert!(!scene.path("sent.csv.part").exists());

    let (code, said) = scene.send("users.csv", "sent.csv").await;
    assert_eq!((code, scene.asked()), (Some(0), asked), "{said}");
    assert!(said.contains("were known before: 300"), "{said}");
}

#[tokio::test]
async fn whoever_is_refused_is_named_and_tried_again_the_next_time() {
    let scene = Scene::new().await;
    scene.write("users.csv", ["sub".to_owned(), subject(1), "no.such.sub".to_owned(), subject(2)]);
    let (code, said) = scene.send("users.csv", "sent.csv").await;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("moved: 2, were known before: 0, refused: 1"), "{said}");
    let refused = "no.such.sub,,Apple refuses it: invalid_request (there is no such sub)";
    assert_eq!(scene.lines("sent.csv")[2], refused);

    let (code, _) = scene.send("users.csv", "sent.csv").await;
    assert_eq!(code, Some(1));
    assert_eq!(scene.asked_about().last().map(String::as_str), Some("no.such.sub"));
    assert_eq!(scene.asked(), 4);
}

#[tokio::test]
async fn an_apple_that_asks_for_patience_or_stumbles_is_asked_again() {
    let scene = Scene::new().await;
    scene.write("users.csv", (1..=10).map(subject));
    let too_many = http::StatusCode::TOO_MANY_REQUESTS;
    scene.apple.fail_api_times(Fault::Refusal(too_many, "slow_down".to_owned()), 3);
    let (code, said) = scene.send("users.csv", "sent.csv").await;
    assert_eq!(code, Some(0), "{said}");
    scene.apple.fail_api_times(Fault::Status(http::StatusCode::BAD_GATEWAY), 2);
    let (code, said) = scene.send("users.csv", "again.csv").await;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(scene.lines("again.csv"), scene.lines("sent.csv"));
}

#[tokio::test]
async fn a_key_that_apple_does_not_know_ends_it_and_what_was_found_out_stays() {
    let scene = Scene::new().await;
    scene.write("users.csv", (1..=3).map(subject));
    scene.send("users.csv", "sent.csv").await;
    scene.write("users.csv", (1..=4).map(subject));
    scene.apple.revoke_team_key(&scene.gives.key_id);
    let (code, said) = scene.send("users.csv", "sent.csv").await;
    assert_eq!(code, Some(69), "{said}");
    assert!(said.contains("invalid_client"), "{said}");
    assert_eq!(scene.lines("sent.csv").len(), 4);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    let scene = Scene::new().await;
    scene.write("users.csv", ["user,name".to_owned(), "1,Jane".to_owned()]);
    scene.write("empty.csv", ["sub".to_owned()]);
    let send = ["send", "--target", TAKES];
    for (direction, input, expected) in [
        (&send[..], "users.csv", "line 1: that is no sub, and there is no column of that name"),
        (&send, "empty.csv", "holds nobody"),
        (&["send", "--target", "other"], "users.csv", "`other` is no Team ID"),
        (&["receive"], "users.csv", "that is no transfer_sub"),
    ] {
        let (code, said) = end_of(scene.start(&scene.gives, direction, input, "out.csv")).await;
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(expected), "{said}");
    }
    assert!(scene.apple.asked().is_empty());
}
