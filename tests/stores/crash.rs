//! The real program, killed again and again while Apple notifies it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::Signal;
use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, event::Event, token::TokenTemplate},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::{
    Recorder,
    notifying::{ON, PATH, send},
    program::Program,
    spawn,
};

const TOKEN: &str = "Authorization: Bearer correct-horse-battery\r\n";

/// Subjects, in the order of their names.
type Subjects = BTreeSet<String>;

/// Posts a notification about `subject`; whether it was answered 200. Whoever answers may die meanwhile.
pub(super) async fn is_taken(
    address: SocketAddr,
    apple: &Apple,
    subject: &str,
) -> std::io::Result<bool> {
    let event = TokenTemplate::notification(Event::consent_revoked(subject));
    let body = format!("{{\"payload\":\"{}\"}}", apple.mint(&event));
    let head = format!("POST {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n");
    let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200 "))
}

/// Notifies of one subject after another until the program is gone, and notes who was sent and who was taken.
async fn notify_all(
    address: SocketAddr,
    apple: Arc<Apple>,
    name: String,
    noted: Arc<Mutex<(Subjects, Subjects)>>,
) {
    for number in 0.. {
        let subject = format!("{name}.{number}");
        noted.lock().unwrap().0.insert(subject.clone());
        match is_taken(address, &apple, &subject).await {
            Ok(true) => drop(noted.lock().unwrap().1.insert(subject)),
            Ok(false) => {}
            Err(_gone) => return,
        }
    }
}

pub(super) async fn listed(admin: SocketAddr) -> Subjects {
    let list = send(admin, "GET", "/revocations", TOKEN, "").await;
    assert_eq!(list.status, 200, "{list:?}");
    let subject = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["sub"].as_str().unwrap().to_owned()
    };
    list.body.lines().map(subject).collect()
}

pub(super) fn write_settings(folder: &Path) -> PathBuf {
    let (file, token) = (folder.join("siwa.toml"), folder.join("token"));
    std::fs::write(&token, "correct-horse-battery").unwrap();
    let text = format!(
        "{ON}\nnotifications.rate_per_second = 100000\nnotifications.rate_burst = 100000\n\
         store.file = '{}'\nrevocations.admin_token_file = '{}'\n",
        folder.join("store").display(),
        token.display()
    );
    std::fs::write(&file, text).unwrap();
    file
}

/// Kills the program `times` times while it is being notified; after each, what it had answered 200 must be there.
pub(super) async fn kill_again_and_again(times: u32) {
    let folder = tempfile::tempdir().unwrap();
    let file = write_settings(folder.path());
    let extra = ["--config", file.to_str().unwrap()];
    let apple = Arc::new(Apple::start(Arc::new(SystemClock)).await.unwrap());
    let application = Recorder::start().await;
    let noted = Arc::new(Mutex::new((Subjects::new(), Subjects::new())));

    for round in 0..times {
        let program = Program::start(&apple, application.address, &extra).await;
        let found = listed(program.admin).await;
        let (sent, taken) = noted.lock().unwrap().clone();
        let lost: Vec<_> = taken.difference(&found).collect();
        assert!(lost.is_empty(), "after {round} kills, lost {lost:?} of {}", taken.len());
        assert!(found.is_subset(&sent), "nobody is on the list who was not sent");

        let senders = (0..3).map(|sender| {
            let name = format!("{round}.{sender}");
            spawn(notify_all(program.address, Arc::clone(&apple), name, Arc::clone(&noted)))
        });
        let senders: Vec<_> = senders.collect();
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..40))).await;
        program.signal(Signal::KILL);
        for sender in senders {
            sender.await.unwrap();
        }
    }
    let program = Program::start(&apple, application.address, &extra).await;
    let taken = noted.lock().unwrap().1.clone();
    assert!(!taken.is_empty(), "some were taken before the program was killed");
    assert!(taken.is_subset(&listed(program.admin).await));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_answered_200_is_there_after_the_program_was_killed() {
    kill_again_and_again(8).await;
}
