//! The page of the demonstration: `examples/web` as it is, but for the simulator's script in place of Apple's.

use siwa_proxy::sim::{
    Apple, StartError,
    site::{Page, Site},
};

const INDEX: &str = include_str!("../../../examples/web/index.html");
const SCRIPT: &str = include_str!("../../../examples/web/app.js");
const STYLE: &str = include_str!("../../../examples/web/style.css");

/// The Services ID that the page signs in with.
pub(super) const CLIENT_ID: &str = "com.example.web";

/// Where Apple's script comes from.
const APPLES_SCRIPTS: &str = "https://appleid.cdn-apple.com";

/// Serves the page, which people sign in on at `apple`.
pub(super) async fn start(apple: &Apple) -> Result<Site, StartError> {
    let index = INDEX.replace(APPLES_SCRIPTS, &apple.url());
    Site::start(vec![
        Page { path: "/", media_type: "text/html; charset=utf-8", content: index.into() },
        Page {
            path: "/app.js",
            media_type: "text/javascript; charset=utf-8",
            content: SCRIPT.into(),
        },
        Page { path: "/style.css", media_type: "text/css; charset=utf-8", content: STYLE.into() },
    ])
    .await
}

/// Where browsers on this machine see the page, and where Apple's sends them back to, if the proxy listens at `port`.
pub(super) fn addresses(port: u16) -> [String; 3] {
    origins("http", port).map(|origin| origin + "/")
}

/// What browsers call the origins of a proxy that listens at `port` of this machine.
pub(super) fn origins(scheme: &str, port: u16) -> [String; 3] {
    ["localhost", "127.0.0.1", "[::1]"].map(|host| format!("{scheme}://{host}:{port}"))
}

/// What an operator writes for a page that anybody may see, before an application that asks who they are.
pub(super) fn settings(site: &Site) -> String {
    let route =
        |path| format!("[[route]]\npath = \"{path}\"\naccess = \"public\"\nupstream = \"page\"\n");
    let routes = ["/", "/app.js", "/style.css"].map(route).concat();
    format!("[upstreams.page]\nurl = \"{}\"\n{routes}", site.url())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_names_apples_script_and_its_own_client_once() {
        assert_eq!(INDEX.matches(APPLES_SCRIPTS).count(), 1);
        assert_eq!(SCRIPT.matches(&format!("'{CLIENT_ID}'")).count(), 1);
    }
}
