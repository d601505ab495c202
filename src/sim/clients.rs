//! Which apps are registered for the web, and where people may be sent back to.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use url::{Host, Url};

use super::Apple;

/// Services IDs and their return URLs. Until one is registered, any may ask.
#[derive(Debug, Default)]
pub(super) struct Clients(Mutex<HashMap<String, Vec<String>>>);

/// Why Apple's page shows an error in place of a sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unregistered {
    Client,
    ReturnUrl,
}

impl Apple {
    /// Registers a Services ID with its return URLs. From the first on, no other may have people sign in on the web, nor
    /// have them sent elsewhere.
    pub fn register_client(&self, client_id: &str, return_urls: &[&str]) {
        self.state.clients.register(client_id, return_urls.iter().map(|&url| url.to_owned()));
    }
}

impl Clients {
    pub(super) fn register(&self, client_id: &str, return_urls: impl Iterator<Item = String>) {
        self.lock().insert(client_id.to_owned(), return_urls.collect());
    }

    /// Where people are sent back to, if `client_id` may have them sent to `redirect_uri`, which counts to the letter.
    pub(super) fn check(&self, client_id: &str, redirect_uri: &str) -> Result<Url, Unregistered> {
        let clients = self.lock();
        if !clients.is_empty() {
            let return_urls = clients.get(client_id).ok_or(Unregistered::Client)?;
            if !return_urls.iter().any(|url| url == redirect_uri) {
                return Err(Unregistered::ReturnUrl);
            }
        }
        return_url(redirect_uri).ok_or(Unregistered::ReturnUrl)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<String>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What Apple takes: `https`, a domain name that is not `localhost`, no fragment. Here this machine will do, too, and
/// without TLS.
fn return_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok().filter(|url| url.fragment().is_none())?;
    let is_here = is_here(&url);
    let is_web = url.scheme() == "https" || (is_here && url.scheme() == "http");
    (is_web && (is_here || url.domain().is_some())).then_some(url)
}

/// Whether `url` leads to this machine.
pub(super) fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(domain)) => domain == "localhost" || domain.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anybody_may_ask_until_somebody_is_registered() {
        let clients = Clients::default();
        let there = "https://app.example/callback";
        assert_eq!(clients.check("com.example.web", there).unwrap().as_str(), there);

        clients.register("com.example.web", [there.to_owned()].into_iter());
        clients.check("com.example.web", there).unwrap();
        for other in ["https://app.example/callback/", "https://app.example/", ""] {
            assert_eq!(clients.check("com.example.web", other), Err(Unregistered::ReturnUrl));
        }
        assert_eq!(clients.check("com.example.other", there), Err(Unregistered::Client));
    }

    #[test]
    fn a_return_url_is_https_by_name_or_on_this_machine() {
        for (url, taken) in [
            ("https://app.example/callback?a=b", true),
            ("http://localhost:3000/", true),
            ("http://127.0.0.1:4180/callback", true),
            ("https://[::1]/", true),
            ("http://app.example/", false),
            ("https://192.0.2.1/", false),
            ("https://app.example/#there", false),
            ("javascript:alert(1)", false),
            ("/callback", false),
        ] {
            assert_eq!(return_url(url).is_some(), taken, "{url}");
        }
    }
}
