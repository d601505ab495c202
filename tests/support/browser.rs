//! Debian's Chromium, driven by its chromedriver over WebDriver (<https://www.w3.org/TR/webdriver2/>), for tests whose
//! path names `real_programs`.
//!
//! Nothing in it goes to the Internet: names are resolved to loopback as the test says, and every other name fails.
//!
//! ```ignore
//! let browser = Browser::resolving(&[("app.example", front), ("apple.example", apple)]).await;
//! browser.open("https://app.example/").await;
//! browser.click("button.sign-in").await;      // waits until there is such a button
//! browser.in_popup().await;                   // whatever follows happens in the window that opened
//! browser.click("button[value=continue]").await;
//! browser.in_first_window().await;
//! browser.reads("#who", "Jane").await;        // waits until it does
//! ```

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy, rt::TokioExecutor};
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::PATIENCE;

/// The key of an element's reference (WebDriver §12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser without a screen, with one window, 1000 by 800 pixels, in a light scheme. Dropping it ends it.
///
/// Elements are named by CSS selectors; whatever names one waits until it is there. What fails because one page is just giving
/// way to another is tried again; any other step that the browser refuses panics with what it said.
pub(crate) struct Browser {
    driver: Child,
    session: String,
    client: legacy::Client<legacy::connect::HttpConnector, Full<Bytes>>,
    _profile: TempDir,
}

impl Browser {
    /// A browser that knows `localhost` and no other name.
    pub(crate) async fn start() -> Self {
        Self::resolving(&[]).await
    }

    /// A browser that finds these hosts, whatever the port in the URL, at these addresses: `https://app.example/` needs no
    /// port. It takes any certificate.
    pub(crate) async fn resolving(hosts: &[(&str, SocketAddr)]) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let (driver, port) = start_driver();
        let client = legacy::Client::builder(TokioExecutor::new()).build_http();
        let session = format!("http://127.0.0.1:{port}/session");
        let wanted = capabilities(hosts, profile.path());
        let mut browser = Self { driver, session, client, _profile: profile };
        let started = browser.post("", &wanted).await;
        browser.session = format!("{}/{}", browser.session, started["sessionId"].as_str().unwrap());
        browser
    }
}

/// Going places.
impl Browser {
    /// Goes to `url` and waits until it is loaded.
    pub(crate) async fn open(&self, url: &str) {
        self.post("/url", &json!({ "url": url })).await;
    }

    /// Where it is.
    pub(crate) async fn url(&self) -> String {
        self.read("/url").await
    }

    /// Loads the page again.
    pub(crate) async fn reload(&self) {
        self.post("/refresh", &json!({})).await;
    }

    /// Goes back as by the button.
    pub(crate) async fn back(&self) {
        self.post("/back", &json!({})).await;
    }

    /// Waits until its address is `url`, whatever the query, unless `url` has one.
    pub(crate) async fn arrives_at(&self, url: &str) {
        let is_there = |now: &Value| {
            let rest = now.as_str().and_then(|now| now.strip_prefix(url));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('?'))
        };
        self.wait_for(url, || self.send("GET", "/url", None), is_there).await;
    }

    /// Turns to the window that was opened last, once there are two.
    pub(crate) async fn in_popup(&self) {
        let windows = self.wait_for_windows(2).await;
        let current = self.read("/window").await;
        let popup = windows.iter().find(|window| **window != current).unwrap();
        self.post("/window", &json!({ "handle": popup })).await;
    }

    /// Turns back to the window that is left, once the other one has closed.
    pub(crate) async fn in_first_window(&self) {
        let left = self.wait_for_windows(1).await;
        self.post("/window", &json!({ "handle": left[0] })).await;
    }

    /// Opens another tab and turns to it.
    pub(crate) async fn in_new_tab(&self) {
        let opened = self.post("/window/new", &json!({ "type": "tab" })).await;
        self.post("/window", &json!({ "handle": opened["handle"] })).await;
    }

    /// Every window and tab there is.
    pub(crate) async fn windows(&self) -> Vec<String> {
        serde_json::from_value(self.get("/window/handles").await).unwrap()
    }

    /// Turns to one of them.
    pub(crate) async fn switch_to(&self, window: &str) {
        self.post("/window", &json!({ "handle": window })).await;
    }

    async fn wait_for_windows(&self, count: usize) -> Vec<String> {
        let look = || self.send("GET", "/window/handles", None);
        let all =
            self.wait_for("windows", look, |all| all.as_array().unwrap().len() == count).await;
        serde_json::from_value(all).unwrap()
    }

    /// Closes this window; turn to another one next.
    pub(crate) async fn close(&self) {
        self.send("DELETE", "/window", None).await.unwrap();
    }
}

/// Reading and doing.
impl Browser {
    pub(crate) async fn click(&self, selector: &str) {
        let click = || async {
            let path = format!("/element/{}/click", self.find(selector).await?);
            self.send("POST", &path, Some(&json!({}))).await
        };
        self.wait_for(selector, click, |_| true).await;
    }

