//! What a browser says of its own request (<https://w3c.github.io/webappsec-fetch-metadata/>): no page can forge it.

use http::{
    HeaderMap, HeaderValue, Method,
    header::{ACCEPT, ORIGIN, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE},
};

use super::origin::Origins;

/// Whether somebody waits in front of a window for a page, so that a redirect gets them somewhere: not an image, a script
/// or a frame, which could not show where it leads.
pub(super) fn is_navigation(headers: &HeaderMap) -> bool {
    match text(headers, "sec-fetch-mode") {
        Some(mode) => {
            mode == "navigate" && text(headers, "sec-fetch-dest").is_none_or(|to| to == "document")
        }
        // A browser too old to say so, or one that does not trust the connection.
        None => headers.get_all(ACCEPT).iter().any(asks_for_html),
    }
}

/// Whether it is for an image, a script or the like, of which a page is made.
pub(super) fn is_part_of_a_page(headers: &HeaderMap) -> bool {
    const PARTS: [&str; 8] =
        ["audio", "font", "image", "manifest", "script", "style", "track", "video"];
    text(headers, "sec-fetch-dest").is_some_and(|to| PARTS.contains(&to))
}

/// Whether a request says that no window waits for its answer: an image, a script or a frame of any page's. A browser that is
/// too old to say so is not asked.
pub(super) fn is_embedded(headers: &HeaderMap) -> bool {
    let says = |name, expected| text(headers, name).is_some_and(|said| said != expected);
    says("sec-fetch-mode", "navigate") || says("sec-fetch-dest", "document")
}

/// Whether a request says that another origin's page caused it, directly or by a redirect.
pub(super) fn is_cross_origin(headers: &HeaderMap) -> bool {
    text(headers, "sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

fn asks_for_html(line: &HeaderValue) -> bool {
    let types = line.to_str().unwrap_or_default().split(',');
    let essence = |it: &str| it.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    types.into_iter().any(|it| essence(it) == "text/html")
}

/// Whether a page of somebody else's may have caused a request that changes something: the session cookie would come with
/// it, and the application would take it for the user's own wish.
///
/// 1. What only reads may come from anywhere. A WebSocket is no reading: its page talks through it.
/// 2. `Sec-Fetch-Site: same-origin`, or `none` (typed, bookmarked), is no other page.
/// 3. `Origin`, which browsers send with all that is left, names an origin of ours or a trusted one.
/// 4. Who says neither is no browser of this decade, and no page is behind it.
pub(super) fn may_be_forged(
    method: &Method,
    headers: &HeaderMap,
    own: &Origins,
    trusted: &Origins,
) -> bool {
    let only_reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if only_reads && !opens_a_socket(headers) {
        return false;
    }
    let site = text(headers, "sec-fetch-site");
    if matches!(site, Some("same-origin" | "none")) {
        return false;
    }
    match headers.get(ORIGIN) {
        Some(origin) => {
            // From an origin of ours, and yet of another one than it is for: the two are one application.
            !own.has(origin) && !trusted.has(origin)
        }
        None => site.is_some(),
    }
}

/// Whether a request opens a WebSocket. A gateway that asks about one may keep `Upgrade` to itself, as nginx does, and hands on
/// the rest of the handshake (RFC 6455 §4.1).
fn opens_a_socket(headers: &HeaderMap) -> bool {
    [UPGRADE, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION].iter().any(|it| headers.contains_key(it))
        || text(headers, "sec-fetch-mode") == Some("websocket")
}

/// The one value of the header `name`; of several, none counts.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next()?;
    Some(if lines.next().is_none() { first.to_str().unwrap_or_default() } else { "" })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::{super::origin::Origin, *};

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let line = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in lines.iter().map(line) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn a_navigation_is_what_shows_a_page_in_a_window() {
        for (lines, expected) in [
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")][..], true),
            (&[("sec-fetch-mode", "navigate")], true),
            (&[("accept", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")], true),
            (&[("accept", "application/xml, Text/HTML;q=0.5")], true),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")], false),
            (&[("sec-fetch-mode", "cors"), ("accept", "text/html")], false),
            (&[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")], false),
            (&[("sec-fetch-mode", "navigate"), ("sec-fetch-mode", "navigate")], false),
            (&[("accept", "application/json")], false),
            (&[("accept", "*/*")], false),
            (&[], false),
        ] {
            assert_eq!(is_navigation(&headers(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_page_is_told_from_what_it_is_made_of() {
        for (to, expected) in [
            ("image", true),
            ("script", true),
            ("style", true),
            ("font", true),
            ("document", false),
            ("empty", false),
            ("iframe", false),
            ("websocket", false),
        ] {
            assert_eq!(is_part_of_a_page(&headers(&[("sec-fetch-dest", to)])), expected, "{to}");
        }
        assert!(!is_part_of_a_page(&headers(&[("accept", "image/png")])), "nobody says so");
    }

    #[test]
    fn what_another_page_wants_is_told_from_what_the_user_wants() {
        let own = Origins::new([Origin::new("https://app.example")]);
        let trusted = Origins::new([Origin::new("https://admin.example")]);
        let site = |site| ("sec-fetch-site", site);
        let origin = |origin| ("origin", origin);
        for (method, lines, expected) in [
            ("GET", &[site("cross-site"), origin("https://evil.example")][..], false),
            ("GET", &[("upgrade", "websocket"), origin("https://evil.example")], true),
            ("GET", &[("upgrade", "websocket"), origin("https://app.example")], false),
            ("GET", &[("sec-websocket-key", "x"), origin("https://evil.app.example")], true),
            ("GET", &[("sec-websocket-version", "13"), site("same-site")], true),
            ("GET", &[("sec-fetch-mode", "websocket"), origin("https://evil.example")], true),
            ("POST", &[site("same-origin"), origin("https://app.example")], false),
            ("POST", &[site("none")], false),
            ("POST", &[origin("https://app.example")], false),
            ("POST", &[site("cross-site"), origin("https://admin.example")], false),
            ("POST", &[site("cross-site"), origin("https://evil.example")], true),
            ("POST", &[site("same-site"), origin("https://evil.app.example")], true),
            ("POST", &[site("cross-site"), origin("null")], true),
            ("POST", &[origin("null")], true),
            ("POST", &[origin("https://app.example.evil")], true),
            ("POST", &[origin("http://app.example")], true),
            ("POST", &[site("cross-site")], true),
            ("POST", &[site("same-origin"), site("cross-site")], true),
            ("DELETE", &[origin("https://evil.example")], true),
            ("PURGE", &[origin("https://evil.example")], true),
            ("POST", &[], false),
        ] {
            let found = may_be_forged(&method.parse().unwrap(), &headers(lines), &own, &trusted);
            assert_eq!(found, expected, "{method} {lines:?}");
        }
    }
}
