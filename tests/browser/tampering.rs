//! Cookies that were changed, cut, or sealed with a key that is no longer ours.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
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

/// The status that a script gets who asks for `path` with `cookie`, on a connection that stays.
async fn status(connection: &mut TcpStream, path: &str, cookie: &str) -> u16 {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: app.example\r\nSec-Fetch-Mode: cors\r\nCookie: {SESSION}={cookie}\r\n\r\n"
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let head = timeout(PATIENCE, read_head(connection)).await.unwrap().unwrap();
    let length = head.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    timeout(PATIENCE, connection.read_exact(&mut body)).await.unwrap().unwrap();
    head.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn ten_thousand_changes_of_a_single_bit_open_no_session() {
    let house = House::with(&settings(&key_file(1), "")).await;
    let mut connection = open(house.address).await;
    let (mut tried, mut opened) = (0, 0);
    while tried < 10_000 {
        let good = cookie(&house).await;
        for (number, changed) in changes(&good).enumerate() {
            let path = if number % 2 == 0 { "/" } else { "/api/x" };
            assert_eq!(status(&mut connection, path, &changed).await, 401, "{good} {changed}");
            tried += 1;
        }
        assert_eq!(house.application.requests().len(), opened);
        assert_eq!(status(&mut connection, "/", &good).await, 200, "unchanged it opens");
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
    assert_eq!(status(&mut open(rotated.address).await, "/", &of_the_old).await, 200);

    let retired = House::with(&settings(&new, "")).await;
    is_no_session(&retired, &of_the_old, "its key was retired").await;
    // What is sealed anew by the new key opens where the old one is gone.
    let of_the_new = cookie(&rotated).await;
    assert_eq!(status(&mut open(retired.address).await, "/", &of_the_new).await, 200);
}
