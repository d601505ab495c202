//! What each key of `[browser]` may say.

use url::{Host, Url};

use super::super::super::{
    own_paths::{OwnPaths, is_plain, not_plain},
    problems::Problems,
};
use crate::{
    apple::RedirectUri,
    endpoints::{AndroidApp, BrowserOrigin, BrowserPlace, DoorPaths, Origins},
    verify::{ClientId, ClientIds},
};

pub(super) fn check_path(
    problems: &mut Problems,
    own: &mut OwnPaths<'_>,
    path: &str,
    sign_in: Option<&str>,
) {
    if !is_plain(path) {
        return problems.note("browser.path", not_plain("/auth/apple"));
    }
    for (place, path_of_it) in BrowserPlace::paths(path) {
        let is_shared = place == BrowserPlace::Logout && sign_in == Some(path);
        if !is_shared {
            own.take(problems, "browser.path", &path_of_it);
        }
    }
}

/// A page can ask who is signed in, wherever else that can be asked.
pub(super) fn open_userinfo(
    problems: &mut Problems,
    own: &mut OwnPaths<'_>,
    path: &str,
    doors: &mut DoorPaths,
) {
    let userinfo = format!("{path}/userinfo");
    if !doors.userinfo.iter().any(|open| **open == *userinfo) {
        own.take(problems, "browser.path", &userinfo);
        doors.userinfo.push(userinfo.into());
    }
}

/// Those at which people use the application.
pub(super) fn check_own_origins(problems: &mut Problems, origins: &[String]) -> Origins {
    if origins.is_empty() {
        let what = "is missing: name the origin at which people use the application, such as `https://app.example`";
        problems.note("browser.origins", what);
    }
    for origin in origins.iter().filter(|origin| leads_nowhere(origin)) {
        let what = format!("`{origin}` has no name: Apple sends nobody back to an address");
        problems.note("browser.origins", what);
    }
    check_origins(problems, "browser.origins", origins)
}

/// Whether Apple would refuse to send anybody back to `origin`, although browsers would keep our cookies there.
fn leads_nowhere(origin: &str) -> bool {
    let is_secure = Url::parse(origin).is_ok_and(|url| is_secure(&url));
    is_secure && RedirectUri::new(&format!("{origin}/")).is_err()
}

/// Origins as browsers write them (RFC 6454 §6.2), over TLS: browsers keep our cookies for no others but loopback.
pub(super) fn check_origins(problems: &mut Problems, key: &str, origins: &[String]) -> Origins {
    let mut check = |text: &String| {
        let url = Url::parse(text).ok();
        let written = url.as_ref().map(|url| url.origin().ascii_serialization());
        if written.as_ref() != Some(text) || text == "null" {
            let what = format!(
                "`{text}` is no origin as browsers write it, such as `https://app.example`"
            );
            problems.note(key, what);
        } else if !url.as_ref().is_some_and(is_secure) {
            let what = format!(
                "`{text}` must be https, as browsers keep no cookie of ours otherwise; http is for loopback alone"
            );
            problems.note(key, what);
        }
        BrowserOrigin::new(text)
    };
    Origins::new(origins.iter().map(&mut check).collect::<Vec<_>>())
}

/// Whether nobody on the way can read or change what goes to `url`.
fn is_secure(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

pub(super) fn check_page(problems: &mut Problems, url: &Url) {
    if !is_secure(url) || url.query().is_some() || url.fragment().is_some() {
        let what = "must be https, or http to a loopback host, without `?` and `#`";
        problems.note("browser.authorize_url", what);
    }
}

pub(super) fn check_client_id(
    problems: &mut Problems,
    id: Option<String>,
    all: Option<&ClientIds>,
) -> Option<ClientId> {
    let all = all?;
    let Some(id) = id else {
        let mut ids = all.iter();
        let first = ids.next().cloned();
        if ids.next().is_none() {
            return first;
        }
        let what =
            "is missing: name the Services ID that people sign in to, out of apple.client_ids";
        problems.note_clash("browser.client_id", "apple.client_ids", what);
        return None;
    };
    let found = all.iter().find(|known| known.as_str() == id).cloned();
    if found.is_none() {
        let what =
            format!("`{id}` is not among apple.client_ids: its tokens are refused everywhere");
        problems.note_clash("browser.client_id", "apple.client_ids", what);
    }
    found
}

pub(super) fn check_name(problems: &mut Problems, name: Option<&str>) {
    let is_sane =
        |name: &str| (1..=64).contains(&name.chars().count()) && !name.contains(char::is_control);
    if !name.is_none_or(is_sane) {
        problems.note("browser.name", "must have 1 to 64 characters, and none that control");
    }
}

/// It is the operator's own word, and may lead anywhere.
pub(super) fn check_after_logout(problems: &mut Problems, to: Option<&str>) {
    let is_place = |to: &str| {
        let is_path = to.starts_with('/') && !to.starts_with("//");
        let is_address = Url::parse(to).is_ok_and(|url| is_secure(&url));
        to.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') && (is_path || is_address)
    };
    if !to.is_none_or(is_place) {
        let what = "must be a path such as `/goodbye`, or an https address";
        problems.note("browser.after_logout", what);
    }
}

pub(super) fn check_android(
    problems: &mut Problems,
    package: Option<String>,
    scheme: String,
) -> Option<AndroidApp> {
    let package = package?;
    let is_word = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    if !package.contains('.') || !package.split('.').all(is_word) {
        problems.note("browser.android_package", "must be a package such as `com.example.app`");
    }
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    if !is_scheme(&scheme) {
        problems.note("browser.android_scheme", "must be a scheme such as `signinwithapple`");
    }
    Some(AndroidApp { package: package.into(), scheme: scheme.into() })
}
