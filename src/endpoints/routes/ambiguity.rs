//! Paths that two programs may read differently: where routes differ in who may pass, such a path could be judged as one
//! and answered as another.

/// The bytes of `segment` with its escapes resolved once (RFC 3986 §2.1); a `%` that begins no escape stays.
pub(super) fn decoded(segment: &str) -> impl Iterator<Item = u8> {
    let mut rest = segment.as_bytes();
    std::iter::from_fn(move || {
        let (byte, left) = match rest {
            [b'%', high, low, left @ ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, left),
                _ => (b'%', rest.get(1..)?),
            },
            [byte, left @ ..] => (*byte, left),
            [] => return None,
        };
        rest = left;
        Some(byte)
    })
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// Why two programs may read `path` differently, if they may. Each reason is a way in which some server has been led past
/// the rules of the one in front of it:
///
/// 1. `\` is `/` to some;
/// 2. `;` begins parameters, which some cut off;
/// 3. what is not ASCII has several encodings;
/// 4. an empty segment (`//`) is dropped by some, and so are `.` and `..` (RFC 3986 §5.2.4 drops them, HTTP does not);
/// 5. an escape is resolved by some and not by others, or twice: that of a byte which has a meaning is refused, and the
///    others pass ([`ambiguous_escape`]);
/// 6. bytes that are no UTF-8 once the escapes are resolved (overlong forms among them) are read by some as what they
///    were meant to hide; and so are the wide forms of `.`, `/` and `\`, which some replace by the plain ones.
///
/// A trailing `/` and the case of letters are differences that applications make on purpose: rules must say what they mean.
pub(super) fn ambiguity_of(path: &str) -> Option<&'static str> {
    if path.contains('\\') {
        return Some("the path has a backslash");
    }
    if path.contains(';') {
        return Some("the path has a semicolon");
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some("the path is not ASCII");
    }
    if path.contains("//") {
        return Some("the path has an empty segment");
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Some("the path has a dot segment");
    }
    path.contains('%').then(|| escapes(path)).flatten()
}

fn escapes(path: &str) -> Option<&'static str> {
    for after in path.split('%').skip(1) {
        let Some(byte) = escaped_by(after) else {
            return Some("the path has a `%` that begins no escape");
        };
        // `%2541` is `%41` to those who resolve once, and `A` to those who do it twice.
        let is_twofold = byte == b'%' && after.get(2..).and_then(escaped_by).is_some();
        if is_twofold || ambiguous_escape(byte) {
            return Some("the path has an escape that some resolve and some do not");
        }
    }
    let Ok(text) = String::from_utf8(decoded(path).collect()) else {
        return Some("the path is not UTF-8");
    };
    text.contains(['．', '／', '＼', '。', '｡', '﹨', '﹒', '\u{2024}', '\u{2044}', '\u{2215}'])
        .then_some("the path has another form of a dot, slash or backslash")
}

/// The byte that the two digits at the start of `text` stand for.
fn escaped_by(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [high, low, ..] => Some(hex(*high)? << 4 | hex(*low)?),
        _ => None,
    }
}

/// Whether an escape of `byte` can change what a path means: separators, dots, what begins a query, a fragment or
/// parameters, control characters; and letters and digits, which nobody need escape,
/// so that who does has something to hide. `-`, `_` and `~` need no escape either, but are in no way special, and
/// some clients escape them.
const fn ambiguous_escape(byte: u8) -> bool {
    byte.is_ascii_control()
        || byte.is_ascii_alphanumeric()
        || matches!(byte, b'/' | b'\\' | b'.' | b';' | b'?' | b'#')
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every way to be ambiguous.
    pub(in super::super) const AMBIGUOUS: [&str; 52] = [
        "/.",
        "/..",
        "/./",
        "/../",
        "/a/.",
        "/a/..",
        "/a/./b",
        "/a/../b",
        "/public/../admin",
        "/%2e",
        "/%2E%2E/",
        "/.%2e/",
        "/%2e./admin",
        "/a%2Eb",
        "/a/%2e%2e%2fadmin",
        "/a/..%2fadmin",
        "//",
        "//admin",
        "/a//b",
        "/a//",
        "/public//../admin",
        "/a%2Fb",
        "/a%2fb",
        "/a%5Cb",
        "/a%5cb",
        "/a\\b",
        "/..\\admin",
        "/\\admin",
        "/a;b",
        "/a;v=1/b",
        "/public/..;/admin",
        "/;/admin",
        "/a%3Bb",
        "/a%00",
        "/a%00.html",
        "/a%0d%0aX:1",
        "/a%09",
        "/a%7f",
        "/%61dmin",
        "/%41dmin",
        "/admi%6E",
        "/%31",
        "/a%",
        "/a%2",
        "/a%zz",
        "/%u002fadmin",
        "/%252e%252e/admin",
        "/a%2541",
        "/a%3Fb",
        "/a%23b",
        "/%c0%af",
        "/%ef%bc%8fadmin",
    ];

    #[test]
    fn what_two_programs_may_read_differently_is_found() {
        for path in AMBIGUOUS {
            assert!(ambiguity_of(path).is_some(), "{path}");
        }
        for path in [
            "/é",
            "/a b",
            "/%e0%80%af",
            "/%ff",
            "/%fe%fe",
            "/%c3",
            "/%ef%bc%8e%ef%bc%8e/",
            "/%E2%88%95x",
        ] {
            assert!(ambiguity_of(path).is_some(), "{path}");
        }
    }

    #[test]
    fn what_everybody_reads_alike_passes() {
        for path in [
            "*",
            "",
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/.well-known/x",
            "/...",
            "/a..b",
            "/..a",
            "/a.",
            "/a,b",
            "/a=b&c",
            "/a:b@c",
            "/a+b",
            "/a%20b",
            "/a%2Bb",
            "/%40me",
            "/caf%C3%A9",
            "/%E2%82%AC",
            "/a%7Eb",
            "/a%2Db",
            "/a%5Fb",
            "/a%26b",
            "/a%3D",
            "/a%2Cb",
            "/100%25",
            "/50%25-off",
            "/a%3Ab",
            "/a%22b",
            "/%7Bid%7D",
            "/a|b",
            "/~x/-_/!$'()*",
            "/{id}/*",
            "/\"x\"",
            "/%F0%9F%98%80",
        ] {
            assert_eq!(ambiguity_of(path), None, "{path}");
        }
    }

    #[test]
    fn escapes_are_resolved_once() {
        let text = |segment| String::from_utf8(decoded(segment).collect()).unwrap();
        for (segment, expected) in [
            ("", ""),
            ("a%20b", "a b"),
            ("%2541", "%41"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz%41", "%zzA"),
            ("%%41", "%A"),
        ] {
            assert_eq!(text(segment), expected);
        }
    }
}
