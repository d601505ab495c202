//! Cookies that were changed, cut, or sealed with a key that is no longer ours.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::timeout,
};

use super::{
    SESSION,
    jar::{Browser, From},
    key_file, settings, sign_in,
};
use crate::support::{House, PATIENCE, open, read_head};

/// A cookie that has just been made.
async fn cookie(house: &House) -> String {
    let mut browser = Browser::new(house);
    sign_in(&mut browser, house, "/auth/apple/start").await;
    browser.cookie(SESSION).unwrap().value.clone()
}

/// `cookie` with one bit changed: each of its text, as far as that is text then, and each of what is sealed.
fn changes(cookie: &str) -> impl Iterator<Item = String> {
    const PREFIX: &str = "siwa_c.";
    let flips = |bytes: Vec<u8>| {
        (0..bytes.len() * 8).map(move |bit| {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            changed
        })
    };
    let text = flips(cookie.as_bytes().to_vec())
        .filter_map(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b';'));
    let sealed = BASE64_URL_SAFE_NO_PAD.decode(cookie.strip_prefix(PREFIX).unwrap()).unwrap();
    let sealed = flips(sealed).map(|it| format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(it)));
    text.chain(sealed)
}

/// The statuses that scripts get who ask for a page of each kind of route with each of these `cookies`, one after the other on
/// one connection and without a wait in between.
async fn statuses(connection: &mut BufReader<TcpStream>, cookies: &[String]) -> Vec<u16> {
    let mut statuses = Vec::new();
    let asked = cookies.iter().zip(["/", "/api/x"].into_iter().cycle());
    let requests: Vec<_> = asked
        .map(|(cookie, path)| {
            format!(
                "GET {path} HTTP/1.1\r\nHost: app.example\r\nSec-Fetch-Mode: cors\r\nCookie: {SESSION}={cookie}\r\n\r\n"
            )
        })
        .collect();
    connection.write_all(requests.concat().as_bytes()).await.unwrap();
    for _ in cookies {
        statuses.push(read_status(connection).await);
    }
    statuses
}

/// A connection of which answers are read in pieces, and not byte by byte.
async fn connect(house: &House) -> BufReader<TcpStream> {
    BufReader::new(open(house.address).await)
}

/// Reads one answer, of which others may follow.
async fn read_status(connection: &mut BufReader<TcpStream>) -> u16 {
    let head = timeout(PATIENCE, read_head(connection)).await.unwrap().unwrap();
    let lines = head.to_ascii_lowercase();
    let length = lines.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    timeout(PATIENCE, connection.read_exact(&mut body)).await.unwrap().unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

/// Whether `cookie` opens a session at `house`.
async fn opens(house: &House, cookie: &str) -> bool {
    statuses(&mut connect(house).await, &[cookie.to_owned()]).await == [200]
}

#[tokio::test]
async fn ten_thousand_changes_of_a_single_bit_open_no_session() {
    const AT_ONCE: usize = 50;

    let house = House::with(&settings(&key_file(1), "")).await;
    let mut connection = connect(&house).await;
    let (mut tried, mut opened) = (0, 0);
    while tried < 10_000 {
        let good = cookie(&house).await;
        for changed in changes(&good).collect::<Vec<_>>().chunks(AT_ONCE) {
            let statuses = statuses(&mut connection, changed).await;
            assert_eq!(statuses, vec![401; changed.len()], "{good}: {changed:?}");
            tried += changed.len();
        }
        assert_eq!(house.application.requests().len(), opened);
        assert!(opens(&house, &good).await, "unchanged it opens");
        opened += 1;
    }
}

/// A window that opens a page of the application with `cookie` is sent to sign in, and rid of the cookie; a script is told.
async fn is_no_session(house: &House, cookie: &str, why: &str) {
    let lines = format!("Cookie: {SESSION}={cookie}\r\n");
    let window = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    let mut browser = Browser::new(house);
    let reply = browser.send("GET /orders", From::Typed, &format!("{window}{lines}"), "").await;
    let login = "/auth/apple/login?return_to=%2Forders";
    assert_eq!((reply.status, reply.header("location")), (303, vec![login]), "{why}: {reply:?}");
    let set = reply.header("set-cookie");
    assert!(set.len() == 1 && set[0].contains("Max-Age=0"), "{why}: {reply:?}");
    for path in ["/orders", "/api/x"] {
        let script = format!("Sec-Fetch-Mode: cors\r\n{lines}");
        let reply = browser.send(&format!("GET {path}"), From::Own, &script, "").await;
        assert_eq!((reply.status, reply.header("location").len()), (401, 0), "{why}: {reply:?}");
    }
    assert!(house.application.requests().is_empty(), "{why}");
}

#[tokio::test]
async fn a_cookie_that_was_cut_is_no_session() {
    let house = House::with(&settings(&key_file(1), "")).await;
    let good = cookie(&house).await;
    for length in [0, 1, 6, 7, 8, 40, good.len() / 2, good.len() - 2, good.len() - 1] {
        is_no_session(&house, &good[..length], &format!("{length} bytes of it")).await;
    }
    for longer in
        [format!("{good}A"), format!("{good}AAAA"), format!("{good}="), format!("{good}.")]
    {
        is_no_session(&house, &longer, "more than it").await;
    }
}

#[tokio::test]
async fn a_cookie_of_a_retired_key_is_no_session_and_one_of_an_old_key_is() {
    let (old, new) = (key_file(1), key_file(2));
    let of_the_old = cookie(&House::with(&settings(&old, "")).await).await;
    let both = format!("['{}', '{}']", new.path().display(), old.path().display());
    let rotated = settings(&new, "").replace(&format!("['{}']", new.path().display()), &both);
    let rotated = House::with(&rotated).await;
    assert!(opens(&rotated, &of_the_old).await);

    let retired = House::with(&settings(&new, "")).await;
    is_no_session(&retired, &of_the_old, "its key was retired").await;
    // What is sealed anew by the new key opens where the old one is gone.
    let of_the_new = cookie(&rotated).await;
    assert!(opens(&retired, &of_the_new).await);
}
