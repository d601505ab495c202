//! What the command says about settings that it cannot use, and how it ends.

use std::{
    fs, io,
    net::TcpListener,
    process::{Command, Output},
    sync::Arc,
};

use siwa_proxy::{clock::SystemClock, sim::Apple};

use crate::support::program::{Program, command as siwa_proxy};

/// How it ended, and what it said on standard error.
fn end_of(command: &mut Command) -> io::Result<(Option<i32>, String)> {
    let Output { status, stdout, stderr } = command.output()?;
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    Ok((status.code(), String::from_utf8_lossy(&stderr).into_owned()))
}

#[test]
fn a_broken_file_is_reported_whole_and_nothing_starts() {
    let folder = tempfile::tempdir().expect("a folder for the file");
    let file = folder.path().join("siwa.toml");
    let text = "[server]\nlisten = 4180\n\n[upstream]\nurl = \"https://app/base\"\n\n[aple]\nclient_ids = [\"a\"]\n";
    fs::write(&file, text).expect("the file can be written");

    let mut command = siwa_proxy();
    command.args(["serve", "--log", "loud", "--config"]).arg(&file);
    let (code, report) =
        end_of(command.env("SIWA_JWKS__REFRESH_EVERY", "often")).expect("the binary runs");

    assert_eq!(code, Some(64), "{report}");
    let file = file.display();
    let places = [
        format!("(from {file}:2)"),
        format!("(from {file}:5)"),
        format!("(from {file}:7)"),
        "(from env SIWA_JWKS__REFRESH_EVERY)".to_owned(),
        "(from flag --log)".to_owned(),
    ];
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines.len(), places.len(), "{report}");
    for (line, place) in lines.iter().zip(&places) {
        assert!(line.ends_with(place), "{line} should end with {place}");
    }
}

#[test]
fn the_settings_of_the_package_lack_a_client_id_and_nothing_else_as_the_guide_says() {
    let shipped = include_str!("../deploy/systemd/siwa-proxy.toml");
    let folder = tempfile::tempdir().expect("a folder for the file");
    let file = folder.path().join("siwa-proxy.toml");
    let check = |text: &str| {
        fs::write(&file, text).expect("the file can be written");
        end_of(siwa_proxy().args(["check", "--config"]).arg(&file)).expect("the binary runs")
    };
    let (code, report) = check(shipped);
    assert_eq!(code, Some(64), "{report}");
    let told = report.replace(&file.display().to_string(), "/etc/siwa-proxy/siwa-proxy.toml");
    let guide = include_str!("../deploy/README.md");
    assert!(guide.contains(&format!("```text\n{told}```\n")), "{told}");

    // The state directory is systemd's to make, when it starts the service.
    let there = shipped.replace("/var/lib/siwa-proxy", &folder.path().display().to_string());
    let (code, report) = check(&there.replace("client_ids = []", "client_ids = ['com.a.b']"));
    assert_eq!((code, report.as_str()), (Some(0), "the settings can be used\n"));
}

#[tokio::test]
async fn the_settings_beside_a_gateway_open_only_what_it_asks_at() {
    const ENVOY: &str = if cfg!(feature = "ext-authz") {
        "/auth/apple/ext-authz /envoy.service.auth.v3.Authorization/Check"
    } else {
        "/auth/apple/ext-authz"
    };
    let apple = Apple::start(Arc::new(SystemClock)).await.expect("a toy Apple");
    for (gateway, doors) in [
        ("nginx", "/auth/apple/verify"),
        ("kubernetes/ingress-nginx", "/auth/apple/verify"),
        ("haproxy", "/auth/apple/verify"),
        ("caddy", "/auth/apple/forward-auth"),
        ("traefik", "/auth/apple/forward-auth"),
        ("envoy", ENVOY),
    ] {
        let file = format!("{}/deploy/{gateway}/siwa-proxy.toml", env!("CARGO_MANIFEST_DIR"));
        let (_proxy, log) =
            Program::start_alone(&apple.jwks_url(), 200, &["--config", &file], &[]).await;
        let message = "no application is configured: other gateways ask, and nothing is forwarded";
        assert_eq!(log.line(message, |_| true).await["doors"], doors, "{gateway}");
    }
}

#[test]
fn without_a_client_id_nothing_starts() {
    let (code, report) =
        end_of(siwa_proxy().args(["serve", "--upstream", "http://127.0.0.1:3000"]))
            .expect("the binary runs");
    assert_eq!(code, Some(64), "{report}");
    assert!(report.starts_with("apple.client_ids: no client id is given"), "{report}");
}

