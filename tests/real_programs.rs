//! Programs that other people wrote, before and behind ours. They are `#[ignore]`d, as they need to be installed;
//! `.ci/run` installs them and runs these tests, which fail when one is missing.

mod browsers;
mod caddy;
mod cookies;
mod envoy;
mod gateway;
mod haproxy;
mod nginx;
mod sign_in_page;
mod swift;
mod traefik;
mod web_page;

use std::{net::SocketAddr, path::Path, process::Command, sync::Arc};

use siwa_proxy::{
    clock::SystemClock,
    sim::{Apple, token::TokenTemplate},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::{
    House, application, eventually, get, open,
    process::ProcessGroup,
    program::{command, free_address},
    read_head,
    secure::Authority,
    serve_http,
};

/// What curl prints when it is run with `arguments`.
async fn curl(arguments: Vec<String>) -> String {
    let running = tokio::task::spawn_blocking(move || {
        let curl = Command::new("curl").args(["-sS", "--max-time", "20"]).args(arguments).output();
        curl.expect("curl is installed")
    });
    let output = running.await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_speaks_both_versions_and_uploads_with_expect() {
    let application = application(|stream, _| serve_http(stream)).await;
    for scheme in ["http", "h2c"] {
        let house = House::with(&format!("upstream.url = '{scheme}://{application}'")).await;
        let authorization = format!("Authorization: {}", house.bearer());
        let url = format!("http://{}/a?b=c", house.address);
        for version in ["--http1.0", "--http1.1", "--http2-prior-knowledge"] {
            let said = curl(words(&[version, "-H", &authorization, &url])).await;
            assert!(said.contains(" GET "), "{scheme} {version}: {said}");
            let upload = [version, "-H", &authorization, "-H", "Expect: 100-continue"];
            let said = curl(words(&[&upload[..], &["-d", "hello", &url]].concat())).await;
            assert!(said.contains("body=hello"), "{scheme} {version}: {said}");
        }
        let refused = curl(words(&["-o", "/dev/null", "-w", "%{http_code}", &url])).await;
        assert_eq!(refused, "401");
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_agrees_by_alpn_on_either_version_and_trusts_the_certificate() {
    let application = application(|stream, _| serve_http(stream)).await;
    let authority = Authority::new();
    let settings = format!("upstream.url = 'http://{application}'\n{}", authority.configuration());
    let house = House::with(&settings).await;
    let authorization = format!("Authorization: {}", house.bearer());
    let port = house.address.port();
    let resolve = format!("app.example:{port}:{}", house.address.ip());
    let url = format!("https://app.example:{port}/a?b=c");
    let ca = authority.path("authority.pem").display().to_string();
    let tls = ["--cacert", ca.as_str(), "--resolve", resolve.as_str()];
    for (version, spoken) in [("--http1.1", "1.1"), ("--http2", "2")] {
        let upload = [
            "-H",
            &authorization,
            "-H",
            "Expect: 100-continue",
            "-d",
            "hello",
            "-w",
            " %{http_version}",
        ];
        let said = curl(words(&[&tls[..], &[version], &upload, &[&url]].concat())).await;
        assert!(said.contains("body=hello"), "{version}: {said}");
        assert!(said.ends_with(&format!(" {spoken}")), "{version}: {said}");
        let refused = ["-o", "/dev/null", "-w", "%{http_code}", &url];
        let status = curl(words(&[&tls[..], &[version], &refused].concat())).await;
        assert_eq!(status, "401", "{version}");
    }
}

#[tokio::test]
#[ignore = "needs curl"]
async fn curl_uploads_a_body_that_it_was_invited_to_send_and_none_that_it_was_not() {
    let house = House::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("upload");
    std::fs::write(&file, vec![b'x'; 2 * MEBIBYTE]).unwrap();
    let (file, url) = (format!("@{}", file.display()), format!("http://{}/up", house.address));
    let asking = ["--http1.1", "--expect100-timeout", "20", "--data-binary", &file];
    let told = ["-o", "/dev/null", "-w", "%{http_code} %{size_upload}", &url];
    let refused = curl(words(&[&asking[..], &told].concat())).await;
    assert_eq!(refused, "401 0", "a body that nobody asked for is not sent");

    let authorization = format!("Authorization: {}", house.bearer());
    let with_token = [&asking[..], &["-H", &authorization], &told].concat();
    assert_eq!(curl(words(&with_token)).await, format!("200 {}", 2 * MEBIBYTE));
    assert_eq!(house.application.only_request().body.len(), 2 * MEBIBYTE);
}

async fn listens(address: SocketAddr) {
    let listens = async || tokio::net::TcpStream::connect(address).await.is_ok();
    eventually("the program listens", listens).await;
}

/// Waits until the gateway at `address` listens, and answers something else than `not_yet`.
async fn is_up(address: SocketAddr, not_yet: Option<u16>) {
    listens(address).await;
    if let Some(not_yet) = not_yet {
        let has_read = async || get(address, "/", &[]).await.status != not_yet;
        eventually("the gateway has read its files", has_read).await;
    }
}

#[tokio::test]
#[ignore = "needs python3"]
async fn python_serves_files_behind_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.txt"), "from python").unwrap();
    let address = free_address();
    let python = ["-m", "http.server", "--bind", "127.0.0.1", "--directory"];
    let mut command = Command::new("python3");
    command.args(python).arg(folder.path()).arg(address.port().to_string());
    let _python = ProcessGroup::start(&mut command);
    listens(address).await;

    let house = House::with(&format!("upstream.url = 'http://{address}'")).await;
    for _ in 0..3 {
        let reply = house.get("/a.txt", &[("Authorization", &house.bearer())]).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "from python"));
    }
    assert_eq!(house.get("/none", &[("Authorization", &house.bearer())]).await.status, 404);
}

/// A configuration with which nginx runs as anybody, in `folder`, and does what `rest` says.
fn nginx_configuration(rest: &str, folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off; pid {folder}/pid; error_log {folder}/error.log;\n\
         events {{}}\n\
         http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n\
         fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n\
         {rest} }}\n"
    )
}

