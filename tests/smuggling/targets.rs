//! What is asked for: the host, the forms of a target, and paths that two programs read differently (RFC 9112 §3.2).

use super::{Case, SMUGGLED, Then::*, case, message, refused};

#[rustfmt::skip] // A table is read as a table.
pub(super) fn hosts() -> Vec<Case> {
    let with = |lines: &str| format!("GET /a HTTP/1.1\r\n{lines}Authorization: TOKEN\r\n\r\n");
    let host = |host: &str| with(&format!("Host: {host}\r\n"));
    let odd = refused;
    vec![
        case("a host with a port", host("app.example:8080"), &[200], &["GET /a [host: app.example:8080]"], Kept),
        case("an IPv6 host", host("[::1]"), &[200], &["GET /a [host: [::1]]"], Kept),
        odd("no host", with("")),
        odd("an empty host", host("")),
        odd("the same host twice", with("Host: app.example\r\nHost: app.example\r\n")),
        odd("two hosts", with("Host: app.example\r\nHost: smuggled.example\r\n")),
        odd("a second host behind a line ended by LF", with("Host: app.example\r\nX: y\nHost: smuggled.example\r\n")),
        odd("two hosts in a list", host("app.example, smuggled.example")),
        odd("two hosts with a space", host("app.example smuggled.example")),
        odd("a host with a user", host("smuggled@app.example")),
        odd("a host with a path", host("app.example/smuggled")),
        odd("a host with a query", host("app.example?smuggled")),
        odd("a host with a fragment", host("app.example#smuggled")),
        odd("a host with a backslash", host("app.example\\smuggled")),
        odd("a host that is a URL", host("http://app.example")),
        odd("a host in quotes", host("\"app.example\"")),
        odd("a host with angle brackets", host("<app.example>")),
        odd("a host with a byte above ASCII", host("\u{e9}.example")),
        odd("a host with a tab inside", host("app\t.example")),
        odd("half an IPv6 host", host("[::1")),
        odd("two ports", host("app.example:80:80")),
        odd("a port that is no number", host("app.example:http")),
        odd("a port beyond its range", host("app.example:65536")),
        odd("a port with a minus", host("app.example:-1")),
        refused("a space before the colon of a host", with("Host : app.example\r\n")),
        refused("a host behind a space", with("X: y\r\n Host: app.example\r\n")),
        refused("a host with a NUL", host("app.example\0")),
        refused("a host with a bare CR", host("app.example\rHost: smuggled.example")),
        case("HTTP/1.0 without a host", format!("{}{SMUGGLED}", with("").replace("/1.1", "/1.0")), &[400], &[], Closed),
        odd("another spelling of no host", with("X-Host: app.example\r\nX-Forwarded-Host: app.example\r\n")),
    ]
}

#[rustfmt::skip] // A table is read as a table.
pub(super) fn forms() -> Vec<Case> {
    let asks = |start| message(start, "", "");
    let form = |name, start, received: &str| case(name, asks(start), &[200], &[received], Kept);
    let odd = |name, start| refused(name, asks(start));
    vec![
        form("an absolute form", "GET http://app.example/a?b", "GET /a?b []"),
        form("an absolute form for another host, which counts", "GET http://b.example/a", "GET /a [host: b.example]"),
        form("an absolute form with a port", "GET http://app.example:8080/a", "GET /a [host: app.example:8080]"),
        form("an absolute form without a path", "GET http://app.example", "GET / []"),
        form("an absolute form with a query and no path", "GET http://app.example?a", "GET /?a []"),
        form("an absolute form of another scheme", "GET https://app.example/a", "GET /a []"),
        form("an asterisk", "OPTIONS *", "OPTIONS * []"),
        form("a path that begins with two slashes", "GET //smuggled.example/a", "GET //smuggled.example/a []"),
        form("a URL for a path", "GET /http://app.example/", "GET /http://app.example/ []"),
        form("a URL in a query", "GET /a?http://app.example/", "GET /a?http://app.example/ []"),
        odd("an absolute form with a user", "GET http://smuggled@app.example/a"),
        odd("an absolute form with a port that is none", "GET http://app.example:x/a"),
        odd("an asterisk for another method than OPTIONS", "GET *"),
        odd("an asterisk with a query", "OPTIONS *?a"),
        odd("a host for a target", "GET app.example"),
        odd("a host and a port for a target", "GET app.example:80"),
        odd("a query for a target", "GET ?a"),
        refused("an absolute form beside two hosts", message("GET http://app.example/a", "Host: app.example\r\n", "")),
        refused("an absolute form without a host line", "GET http://app.example/a HTTP/1.1\r\nAuthorization: TOKEN\r\n\r\n"),
        refused("an absolute form beside a host that is none", "GET http://app.example/a HTTP/1.1\r\nHost: a b\r\nAuthorization: TOKEN\r\n\r\n"),
        case("CONNECT to the application", asks("CONNECT app.example:80"), &[501], &[], Closed),
        case("CONNECT to somebody else, and a request", asks("CONNECT smuggled.example:80") + SMUGGLED, &[501], &[], Closed),
        case("CONNECT to a path", asks("CONNECT /a"), &[501], &[], Closed),
        refused("a path without a slash", asks("GET a/b")),
        refused("an absolute form without a host", asks("GET http:///a")),
        refused("an absolute form of nothing", asks("GET http://")),
        refused("two hosts in an absolute form", asks("GET http://app.example:80:80/a")),
        refused("a backslash for a target", asks("GET \\a")),
    ]
}

