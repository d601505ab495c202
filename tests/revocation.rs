//! A sign-in that its owner took back is over: at the next request, in what is open, and until a new sign-in.

use std::{
    io::Write,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use futures_util::SinkExt;
use http::HeaderValue;
use siwa_proxy::{
    clock::{Clock, ManualClock, SystemClock, UnixTime},
    sim::{event::Event, presets::SUBJECT, token::TokenTemplate},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_stream::StreamExt;
use tokio_tungstenite::{
    accept_async, client_async,
    tungstenite::{Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use crate::support::{
    House, PATIENCE, application, exchange_h2, get,
    notifying::{ON, post, send},
    open,
    program::{BINARY, Program, free_address},
    read_head,
};

/// A token of the sample subject, issued `seconds` from now.
fn bearer_issued(house: &House, seconds: i64) -> String {
    bearer_issued_at(house, SystemClock.now().as_secs().checked_add_signed(seconds).unwrap())
}

fn bearer_issued_at(house: &House, seconds: u64) -> String {
    house.bearer_of(&TokenTemplate::native().issued_at(UnixTime::from_secs(seconds)))
}

#[tokio::test]
async fn a_withdrawn_consent_is_401_at_the_next_request_and_a_new_sign_in_is_200() {
    let house = House::with(ON).await;
    let before = bearer_issued(&house, -60);
    // Twice, so that the verdict is a remembered one.
    assert_eq!((house.status(&before).await, house.status(&before).await), (200, 200));
    assert_eq!(house.metric("siwa_verdicts_total{cache=\"hit\"}").await, 1);

    let at = SystemClock.now().as_secs() - 10;
    let event = Event::consent_revoked(SUBJECT).at(UnixTime::from_secs(at));
    assert_eq!(house.notify(event).await.status, 200);

    let reply = house.get("/", &[("Authorization", &before)]).await;
    assert_eq!((reply.status, reply.json()["code"].as_str()), (401, Some("token_revoked")));
    assert!(reply.header("www-authenticate")[0].contains("error=\"invalid_token\""), "{reply:?}");
    assert_eq!(house.status(&bearer_issued_at(&house, at)).await, 401, "in that second");
    assert_eq!(house.status(&bearer_issued_at(&house, at + 1)).await, 200, "a new sign-in");
    assert_eq!(house.metric("siwa_revocations").await, 1);
}

#[tokio::test]
async fn both_spellings_of_a_deletion_end_the_tokens_of_every_app() {
    for kind in ["account-deleted", "account-delete"] {
        let groups = "revocations.groups = [['com.example.app'], ['com.example.web']]";
        let house = House::with(&format!("{ON}\n{groups}")).await;
        let web = house.bearer_of(&TokenTemplate::native().audience("com.example.web"));
        assert_eq!(house.status(&web).await, 200);
        assert_eq!(house.notify(Event::new(kind, SUBJECT)).await.status, 200);
        assert_eq!(house.status(&web).await, 401, "{kind}");
        assert_eq!(house.status(&bearer_issued(&house, -60)).await, 401, "{kind}");
    }
}

#[tokio::test]
async fn a_gateway_that_asks_by_ext_authz_is_told_no_for_whom_apple_revoked() {
    let house =
        House::with(&format!("{ON}\next_authz.path_prefixes = ['/auth/apple/ext-authz']")).await;
    let bearer = bearer_issued(&house, -60);
    let ask = async || house.get("/auth/apple/ext-authz/a", &[("Authorization", &bearer)]).await;
    assert_eq!(ask().await.status, 200);
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    let refused = ask().await;
    assert_eq!((refused.status, refused.json()["code"].as_str()), (401, Some("token_revoked")));
    assert!(house.application.requests().is_empty(), "nothing is forwarded");
}

#[tokio::test]
async fn consent_is_withdrawn_from_the_group_of_the_app_alone() {
    let groups = "revocations.groups = [['com.example.app'], ['com.example.web']]";
    let house = House::with(&format!("{ON}\n{groups}")).await;
    let web = house.bearer_of(&TokenTemplate::native().audience("com.example.web"));
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    assert_eq!(house.status(&bearer_issued(&house, -60)).await, 401);
    assert_eq!(house.status(&web).await, 200);
}

#[tokio::test]
async fn events_about_mail_and_other_people_end_nothing() {
    let house = House::with(ON).await;
    let bearer = bearer_issued(&house, -60);
    for event in [
        Event::email_disabled(SUBJECT, "a@privaterelay.appleid.com"),
        Event::email_enabled(SUBJECT, "a@privaterelay.appleid.com"),
        Event::new("account-restored", SUBJECT),
        Event::consent_revoked("000001.somebody.else"),
    ] {
        assert_eq!(house.notify(event).await.status, 200);
    }
    assert_eq!(house.status(&bearer).await, 200);
}

#[tokio::test]
async fn a_revocation_is_forgotten_when_no_token_is_left_that_it_could_refuse() {
    let start = UnixTime::from_secs(1_800_000_000);
    let clock = ManualClock::at(start);
    let house = House::build(ON, std::sync::Arc::new(clock.clone()), |_| {}).await;
    house.ready().await;
    let bearer = house.bearer();
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    assert_eq!(house.status(&bearer).await, 401);
    clock.advance(Duration::from_hours(23));
    let reply = house.get("/", &[("Authorization", &bearer)]).await;
    assert_eq!(reply.json()["code"], "token_revoked");
    clock.advance(Duration::from_hours(2));
    let reply = house.get("/", &[("Authorization", &bearer)]).await;
    assert_eq!(reply.json()["code"], "token_expired");
}

#[tokio::test]
async fn a_token_older_than_revocations_are_remembered_is_refused() {
    let clock = ManualClock::at(UnixTime::from_secs(1_800_000_000));
    let house = House::build(ON, std::sync::Arc::new(clock.clone()), |_| {}).await;
    house.ready().await;
    let unending = TokenTemplate::native().lifetime(Duration::from_hours(24 * 365));
    let bearer = house.bearer_of(&unending);
    clock.advance(Duration::from_hours(48));
    assert_eq!(house.status(&bearer).await, 200);
    clock.advance(Duration::from_mins(1));
    let reply = house.get("/", &[("Authorization", &bearer)]).await;
    assert_eq!(reply.json()["code"], "token_too_old");
}

/// An application that says back what it is told.
async fn echo() -> SocketAddr {
    application(|stream, _| async {
        let mut socket = accept_async(stream).await.unwrap();
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_websocket_of_the_person_is_closed_with_1008_and_others_go_on() {
    let house = House::with(&format!("upstream.url = 'http://{}'\n{ON}", echo().await)).await;
    let mut sockets = Vec::new();
    for subject in [SUBJECT, "000001.somebody.else"] {
        let bearer = house.bearer_of(&TokenTemplate::native().subject(subject));
        let mut request = "ws://app.example/chat".into_client_request().unwrap();
        request.headers_mut().insert("authorization", HeaderValue::from_str(&bearer).unwrap());
        sockets.push(client_async(request, open(house.address).await).await.unwrap().0);
    }
    let [mut theirs, mut other] = sockets.try_into().unwrap();
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    let closed = tokio::time::timeout(PATIENCE, theirs.next()).await.expect("it is closed");
    let Some(Ok(Message::Close(Some(close)))) = closed else { panic!("{closed:?}") };
    assert_eq!(close.code, CloseCode::Policy);
    other.send(Message::text("still here")).await.unwrap();
    assert_eq!(other.next().await.unwrap().unwrap(), Message::text("still here"));
}

/// An application that begins an answer and never ends it.
async fn endless() -> SocketAddr {
    application(|mut stream: TcpStream, _| async move {
        read_head(&mut stream).await.unwrap();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: first\n\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        std::future::pending::<()>().await;
    })
    .await
}

#[tokio::test]
async fn a_long_answer_to_the_person_is_broken_off() {
    let house = House::with(&format!("upstream.url = 'http://{}'\n{ON}", endless().await)).await;
    let mut stream = open(house.address).await;
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: {}\r\n\r\n", house.bearer());
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "));
    let mut first = [0; 17];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(house.notify(Event::account_deleted(SUBJECT)).await.status, 200);
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
    drop(ended.expect("it ends"));
    assert!(!rest.ends_with(b"0\r\n\r\n"), "broken off, and not as if it were whole");
}

#[tokio::test]
async fn every_door_for_gateways_refuses_whom_the_proxy_would() {
    let house = House::verifier(ON).await;
    let bearer = house.bearer();
    let doors = ["/auth/apple/verify", "/auth/apple/forward-auth", "/auth/apple/userinfo"];
    for door in doors {
        let reply = house.get(door, &[("Authorization", &bearer)]).await;
        assert_eq!(reply.status, 200, "{door}: {reply:?}");
    }
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    for door in doors {
        let reply = house.get(door, &[("Authorization", &bearer)]).await;
        assert_eq!(reply.status, 401, "{door}: {reply:?}");
        assert!(
            reply.header("www-authenticate")[0].contains("was revoked at"),
            "{door}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn http2_callers_are_told_in_their_own_tongue() {
    let house = House::with(ON).await;
    let bearer = house.bearer();
    assert_eq!(house.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    let request = http::Request::post(format!("http://{}/a.B/C", house.address))
        .header("authorization", &bearer)
        .header("content-type", "application/grpc")
        .body(String::new())
        .unwrap();
    let reply = exchange_h2(house.address, request).await;
    assert_eq!(reply.header("grpc-status"), ["16"]);
    assert!(reply.header("grpc-message")[0].contains("was revoked at"), "{reply:?}");
}

/// A house whose list has a view, and the header line that opens it.
async fn with_view() -> (House, tempfile::TempDir, &'static str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "correct-horse-battery\n").unwrap();
    let extra = format!("{ON}\nrevocations.admin_token_file = '{}'", file.display());
    (House::with(&extra).await, folder, "Authorization: Bearer correct-horse-battery\r\n")
}

#[tokio::test]
async fn an_operator_adds_lists_and_lifts() {
    let (house, _folder, token) = with_view().await;
    let bearer = bearer_issued(&house, -60);
    let line = format!("{{\"sub\":\"{SUBJECT}\"}}\n");
    let reply = post(house.admin, "/revocations", token, &line).await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "1\n"));
    assert_eq!(house.status(&bearer).await, 401);

    let listed = send(house.admin, "GET", "/revocations", token, "").await;
    assert_eq!(listed.header("content-type"), ["application/jsonl"]);
    assert_eq!(listed.json()["sub"], SUBJECT);
    assert_eq!(listed.json().get("lifted"), None);

    let reply = send(house.admin, "DELETE", "/revocations", token, &line).await;
    assert_eq!(reply.status, 200);
    assert_eq!(house.status(&bearer).await, 200);
    assert_eq!(send(house.admin, "GET", "/revocations", token, "").await.json()["lifted"], true);

    assert_eq!(post(house.admin, "/revocations", token, &line).await.status, 200);
    assert_eq!(house.status(&bearer).await, 401, "revoked anew in the same second");
}

#[tokio::test]
async fn what_is_exported_can_be_imported_elsewhere() {
    let (one, _folder, token) = with_view().await;
    let (other, _other_folder, _) = with_view().await;
    let bearers = [bearer_issued(&one, -60), bearer_issued(&other, -60)];
    assert_eq!(one.notify(Event::consent_revoked(SUBJECT)).await.status, 200);
    assert_eq!(one.status(&bearers[0]).await, 401);
    let exported = send(one.admin, "GET", "/revocations", token, "").await.body;
    assert_eq!(other.status(&bearers[1]).await, 200);
    assert_eq!(post(other.admin, "/revocations", token, &exported).await.status, 200);
    assert_eq!(other.status(&bearers[1]).await, 401);
}

#[tokio::test]
async fn the_list_is_shown_to_nobody_without_the_token_and_never_in_public() {
    let (house, _folder, token) = with_view().await;
    for wrong in ["", "Authorization: Bearer wrong\r\n", "Authorization: Basic YTpi\r\n"] {
        assert_eq!(send(house.admin, "GET", "/revocations", wrong, "").await.status, 401);
    }
    let twice = format!("{token}{token}");
    assert_eq!(send(house.admin, "GET", "/revocations", &twice, "").await.status, 401);
    let public = send(house.address, "GET", "/revocations", token, "").await;
    assert_eq!(public.status, 401, "the application's path, without a sign-in");

    let plain = House::with(ON).await;
    assert_eq!(send(plain.admin, "GET", "/revocations", token, "").await.status, 404);
}

#[tokio::test]
async fn a_bad_line_changes_nothing() {
    let (house, _folder, token) = with_view().await;
    let good = format!("{{\"sub\":\"{SUBJECT}\"}}\n");
    for bad in [
        "{",
        "{}",
        "{\"sub\":\"a b\"}",
        "{\"sub\":\"a\",\"revoked_at\":\"soon\"}",
        "{\"sub\":\"a\",\"client_id\":\"com.example.unknown\"}",
        "{\"sub\":\"a\",\"revoked_at\":\"2999-01-01T00:00:00Z\"}",
        "[]",
    ] {
        let reply = post(house.admin, "/revocations", token, &format!("{good}\n{bad}\n")).await;
        assert_eq!(reply.status, 400, "{bad}");
        assert!(reply.body.starts_with("line 3: "), "{reply:?}");
    }
    assert_eq!(send(house.admin, "GET", "/revocations", token, "").await.body, "");
    let unknown = send(house.admin, "DELETE", "/revocations", token, &good).await;
    assert_eq!((unknown.status, unknown.body.contains("is not on the list")), (400, true));
}

/// The real program with everything in one file, and the file.
async fn program_with_file(house: &House, folder: &tempfile::TempDir) -> (Program, PathBuf) {
    let [address, admin] = [free_address(), free_address()];
    let (file, token) = (folder.path().join("siwa.toml"), folder.path().join("token"));
    std::fs::write(&token, "correct-horse-battery").unwrap();
    let text = format!(
        "{ON}\napple.client_ids = ['com.example.app']\nupstream.url = 'http://{}'\n\
         server.listen = '{address}'\nserver.admin_listen = '{admin}'\njwks.url = '{}'\n\
         revocations.admin_token_file = '{}'\n",
        house.application.address,
        house.apple.jwks_url(),
        token.display()
    );
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new(BINARY);
    command.args(["serve", "--config"]).arg(&file);
    (Program::of(&mut command, address, admin).await, file)
}

/// What `siwa-proxy revocations` prints, given `input`, and whether it succeeded.
async fn revocations(file: &Path, words: &[&str], input: &str) -> (String, bool) {
    let mut command = Command::new(BINARY);
    command.arg("revocations").args(words).arg("--config").arg(file);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let input = input.to_owned();
    let running = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    let output = running.await.unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (String::from_utf8(printed).unwrap(), output.status.success())
}

#[tokio::test]
async fn the_command_line_shows_and_changes_the_list_of_a_running_proxy() {
    let (house, folder) = (House::start().await, tempfile::tempdir().unwrap());
    let (program, file) = program_with_file(&house, &folder).await;
    let bearer = bearer_issued(&house, -60);
    let status = async || get(program.address, "/", &[("Authorization", &bearer)]).await.status;
    assert_eq!(status().await, 200);

    let empty = "the list is empty: no sign-in is refused\n".to_owned();
    assert_eq!(revocations(&file, &["list"], "").await, (empty, true));
    let added = format!("added: what was issued to {SUBJECT} until now is refused\n");
    assert_eq!(revocations(&file, &["add", SUBJECT], "").await, (added, true));
    assert_eq!(status().await, 401);
    let (listed, _) = revocations(&file, &["list"], "").await;
    assert!(listed.contains("refused") && listed.contains(SUBJECT), "{listed}");
    let (exported, _) = revocations(&file, &["export"], "").await;
    let good_again = format!("lifted: what was issued to {SUBJECT} is good again\n");
    assert_eq!(revocations(&file, &["remove", SUBJECT], "").await, (good_again, true));
    assert_eq!(status().await, 200);
    let other = exported.replace(SUBJECT, "000001.somebody.else");
    assert_eq!(revocations(&file, &["import"], &other).await, ("added: 1\n".to_owned(), true));
    let (listed, _) = revocations(&file, &["list"], "").await;
    assert_eq!(listed.lines().count(), 2, "{listed}");

    let (told, done) = revocations(&file, &["remove", "nobody"], "").await;
    let why =
        "siwa-proxy: nobody: is not on the list; nothing was changed (the proxy answered 400 ";
    assert!(!done && told.starts_with(why), "{told}");
}
