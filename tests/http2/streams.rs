//! Frames out of place: streams, settings, windows, priorities, header compression (RFC 9113 §5, §6, RFC 7541).

use super::{
    Case, End,
    End::{Answer, GoAway, Reset},
    Good,
    wire::{
        CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITY, PUSH_PROMISE,
        RST_STREAM, SETTINGS, WHOLE, WINDOW_UPDATE, WITH_PRIORITY, fields, frame, integer, setting,
    },
};

/// What arrives of a harmless request.
const PLAIN: &[&str] = &["GET /a []"];

fn case(
    name: &'static str,
    sent: fn(&Good) -> Vec<u8>,
    ends: End,
    received: &'static [&'static str],
) -> Case {
    Case { name, sent, ends, received }
}

/// A row that ends the connection.
fn fatal(name: &'static str, sent: fn(&Good) -> Vec<u8>) -> Case {
    case(name, sent, GoAway, &[])
}

/// A row of which the request alone counts.
fn ignored(name: &'static str, sent: fn(&Good) -> Vec<u8>) -> Case {
    case(name, sent, Answer(200), PLAIN)
}

/// `odd`, and then a harmless request.
fn then_good(odd: Vec<u8>, request: &Good) -> Vec<u8> {
    [odd, request.whole()].concat()
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn frames() -> Vec<Case> {
    vec![
        fatal("a stream of the server's", |r| frame(HEADERS, WHOLE, 2, &fields(&r.list("/a")))),
        fatal("a request on no stream", |r| frame(HEADERS, WHOLE, 0, &fields(&r.list("/a")))),
        fatal("a body on no stream", |_| frame(DATA, END_STREAM, 0, b"hello")),
        fatal("a body on a stream that did not begin", |_| frame(DATA, END_STREAM, 1, b"hello")),
        fatal("a reset of a stream that did not begin", |_| frame(RST_STREAM, 0, 1, &[0, 0, 0, 8])),
        fatal("a reset on no stream", |_| frame(RST_STREAM, 0, 0, &[0, 0, 0, 8])),
        fatal("a window of a stream that did not begin", |_| frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 8])),
        fatal("a window that grows by nothing", |_| frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        fatal("a promise of the client's", |r| frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], &fields(&r.list("/a"))[..]].concat())),
        fatal("a continuation of nothing", |r| frame(CONTINUATION, END_HEADERS, 1, &fields(&r.list("/a")))),
        fatal("a ping within a header section", |r| [frame(HEADERS, END_STREAM, 1, &fields(&r.list("/a"))), frame(PING, 0, 0, &[0; 8])].concat()),
        fatal("a continuation on another stream", |r| [frame(HEADERS, END_STREAM, 1, &fields(&r.list("/a"))), frame(CONTINUATION, END_HEADERS, 3, b"")].concat()),
        fatal("settings on a stream", |_| frame(SETTINGS, 0, 1, &[])),
        fatal("a ping on a stream", |_| frame(PING, 0, 1, &[0; 8])),
        fatal("a setting for pushes that is neither yes nor no", |_| frame(SETTINGS, 0, 0, &setting(2, 2))),
        fatal("a setting for frames larger than there may be", |_| frame(SETTINGS, 0, 0, &setting(5, 0x0100_0000))),
        fatal("padding longer than the frame", |_| frame(DATA, PADDED, 1, &[200, b'x'])),
        fatal("a window beyond its limit by a setting", |_| frame(SETTINGS, 0, 0, &setting(4, 0x8000_0000))),
        fatal("a window of the connection beyond its limit", |_| frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        fatal("settings of an odd length", |_| frame(SETTINGS, 0, 0, &[0; 5])),
        fatal("an acknowledgement with settings in it", |_| frame(SETTINGS, 1, 0, &setting(1, 0))),
        fatal("a ping of an odd length", |_| frame(PING, 0, 0, &[0; 7])),
        fatal("a window of an odd length", |_| frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        fatal("a frame larger than it may be", |r| [r.post(&[]), frame(DATA, 0, 1, &[0; 20_000])].concat()),
        fatal("an index into no table", |_| frame(HEADERS, WHOLE, 1, &[0xff, 0x80, 0x01])),
        fatal("the index zero", |_| frame(HEADERS, WHOLE, 1, &[0x80])),
        fatal("an integer that does not end", |_| frame(HEADERS, WHOLE, 1, &[0xff; 40])),
        fatal("a string longer than its frame", |_| frame(HEADERS, WHOLE, 1, &[&[0x00][..], &integer(5_000, 0x7f, 0), b"x"].concat())),
        fatal("a Huffman code that is none", |_| frame(HEADERS, WHOLE, 1, &[0x00, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00])),
        fatal("a table larger than it may be", |_| frame(HEADERS, WHOLE, 1, &integer(100_000, 0x1f, 0x20))),
        fatal("HTTP/1 in the middle of HTTP/2", |_| b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".to_vec()),
        case("a stream that depends on itself", |r| frame(HEADERS, WHOLE | WITH_PRIORITY, 1, &[&[0, 0, 0, 1, 16], &fields(&r.list("/a"))[..]].concat()), Reset, &[]),
        fatal("a window of a stream that grows by nothing", |r| [r.post(&[]), frame(WINDOW_UPDATE, 0, 1, &[0; 4])].concat()),
        case("a window of a stream beyond its limit", |r| [r.post(&[]), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])].concat(), Reset, &[]),
        fatal("a body behind the end of its request", |r| [r.whole(), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        fatal("a second request on a stream", |r| [r.whole(), r.whole()].concat()),
        fatal("a stream older than the last", |r| [frame(HEADERS, WHOLE, 5, &fields(&r.list("/a"))), frame(HEADERS, WHOLE, 3, &fields(&r.list("/a")))].concat()),
        fatal("a body beyond the window", |r| [r.post(&[]), frame(DATA, 0, 1, &[b'x'; 16_384]).repeat(70)].concat()),
        ignored("a frame that nobody knows", |r| then_good(frame(0xfa, 0xff, 0, b"smuggled"), r)),
        ignored("a frame that nobody knows on a stream that did not begin", |r| then_good(frame(0xfa, 0xff, 99, b"smuggled"), r)),
        ignored("a setting that nobody knows", |r| then_good(frame(SETTINGS, 0, 0, &setting(0xfafa, 7)), r)),
        ignored("a priority", |r| then_good(frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 16]), r)),
        ignored("an acknowledgement of a ping that there was not", |r| then_good(frame(PING, 1, 0, &[0; 8]), r)),
        ignored("a request with padding", |r| frame(HEADERS, WHOLE | PADDED, 1, &[&[4][..], &fields(&r.list("/a")), &[0; 4]].concat())),
        ignored("a request in pieces", |r| {
            let block = fields(&r.list("/a"));
            let pieces: Vec<_> = block.chunks(200).flat_map(|piece| frame(CONTINUATION, 0, 1, piece)).collect();
            [frame(HEADERS, END_STREAM, 1, b""), pieces, frame(CONTINUATION, END_HEADERS, 1, b"")].concat()
        }),
        ignored("a window update behind the end", |r| [r.whole(), frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])].concat()),
    ]
}
