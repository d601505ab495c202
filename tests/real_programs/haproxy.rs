//! HAProxy asks by a Lua script, with the files in `deploy/haproxy`.

use std::{fs, process::Command};

use super::gateway::{self, Kind, Places};

fn command(places: &Places<'_>) -> Command {
    for (name, text) in [
        ("haproxy.cfg", include_str!("../../deploy/haproxy/haproxy.cfg")),
        ("siwa-proxy.lua", include_str!("../../deploy/haproxy/siwa-proxy.lua")),
    ] {
        fs::write(places.folder.join(name), places.fill_in(text)).unwrap();
    }
    let mut command = Command::new("haproxy");
    command.args(["-db", "-f", "haproxy.cfg"]).current_dir(places.folder);
    command
}

const HAPROXY: Kind = Kind {
    settings: include_str!("../../deploy/haproxy/siwa-proxy.toml"),
    command,
    malformed: 401,
    unreachable: 503,
};

gateway::tests!("needs haproxy", super::HAPROXY);
