//! The stand-in for Apple's script: code of its own, under the same address, with the same API.

use http::{Response, StatusCode};

use super::answer::{Body, respond};

const SCRIPT: &str = include_str!("appleid.auth.js");

/// Whether `path` is where the script is: `/appleauth/static/jsapi/appleid/1/LOCALE/appleid.auth.js`.
pub(super) fn is_at(path: &str) -> bool {
    let locale = path
        .strip_prefix("/appleauth/static/jsapi/appleid/1/")
        .and_then(|rest| rest.strip_suffix("/appleid.auth.js"));
    locale.is_some_and(|locale| !locale.is_empty() && !locale.contains('/'))
}

/// The script.
pub(super) fn answer() -> Response<Body> {
    respond(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_is_there_in_every_language() {
        for (path, there) in [
            ("/appleauth/static/jsapi/appleid/1/en_US/appleid.auth.js", true),
            ("/appleauth/static/jsapi/appleid/1/de_DE/appleid.auth.js", true),
            ("/appleauth/static/jsapi/appleid/1/appleid.auth.js", false),
            ("/appleauth/static/jsapi/appleid/1//appleid.auth.js", false),
            ("/appleauth/static/jsapi/appleid/1/a/b/appleid.auth.js", false),
        ] {
            assert_eq!(is_at(path), there, "{path}");
        }
    }
}
