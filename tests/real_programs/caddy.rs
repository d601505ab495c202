//! Caddy asks by `forward_auth`, with the files in `deploy/caddy`.

use std::{fs, process::Command};

use super::gateway::{self, Kind, Places};

fn command(places: &Places<'_>) -> Command {
    let file = places.folder.join("Caddyfile");
    fs::write(&file, places.fill_in(include_str!("../../deploy/caddy/Caddyfile"))).unwrap();
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
};

gateway::tests!("needs caddy", super::CADDY, judges_the_request_that_the_caller_sent);

#[tokio::test]
#[ignore = "needs caddy"]
async fn trailers_are_dropped() {
    gateway::lets_no_spoofed_trailer_through(&CADDY).await;
}
