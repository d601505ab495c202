//! HAProxy asks by a Lua script, with the files in `deploy/haproxy`.

use std::{fs, process::Command};

use siwa_proxy::sim::presets;

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
    not_yet: None,
};

gateway::tests!("needs haproxy", super::HAPROXY, judges_the_request_that_the_caller_sent);

/// HAProxy 2.6 has no rule for them (3.2 has `option http-drop-request-trailers`): `haproxy.cfg` says so.
#[tokio::test]
#[ignore = "needs haproxy"]
async fn trailers_stay_trailers() {
    let received = gateway::with_spoofed_trailers(&HAPROXY).await;
    assert!(!received.head.contains("spoof"), "{}", received.head);
    assert_eq!(received.header("x-apple-sub"), [presets::SUBJECT]);
}
