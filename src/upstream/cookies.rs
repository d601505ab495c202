//! Our own cookies are between browsers and us: the application is sent none of them, unless it is to see credentials
//! (`forward_credential`), and sets none.

use http::{
    HeaderMap, HeaderValue,
    header::{COOKIE, SET_COOKIE},
};

/// How their names begin, whoever's identity they prove.
const PREFIXES: [&[u8]; 2] = [b"__Host-siwa_", b"__Secure-siwa_"];

/// What the application is to see of a request's cookies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CookiesLeft {
    /// All that there are, if any: none of them is ours.
    All,
    /// Some, in one line.
    Some(HeaderValue),
    /// None: all of them are ours.
    None,
}

/// What is left of the cookies in `headers` without ours.
pub(super) fn without_ours(headers: &HeaderMap) -> CookiesLeft {
    let is_ours = |cookie: &&[u8]| PREFIXES.iter().any(|prefix| cookie.starts_with(prefix));
    if !all(headers).any(|cookie| is_ours(&cookie)) {
        return CookiesLeft::All;
    }
    let others: Vec<&[u8]> = all(headers).filter(|cookie| !is_ours(cookie)).collect();
    // Bytes that were legal in a value still are.
    let others = HeaderValue::from_bytes(&others.join(&b"; "[..]));
    others.ok().filter(|it| !it.is_empty()).map_or(CookiesLeft::None, CookiesLeft::Some)
}

fn all(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let lines = headers.get_all(COOKIE).into_iter().map(HeaderValue::as_bytes);
    lines.flat_map(|line| line.split(|byte| *byte == b';')).map(<[u8]>::trim_ascii)
}

/// Takes ours from `headers` of a request.
pub(super) fn remove_ours(headers: &mut HeaderMap) {
    match without_ours(headers) {
        CookiesLeft::All => {}
        CookiesLeft::Some(others) => drop(headers.insert(COOKIE, others)),
        CookiesLeft::None => drop(headers.remove(COOKIE)),
    }
}

/// Takes from the `headers` of an answer of the application's what it sets in our name, and says whether it did: it would
/// have a browser be somebody else from then on.
pub(crate) fn remove_set_in_our_name(headers: &mut HeaderMap) -> bool {
    let lines = headers.get_all(SET_COOKIE);
    if !lines.iter().any(sets_ours) {
        return false;
    }
    let others: Vec<_> = lines.iter().filter(|line| !sets_ours(line)).cloned().collect();
    headers.remove(SET_COOKIE);
    for other in others {
        headers.append(SET_COOKIE, other);
    }
    true
}

/// Whether a browser that takes this line, well written or not, may send a cookie with a name of ours: `=__Host-a=b` sets one
/// without a name, and is sent as `__Host-a=b`. Case is no matter, as it is none to some browsers' rules for such names.
fn sets_ours(line: &HeaderValue) -> bool {
    let start = line.as_bytes().iter().position(|byte| !b" \t=".contains(byte));
    let cookie = start.and_then(|start| line.as_bytes().get(start..)).unwrap_or_default();
    let begins_with = |prefix: &&[u8]| {
        cookie.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    PREFIXES.iter().any(begins_with)
}

#[cfg(test)]
mod tests {
    use super::{super::fixtures::headers, *};

    #[test]
    fn our_own_cookies_are_not_the_applications() {
        for (sent, left) in [
            ("a=1; __Host-siwa_session=siwa_c.x; b=2", Some("a=1; b=2")),
            ("__Host-siwa_session=siwa_c.x;a=1", Some("a=1")),
            ("__Host-siwa_session=x; __Host-siwa_browser=y; __Secure-siwa_state_z=", None),
            ("a=__Host-siwa_session=x; b", Some("a=__Host-siwa_session=x; b")),
            ("a=1;b=2", Some("a=1;b=2")),
        ] {
            let mut map = headers(&[("cookie", sent)]);
            remove_ours(&mut map);
            let found = map.get(COOKIE).map(|value| value.to_str().unwrap());
            assert_eq!(found, left, "{sent}");
        }
    }

    #[test]
    fn what_is_left_of_several_lines_is_one() {
        let lines = [("cookie", "a=1"), ("cookie", "__Host-siwa_session=x"), ("cookie", "b=2")];
        let left = without_ours(&headers(&lines));
        assert_eq!(left, CookiesLeft::Some(HeaderValue::from_static("a=1; b=2")));
        assert_eq!(without_ours(&headers(&lines[..1])), CookiesLeft::All);
        assert_eq!(without_ours(&headers(&lines[1..2])), CookiesLeft::None);
        assert_eq!(without_ours(&headers(&[])), CookiesLeft::All);
    }

    #[test]
    fn an_answer_sets_no_cookie_in_our_name_however_it_is_written() {
        for line in [
            "__Host-siwa_session=x; Path=/; Secure",
            "__Secure-siwa_state_abc=x",
            "\t__host-SIWA_session =x",
            "=__Host-siwa_session=x",
            " = =__Host-siwa_session",
        ] {
            let mut map =
                headers(&[("set-cookie", "a=1"), ("set-cookie", line), ("set-cookie", "b=2")]);
            assert!(remove_set_in_our_name(&mut map), "{line}");
            let left: Vec<_> = map.get_all(SET_COOKIE).iter().collect();
            assert_eq!(left, ["a=1", "b=2"], "{line}");
        }
        for line in ["siwa_session=x", "a=__Host-siwa_session=x", "__Host-other=x", "=", ""] {
            let mut map = headers(&[("set-cookie", line)]);
            assert!(!remove_set_in_our_name(&mut map), "{line}");
            assert_eq!(map.len(), 1);
        }
    }
}
