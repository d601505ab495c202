//! `siwa-proxy demo`: a toy Apple, an application that echoes what reaches it, and the proxy between them, once for apps and
//! once for browsers.

mod browser;
mod web;

use std::{
    error::Error,
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use siwa_proxy::{
    app::{App, AppError},
    apple::{AppleApiSettings, TeamKey},
    clock::SystemClock,
    config::{Secrets, Settings},
    sim::{
        Apple,
        echo::Echo,
        presets,
        sign_in::{SignIn, SignedIn},
        site::Site,
        token::TokenTemplate,
    },
    telemetry,
    verify::{SealKeys, TrustedUrl},
};
use tokio::time::sleep;

/// Show it all on this machine: a toy Apple, an echoing application, the proxy between them, and curl lines to try.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoOptions {
    /// Where callers connect to.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4180")]
    listen: SocketAddr,
    /// Where health and metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4181")]
    admin_listen: SocketAddr,
    /// Where people with browsers sign in, over TLS.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4182", value_parser = loopback)]
    browser_listen: SocketAddr,
}

/// An address that no other machine reaches, as none reaches the toy Apple at which people sign in.
fn loopback(text: &str) -> Result<SocketAddr, Box<dyn Error + Send + Sync>> {
    let address: SocketAddr = text.parse()?;
    if address.ip().is_loopback() {
        return Ok(address);
    }
    Err("anybody may sign in as anybody here, so it must be a loopback address".into())
}

/// `address`, or if it stands for all of this machine's, one at which this machine finds it.
fn from_here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

impl DemoOptions {
    /// With ports that are known before anybody listens, as both proxies are told where browsers see them.
    fn with_ports(self) -> io::Result<Self> {
        let (listen, browser_listen) = (with_port(self.listen)?, with_port(self.browser_listen)?);
        Ok(Self { listen, browser_listen, ..self })
    }
}

/// `address`, or if it has no port the same with one that is free.
fn with_port(address: SocketAddr) -> io::Result<SocketAddr> {
    if address.port() != 0 {
        return Ok(address);
    }
    TcpListener::bind(address)?.local_addr()
}

/// Runs everything until a signal ends it.
pub(crate) async fn run(options: DemoOptions) -> anyhow::Result<()> {
    let apple = Apple::start(Arc::new(SystemClock)).await?;
    let application = Echo::start().await?;
    let page = web::start(&apple).await?;
    let (options, api) = (options.with_ports()?, api(&apple)?);
    let settings = settings(&options, &apple, &application, &page, secrets(api.clone())?)?;
    let for_browsers =
        browser::settings(options.browser_listen, &apple, &application, secrets(api)?)?;
    telemetry::init_log(settings.log())?;
    let proxy = bind(settings, "--listen").await?;
    let for_browsers = bind(for_browsers, "--browser-listen").await?;
    let places = Places { proxy: Place::of(&proxy)?, for_browsers: Place::of(&for_browsers)? };
    let greeting = greet(&apple, &application, places);
    tokio::try_join!(serve(proxy), serve(for_browsers), greeting)?;
    Ok(())
}

/// What an operator would write for this application, with the simulator in Apple's place.
fn settings(
    options: &DemoOptions,
    apple: &Apple,
    application: &Echo,
    page: &Site,
    secrets: Secrets,
) -> anyhow::Result<Settings> {
    let DemoOptions { listen, admin_listen, .. } = options;
    let settings = format!(
        r#"
        server.listen = "{listen}"
        server.admin_listen = "{admin_listen}"
        server.drain_timeout = "1s"
        upstream.url = "{upstream}"
        apple.client_ids = ["{client_id}", "{web}"]
        jwks.url = "{jwks_url}"
        sign_in.path = "/auth/apple"
        sign_in.redirect_uris = ["{address}"]
        notifications.path = "/auth/apple/notifications"
        {page}
        "#,
        upstream = application.url(),
        client_id = presets::CLIENT_ID,
        web = web::CLIENT_ID,
        jwks_url = apple.jwks_url(),
        address = web::address(from_here(*listen)),
        page = web::settings(page),
    );
    Ok(Settings::from_toml_with(&settings, secrets)?)
}

/// By which key the simulator knows us. It is as old as this process.
fn api(apple: &Apple) -> anyhow::Result<AppleApiSettings> {
    let key = apple.issue_team_key("DEF123GHIJ", &[presets::CLIENT_ID, web::CLIENT_ID]);
    let mut api =
        AppleApiSettings::new(TeamKey::from_pem(&key.team_id, &key.key_id, key.text.as_bytes())?);
    api.url = TrustedUrl::new(apple.url().parse()?).context("Apple is not on this machine")?;
    Ok(api)
}

/// With a new key to seal sessions: each proxy remembers by itself which ones have ended, and takes none of another's.
fn secrets(api: AppleApiSettings) -> anyhow::Result<Secrets> {
    Ok(Secrets::new(SealKeys::parse([SealKeys::generate()?.as_str()])?, api))
}

/// Binds a proxy that listens where `flag` says.
async fn bind(settings: Settings, flag: &'static str) -> anyhow::Result<App> {
    // The simulator in Apple's place, and memory for a store, would be mistakes anywhere else.
    let bound = App::bind(settings.without_warnings()).await;
    bound.map_err(|error| {
        let AppError::Listen { key, .. } = &error else { return error.into() };
        let flag = if *key == "server.admin_listen" { "--admin-listen" } else { flag };
        anyhow::Error::new(error).context(flag)
    })
}

async fn serve(app: App) -> anyhow::Result<()> {
    Ok(app.run_until_signalled().await?)
}

/// Where a proxy is.
#[derive(Clone, Copy)]
struct Place {
    address: SocketAddr,
    admin: SocketAddr,
}

