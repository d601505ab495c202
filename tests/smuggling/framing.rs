//! Where a body ends: lengths, transfer codings, chunks, trailers (RFC 9112 §6, §7).

use super::{Case, SMUGGLED, Then::*, case, message, post, refused};

/// A request of five bytes, as it arrives.
const HELLO: &str = "POST /a [content-length: 5] hello";

#[rustfmt::skip] // A table is read as a table.
pub(super) fn lengths() -> Vec<Case> {
    let with = |lines: &str| post(lines, "hello");
    let value = |value: &str| post(&format!("Content-Length: {value}\r\n"), "hello");
    vec![
        case("one length", value("5"), &[200], &[HELLO], Kept),
        case("white space around a length", value(" \t 5 \t "), &[200], &[HELLO], Kept),
        case("zeros before a length", value("0005"), &[200], &[HELLO], Kept),
        case("the same length twice", with("Content-Length: 5\r\nContent-Length: 5\r\n"), &[200], &[HELLO], Kept),
        refused("two lengths, the shorter first", with("Content-Length: 5\r\nContent-Length: 50\r\n")),
        refused("two lengths, the longer first", with("Content-Length: 50\r\nContent-Length: 5\r\n")),
        refused("a length and zero", with("Content-Length: 0\r\nContent-Length: 5\r\n")),
        refused("a length and an empty one", with("Content-Length: 5\r\nContent-Length:\r\n")),
        refused("a list of one length twice", value("5, 5")),
        refused("a list of two lengths", value("5, 6")),
        refused("a list with an empty element", value("5,")),
        refused("a length with a plus", value("+5")),
        refused("a length with a minus", value("-5")),
        refused("a negative zero", value("-0")),
        refused("a hexadecimal length", value("0x5")),
        refused("a length with a letter", value("5a")),
        refused("a length with a space inside", value("5 5")),
        refused("a length with a fraction", value("5.0")),
        refused("a length with an exponent", value("5e0")),
        refused("a length with an underscore", value("1_0")),
        refused("a length in quotes", value("\"5\"")),
        refused("a length with a parameter", value("5;q=1")),
        refused("a length in Arabic digits", value("\u{d9}\u{a5}")),
        refused("a superscript length", value("\u{b2}")),
        refused("a length with a vertical tab", value("5\x0b")),
        refused("a length with a form feed", value("\x0c5")),
        refused("a length with a NUL", value("5\0")),
        refused("a length with a no-break space", value("\u{a0}5")),
        refused("an empty length", value("")),
        refused("a length beyond 64 bits", value("18446744073709551621")),
        refused("a length beyond 128 bits", value("340282366920938463463374607431768211461")),
        case("the longest length there is", value("18446744073709551615"), &[431], &[], Closed),
        case("a body shorter than its length", message("POST /broken", "Content-Length: 50\r\n", "hello"), &[400], &[], HangUp),
        case("a request within a body", post(&format!("Content-Length: {SMUGGLED_LENGTH}\r\n"), UNSIGNED), &[200],
             &[&format!("POST /a [content-length: {SMUGGLED_LENGTH}] {UNSIGNED}")], Kept),
        case("a GET with a request for a body", message("GET /a", &format!("Content-Length: {SMUGGLED_LENGTH}\r\n"), UNSIGNED), &[200],
             &[&format!("GET /a [content-length: {SMUGGLED_LENGTH}] {UNSIGNED}")], Kept),
        case("a length of zero and a body that is no request", post("Content-Length: 0\r\n", "\x01hello"), &[200, 400],
             &["POST /a [content-length: 0]"], Closed),
        case("no length and a body that is no request", post("", "\x01hello"), &[200, 400], &["POST /a [content-length: 0]"], Closed),
        case("another spelling of a length", post("Content_Length: 5\r\n", ""), &[200], &["POST /a [content-length: 0]"], Kept),
        case("a length that a line ended by LF hides", post("X: y\nContent-Length: 5\r\n", "hello"), &[200],
             &["POST /a [content-length: 5, x: y] hello"], Kept),
        case("HTTP/1.0 with a length, and a request behind it",
             format!("POST /a HTTP/1.0\r\nHost: app.example\r\nAuthorization: TOKEN\r\nContent-Length: 5\r\n\r\nhello{SMUGGLED}"),
             &[200], &[HELLO], Closed),
    ]
}

/// No request, where it stands: if it were read as one, an answer would tell.
const UNSIGNED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
const SMUGGLED_LENGTH: usize = UNSIGNED.len();

