//! Requests behind one another, and what a client says about its connection (RFC 9110 §7.6, §7.8, §10.1.1, RFC 9112 §9.3).

use super::{Case, SMUGGLED, Then::*, case, get_a, message, post};

/// What comes first when HTTP/2 is spoken, and its first frame.
const PREFACE: &str = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[rustfmt::skip] // A table is read as a table.
pub(super) fn upgrades() -> Vec<Case> {
    let ignored = |name: &str, lines: &str| case(name, get_a(lines), &[200], &["GET /a []"], Kept);
    vec![
        ignored("an upgrade to h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        ignored("an upgrade to h2c without settings", "Connection: Upgrade\r\nUpgrade: h2c\r\n"),
        ignored("an upgrade to h2c that the connection does not name", "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        ignored("an upgrade to h2c in capitals", "Connection: UPGRADE\r\nUpgrade: H2C\r\n"),
        ignored("an upgrade to h2c in a list", "Connection: upgrade\r\nUpgrade: websocket, h2c\r\n"),
        ignored("an upgrade to h2c on a second line", "Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"),
        ignored("an upgrade to h2", "Connection: upgrade\r\nUpgrade: h2\r\n"),
        ignored("an upgrade to HTTP/2.0", "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n"),
        ignored("an upgrade to TLS", "Connection: upgrade\r\nUpgrade: TLS/1.0\r\n"),
        ignored("an upgrade to something with bytes above ASCII", "Connection: upgrade\r\nUpgrade: \u{e9}\r\n"),
        ignored("an upgrade to h2c with a NUL's escape", "Connection: upgrade\r\nUpgrade: h2c%00\r\n"),
        ignored("settings of HTTP/2 alone", "HTTP2-Settings: AAMAAABkAAQAAP__\r\n"),
        case("an upgrade beside a body", post("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 5\r\n", "hello"), &[200],
             &["POST /a [content-length: 5] hello"], Kept),
        case("an upgrade beside chunks", post("Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), &[200],
             &["POST /a [transfer-encoding: chunked] hello"], Kept),
        case("an upgrade of HTTP/1.0", format!("{}{SMUGGLED}", get_a("Connection: upgrade\r\nUpgrade: websocket\r\n").replace("/1.1", "/1.0")), &[200], &["GET /a []"], Closed),
        case("an upgrade that the application declines, and a request behind it",
             get_a("Connection: upgrade\r\nUpgrade: websocket\r\n") + &get_a(""), &[200, 200],
             &["GET /a [connection: upgrade, upgrade: websocket]", "GET /a []"], Kept),
        case("HTTP/2 behind an upgrade that is ignored", get_a("Connection: upgrade\r\nUpgrade: h2c\r\n") + PREFACE, &[200], &["GET /a []"], Closed),
        case("HTTP/2 in the middle of a connection", get_a("") + PREFACE, &[200], &["GET /a []"], Closed),
        case("HTTP/2 behind an upgrade that nobody may make", format!("GET /a HTTP/1.1\r\nHost: app.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n{PREFACE}"), &[401], &[], Closed),
        case("half of HTTP/2's first line", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[400], &[], Closed),
    ]
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn nominations() -> Vec<Case> {
    let harmless = |name, lines: &str| case(name, get_a(lines), &[200], &["GET /a []"], Kept);
    let closing = |name, lines: &str| case(name, get_a(lines) + SMUGGLED, &[200], &["GET /a []"], Closed);
    vec![
        harmless("a connection that names the subject", "Connection: x-apple-sub\r\n"),
        harmless("a connection that names everything we say", "Connection: x-apple-sub, x-apple-email, forwarded, x-forwarded-for, x-forwarded-host, x-forwarded-proto, x-forwarded-port, x-request-id\r\n"),
        harmless("a connection that names the host", "Connection: host\r\n"),
        harmless("a connection that names the credential", "Connection: authorization\r\n"),
        harmless("a connection that names what it names", "Connection: connection, connection\r\n"),
        harmless("a connection that names a header of the client's", "Connection: x-own\r\nX-Own: dropped\r\n"),
        harmless("a connection that names another on its second line", "Connection: keep-alive\r\nConnection: x-own\r\nX-Own: dropped\r\n"),
        harmless("a connection that names with odd white space", "Connection: ,, \t x-own ,\r\nX-Own: dropped\r\n"),
        harmless("a connection that names among bytes above ASCII", "Connection: \u{e9}, x-own\r\nX-Own: dropped\r\n"),
        harmless("a header of proxies' own", "Proxy-Connection: close\r\nKeep-Alive: timeout=5\r\nProxy-Authorization: Basic YTpi\r\n"),
        case("a connection that names the length", post("Connection: content-length\r\nContent-Length: 5\r\n", "hello"), &[200], &["POST /a [content-length: 5] hello"], Kept),
        case("a connection that names the transfer coding", post("Connection: transfer-encoding\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n"), &[200],
             &["POST /a [transfer-encoding: chunked] hello"], Kept),
        closing("a connection that closes, and a request", "Connection: close\r\n"),
        closing("a connection that closes, named in capitals", "Connection: CLOSE\r\n"),
        closing("a connection that closes and then lives on", "Connection: close\r\nConnection: keep-alive\r\n"),
        closing("a connection that lives on and closes in one list", "Connection: keep-alive, close\r\n"),
        case("HTTP/1.0, and a request", get_a("").replace("/1.1", "/1.0") + SMUGGLED, &[200], &["GET /a []"], Closed),
        case("HTTP/1.0 that lives on", get_a("Connection: keep-alive\r\n").replace("/1.1", "/1.0"), &[200], &["GET /a []"], Kept),
    ]
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn pipelines() -> Vec<Case> {
    let anonymous = |lines: &str, rest: &str| format!("POST /smuggled HTTP/1.1\r\nHost: app.example\r\n{lines}\r\n{rest}");
    let forged = |lines: &str| format!("GET /smuggled HTTP/1.1\r\nHost: app.example\r\nAuthorization: Bearer a.b.c\r\n{lines}\r\n");
    let inner = format!("Content-Length: {}\r\n", UNJUDGED.len());
    vec![
        case("two good requests", get_a("") + &message("GET /b", "", ""), &[200, 200], &["GET /a []", "GET /b []"], Kept),
        case("a request without a token, then a good one", anonymous("", "") + &get_a(""), &[401, 200], &["GET /a []"], Kept),
        case("a good request, then one without a token", get_a("") + &anonymous("", ""), &[200, 401], &["GET /a []"], Kept),
        case("a good request between two that are not", anonymous("", "") + &get_a("") + &forged(""), &[401, 200, 401], &["GET /a []"], Kept),
        case("ten good requests", get_a("").repeat(10), &[200; 10], &["GET /a []"; 10], Kept),
        case("a token of one request is not that of the next", get_a("") + &forged("") + &anonymous("", ""), &[200, 401, 401], &["GET /a []"], Kept),
        case("a request within the body of a refused one", anonymous(&inner, UNJUDGED) + &get_a(""), &[401, 200], &["GET /a []"], Kept),
        case("a request within a chunk of a refused one", anonymous("Transfer-Encoding: chunked\r\n", &format!("{:x}\r\n{UNJUDGED}\r\n0\r\n\r\n", UNJUDGED.len())) + &get_a(""), &[401, 200], &["GET /a []"], Kept),
        case("a request within a long body of a refused one", anonymous("Content-Length: 300000\r\n", &"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n".repeat(8_000)), &[401], &[], Closed),
        case("a refused request whose body has not come", anonymous("Content-Length: 5000\r\n", UNJUDGED), &[401], &[], Closed),
        case("a refused request whose body was not invited", anonymous(&format!("Expect: 100-continue\r\n{inner}"), UNJUDGED), &[401], &[], Kept),
        case("a request in place of a body that was not invited", anonymous("Expect: 100-continue\r\nContent-Length: 5000\r\n", UNJUDGED), &[401], &[], Closed),
        case("a body that was invited before it came", post("Expect: 100-continue\r\nContent-Length: 5\r\n", "hello"), &[100, 200], &["POST /a [content-length: 5] hello"], Kept),
        case("an invitation in capitals", post("Expect: 100-CONTINUE\r\nContent-Length: 5\r\n", "hello"), &[100, 200], &["POST /a [content-length: 5] hello"], Kept),
        case("an invitation that nobody knows", post("Expect: y 100-continue\r\nContent-Length: 5\r\n", "hello"), &[200], &["POST /a [content-length: 5] hello"], Kept),
        case("an invitation without a body", get_a("Expect: 100-continue\r\n"), &[200], &["GET /a []"], Kept),
        case("an invited body with a request within", post(&format!("Expect: 100-continue\r\n{inner}"), UNJUDGED), &[100, 200],
             &[&format!("POST /a [content-length: {}] {UNJUDGED}", UNJUDGED.len())], Kept),
        case("a good request, then bytes that are none", get_a("") + "\x16\x03\x01" + SMUGGLED, &[200, 400], &["GET /a []"], Closed),
        case("a good request, then half of one", get_a("") + "GET /broken HTTP/1.1\r\nHost: app.example\r\n", &[200], &["GET /a []"], HangUp),
        case("a refused request of a method without a body, with one", message("TRACE /a", &inner, UNJUDGED), &[200],
             &[&format!("TRACE /a [content-length: {}] {UNJUDGED}", UNJUDGED.len())], Kept),
        case("empty lines between two requests", get_a("") + "\r\n\r\n" + &get_a(""), &[200, 200], &["GET /a []", "GET /a []"], Kept),
    ]
}

/// No request, where it stands: if it were read as one, an answer would tell.
const UNJUDGED: &str = "GET /smuggled HTTP/1.1\r\nHost: app.example\r\nX-Apple-Sub: spoof\r\n\r\n";
