//! Too much of everything, by one connection after the other, against the real program: its memory stays under a ceiling,
//! and others are served meanwhile.

use std::{sync::Arc, time::Duration};

use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};

use super::{
    Good,
    wire::{
        CONTINUATION, Connection, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY,
        RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, WITH_PRIORITY, fields, frame, integer, setting,
        text,
    },
};
use crate::support::{Recorder, get, program::Program};

/// By how much all floods together may make the program grow, in bytes.
const CEILING: u64 = 32 << 20;

/// How many streams a client may have at once, unless configured: no flood shall bring the application more requests.
const STREAMS: usize = 200;

/// One way to ask for too much.
struct Flood {
    name: &'static str,
    /// The settings that the client begins with.
    settings: Vec<u8>,
    /// What it sends.
    sent: fn(&Good) -> Vec<u8>,
    reads: Reads,
}

/// What the client does with what it is sent.
#[derive(PartialEq, Eq)]
enum Reads {
    Everything,
    Nothing,
}
use Reads::{Everything, Nothing};

#[rustfmt::skip] // A table is read as a table.
fn floods() -> Vec<Flood> {
    let flood = |name, sent, reads| Flood { name, settings: Vec::new(), sent, reads };
    vec![
        flood("requests that are reset at once (CVE-2023-44487)", |good| streams().flat_map(|n| [request(good, n), reset(n)].concat()).collect(), Everything),
        flood("requests that we are made to reset (CVE-2025-8671)", |good| streams().flat_map(|n| [request(good, n), frame(WINDOW_UPDATE, 0, n, &[0x7f, 0xff, 0xff, 0xff])].concat()).collect(), Everything),
        flood("requests that we are made to reset by windows that grow by nothing", |good| streams().flat_map(|n| [request(good, n), frame(WINDOW_UPDATE, 0, n, &[0; 4])].concat()).collect(), Everything),
        flood("requests that are malformed", |_| streams().flat_map(|n| frame(HEADERS, WHOLE, n, &fields(&[("Upper", "case")]))).collect(), Everything),
        flood("requests beyond all streams", |good| streams().flat_map(|n| request(good, n)).collect(), Nothing),
        flood("a header section that does not end (CVE-2024-27316)", |_| [begun(), field().repeat(2_000)].concat(), Everything),
        flood("a header section that continues with nothing", |_| [begun(), frame(CONTINUATION, 0, 1, &[]).repeat(200_000)].concat(), Everything),
        flood("one field that a table makes many (an HPACK bomb)", |_| (0..20).flat_map(|n| bomb(2 * n + 1)).collect(), Everything),
        flood("tables that grow and shrink", |_| (0..5_000).flat_map(|n| frame(HEADERS, WHOLE, 2 * n + 1, &[integer(0, 0x1f, 0x20), integer(4_096, 0x1f, 0x20)].concat())).collect(), Everything),
        flood("empty data", |good| [good.post(&[]), frame(DATA, 0, 1, &[]).repeat(200_000)].concat(), Everything),
        flood("data of padding alone", |good| [good.post(&[]), frame(DATA, PADDED, 1, &[&[255][..], &[0; 255]].concat()).repeat(50_000)].concat(), Everything),
        flood("pings", |_| frame(PING, 0, 0, &[7; 8]).repeat(200_000), Everything),
        flood("pings whose answers are not read", |_| frame(PING, 0, 0, &[7; 8]).repeat(400_000), Nothing),
        flood("settings", |_| frame(SETTINGS, 0, 0, &[]).repeat(200_000), Everything),
        flood("settings whose answers are not read", |_| frame(SETTINGS, 0, 0, &setting(4, 1)).repeat(200_000), Nothing),
        flood("windows that grow by one", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]).repeat(200_000), Everything),
        flood("priorities", |_| (0..200_000).flat_map(|n| frame(PRIORITY, 0, 2 * n + 1, &[0, 0, 0, 0, 16])).collect(), Everything),
        flood("streams that depend on one another in a chain", |good| (0..5_000_u32).flat_map(|n| {
            let parent = (2 * n).saturating_sub(1).to_be_bytes();
            let block = [&parent[..], &[16], &fields(&good.list("/a"))].concat();
            frame(HEADERS, WHOLE | WITH_PRIORITY, 2 * n + 1, &block)
        }).collect(), Nothing),
        flood("frames that nobody knows", |_| frame(0xfa, 0, 0, &[7; 16_384]).repeat(2_000), Everything),
        Flood { settings: setting(4, 0), ..flood("answers that there is no window for", |good| (0..200).flat_map(|n| request(good, 2 * n + 1)).collect(), Nothing) },
        flood("bodies on all streams that do not end", |good| (0..200).flat_map(|n| [upload(good, 2 * n + 1), frame(DATA, 0, 2 * n + 1, &[7; 5_000])].concat()).collect(), Nothing),
    ]
}

/// The numbers of many streams.
fn streams() -> impl Iterator<Item = u32> {
    (0..5_000).map(|n| 2 * n + 1)
}

fn request(good: &Good, stream: u32) -> Vec<u8> {
    frame(HEADERS, WHOLE, stream, &fields(&good.list("/flood")))
}

fn upload(good: &Good, stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &fields(&good.list("/flood")))
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

/// The beginning of a header section.
fn begun() -> Vec<u8> {
    frame(HEADERS, END_STREAM, 1, &fields(&[(":method", "GET")]))
}

/// More of it: a frame full of fields.
fn field() -> Vec<u8> {
    frame(CONTINUATION, 0, 1, &fields(&[("x", "y")]).repeat(3_000))
}

/// A field of 4 000 bytes that the table remembers (RFC 7541 §6.2.1), and 12 000 times the one byte that stands for it.
fn bomb(stream: u32) -> Vec<u8> {
    let remembered = [vec![0x40], text("x"), text(&"y".repeat(4_000))].concat();
    frame(HEADERS, WHOLE, stream, &[remembered, vec![0xbe; 12_000]].concat())
}

/// How long a client that reads nothing goes on when nothing more is taken from it.
const NOTHING_MORE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn no_flood_takes_much_memory_or_the_place_of_others() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let application = Recorder::start().await;
    let program = Program::start(&apple, application.address, &[]).await;
    let good = Good { bearer: format!("Bearer {}", apple.mint(&TokenTemplate::native())) };
    let served =
        async || get(program.address, "/others", &[("Authorization", &good.bearer)]).await.status;
    assert_eq!(served().await, 200);
    application.answer(&format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}",
        1 << 20,
        "x".repeat(1 << 20)
    ));
    assert_eq!(served().await, 200);

    let before = program.peak_memory();
    let mut wrong = Vec::new();
    for flood in floods() {
        let mut connection = Connection::with(program.address, &flood.settings).await;
        let bytes = (flood.sent)(&good);
        let already = application.requests().len();
        match flood.reads {
            Everything => connection.flood(&bytes).await,
            Nothing => connection.pour(&bytes, NOTHING_MORE).await,
        }
        // The connection is still there, if it was not ended.
        let status = served().await;
        if status != 200 {
            wrong.push(format!("{}: others are answered {status}", flood.name));
        }
        let grown = program.peak_memory().saturating_sub(before);
        if grown > CEILING {
            wrong.push(format!("{}: grown by {} MiB", flood.name, grown >> 20));
        }
        let received = application.requests().len() - already - 1;
        if received > STREAMS {
            wrong.push(format!("{}: {received} requests reached the application", flood.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}