impl Place {
    fn of(app: &App) -> io::Result<Self> {
        Ok(Self { address: from_here(app.address()?), admin: from_here(app.admin_address()?) })
    }
}

/// Where both are.
#[derive(Clone, Copy)]
struct Places {
    proxy: Place,
    for_browsers: Place,
}

impl Places {
    /// The origin of the web application.
    fn web_app(self) -> String {
        browser::origin(self.for_browsers.address)
    }
}

/// The session of an app that has signed in.
#[derive(Deserialize)]
struct Session {
    access_token: String,
    refresh_token: String,
}

/// Waits for the proxies, signs in as an app does, and tells the visitor what there is to try.
#[expect(clippy::print_stdout, reason = "this is a program speaking to its visitor")]
async fn greet(apple: &Apple, application: &Echo, places: Places) -> anyhow::Result<()> {
    let client = Client::builder().no_proxy().build()?;
    let Places { proxy, for_browsers } = places;
    for Place { admin, .. } in [proxy, for_browsers] {
        let ready = format!("http://{admin}/readyz");
        while client.get(&ready).send().await?.status() != StatusCode::OK {
            sleep(Duration::from_millis(10)).await;
        }
    }
    // The visitor's sign-in is the first one, which has a name.
    let visitors = posted(apple.sign_in(&SignIn::to(presets::CLIENT_ID)));
    let ours = posted(apple.sign_in(&SignIn::to(presets::CLIENT_ID)));
    let answer = client
        .post(format!("http://{}/auth/apple", proxy.address))
        .header("content-type", "application/json")
        .body(ours.to_string())
        .send()
        .await?;
    let session: Session = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
    // Nothing after its last line: whoever reads that may have gone.
    print!("{}", Page { apple, application, places, visitors, session });
    Ok(())
}

/// What an app posts when somebody has signed in.
fn posted(signed_in: SignedIn) -> Value {
    let SignedIn { identity_token, code, user, .. } = signed_in;
    let mut body = json!({ "identityToken": identity_token, "authorizationCode": code });
    if let (Some(user), Some(body)) = (user, body.as_object_mut()) {
        body.insert("user".to_owned(), user);
    }
    body
}

/// What the demonstration tells its visitor.
struct Page<'a> {
    apple: &'a Apple,
    application: &'a Echo,
    places: Places,
    visitors: Value,
    session: Session,
}

impl Page<'_> {
    /// What happens, and the line that has it happen.
    fn steps(&self) -> [(&'static str, String); 9] {
        let Self { apple, places, visitors, session, .. } = self;
        let proxy = places.proxy.address;
        let hello = format!("curl -i http://{proxy}/hello");
        let json = "-H 'Content-Type: application/json'";
        let token = format!("-H 'Authorization: Bearer {}'", apple.mint(&TokenTemplate::native()));
        let refresh = json!({ "refresh_token": session.refresh_token });
        let session = format!("-H 'Authorization: Bearer {}'", session.access_token);
        let withdraw = |client_id: &str, from: &str| {
            let event = json!({
                "type": "consent-revoked", "sub": presets::SUBJECT, "aud": client_id,
                "deliver_to": format!("{from}/auth/apple/notifications"),
            });
            format!("curl -i {}/sim/notification {json} -d '{event}'", apple.url())
        };
        [
            (
                "With Apple's token: 200, and the application is told who calls.",
                format!("{hello} {token}"),
            ),
            ("Without: 401, and why.", hello.clone()),
            (
                "With a token and somebody else's name: the application sees the token's.",
                format!(
                    "{hello} -H 'X-Apple-Sub: somebody.else' -H 'x_apple_sub: somebody.else' {token}"
                ),
            ),
            (
                "An app signs in, with Apple's token and authorization code: the code is redeemed at Apple, and a session begins.",
                format!("curl -i http://{proxy}/auth/apple {json} -d '{visitors}'"),
            ),
            (
                "With a session (of an app that signed in a moment ago): 200, and the application is told the same.",
                format!("{hello} {session}"),
            ),
            (
                "The app renews its session: new tokens, and the old refresh token is used up.",
                format!("curl -i http://{proxy}/auth/apple/refresh {json} -d '{refresh}'"),
            ),
            (
                "The user stops using the app, and Apple tells the proxy.",
                withdraw(presets::CLIENT_ID, &format!("http://{proxy}")),
            ),
            (
                "With the session: 401, as with every token from before.",
                format!("{hello} {session}"),
            ),
            (
                "In the web app, where you have signed in with a browser: the same, and your next click leads to signing in.",
                withdraw(web::CLIENT_ID, &places.web_app()),
            ),
        ]
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { apple, application, places, .. } = self;
        let Place { address: proxy, admin } = places.proxy;
        write!(
            f,
            "\
A toy Apple, an application and siwa-proxy between them, all on this machine.

  Apple        {apple}   keys at /auth/keys; POST /sim/token makes tokens
  application  {application}   echoes what reaches it
  siwa-proxy   http://{proxy}   GET http://{admin}/readyz, /metrics
  web page     http://{proxy}/   signs in, calls, refreshes, signs out and deletes, in a browser
  web app      {web_app}/   people sign in with a browser, and the application is told who they are
               (the browser warns of the certificate: it was made a moment ago, and nobody vouches for it)

",
            apple = apple.url(),
            application = application.url(),
            web_app = places.web_app(),
        )?;
        for (number, (what, line)) in (1..).zip(self.steps()) {
            write!(f, "{number}. {what}\n\n{line}\n\n")?;
        }
        f.write_str("ready: each request is logged below; Ctrl-C ends it\n")
    }
}