#[tokio::test]
#[ignore = "needs nginx"]
async fn nginx_behind_the_proxy_may_close_connections_when_it_likes() {
    let folder = tempfile::tempdir().unwrap();
    let address = free_address();
    let file = folder.path().join("nginx.conf");
    let server = format!(
        "keepalive_timeout 1s; keepalive_requests 3;\n\
         server {{ listen {address}; location / {{ return 200 \"nginx: $http_x_apple_sub\"; }} }}"
    );
    std::fs::write(&file, nginx_configuration(&server, folder.path())).unwrap();
    let _nginx = ProcessGroup::start(Command::new("nginx").arg("-c").arg(&file));
    listens(address).await;

    let house = House::with(&format!("upstream.url = 'http://{address}'")).await;
    for _ in 0..20 {
        let reply = house.get("/", &[("Authorization", &house.bearer())]).await;
        assert!(reply.status == 200 && reply.body.starts_with("nginx: 0"), "{reply:?}");
    }
}

const GIBIBYTE: usize = 1 << 30;
const MEBIBYTE: usize = 1 << 20;

/// Reads a body of a gibibyte if it was sent one, else answers one.
async fn a_gibibyte_either_way(mut stream: tokio::net::TcpStream) {
    let piece = vec![7; MEBIBYTE];
    while let Some(head) = read_head(&mut stream).await {
        let length = if head.starts_with("POST") {
            let mut body = (&mut stream).take(GIBIBYTE as u64);
            tokio::io::copy(&mut body, &mut tokio::io::sink()).await.unwrap();
            0
        } else {
            GIBIBYTE
        };
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        for _ in 0..length / MEBIBYTE {
            if stream.write_all(&piece).await.is_err() {
                return;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes long"]
async fn a_gibibyte_up_and_down_costs_less_than_16_mebibytes_of_memory() {
    let apple = Apple::start(Arc::new(SystemClock)).await.unwrap();
    let application = application(|stream, _| a_gibibyte_either_way(stream)).await;
    let [address, admin] = [free_address(), free_address()];
    let mut command = command();
    command
        .args(["serve", "--client-id", "com.example.app", "--jwks-url", &apple.jwks_url()])
        .args(["--listen", &address.to_string(), "--admin-listen", &admin.to_string()])
        .args(["--upstream", &format!("http://{application}")]);
    let program = ProcessGroup::start(&mut command);
    listens(admin).await;
    eventually("it is ready", async || get(admin, "/readyz", &[]).await.status == 200).await;

    let token = apple.mint(&TokenTemplate::native());
    let head = format!("HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {token}\r\n");
    get(address, "/warm", &[("Authorization", "Bearer a.b.c")]).await;
    let before = program.memory("VmRSS");
    let grown = || program.memory("VmRSS").saturating_sub(before);

    let mut stream = open(address).await;
    let upload = format!("POST / {head}Content-Length: {GIBIBYTE}\r\n\r\n");
    stream.write_all(upload.as_bytes()).await.unwrap();
    let piece = vec![7; MEBIBYTE];
    for _ in 0..GIBIBYTE / MEBIBYTE {
        stream.write_all(&piece).await.unwrap();
    }
    assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "));
    assert!(grown() < 16 * MEBIBYTE as u64, "upload: {}", grown());

    stream.write_all(format!("GET / {head}\r\n").as_bytes()).await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200 "));
    // A reader that reads a little and then nothing makes everybody behind it wait.
    let mut other = open(address).await;
    other.write_all(format!("GET / {head}\r\n").as_bytes()).await.unwrap();
    assert!(read_head(&mut other).await.unwrap().starts_with("HTTP/1.1 200 "));
    let mut body = (&mut stream).take(GIBIBYTE as u64);
    let read = tokio::io::copy(&mut body, &mut tokio::io::sink()).await.unwrap();
    assert_eq!(read, GIBIBYTE as u64);
    assert!(grown() < 16 * MEBIBYTE as u64, "download: {}", grown());
}
