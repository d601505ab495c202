//! Traefik asks by `ForwardAuth`, with the files in `deploy/traefik`.

use std::{fs, process::Command};

use super::{
    browsers, cookies,
    gateway::{self, Kind, Places},
};

const SHIPPED: &str = include_str!("../../deploy/traefik/dynamic.yml");

fn command(places: &Places<'_>) -> Command {
    start(places, SHIPPED)
}

/// With the lines that are marked to be for people with browsers.
fn command_for_browsers(places: &Places<'_>) -> Command {
    start(places, &SHIPPED.replace("#browser: ", ""))
}

fn start(places: &Places<'_>, text: &str) -> Command {
    let file = places.folder.join("dynamic.yml");
    fs::write(&file, places.fill_in(text)).unwrap();
    let mut command = Command::new("traefik");
    command
        .arg(format!("--entrypoints.web.address={}", places.gateway))
        .arg(format!("--providers.file.filename={}", file.display()))
        .args(["--global.checknewversion=false", "--global.sendanonymoususage=false"]);
    command
}

/// It knows no path yet.
const NOT_YET: Option<u16> = Some(404);

const TRAEFIK: Kind = Kind {
    settings: include_str!("../../deploy/traefik/siwa-proxy.toml"),
    command,
    malformed: 400,
    unreachable: 500,
    not_yet: NOT_YET,
};

gateway::tests!("needs traefik", super::TRAEFIK, judges_the_request_as_it_is_tidied_up);

#[tokio::test]
#[ignore = "needs traefik"]
async fn traefik_passes_no_spoofed_trailer_on() {
    gateway::lets_no_spoofed_trailer_through(&TRAEFIK).await;
}

const TRAEFIK_FOR_BROWSERS: cookies::Kind = cookies::Kind {
    settings: TRAEFIK.settings,
    command: command_for_browsers,
    not_yet: NOT_YET,
    to_caches: cookies::ToCaches::NothingMore,
};

cookies::tests!("needs traefik", super::TRAEFIK_FOR_BROWSERS);

#[tokio::test]
#[ignore = "needs traefik, chromium and chromium-driver"]
async fn people_sign_in_with_a_browser_behind_traefik() {
    browsers::sign_in_and_out(&TRAEFIK_FOR_BROWSERS).await;
}
