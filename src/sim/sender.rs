//! Who may give orders: programs on this machine, and no page that a browser on it shows.

use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{HOST, ORIGIN},
    request::Parts,
};
use url::Url;

use super::{answer::Refusal, clients::is_here};

/// What browsers say of the page that asks (Fetch Metadata, §2.3).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses orders of other origins' pages. The body's type would not tell: what `curl -d` sends, any page may send without
/// asking first. A page whose own name was made to lead here is known by that name.
pub(super) fn check_sender(head: &Parts) -> Result<(), Refusal> {
    let is_ours = |here: Url| {
        let own = here.origin().ascii_serialization();
        has_only(&head.headers, &ORIGIN, &[own.as_bytes()])
            && has_only(&head.headers, &SEC_FETCH_SITE, &[b"same-origin", b"none"])
    };
    if asked_at(head).filter(is_here).is_some_and(is_ours) {
        return Ok(());
    }
    let reason =
        "orders are taken from programs on this machine, by an address of it, and from no web page";
    Err(Refusal::new(StatusCode::FORBIDDEN, reason))
}

/// Where the sender believes that we are.
fn asked_at(head: &Parts) -> Option<Url> {
    let host = || head.headers.get(HOST)?.to_str().ok();
    let authority = head.uri.authority().map_or_else(host, |it| Some(it.as_str()))?;
    Url::parse(&format!("http://{authority}")).ok()
}

/// Whether each value of `name` is one of these; there may be none.
fn has_only(headers: &HeaderMap, name: &HeaderName, known: &[&[u8]]) -> bool {
    headers.get_all(name).iter().all(|value| known.contains(&value.as_bytes()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::Full;

    use super::{
        super::tests::{send, start},
        *,
    };

    #[tokio::test]
    async fn programs_give_orders_and_pages_of_other_origins_do_not() {
        let apple = start().await;
        let (own, port) = (apple.url(), apple.address().port());
        let localhost = format!("localhost:{port}");
        let rebound = format!("evil.example:{port}");
        let rebound_origin = format!("http://{rebound}");
        for (lines, status) in [
            (&[][..], 200),
            (&[("content-type", "application/x-www-form-urlencoded")], 200),
            (&[("host", &localhost)], 200),
            (&[("host", "[::1]")], 200),
            (&[("origin", &own), ("sec-fetch-site", "same-origin")], 200),
            (&[("sec-fetch-site", "none")], 200),
            (&[("origin", "https://evil.example")], 403),
            (&[("origin", "null")], 403),
            (&[("origin", &own), ("origin", "https://evil.example")], 403),
            (&[("origin", "http://127.0.0.1:1")], 403),
            (&[("sec-fetch-site", "cross-site")], 403),
            (&[("sec-fetch-site", "same-site")], 403),
            (&[("host", &rebound)], 403),
            (&[("host", &rebound), ("origin", &rebound_origin)], 403),
            (&[("host", &rebound), ("sec-fetch-site", "same-origin")], 403),
        ] {
            let mut request = Request::post(format!("{own}/sim/token"));
            for (name, value) in lines {
                request = request.header(*name, *value);
            }
            let body = Full::new(Bytes::from_static(b"{}"));
            let (answer, _) = send(request.body(body).unwrap()).await.unwrap();
            assert_eq!(answer.status, status, "{lines:?}");
        }
    }

    #[tokio::test]
    async fn a_link_to_the_list_of_endpoints_works_from_anywhere() {
        let apple = start().await;
        let request = Request::get(apple.url()).header("sec-fetch-site", "cross-site");
        let (answer, _) = send(request.body(Full::default()).unwrap()).await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
    }
}
