//! nginx asks by `auth_request`, with the files in `deploy/nginx`.

use std::{fs, process::Command};

use super::{
    browsers, cookies,
    gateway::{self, Kind, Places},
    nginx_configuration,
};

fn command(places: &Places<'_>) -> Command {
    let folder = places.folder.join("conf");
    fs::create_dir(&folder).unwrap();
    let shipped = places.fill_in(include_str!("../../deploy/nginx/siwa-proxy.conf"));
    fs::write(folder.join("siwa-proxy.conf"), shipped).unwrap();
    let headers = include_str!("../../deploy/nginx/siwa-proxy-headers.conf");
    fs::write(folder.join("siwa-proxy-headers.conf"), headers).unwrap();
    let main = folder.join("nginx.conf");
    let rest = "include siwa-proxy.conf;";
    fs::write(&main, nginx_configuration(rest, places.folder)).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(main);
    command
}

/// The same, with what is shipped for people with browsers.
fn command_for_browsers(places: &Places<'_>) -> Command {
    let command = command(places);
    let folder = places.folder.join("conf");
    let file = folder.join("siwa-proxy.conf");
    let text = fs::read_to_string(&file).unwrap();
    let including =
        text.replace("# include siwa-proxy-browser.conf;", "include siwa-proxy-browser.conf;");
    assert_ne!(including, text);
    fs::write(&file, including).unwrap();
    let browser = include_str!("../../deploy/nginx/siwa-proxy-browser.conf");
    fs::write(folder.join("siwa-proxy-browser.conf"), browser).unwrap();
    command
}

const NGINX: Kind = Kind {
    settings: include_str!("../../deploy/nginx/siwa-proxy.toml"),
    command,
    // Its `auth_request` knows yes, 401, 403 and failure.
    malformed: 401,
    unreachable: 503,
    not_yet: None,
};

gateway::tests!("needs nginx", super::NGINX, judges_the_request_that_the_caller_sent);

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_passes_no_spoofed_trailer_on() {
    gateway::lets_no_spoofed_trailer_through(&NGINX).await;
}

const NGINX_FOR_BROWSERS: cookies::Kind = cookies::Kind {
    settings: NGINX.settings,
    command: command_for_browsers,
    not_yet: None,
    to_caches: cookies::ToCaches::NoStoreBeside,
};

cookies::tests!("needs nginx", super::NGINX_FOR_BROWSERS);

#[tokio::test]
#[ignore = "needs nginx, chromium and chromium-driver"]
async fn people_sign_in_with_a_browser_behind_nginx() {
    browsers::sign_in_and_out(&NGINX_FOR_BROWSERS).await;
}