#[rustfmt::skip] // A table is read as a table.
pub(super) fn codings() -> Vec<Case> {
    let with = |lines: &str| post(lines, "5\r\nhello\r\n0\r\n\r\n");
    let value = |value: &str| with(&format!("Transfer-Encoding: {value}\r\n"));
    let both = |value: &str| with(&format!("Content-Length: 5\r\nTransfer-Encoding: {value}\r\n"));
    let foreign = |name, sent: String| case(name, sent + SMUGGLED, &[501], &[], Closed);
    vec![
        case("chunked", value("chunked"), &[200], &[CHUNKED], Kept),
        case("chunked in capitals", value("CHUNKED"), &[200], &[CHUNKED], Kept),
        case("white space around chunked", value(" \tchunked\t "), &[200], &[CHUNKED], Kept),
        case("CL.TE: a length that covers the request behind the last chunk",
             post(&format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", 15 + SMUGGLED.len()), &format!("5\r\nhello\r\n0\r\n\r\n{SMUGGLED}")),
             &[200], &[CHUNKED], Closed),
        case("TE.CL: a length that ends within the first chunk",
             post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &format!("{SMUGGLED_LENGTH:x}\r\n{UNSIGNED}\r\n0\r\n\r\n")),
             &[200], &[&format!("POST /a [transfer-encoding: chunked] {UNSIGNED}")], Closed),
        case("a length of zero beside chunked", with("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), &[200], &[CHUNKED], Closed),
        case("chunked between two lengths", with("Content-Length: 5\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n") + SMUGGLED, &[200], &[CHUNKED], Closed),
        case("a length that is none behind chunked", with("Transfer-Encoding: chunked\r\nContent-Length: x\r\n") + SMUGGLED, &[200], &[CHUNKED], Closed),
        refused("a length that is none before chunked", with("Content-Length: x\r\nTransfer-Encoding: chunked\r\n")),
        case("TE.0: a request within a chunk", message("OPTIONS /a", "Transfer-Encoding: chunked\r\n", &format!("{SMUGGLED_LENGTH:X}\r\n{UNSIGNED}\r\n0\r\n\r\n")),
             &[200], &[&format!("OPTIONS /a [transfer-encoding: chunked] {UNSIGNED}")], Kept),
        case("a GET with chunks", message("GET /a", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), &[200], &["GET /a [transfer-encoding: chunked] hello"], Kept),
        refused("TE.TE: xchunked", both("xchunked")),
        refused("TE.TE: chunkedx", both("chunkedx")),
        refused("TE.TE: identity", both("identity")),
        refused("TE.TE: gzip alone", both("gzip")),
        refused("TE.TE: nothing", both("")),
        refused("TE.TE: chunked not last", both("chunked, identity")),
        refused("TE.TE: chunked before an empty element", both("chunked,")),
        refused("TE.TE: chunked with a parameter", both("chunked;q=1")),
        refused("TE.TE: chunked with a semicolon", both("chunked;")),
        refused("TE.TE: chunked in quotes", both("\"chunked\"")),
        refused("TE.TE: chunked in single quotes", both("'chunked'")),
        refused("TE.TE: chunked by a space, not a comma", both("identity chunked")),
        refused("TE.TE: chunked behind a vertical tab", both("\x0bchunked")),
        refused("TE.TE: chunked before a vertical tab", both("chunked\x0b")),
        refused("TE.TE: chunked behind a form feed", both("\x0cchunked")),
        refused("TE.TE: chunked before a NUL", both("chunked\0")),
        refused("TE.TE: chunked behind a no-break space", both("\u{a0}chunked")),
        refused("TE.TE: chunked with a long s", both("chunk\u{e9}d")),
        refused("TE.TE: chunked on a folded line", both("\r\n chunked")),
        refused("TE.TE: chunked, folded and empty", both("chunked\r\n ")),
        refused("TE.TE: a bare CR behind chunked", both("chunked\rx")),
        refused("TE.TE: a space before the colon", with("Transfer-Encoding : chunked\r\n")),
        refused("TE.TE: a tab before the colon", with("Transfer-Encoding\t: chunked\r\n")),
        refused("TE.TE: a NUL before the colon", with("Transfer-Encoding\0: chunked\r\n")),
        refused("TE.TE: a space before the name", with("X: y\r\n Transfer-Encoding: chunked\r\n")),
        refused("TE.TE: a vertical tab before the name", with("\x0bTransfer-Encoding: chunked\r\n")),
        refused("TE.TE: a byte above ASCII in the name", with("Transfer\u{ad}-Encoding: chunked\r\n")),
        refused("TE.TE: a bare CR before the name", with("X: y\rTransfer-Encoding: chunked\r\n")),
        refused("TE.TE: no colon", with("Transfer-Encoding chunked\r\n")),
        refused("TE.TE: chunked, then identity, on two lines", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n")),
        refused("TE.TE: chunked, then cow, on two lines", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow\r\n")),
        foreign("TE.TE: identity, then chunked, on two lines", with("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n")),
        foreign("TE.TE: chunked on two lines", with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")),
        foreign("TE.TE: chunked twice in a list", value("chunked, chunked")),
        foreign("TE.TE: identity, then chunked", value("identity, chunked")),
        foreign("TE.TE: gzip, then chunked", value("gzip, chunked")),
        foreign("TE.TE: an empty element, then chunked", value(", chunked")),
        foreign("TE.TE: a coding with a vertical bar, then chunked", value("a|b, chunked")),
        foreign("CL.TE: gzip, then chunked, beside a length", both("gzip, chunked")),
        case("TE.TE: a line ended by LF before it", with("Content-Length: 5\r\nX: y\nTransfer-Encoding: chunked\r\n") + SMUGGLED, &[200],
             &["POST /a [transfer-encoding: chunked, x: y] hello"], Closed),
        case("another spelling of chunked, and a length", post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "0\r\n\r\n"), &[200],
             &["POST /a [content-length: 5] 0\r\n\r\n"], Kept),
        case("chunked in TE is a wish and no framing", post("TE: chunked\r\nContent-Length: 5\r\n", "hello"), &[200], &[HELLO], Kept),
        refused("HTTP/1.0 with chunks", with("Transfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0")),
        refused("HTTP/1.0 with chunks and a length", both("chunked").replace("HTTP/1.1", "HTTP/1.0")),
        refused("HTTP/1.0 with chunks, kept alive", with("Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n").replace("HTTP/1.1", "HTTP/1.0")),
    ]
}

const CHUNKED: &str = "POST /a [transfer-encoding: chunked] hello";

#[rustfmt::skip] // A table is read as a table.
pub(super) fn chunks() -> Vec<Case> {
    let chunks = |body: &str| post("Transfer-Encoding: chunked\r\n", body);
    let size = |size: &str| chunks(&format!("{size}\r\nhello\r\n0\r\n\r\n"));
    let broken = |name: &str, body: &str| {
        let sent = message("POST /broken", "Transfer-Encoding: chunked\r\n", body);
        case(name, sent + SMUGGLED, &[400], &[], Closed)
    };
    let bad = |name, size: &str| broken(name, &format!("{size}\r\nhello\r\n0\r\n\r\n"));
    vec![
        case("a size with zeros before it", size("0000000005"), &[200], &[CHUNKED], Kept),
        case("a size in capitals", chunks("A\r\n0123456789\r\n0\r\n\r\n"), &[200], &["POST /a [transfer-encoding: chunked] 0123456789"], Kept),
        case("a last chunk of several zeros", chunks("5\r\nhello\r\n0000\r\n\r\n"), &[200], &[CHUNKED], Kept),
        case("an extension", size("5;a=b"), &[200], &[CHUNKED], Kept),
        case("an extension that looks like chunks", size("5;a=\"0\\r\\n\""), &[200], &[CHUNKED], Kept),
        case("an extension that is a bare semicolon", size("5;"), &[200], &[CHUNKED], Kept),
        case("an extension on the last chunk", chunks("5\r\nhello\r\n0;a=b\r\n\r\n"), &[200], &[CHUNKED], Kept),
        case("a space behind a size", size("5 "), &[200], &[CHUNKED], Kept),
        case("a tab and an extension behind a size", size("5\t;a"), &[200], &[CHUNKED], Kept),
        case("a request in two chunks", chunks(&format!("4\r\nGET \r\n{:x}\r\n{}\r\n0\r\n\r\n", SMUGGLED_LENGTH - 4, &UNSIGNED[4..])), &[200],
             &[&format!("POST /a [transfer-encoding: chunked] {UNSIGNED}")], Kept),
        bad("a size with 0x", "0x5"),
        bad("a size with a plus", "+5"),
        bad("a size with a minus", "-5"),
        bad("a space before a size", " 5"),
        bad("a size with a space inside", "0 5"),
        bad("a size with an underscore", "0_5"),
        bad("a size with a NUL", "5\0"),
        bad("a size with a vertical tab", "5\x0b"),
        bad("a size that is no number", "g"),
        bad("a size with a letter too many", "5g"),
        bad("a size in quotes", "\"5\""),
        bad("a size with a comma", "5,5"),
        bad("no size", ""),
        bad("no size but an extension", ";a=b"),
        bad("a size beyond 64 bits", "10000000000000005"),
        bad("a size that wraps to five", "fffffffffffffffff5"),
        bad("an LF within an extension", "5;a\nb"),
        bad("a CR within an extension", "5;a\rb"),
        bad("a second CR behind a size", "5\r"),
        bad("an LF before the line's end", "5\n"),
        bad("an extension longer than all extensions may be", &format!("5;{}", "x".repeat(20_000))),
        broken("extensions longer together than they may be", &format!("{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "x".repeat(900)).repeat(20))),
        broken("a size ended by LF", "5\nhello\r\n0\r\n\r\n"),
        broken("a size ended by CR", "5\rhello\r\n0\r\n\r\n"),
        broken("data without a line end", "5\r\nhello0\r\n\r\n"),
        broken("data ended by LF", "5\r\nhello\n0\r\n\r\n"),
        broken("data ended by CR", "5\r\nhello\r0\r\n\r\n"),
        broken("data longer than its size", "5\r\nhelloXX0\r\n\r\n"),
        broken("data of which two bytes stand for the line end", "3\r\nhello\r\n0\r\n\r\n"),
        broken("a last chunk ended by LF", "5\r\nhello\r\n0\n\n"),
        broken("a last chunk without an empty line, and a request", "5\r\nhello\r\n0\r\n"),
        broken("a last chunk with a minus", "5\r\nhello\r\n-0\r\n\r\n"),
        case("chunks that do not end", message("POST /broken", "Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n"), &[400], &[], HangUp),
        case("a chunk that does not end", message("POST /broken", "Transfer-Encoding: chunked\r\n", "50\r\nhello"), &[400], &[], HangUp),
    ]
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn trailers() -> Vec<Case> {
    let with = |path, trailers: &str| {
        let names = "Transfer-Encoding: chunked\r\nTE: trailers\r\nTrailer: X-Own, Content-Length, Transfer-Encoding, Host, X-Apple-Sub, Authorization, Connection\r\n";
        message(path, names, &format!("5\r\nhello\r\n0\r\n{trailers}\r\n"))
    };
    let dropped = |name, trailers: &str| {
        case(name, with("POST /a", trailers), &[200], &[BARE], Kept)
    };
    let broken = |name, trailers: &str| {
        case(name, with("POST /broken", trailers) + SMUGGLED, &[400], &[], Closed)
    };
    vec![
        case("a trailer of one's own", with("POST /a", "X-Own: kept\r\n"), &[200], &[&format!("{BARE} x-own: kept")], Kept),
        dropped("a length in a trailer", "Content-Length: 50\r\n"),
        dropped("a transfer coding in a trailer", "Transfer-Encoding: identity\r\n"),
        dropped("a host in a trailer", "Host: evil.example\r\n"),
        dropped("an identity in a trailer", "X-Apple-Sub: spoof\r\n"),
        dropped("an identity in another spelling in a trailer", "X_Apple_Sub: spoof\r\n"),
        dropped("a credential in a trailer", "Authorization: Bearer spoof\r\n"),
        dropped("a Connection line in a trailer", "Connection: x-own\r\nX-Own: dropped\r\n"),
        broken("a trailer without a colon", "spoof\r\n"),
        broken("a request for a trailer", "GET /smuggled HTTP/1.1\r\n"),
        broken("a trailer with a space before the colon", "X-Own : x\r\n"),
        broken("a folded trailer", "X-Own: x\r\n X-Apple-Sub: spoof\r\n"),
        broken("a trailer with a bare CR", "X-Own: x\rX-Apple-Sub: spoof\r\n"),
        broken("a trailer with a NUL", "X-Own: x\0\r\n"),
        broken("more trailers than there may be", &"X-Own: x\r\n".repeat(200)),
        broken("trailers longer than they may be", &format!("X-Own: {}\r\n", "x".repeat(100_000))),
    ]
}

/// A request with trailers that did not come.
const BARE: &str = "POST /a [te: trailers, trailer: X-Own, Content-Length, Transfer-Encoding, Host, X-Apple-Sub, Authorization, Connection, transfer-encoding: chunked] hello";