    /// Types `text` as keys.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        let element = self.find(selector).await.unwrap();
        self.post(&format!("/element/{element}/value"), &json!({ "text": text })).await;
    }

    /// The text as it is shown.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let element = self.find(selector).await.unwrap();
        self.read(&format!("/element/{element}/text")).await
    }

    /// Waits until the text of `selector` contains `part`, and returns all of it.
    pub(crate) async fn reads(&self, selector: &str, part: &str) -> String {
        // The element may be replaced between the finding and the reading, so the page looks by itself.
        let script = "return document.querySelector(arguments[0])?.innerText ?? ''";
        let script = json!({ "script": script, "args": [selector] });
        let look = || self.send("POST", "/execute/sync", Some(&script));
        let found = self
            .wait_for(part, look, |text| text.as_str().is_some_and(|text| text.contains(part)))
            .await;
        found.as_str().unwrap().to_owned()
    }

    /// What the body of a function returns that is called with `arguments`; a promise is waited for.
    pub(crate) async fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": arguments })).await
    }

    /// The cookies that this page's address is sent, `HttpOnly` ones included, as WebDriver §14 describes them.
    pub(crate) async fn cookies(&self) -> Vec<Value> {
        serde_json::from_value(self.get("/cookie").await).unwrap()
    }

    /// What pages wrote to the console since it was last asked, errors of the network included.
    pub(crate) async fn console(&self) -> Vec<String> {
        let lines = self.post("/se/log", &json!({ "type": "browser" })).await;
        let lines = lines.as_array().unwrap().iter();
        lines.map(|line| line["message"].as_str().unwrap().to_owned()).collect()
    }
}

/// How it looks.
impl Browser {
    /// Another size of the page, in pixels.
    pub(crate) async fn resize(&self, width: u32, height: u32) {
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", metrics).await;
    }

    /// `light` or `dark`, as `prefers-color-scheme` tells pages.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// The page as PNG.
    pub(crate) async fn screenshot(&self) -> Vec<u8> {
        BASE64_STANDARD.decode(self.read("/screenshot").await).unwrap()
    }

    /// A command of the Chrome DevTools Protocol.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let command = json!({ "cmd": command, "params": parameters });
        self.post("/goog/cdp/execute", &command).await
    }
}

/// WebDriver's own protocol.
impl Browser {
    /// Waits until there is such an element, as the session was told to.
    async fn find(&self, selector: &str) -> Result<String, Value> {
        let by = json!({ "using": "css selector", "value": selector });
        let element = self.send("POST", "/element", Some(&by)).await?;
        Ok(element[ELEMENT].as_str().unwrap().to_owned())
    }

    /// Looks until that succeeds with what is wished for.
    async fn wait_for<F: Future<Output = Result<Value, Value>>>(
        &self,
        wish: &str,
        look: impl Fn() -> F,
        is_there: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut last = None;
        let looking = async {
            loop {
                match look().await {
                    Ok(found) if is_there(&found) => return found,
                    other => last = Some(other),
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(PATIENCE, looking).await;
        found.unwrap_or_else(|_| panic!("waited for {wish:?}, and at last there was {last:?}"))
    }

    async fn read(&self, path: &str) -> String {
        self.get(path).await.as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        self.send("GET", path, None).await.unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let answer = self.send("POST", path, Some(body)).await;
        answer.unwrap_or_else(|error| panic!("{path} {body}: {error}"))
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Value> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let request = http::Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.session))
            .body(Full::from(body))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        let value = answer["value"].take();
        if status.is_success() { Ok(value) } else { Err(value) }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser is the driver's child, and would outlive it.
        kill_process_group(Pid::from_child(&self.driver), Signal::KILL).ok();
        self.driver.wait().ok();
    }
}

/// A driver at the head of a process group of its own, and its port.
fn start_driver() -> (Child, u16) {
    let mut command = Command::new("chromedriver");
    command.arg("--port=0").process_group(0).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut driver = command.spawn().unwrap_or_else(|error| {
        panic!("chromedriver, of the Debian package chromium-driver: {error}")
    });
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = lines.map_while(Result::ok).find_map(|line| {
        line.split_once("started successfully on port ")?.1.trim_end_matches('.').parse().ok()
    });
    (driver, port.expect("chromedriver says its port"))
}

fn capabilities(hosts: &[(&str, SocketAddr)], profile: &Path) -> Value {
    let known = hosts.iter().map(|(host, address)| format!("MAP {host} {address}"));
    let unknown = ["EXCLUDE localhost", "EXCLUDE 127.0.0.1", "MAP * ~NOTFOUND"].map(str::to_owned);
    let rules: Vec<String> = known.chain(unknown).collect();
    let arguments = json!([
        "--headless=new",
        // Its own sandbox is for users other than root.
        "--no-sandbox",
        "--disable-dev-shm-usage",
        "--disable-gpu",
        "--no-proxy-server",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-features=Translate,MediaRouter",
        "--window-size=1000,800",
        format!("--user-data-dir={}", profile.display()),
        format!("--host-resolver-rules={}", rules.join(", ")),
    ]);
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "acceptInsecureCerts": true,
        "timeouts": { "implicit": 30_000, "script": 30_000, "pageLoad": 60_000 },
        "goog:chromeOptions": { "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}
