//! A browser as far as its cookies and headers go: what it keeps, and what it sends where.

use std::net::SocketAddr;

use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{House, Reply, exchange, open};

/// Where the page is from which a request comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Nowhere: an address that somebody typed.
    Typed,
    /// A page of the application's.
    Own,
    /// Apple's page.
    Apple,
    /// A page of `https://evil.example`.
    Evil,
    /// A page of `https://evil.app.example`, of the same site.
    Neighbour,
}

impl From {
    /// What the browser says of it.
    fn headers(self) -> String {
        let (site, origin) = match self {
            Self::Typed => return "Sec-Fetch-Site: none\r\n".to_owned(),
            Self::Own => ("same-origin", "https://app.example"),
            Self::Apple => ("cross-site", "https://appleid.apple.com"),
            Self::Evil => ("cross-site", "https://evil.example"),
            Self::Neighbour => ("same-site", "https://evil.app.example"),
        };
        format!("Sec-Fetch-Site: {site}\r\nOrigin: {origin}\r\n")
    }

    const fn is_same_site(self) -> bool {
        !matches!(self, Self::Apple | Self::Evil)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Cookie {
    pub(super) name: String,
    pub(super) value: String,
    pub(super) attributes: Vec<String>,
}

impl Cookie {
    fn parse(line: &str) -> Self {
        let mut parts = line.split("; ");
        let (name, value) = parts.next().unwrap().split_once('=').unwrap();
        let attributes = parts.map(str::to_owned).collect();
        Self { name: name.to_owned(), value: value.to_owned(), attributes }
    }

    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find_map(|it| it.strip_prefix(name)?.strip_prefix('='))
    }

    /// What a browser asks of a cookie with such a name (RFC 6265bis §4.1.3).
    fn assert_kept(&self) {
        let has = |flag: &str| self.attributes.iter().any(|it| it == flag);
        assert!(has("Secure") && has("HttpOnly"), "{self:?}");
        assert!(self.attribute("Domain").is_none(), "{self:?}");
        if self.name.starts_with("__Host-") {
            assert_eq!(self.attribute("Path"), Some("/"), "{self:?}");
        } else {
            assert!(self.name.starts_with("__Secure-"), "{self:?}");
        }
    }

    fn goes_to(&self, path: &str) -> bool {
        let own = self.attribute("Path").unwrap();
        own == "/"
            || path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// A browser.
pub(super) struct Browser<'a> {
    _house: &'a House,
    /// Where its requests go.
    address: SocketAddr,
    pub(super) cookies: Vec<Cookie>,
}

impl<'a> Browser<'a> {
    pub(super) fn new(house: &'a House) -> Self {
        Self::before(house.address, house)
    }

    /// One that gets to the house by the gateway at `address`.
    pub(super) const fn before(address: SocketAddr, house: &'a House) -> Self {
        Self { _house: house, address, cookies: Vec::new() }
    }

    /// Opens `path` in a window.
    pub(super) async fn open(&mut self, path: &str) -> Reply {
        self.open_from(path, From::Typed).await
    }

    pub(super) async fn open_from(&mut self, path: &str, from: From) -> Reply {
        let lines = "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n";
        self.send(&format!("GET {path}"), from, lines, "").await
    }

    /// Has a script of `from` ask for `path`.
    pub(super) async fn fetch(&mut self, method: &str, path: &str, from: From) -> Reply {
        let lines = "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\nContent-Length: 0\r\n";
        self.send(&format!("{method} {path}"), from, lines, "").await
    }

    /// Posts `form` from a page, in a window.
    pub(super) async fn post(&mut self, path: &str, form: &str, from: From) -> Reply {
        self.send(&format!("POST {path}"), from, &form_lines(form), form).await
    }

    /// Sends a request as a browser would, and keeps what it is told to.
    pub(super) async fn send(&mut self, line: &str, from: From, lines: &str, body: &str) -> Reply {
        let reply = exchange(self.address, self.request(line, from, lines, body)).await;
        self.keep(&reply);
        reply
    }

    /// Posts `form` likewise, and does not wait for the answer.
    pub(super) async fn begin_to_post(&self, path: &str, form: &str, from: From) -> TcpStream {
        let mut stream = open(self.address).await;
        let request = self.request(&format!("POST {path}"), from, &form_lines(form), form);
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    fn request(&self, line: &str, from: From, lines: &str, body: &str) -> String {
        let path = line.split(' ').nth(1).unwrap();
        let top_level_get = line.starts_with("GET") && lines.contains("navigate");
        let cookies = self.cookies_for(path, from.is_same_site() || top_level_get);
        let cookies =
            if cookies.is_empty() { String::new() } else { format!("Cookie: {cookies}\r\n") };
        format!(
            "{line} HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n{}{lines}{cookies}\r\n{body}",
            from.headers()
        )
    }

    fn cookies_for(&self, path: &str, is_same_site: bool) -> String {
        let path = path.split('?').next().unwrap();
        let sent = self.cookies.iter().filter(|cookie| {
            cookie.goes_to(path) && (is_same_site || cookie.attribute("SameSite") == Some("None"))
        });
        let pairs: Vec<_> =
            sent.map(|cookie| format!("{}={}", cookie.name, cookie.value)).collect();
        pairs.join("; ")
    }

    fn keep(&mut self, reply: &Reply) {
        for line in reply.header("set-cookie") {
            let cookie = Cookie::parse(line);
            cookie.assert_kept();
            self.cookies.retain(|old| old.name != cookie.name);
            if cookie.attribute("Max-Age") != Some("0") {
                self.cookies.push(cookie);
            }
        }
    }

    pub(super) fn cookie(&self, name: &str) -> Option<&Cookie> {
        self.cookies.iter().find(|cookie| cookie.name == name)
    }

    pub(super) fn cookie_mut(&mut self, name: &str) -> &mut Cookie {
        self.cookies.iter_mut().find(|cookie| cookie.name == name).unwrap()
    }

    /// The cookies of sign-ins under way.
    pub(super) fn states(&self) -> Vec<&Cookie> {
        let prefix = "__Secure-siwa_state_";
        self.cookies.iter().filter(|cookie| cookie.name.starts_with(prefix)).collect()
    }
}

/// What a browser says of a form that a window posts.
fn form_lines(form: &str) -> String {
    format!(
        "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nAccept: text/html\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
        form.len()
    )
}