#[test]
fn an_address_that_is_taken_ends_with_its_own_code() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it has an address").to_string();
    let serve = ["serve", "--upstream", "http://127.0.0.1:3000", "--client-id", "com.example.app"];
    let (code, report) =
        end_of(siwa_proxy().args(serve).args(["--listen", &address])).expect("the binary runs");
    assert_eq!(code, Some(69), "{report}");
    let said = format!("siwa-proxy: cannot listen on {address} (server.listen): ");
    assert!(report.starts_with(&said), "{report}");
    assert!(report.contains("another siwa-proxy may run here"), "{report}");

    let demo = ["demo", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let (code, report) =
        end_of(siwa_proxy().args(demo).args(["--browser-listen", &address])).expect("it runs");
    assert_eq!(code, Some(69), "{report}");
    assert!(report.contains("siwa-proxy: --browser-listen: cannot listen on "), "{report}");

    let (code, report) =
        end_of(siwa_proxy().args(["sim", "--listen", &address])).expect("the binary runs");
    assert_eq!(code, Some(69), "{report}");
}

#[test]
fn a_flag_that_does_not_exist_is_a_usage_error() {
    let (code, report) =
        end_of(siwa_proxy().args(["serve", "--lissten", "a"])).expect("the binary runs");
    assert_eq!(code, Some(64), "{report}");
    assert!(report.contains("--listen"), "{report}");
}

#[test]
fn the_help_tells_the_defaults_of_the_reference() {
    let reference = include_str!("../config/reference.toml");
    let help = siwa_proxy().args(["serve", "--help"]).output().expect("the binary runs");
    let help = String::from_utf8(help.stdout).expect("the help is text");
    let told: Vec<&str> = help
        .split("[default: ")
        .skip(1)
        .filter_map(|rest| rest.split_once(']').map(|(default, _)| default))
        .collect();
    assert!(told.len() >= 5, "{help}");
    for default in told {
        let one = format!(" = \"{default}\"\n");
        let only_one = format!(" = [\"{default}\"]\n");
        assert!(
            reference.contains(&one) || reference.contains(&only_one),
            "{default} is no default"
        );
    }
}

#[test]
fn everything_wrong_with_routes_and_what_they_name_is_reported_at_once() {
    let text = r#"
[upstream]
url = "http://127.0.0.1:3000"
[upstreams.other]
url = "ftp://app"
colour = 1
[apple]
client_ids = ["a"]
[[route]]
path = "a"
hosts = ["a b"]
methods = ["get"]
client_ids = ["b"]
upstream = "none"
[[route]]
acess = "public"
response_timeout = "soon"
[[route]]
path = "/x/*"
[[route]]
path = "/x/*"
access = "public"
policy = { require_email = true }
[cors]
allow_origins = ["*", "https://app.example/"]
allow_credentials = true
[assertion]
key_files = ["/none.pem"]
[headers]
via = "a b"
"#;
    let problems = siwa_proxy::config::Settings::from_toml(text).unwrap_err().to_string();
    for (expected, line) in [
        ("upstreams.other.url: must", 5),
        ("upstreams.other.colour: is no key", 6),
        ("route[1].path: must begin with `/`", 10),
        ("route[1].hosts: `a b`", 11),
        ("route[1].methods: `get`", 12),
        ("route[1].client_ids: `b` is not among", 13),
        ("route[1].upstream: there is no [upstreams.none]", 14),
        ("route[2].acess: is no key: did you mean `access`?", 16),
        ("route[2].response_timeout:", 17),
        ("route[4].policy: says nothing", 23),
        ("cors.allow_credentials: must be false", 26),
        ("cors.allow_origins: has `*` beside others", 25),
        ("cors.allow_origins: `https://app.example/` is no origin as browsers write it", 25),
        ("assertion.key_files: `/none.pem` cannot be read", 28),
        ("headers.via: must be one word", 30),
    ] {
        let found = problems.lines().find(|problem| problem.starts_with(expected));
        let found = found.unwrap_or_else(|| panic!("{expected} in\n{problems}"));
        assert!(found.contains(&format!("config.toml:{line}")), "{line}: {found}");
    }
    let conflict = siwa_proxy::config::Settings::from_toml(
        "upstream.url = 'http://a'\napple.client_ids = ['a']\n[[route]]\npath = '/{a}'\n[[route]]\npath = '/{b}'",
    );
    let conflict = conflict.unwrap_err().to_string();
    assert!(
        conflict.starts_with("route[2].path: matches some of the same requests as route[1]"),
        "{conflict}"
    );
    assert!(conflict.ends_with("(from config.toml:6 and config.toml:4)"), "{conflict}");
}
