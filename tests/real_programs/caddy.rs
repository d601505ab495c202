//! Caddy asks by `forward_auth`, with the files in `deploy/caddy`.

use std::{fs, process::Command};

use super::{
    browsers, cookies,
    gateway::{self, Kind, Places},
};

const SHIPPED: &str = include_str!("../../deploy/caddy/Caddyfile");

fn command(places: &Places<'_>) -> Command {
    start(places, SHIPPED)
}

/// With the lines that are marked to be for people with browsers.
fn command_for_browsers(places: &Places<'_>) -> Command {
    let unmarked = SHIPPED.replace("#browser: ", "");
    start(places, &unmarked)
}

fn start(places: &Places<'_>, text: &str) -> Command {
    let file = places.folder.join("Caddyfile");
    fs::write(&file, places.fill_in(text)).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(file);
    // It keeps its files in the home directory.
    command.env("HOME", places.folder);
    command
}

const CADDY: Kind = Kind {
    settings: include_str!("../../deploy/caddy/siwa-proxy.toml"),
    command,
    malformed: 400,
    unreachable: 502,
    not_yet: None,
};

gateway::tests!("needs caddy", super::CADDY, judges_the_request_that_the_caller_sent);

#[tokio::test]
#[ignore = "needs caddy"]
async fn caddy_passes_no_spoofed_trailer_on() {
    gateway::lets_no_spoofed_trailer_through(&CADDY).await;
}

const CADDY_FOR_BROWSERS: cookies::Kind = cookies::Kind {
    settings: CADDY.settings,
    command: command_for_browsers,
    not_yet: None,
    to_caches: cookies::ToCaches::NoStoreAlone,
};

cookies::tests!(
    "needs caddy",
    super::CADDY_FOR_BROWSERS,
    takes_out_what_the_application_sets_in_our_name
);

#[tokio::test]
#[ignore = "needs caddy, chromium and chromium-driver"]
async fn people_sign_in_with_a_browser_behind_caddy() {
    browsers::sign_in_and_out(&CADDY_FOR_BROWSERS).await;
}
