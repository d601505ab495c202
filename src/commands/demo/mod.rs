//! `siwa-proxy demo`: a toy Apple, an application that echoes what reaches it, and the proxy between them.

mod web;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use siwa_proxy::{
    app::App,
    apple::{AppleApiSettings, TeamKey},
    clock::SystemClock,
    config::Settings,
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
}

impl DemoOptions {
    /// With a port that is known before anybody listens, as the page is known to the proxy by its address.
    fn with_port(self) -> io::Result<Self> {
        if self.listen.port() != 0 {
            return Ok(self);
        }
        let listen = TcpListener::bind(self.listen)?.local_addr()?;
        Ok(Self { listen, ..self })
    }
}

/// Runs everything until a signal ends it.
pub(crate) async fn run(options: DemoOptions) -> anyhow::Result<()> {
    let apple = Apple::start(Arc::new(SystemClock)).await?;
    let application = Echo::start().await?;
    let page = web::start(&apple).await?;
    let options = options.with_port()?;
    let settings = settings(&options, &apple, &application, &page)?;
    telemetry::init_log(settings.log())?;
    let app = App::bind(settings).await?;
    let place = Place { proxy: app.address()?, admin: app.admin_address()? };
    let serving = async { app.run_until_signalled().await.map_err(anyhow::Error::from) };
    tokio::try_join!(serving, greet(&apple, &application, place))?;
    Ok(())
}

/// What an operator would write for this application, with the simulator in Apple's place.
fn settings(
    options: &DemoOptions,
    apple: &Apple,
    application: &Echo,
    page: &Site,
) -> anyhow::Result<Settings> {
    let DemoOptions { listen, admin_listen } = options;
    let settings = Settings::from_toml(&format!(
        r#"
        server.listen = "{listen}"
        server.admin_listen = "{admin_listen}"
        server.drain_timeout = "1s"
        upstream.url = "{upstream}"
        apple.client_ids = ["{client_id}", "{web}"]
        jwks.url = "{jwks_url}"
        sign_in.path = "/auth/apple"
        sign_in.redirect_uris = {addresses:?}
        notifications.path = "/auth/apple/notifications"
        revocations.keep = "180days"
        {page}
        "#,
        upstream = application.url(),
        client_id = presets::CLIENT_ID,
        web = web::CLIENT_ID,
        jwks_url = apple.jwks_url(),
        addresses = web::addresses(listen.port()),
        page = web::settings(page),
    ))?;
    let key = apple.issue_team_key("DEF123GHIJ", &[presets::CLIENT_ID, web::CLIENT_ID]);
    let mut api =
        AppleApiSettings::new(TeamKey::from_pem(&key.team_id, &key.key_id, key.text.as_bytes())?);
    api.url = TrustedUrl::new(apple.url().parse()?).context("Apple is not on this machine")?;
    let keys = SealKeys::parse([SealKeys::generate()?.as_str()])?;
    // The simulator in Apple's place, and memory for a store, would be mistakes anywhere else.
    Ok(settings.with_secrets(keys, api).without_warnings())
}

/// Where the proxy is.
#[derive(Clone, Copy)]
struct Place {
    proxy: SocketAddr,
    admin: SocketAddr,
}

/// The session of an app that has signed in.
#[derive(Deserialize)]
struct Session {
    access_token: String,
    refresh_token: String,
}

/// Waits for the proxy, signs in as an app does, and tells the visitor what there is to try.
#[expect(clippy::print_stdout, reason = "this is a program speaking to its visitor")]
async fn greet(apple: &Apple, application: &Echo, place: Place) -> anyhow::Result<()> {
    let client = Client::builder().no_proxy().build()?;
    let ready = format!("http://{}/readyz", place.admin);
    while client.get(&ready).send().await?.status() != StatusCode::OK {
        sleep(Duration::from_millis(10)).await;
    }
    // The visitor's sign-in is the first one, which has a name.
    let visitors = posted(apple.sign_in(&SignIn::to(presets::CLIENT_ID)));
    let ours = posted(apple.sign_in(&SignIn::to(presets::CLIENT_ID)));
    let answer = client
        .post(format!("http://{}/auth/apple", place.proxy))
        .header("content-type", "application/json")
        .body(ours.to_string())
        .send()
        .await?;
    let session: Session = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
    // Nothing after its last line: whoever reads that may have gone.
    print!("{}", Page { apple, application, place, visitors, session });
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
    place: Place,
    visitors: Value,
    session: Session,
}

impl Page<'_> {
    /// What happens, and the line that has it happen.
    fn steps(&self) -> [(&'static str, String); 8] {
        let Self { apple, place: Place { proxy, .. }, visitors, session, .. } = self;
        let hello = format!("curl -i http://{proxy}/hello");
        let json = "-H 'Content-Type: application/json'";
        let token = format!("-H 'Authorization: Bearer {}'", apple.mint(&TokenTemplate::native()));
        let refresh = json!({ "refresh_token": session.refresh_token });
        let session = format!("-H 'Authorization: Bearer {}'", session.access_token);
        let event = json!({
            "type": "consent-revoked", "sub": presets::SUBJECT,
            "deliver_to": format!("http://{proxy}/auth/apple/notifications"),
        });
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
                format!("curl -i {}/sim/notification {json} -d '{event}'", apple.url()),
            ),
            (
                "With the session: 401, as with every token from before.",
                format!("{hello} {session}"),
            ),
        ]
    }
}

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { apple, application, place: Place { proxy, admin }, .. } = self;
        write!(
            f,
            "\
A toy Apple, an application and siwa-proxy between them, all on this machine.

  Apple        {apple}   keys at /auth/keys; POST /sim/token makes tokens
  application  {application}   echoes what reaches it
  siwa-proxy   http://{proxy}   GET http://{admin}/readyz, /metrics
  web page     http://{proxy}/   signs in, calls, refreshes, signs out and deletes, in a browser

",
            apple = apple.url(),
            application = application.url(),
        )?;
        for (number, (what, line)) in (1..).zip(self.steps()) {
            write!(f, "{number}. {what}\n\n{line}\n\n")?;
        }
        f.write_str("ready: each request is logged below; Ctrl-C ends it\n")
    }
}