/// Paths that pass as they are where all requests are under one rule.
#[rustfmt::skip] // A table is read as a table.
pub(super) fn under_one_rule() -> Vec<Case> {
    let mut cases: Vec<_> = CONFUSED
        .iter()
        .map(|path| {
            let start = format!("GET {path}");
            case(format!("one rule: {path}"), message(&start, "", ""), &[200], &[&format!("{start} []")], Kept)
        })
        .collect();
    cases.extend([
        case("one rule: a fragment", message("GET /a#/../b", "", ""), &[200], &["GET /a []"], Kept),
        refused("one rule: a NUL", message("GET /a\0", "", "")),
        refused("one rule: a control character", message("GET /a\x01", "", "")),
        refused("one rule: a DEL", message("GET /a\x7f", "", "")),
        refused("one rule: bytes that are no UTF-8", message("GET /a\u{ff}", "", "")),
        refused("one rule: a control character in the query", message("GET /a?\x01", "", "")),
    ]);
    cases
}

/// Who may see more than others, so that it matters which path a path is.
pub(super) const DIFFERING_RULES: &str = r#"
    [[route]]
    path = "/open/*"
    [[route]]
    path = "/admin/*"
    policy = { allow_subjects = ["somebody.else"] }
"#;

pub(super) fn under_differing_rules() -> Vec<Case> {
    let mut cases: Vec<_> = CONFUSED
        .iter()
        .map(|path| {
            let sent = message(&format!("GET {path}"), "", "");
            refused(format!("differing rules: {path}"), sent)
        })
        .collect();
    let plain = message("GET /open/%20-%7Ea?..//%2f", "", "");
    cases.push(case(
        "differing rules: nothing special",
        plain,
        &[200],
        &["GET /open/%20-%7Ea?..//%2f []"],
        Kept,
    ));
    let fragment = message("GET /open/#/../admin", "", "");
    cases.push(case("differing rules: a fragment", fragment, &[200], &["GET /open/ []"], Kept));
    cases.push(case(
        "differing rules: the path that is not open",
        message("GET /admin/a", "", ""),
        &[403],
        &[],
        Kept,
    ));
    cases
}

/// Paths in which two programs may see two paths.
const CONFUSED: [&str; 30] = [
    "/open/../admin/a",
    "/open/./../admin/a",
    "/open/%2e%2e/admin/a",
    "/open/%2E%2E/admin/a",
    "/open/.%2e/admin/a",
    "/open/%2e%2e%2fadmin/a",
    "/open/..%2fadmin/a",
    "/open/..%5cadmin/a",
    "/open\\..\\admin/a",
    "/open/..;/admin/a",
    "/open/..;a=b/admin/a",
    "/open/%2e%2e;/admin/a",
    "/open/%252e%252e/admin/a",
    "/open/%252fadmin",
    "/open/%00/../admin",
    "/open/a%00.png",
    "/open/%0d%0aX-Apple-Sub:%20spoof",
    "/open/%c0%ae%c0%ae/admin",
    "/open/%ef%bc%8e%ef%bc%8e/admin",
    "/open/%u002e%u002e/admin",
    "/open/%3f/../admin",
    "/open/a%23b",
    "/open/%",
    "/open//",
    "//admin/a",
    "/./admin/a",
    "/%61dmin/a",
    "/admin%2fa",
    "/admin;/a",
    "/admin\\a",
];
