//! The head: its lines, its size, and the identity headers in it (RFC 9112 §2, §3, §5).

use super::{Case, SMUGGLED, Then::*, case, get_a, message, refused};

#[rustfmt::skip] // A table is read as a table.
pub(super) fn lines() -> Vec<Case> {
    let start = |line: &str| format!("{line}\r\nHost: app.example\r\nAuthorization: TOKEN\r\n\r\n");
    vec![
        case("nothing special", get_a(""), &[200], &["GET /a []"], Kept),
        case("empty lines before the request", format!("\r\n\r\n{}", get_a("")), &[200], &["GET /a []"], Kept),
        case("every line ended by LF", get_a("").replace("\r\n", "\n"), &[200], &["GET /a []"], Kept),
        case("a line ended by LF among others", get_a("X: y\nZ: z\r\n"), &[200], &["GET /a [x: y, z: z]"], Kept),
        case("a value with bytes above ASCII", get_a("X: \u{e9}\u{ff}\r\n"), &[200], &["GET /a [x: \u{fffd}\u{fffd}]"], Kept),
        case("an empty value", get_a("X:\r\n"), &[200], &["GET /a [x: ]"], Kept),
        case("a method of one's own", message("SMUGGLE /a", "", ""), &[200], &["SMUGGLE /a []"], Kept),
        case("a method in lower case", message("get /a", "", ""), &[200], &["get /a []"], Kept),
        refused("every line ended by CR", get_a("").replace("\r\n", "\r")),
        refused("a bare CR within a value", get_a("X: a\rb\r\n")),
        refused("a bare CR behind a value", get_a("X: a\r\r\n")),
        refused("a bare CR at the start of a line", get_a("\rX: a\r\n")),
        refused("a NUL within a value", get_a("X: a\0b\r\n")),
        refused("a control character within a value", get_a("X: a\x01b\r\n")),
        refused("a DEL within a value", get_a("X: a\x7fb\r\n")),
        refused("a line folded by a space", get_a("X: a\r\n b\r\n")),
        refused("a line folded by a tab", get_a("X: a\r\n\tb\r\n")),
        refused("white space before the first line", start("GET /a HTTP/1.1\r\n X: a")),
        refused("a space before the colon", get_a("X : a\r\n")),
        refused("a tab before the colon", get_a("X\t: a\r\n")),
        refused("a line without a colon", get_a("smuggled\r\n")),
        refused("a line without a name", get_a(": a\r\n")),
        refused("a name with a space inside", get_a("X Y: a\r\n")),
        refused("a name with a parenthesis", get_a("X(: a\r\n")),
        refused("a name with a NUL", get_a("X\0: a\r\n")),
        refused("a name with a byte above ASCII", get_a("X\u{e9}: a\r\n")),
        refused("a name in quotes", get_a("\"X\": a\r\n")),
        refused("a space before the method", start(" GET /a HTTP/1.1")),
        refused("two spaces before the target", start("GET  /a HTTP/1.1")),
        refused("two spaces behind the target", start("GET /a  HTTP/1.1")),
        refused("a tab behind the method", start("GET\t/a HTTP/1.1")),
        refused("a tab behind the target", start("GET /a\tHTTP/1.1")),
        refused("a space behind the version", start("GET /a HTTP/1.1 ")),
        refused("a space within the target", start("GET /a b HTTP/1.1")),
        refused("a bare CR within the request line", start("GET /a\rb HTTP/1.1")),
        refused("a method with a colon", start("GET: /a HTTP/1.1")),
        refused("a method with a NUL", start("GE\0T /a HTTP/1.1")),
        refused("no method", start("/a HTTP/1.1")),
        refused("no target", start("GET HTTP/1.1")),
        refused("no version, as in HTTP/0.9", start("GET /a")),
        refused("HTTP/0.9 by name", start("GET /a HTTP/0.9")),
        refused("HTTP/1.2", start("GET /a HTTP/1.2")),
        refused("HTTP/1.10", start("GET /a HTTP/1.10")),
        refused("HTTP/01.1", start("GET /a HTTP/01.1")),
        refused("HTTP/1,1", start("GET /a HTTP/1,1")),
        refused("http/1.1 in lower case", start("GET /a http/1.1")),
        refused("a version with a space", start("GET /a HTTP /1.1")),
        refused("HTTP/3.0", start("GET /a HTTP/3.0")),
        refused("another protocol", start("GET /a ICAP/1.1")),
    ]
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn sizes() -> Vec<Case> {
    let too_large = |name, sent: String, status| case(name, sent + SMUGGLED, status, &[], Closed);
    vec![
        too_large("a path beyond 64 KiB", message(&format!("GET /{}", "a".repeat(65_600)), "", ""), &[431]),
        too_large("a query beyond 64 KiB", message(&format!("GET /a?{}", "a".repeat(65_600)), "", ""), &[431]),
        too_large("one line beyond 64 KiB", get_a(&format!("X: {}\r\n", "x".repeat(65_600))), &[431]),
        too_large("a name beyond 64 KiB", get_a(&format!("{}: x\r\n", "x".repeat(65_600))), &[431]),
        too_large("many lines beyond 64 KiB", get_a(&format!("X: {}\r\n", "x".repeat(1_000)).repeat(70)), &[431]),
        too_large("more lines than there may be", get_a(&"X: y\r\n".repeat(200)), &[431]),
        too_large("a method beyond 64 KiB", message(&format!("{} /a", "A".repeat(65_600)), "", ""), &[431]),
    ]
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn spoofs() -> Vec<Case> {
    let stripped = |name, lines: &str| case(name, get_a(lines), &[200], &["GET /a []"], Kept);
    vec![
        stripped("a spoof", "X-Apple-Sub: spoof\r\n"),
        stripped("a spoof in capitals", "X-APPLE-SUB: spoof\r\n"),
        stripped("a spoof with underscores", "X_Apple_Sub: spoof\r\n"),
        stripped("a spoof with a dot", "X.Apple.Sub: spoof\r\n"),
        stripped("an empty spoof", "X-Apple-Sub:\r\n"),
        stripped("a spoof without white space", "X-Apple-Sub:spoof\r\n"),
        stripped("a spoof behind much white space", "X-Apple-Sub: \t\t spoof \t\r\n"),
        stripped("a spoof twice", "X-Apple-Sub: spoof\r\nx-apple-sub: spoof\r\n"),
        stripped("a spoof of bytes above ASCII", "X-Apple-Sub: \u{e9}\r\n"),
        stripped("a spoofed client address", "X-Forwarded-For: spoof\r\nForwarded: for=spoof\r\nX-Real-IP: spoof\r\n"),
        stripped("a spoofed request id", "X-Request-Id: spoof\r\n"),
        stripped("a spoofed proxy, which CGI would believe", "Proxy: http://spoof.example\r\n"),
        case("a spoof behind a line ended by LF", get_a("X: y\nX-Apple-Sub: spoof\r\n"), &[200], &["GET /a [x: y]"], Kept),
        refused("a spoof behind a bare CR", get_a("X: y\rX-Apple-Sub: spoof\r\n")),
        refused("a spoof on a folded line", get_a("X: y\r\n X-Apple-Sub: spoof\r\n")),
        refused("a spoof with a space before the colon", get_a("X-Apple-Sub : spoof\r\n")),
        refused("a spoof with a tab before the colon", get_a("X-Apple-Sub\t: spoof\r\n")),
        refused("a spoof with a NUL in its name", get_a("X-Apple-Sub\0: spoof\r\n")),
        refused("a spoof with a byte above ASCII in its name", get_a("X\u{ad}Apple-Sub: spoof\r\n")),
        refused("a spoof on a line before the first", get_a("").replacen("\r\n", "\r\n X-Apple-Sub: spoof\r\n", 1)),
        refused("a folded spoof", get_a("X-Apple-Sub: spo\r\n of\r\n")),
        case("two credentials", get_a("Authorization: TOKEN\r\n"), &[400], &[], Kept),
        case("a second credential of another kind", get_a("Authorization: Basic YTpi\r\n"), &[400], &[], Kept),
    ]
}
