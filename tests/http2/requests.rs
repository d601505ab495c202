//! Requests that are not what they should be: pseudo-headers, fields, bodies (RFC 9113 §8).

use super::{
    Case, End,
    End::{Answer, GoAway, Reset},
    Good,
    wire::{CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, WHOLE, fields, frame},
};

fn case(
    name: &'static str,
    sent: fn(&Good) -> Vec<u8>,
    ends: End,
    received: &'static [&'static str],
) -> Case {
    Case { name, sent, ends, received }
}

/// A row whose request is malformed (§8.1.1).
fn malformed(name: &'static str, sent: fn(&Good) -> Vec<u8>) -> Case {
    case(name, sent, Reset, &[])
}

/// A row whose fields cannot be what fields are, so that nothing more is believed of the connection.
fn fatal(name: &'static str, sent: fn(&Good) -> Vec<u8>) -> Case {
    case(name, sent, GoAway, &[])
}

/// A row whose request is none that we forward.
fn refused(name: &'static str, sent: fn(&Good) -> Vec<u8>) -> Case {
    case(name, sent, Answer(400), &[])
}

/// What arrives of a harmless request.
const PLAIN: &[&str] = &["GET /a []"];

#[rustfmt::skip] // A table is read as a table.
pub(super) fn pseudo_headers() -> Vec<Case> {
    vec![
        case("nothing special", Good::whole, Answer(200), PLAIN),
        malformed("no method", |r| r.without(":method", &[])),
        malformed("no scheme", |r| r.without(":scheme", &[])),
        malformed("no path", |r| r.without(":path", &[])),
        refused("no authority and no host", |r| r.without(":authority", &[])),
        case("a host in place of the authority", |r| r.without(":authority", &[("host", "app.example")]), Answer(200), PLAIN),
        case("a host that is not the authority", |r| r.with(&[("host", "smuggled.example")]), Answer(200), PLAIN),
        refused("two hosts in place of the authority", |r| r.without(":authority", &[("host", "app.example"), ("host", "smuggled.example")])),
        refused("two hosts beside the authority", |r| r.with(&[("host", "app.example"), ("host", "app.example")])),
        refused("a host that is none beside the authority", |r| r.with(&[("host", "a b")])),
        malformed("two methods", |r| frame(HEADERS, WHOLE, 1, &fields(&[&[(":method", "GET")], &r.list("/a")[..]].concat()))),
        malformed("two schemes", |r| frame(HEADERS, WHOLE, 1, &fields(&[&[(":scheme", "http")], &r.list("/a")[..]].concat()))),
        malformed("two authorities", |r| frame(HEADERS, WHOLE, 1, &fields(&[&[(":authority", "smuggled.example")], &r.list("/a")[..]].concat()))),
        malformed("two paths", |r| frame(HEADERS, WHOLE, 1, &fields(&[&[(":path", "/smuggled")], &r.list("/a")[..]].concat()))),
        malformed("a status", |r| frame(HEADERS, WHOLE, 1, &fields(&[&[(":status", "200")], &r.list("/a")[..]].concat()))),
        malformed("a pseudo-header behind a field", |r| r.without(":path", &[("x", "y"), (":path", "/a")])),
        malformed("a second path behind the fields", |r| r.with(&[(":path", "/smuggled")])),
        malformed("an empty path", |r| r.but(":path", "")),
        malformed("a path without a slash", |r| r.but(":path", "smuggled")),
        malformed("a path that is a URL", |r| r.but(":path", "http://smuggled.example/")),
        malformed("a path with a space", |r| r.but(":path", "/a b")),
        malformed("a path with a line end", |r| r.but(":path", "/a HTTP/1.1\r\nX-Apple-Sub: spoof")),
        malformed("a path with an LF", |r| r.but(":path", "/a\nX-Apple-Sub: spoof")),
        malformed("a path with a NUL", |r| r.but(":path", "/a\0")),
        fatal("a path with bytes that are no UTF-8", |r| r.but(":path", "/\u{ff}")),
        case("a path with a fragment", |r| r.but(":path", "/a#/smuggled"), Answer(200), PLAIN),
        case("a path of a query alone", |r| r.but(":path", "?a"), Answer(200), &["GET /?a []"]),
        refused("an asterisk for GET", |r| r.but(":path", "*")),
        malformed("an authority with a space", |r| r.but(":authority", "app example")),
        malformed("an authority with a path", |r| r.but(":authority", "app.example/smuggled")),
        malformed("an authority with a line end", |r| r.but(":authority", "app.example\r\nX-Apple-Sub: spoof")),
        malformed("an empty authority", |r| r.but(":authority", "")),
        refused("an authority with a user", |r| r.but(":authority", "smuggled@app.example")),
        refused("an authority with a port that is none", |r| r.but(":authority", "app.example:x")),
        case("another scheme", |r| r.but(":scheme", "https"), Answer(200), PLAIN),
        case("a scheme that nobody knows", |r| r.but(":scheme", "smuggle"), Answer(200), PLAIN),
        malformed("a scheme that is a URL", |r| r.but(":scheme", "http://smuggled.example/?")),
        case("an empty scheme", |r| r.but(":scheme", ""), Answer(200), PLAIN),
        fatal("a method with a space", |r| r.but(":method", "GET /smuggled")),
        fatal("a method with a line end", |r| r.but(":method", "GET / HTTP/1.1\r\nX-Apple-Sub: spoof\r\n\r\nGET")),
        fatal("an empty method", |r| r.but(":method", "")),
        case("a method of one's own", |r| r.but(":method", "smuggle"), Answer(200), &["smuggle /a []"]),
        case("CONNECT", |r| {
            let list = [(":method", "CONNECT"), (":authority", "smuggled.example:80"), ("authorization", &r.bearer)];
            frame(HEADERS, END_HEADERS, 1, &fields(&list))
        }, Answer(501), &[]),
        malformed("CONNECT with a path", |r| r.but(":method", "CONNECT")),
        malformed("CONNECT to another protocol, which was not offered", |r| {
            let list = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":authority", "app.example"), (":path", "/a"), ("authorization", &r.bearer)];
            frame(HEADERS, END_HEADERS, 1, &fields(&list))
        }),
        malformed("another protocol without CONNECT", |r| frame(HEADERS, WHOLE, 1, &fields(&[&[(":protocol", "websocket")], &r.list("/a")[..]].concat()))),
        fatal("a pseudo-header that nobody knows", |r| frame(HEADERS, WHOLE, 1, &fields(&[&[(":smuggled", "x")], &r.list("/a")[..]].concat()))),
    ]
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn header_fields() -> Vec<Case> {
    vec![
        malformed("a connection", |r| r.with(&[("connection", "close")])),
        malformed("a connection that names what we say", |r| r.with(&[("connection", "x-apple-sub")])),
        malformed("a keep-alive", |r| r.with(&[("keep-alive", "timeout=5")])),
        malformed("a proxy-connection", |r| r.with(&[("proxy-connection", "close")])),
        malformed("an upgrade", |r| r.with(&[("upgrade", "h2c")])),
        malformed("H2.TE: a transfer coding", |r| r.with(&[("transfer-encoding", "chunked")])),
        malformed("H2.TE: a transfer coding and a body", |r| [r.post(&[("transfer-encoding", "chunked")]), frame(DATA, END_STREAM, 1, b"0\r\n\r\n")].concat()),
        malformed("a TE other than trailers", |r| r.with(&[("te", "gzip")])),
        case("a TE of trailers", |r| r.with(&[("te", "trailers")]), Answer(200), &["GET /a [te: trailers]"]),
        case("a transfer coding in another spelling", |r| r.with(&[("transfer_encoding", "chunked")]), Answer(200), PLAIN),
        fatal("a line end in a value", |r| r.with(&[("x", "y\r\nX-Apple-Sub: spoof")])),
        fatal("an LF in a value", |r| r.with(&[("x", "y\nX-Apple-Sub: spoof")])),
        fatal("a CR in a value", |r| r.with(&[("x", "y\rX-Apple-Sub: spoof")])),
        fatal("a request in a value", |r| r.with(&[("x", "y\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")])),
        fatal("a NUL in a value", |r| r.with(&[("x", "y\0")])),
        fatal("a DEL in a value", |r| r.with(&[("x", "\x7f")])),
        fatal("a name in capitals", |r| r.with(&[("X-Apple-Sub", "spoof")])),
        fatal("one capital in a name", |r| r.with(&[("x-Own", "y")])),
        fatal("an empty name", |r| r.with(&[("", "y")])),
        fatal("a name with a space", |r| r.with(&[("x ", "y")])),
        fatal("a name with a colon", |r| r.with(&[("x-apple-sub: spoof\r\nx", "y")])),
        fatal("a name with a line end", |r| r.with(&[("x: y\r\nx-apple-sub", "spoof")])),
        fatal("a name with a NUL", |r| r.with(&[("x\0", "y")])),
        fatal("a name with a byte above ASCII", |r| r.with(&[("x\u{e9}", "y")])),
        case("a value with bytes above ASCII", |r| r.with(&[("x", "\u{e9}")]), Answer(200), &["GET /a [x: \u{fffd}]"]),
        case("a spoof", |r| r.with(&[("x-apple-sub", "spoof")]), Answer(200), PLAIN),
        case("a spoof with underscores", |r| r.with(&[("x_apple_sub", "spoof")]), Answer(200), PLAIN),
        case("a spoof twice", |r| r.with(&[("x-apple-sub", "spoof"), ("x-apple-sub", "spoof")]), Answer(200), PLAIN),
        case("a spoofed client address", |r| r.with(&[("x-forwarded-for", "spoof"), ("forwarded", "for=spoof")]), Answer(200), PLAIN),
        case("settings of an upgrade", |r| r.with(&[("http2-settings", "AAMAAABkAAQAAP__")]), Answer(200), PLAIN),
        refused("two credentials", |r| r.with(&[("authorization", &r.bearer)])),
        case("fields beyond what one request may have", |r| {
            let list = [("x", "0123456789"); 2_000];
            // A frame holds 16 KiB, so the rest of them continues.
            let block = fields(&[&r.list("/a")[..], &list].concat());
            let mut pieces = block.chunks(16_384);
            let mut sent = frame(HEADERS, END_STREAM, 1, pieces.next().unwrap());
            for piece in pieces {
                sent.extend(frame(CONTINUATION, 0, 1, piece));
            }
            [sent, frame(CONTINUATION, END_HEADERS, 1, b"")].concat()
        }, Answer(431), &[]),
    ]
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn bodies() -> Vec<Case> {
    const HELLO: &[&str] = &["POST /broken [transfer-encoding: chunked] hello"];
    vec![
        case("a body without a length", |r| [r.post(&[]), frame(DATA, END_STREAM, 1, b"hello")].concat(), Answer(200), HELLO),
        case("a body with its length", |r| [r.post(&[("content-length", "5")]), frame(DATA, END_STREAM, 1, b"hello")].concat(), Answer(200), &["POST /broken [content-length: 5] hello"]),
        malformed("H2.CL: a length of zero and a body", |r| [r.post(&[("content-length", "0")]), frame(DATA, END_STREAM, 1, b"GET /smuggled HTTP/1.1\r\n\r\n")].concat()),
        malformed("H2.CL: a body longer than its length", |r| [r.post(&[("content-length", "5")]), frame(DATA, END_STREAM, 1, b"helloGET /smuggled HTTP/1.1\r\n\r\n")].concat()),
        malformed("H2.CL: a body shorter than its length", |r| [r.post(&[("content-length", "50")]), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        malformed("H2.CL: a length and no body", |r| r.with(&[("content-length", "5")])),
        malformed("H2.CL: two lengths", |r| [r.post(&[("content-length", "5"), ("content-length", "0")]), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        malformed("H2.CL: a list of lengths", |r| [r.post(&[("content-length", "5, 5")]), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        malformed("H2.CL: a length with a plus", |r| [r.post(&[("content-length", "+5")]), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        malformed("H2.CL: a length that is no number", |r| [r.post(&[("content-length", "x")]), frame(DATA, END_STREAM, 1, b"hello")].concat()),
        case("a body of many frames, some empty", |r| [r.post(&[]), frame(DATA, 0, 1, b""), frame(DATA, 0, 1, b"hel"), frame(DATA, 0, 1, b""), frame(DATA, 0, 1, b"lo"), frame(DATA, END_STREAM, 1, b"")].concat(), Answer(200), HELLO),
        case("a trailer that was not announced", |r| [r.post(&[("te", "trailers")]), frame(DATA, 0, 1, b"hello"), frame(HEADERS, WHOLE, 1, &fields(&[("x-own", "y")]))].concat(), Answer(200),
             &["POST /broken [te: trailers, transfer-encoding: chunked] hello"]),
        case("a trailer that was announced", |r| [r.post(&[("trailer", "x-own")]), frame(DATA, 0, 1, b"hello"), frame(HEADERS, WHOLE, 1, &fields(&[("x-own", "y")]))].concat(), Answer(200),
             &["POST /broken [trailer: x-own, transfer-encoding: chunked] hello x-own: y"]),
        case("an identity in a trailer", |r| [r.post(&[("trailer", "x-apple-sub")]), frame(DATA, 0, 1, b"hello"), frame(HEADERS, WHOLE, 1, &fields(&[("x-apple-sub", "spoof"), ("x_apple_sub", "spoof")]))].concat(), Answer(200),
             &["POST /broken [trailer: x-apple-sub, transfer-encoding: chunked] hello"]),
        case("a pseudo-header in a trailer", |r| [r.post(&[]), frame(DATA, 0, 1, b"hello"), frame(HEADERS, WHOLE, 1, &fields(&[(":path", "/smuggled")]))].concat(), Answer(200), HELLO),
        malformed("a trailer that does not end the stream", |r| [r.post(&[]), frame(DATA, 0, 1, b"hello"), frame(HEADERS, END_HEADERS, 1, &fields(&[("x", "y")]))].concat()),
        fatal("a trailer with a line end", |r| [r.post(&[("trailer", "x")]), frame(DATA, 0, 1, b"hello"), frame(HEADERS, WHOLE, 1, &fields(&[("x", "y\r\nX-Apple-Sub: spoof")]))].concat()),
        malformed("a connection-specific trailer", |r| [r.post(&[]), frame(DATA, 0, 1, b"hello"), frame(HEADERS, WHOLE, 1, &fields(&[("transfer-encoding", "chunked")]))].concat()),
    ]
}
