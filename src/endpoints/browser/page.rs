//! The pages that people see: one small document each, without a script and without anything from elsewhere.

use std::fmt::{self, Write};

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
    },
};

/// What the pages are made of.
pub(super) type Body = Bytes;

const STYLE: &str = include_str!("page.css");

/// Apple's mark, beside the words as Apple's guidelines have it
/// (<https://developer.apple.com/design/human-interface-guidelines/sign-in-with-apple>): of the colour of the words, black on
/// white or white on black, in a button of at least 44 points.
const MARK: &str = r#"<svg viewBox="0 0 17 20.5" aria-hidden="true" focusable="false"><path d="M8.7 5.2C9.5 5.2 10.9 4.1 12.9 4.2C13.6 4.2 15.5 4.5 16.6 6.2C15.1 7.2 14 8.6 14 10.3C14 12.5 15.4 13.9 17 14.5C16.6 15.7 15.9 17 15 18.2C14.2 19.3 13.4 20.3 12.1 20.3C10.9 20.3 10.5 19.6 9 19.6C7.5 19.6 7 20.3 5.8 20.3C4.6 20.3 3.7 19.2 2.9 18.1C1 15.4-.3 10.8 1.4 7.4C2.3 5.6 4 4.4 5.8 4.4C7 4.4 8 5.2 8.7 5.2ZM12.4 0C12.5 1.1 12.1 2.2 11.4 3C10.7 3.8 9.6 4.4 8.6 4.3C8.5 3.2 8.9 2.1 9.6 1.4C10.3.6 11.5 0 12.4 0Z"/></svg>"#;

/// A page: what it says, and where one can go from it.
#[derive(Debug)]
pub(super) struct Page<'a> {
    pub(super) status: StatusCode,
    pub(super) title: &'a str,
    pub(super) text: &'a str,
    pub(super) ways: &'a [Way<'a>],
}

/// A way on. Addresses are paths of ours, or what a [`super::return_to::ReturnTo`] holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way<'a> {
    /// Apple's button, to where a sign-in begins.
    SignIn(&'a str),
    /// To where one wanted to go.
    Continue(&'a str),
    /// By a form, as it changes something.
    SignOut {
        /// Where it is posted to.
        to: &'a str,
        /// The other origin where one is sent then, if to any.
        then: Option<&'a str>,
    },
}

impl Page<'_> {
    /// The answer that shows it, in nobody's frame and nobody's cache.
    pub(super) fn render(&self) -> Response<Body> {
        let mut response = Response::new(self.to_string().into());
        *response.status_mut() = self.status;
        let fixed = |value| HeaderValue::from_static(value);
        let headers: [(HeaderName, HeaderValue); 7] = [
            (CONTENT_TYPE, fixed("text/html; charset=utf-8")),
            (CACHE_CONTROL, fixed("no-store")),
            (CONTENT_SECURITY_POLICY, policy(self.ways)),
            (X_FRAME_OPTIONS, fixed("DENY")),
            (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
            // Not `no-referrer`, under which a form of ours would be posted with `Origin: null`.
            (REFERRER_POLICY, fixed("same-origin")),
            (HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin")),
        ];
        response.headers_mut().extend(headers);
        response
    }
}

/// <https://www.w3.org/TR/CSP3/>: this style, forms to us, and nothing else. A form is held to its policy wherever the answer
/// to it redirects (§6.4.1), too.
fn policy(ways: &[Way<'_>]) -> HeaderValue {
    let style = BASE64_STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
    let then = ways.iter().find_map(Way::origin_then);
    let then = then.map_or_else(String::new, |origin| format!(" {origin}"));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'{then}; frame-ancestors 'none'; base-uri 'none'"
    );
    // Base64 between quotes of ours, and an origin as browsers write it.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (title, text) = (Escaped(self.title), Escaped(self.text));
        write!(
            f,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
             <meta name=\"robots\" content=\"noindex\"><title>{title}</title><style>{STYLE}</style></head>\
             <body><main><h1>{title}</h1><p>{text}</p>"
        )?;
        self.ways.iter().try_for_each(|way| way.fmt(f))?;
        f.write_str("</main></body></html>\n")
    }
}

impl<'a> Way<'a> {
    /// The other origin where its form may lead.
    const fn origin_then(&self) -> Option<&'a str> {
        match self {
            Self::SignOut { then, .. } => *then,
            Self::SignIn(_) | Self::Continue(_) => None,
        }
    }
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignIn(to) => {
                let to = Escaped(to);
                write!(
                    f,
                    "<a class=\"apple\" href=\"{to}\">{MARK}<span>Sign in with Apple</span></a>"
                )
            }
            Self::Continue(to) => {
                write!(f, "<a class=\"more\" href=\"{}\">Continue</a>", Escaped(to))
            }
            Self::SignOut { to, .. } => write!(
                f,
                "<form method=\"post\" action=\"{}\"><button class=\"more\">Sign out</button></form>",
                Escaped(to)
            ),
        }
    }
}

/// Text that is nothing but text, in content and in quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '&' => f.write_str("&amp;"),
            '<' => f.write_str("&lt;"),
            '>' => f.write_str("&gt;"),
            '"' => f.write_str("&quot;"),
            '\'' => f.write_str("&#39;"),
            plain => f.write_char(plain),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_becomes_markup() {
        let evil = "\"><script>alert('x')</script>&";
        let ways = [Way::SignIn(evil), Way::Continue(evil), Way::SignOut { to: evil, then: None }];
        let page = Page { status: StatusCode::OK, title: evil, text: evil, ways: &ways };
        let html = page.to_string();
        assert!(!html.contains("<script"), "{html}");
        let escaped = "&quot;&gt;&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;";
        assert_eq!(html.matches(escaped).count(), 6, "{html}");
    }

    #[test]
    fn a_page_is_in_nobodys_frame_or_cache_and_loads_nothing() {
        let page =
            Page { status: StatusCode::OK, title: "a", text: "b", ways: &[Way::SignIn("/")] };
        let response = page.render();
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(response.headers()[X_FRAME_OPTIONS], "DENY");
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let html = String::from_utf8(response.into_body().to_vec()).unwrap();
        for outside in ["http:", "https:", "src=", "@import", "url(", "<script", "<link"] {
            assert!(!html.contains(outside), "{outside}");
        }
    }
}
