//! Headers that concern one connection only: RFC 9110 §7.6.1.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CONNECTION, TE},
};

/// Whether a header concerns one connection only: RFC 9110 §7.6.1 (§18.4 for `Close`), and the older names of RFC 2616
/// §13.5.1.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "close"
            | "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Removes what every line of `Connection` names, and what always concerns one connection only. `TE: trailers` stays: it
/// is a promise about trailers, which we forward. Whether any of those that only `Connection` names were there.
pub(super) fn remove_hop_by_hop(headers: &mut HeaderMap) -> bool {
    let mut found = headers.keys().filter(|name| is_hop_by_hop(name));
    let Some(first) = found.next() else { return false };
    // Most answers have this one, and nothing in it that does not go anyway.
    if *first == CONNECTION && found.next().is_none() && names_nothing(headers) {
        headers.remove(CONNECTION);
        return false;
    }
    let takes_trailers = headers.get_all(TE).iter().any(names_trailers);
    let mut nominated = false;
    for name in nominated_in(headers) {
        nominated |= headers.remove(&name).is_some() && !is_hop_by_hop(&name);
    }
    while let Some(name) = headers.keys().find(|name| is_hop_by_hop(name)).cloned() {
        headers.remove(name);
    }
    if takes_trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    nominated
}

/// Whether `Connection` is one word in one line that [`is_common`].
fn names_nothing(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(CONNECTION).iter();
    lines.next().is_some_and(|line| is_common(line.as_bytes())) && lines.next().is_none()
}

/// Whether `name` is one of the two words that nearly every `Connection` line consists of: they name nothing, or what goes
/// anyway.
fn is_common(name: &[u8]) -> bool {
    matches!(name, b"close" | b"keep-alive")
}

/// What the lines of `Connection` name. Byte by byte: a line that is no text still names what it names.
fn nominated_in(headers: &HeaderMap) -> Vec<HeaderName> {
    let lines = headers.get_all(CONNECTION).iter();
    let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = names.map(<[u8]>::trim_ascii).filter(|name| !is_common(name));
    names.filter_map(|name| HeaderName::from_bytes(name).ok()).collect()
}

fn names_trailers(line: &HeaderValue) -> bool {
    let codings = line.to_str().unwrap_or_default().split(',');
    codings.into_iter().any(|coding| coding.trim().eq_ignore_ascii_case("trailers"))
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::headers, *};

    fn names(map: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = map.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn every_connection_line_is_heard() {
        let mut map = headers(&[
            ("connection", "close, X-One"),
            ("connection", "x-two"),
            ("x-one", "1"),
            ("x-two", "2"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("http2-settings", "x"),
            ("transfer-encoding", "chunked"),
            ("accept", "*/*"),
        ]);
        remove_hop_by_hop(&mut map);
        assert_eq!(names(&map), ["accept"]);
    }

    #[test]
    fn of_te_only_trailers_goes_on() {
        let mut map = headers(&[("te", "gzip;q=0.5, Trailers"), ("connection", "te")]);
        remove_hop_by_hop(&mut map);
        assert_eq!(map[TE], "trailers");
        let mut map = headers(&[("te", "gzip")]);
        remove_hop_by_hop(&mut map);
        assert!(map.is_empty());
    }
}
