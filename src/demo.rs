//! `siwa-proxy demo`: a toy Apple, an application that echoes what reaches it, and the proxy between them.

use std::{net::SocketAddr, sync::Arc};

use siwa_proxy::{
    app::App,
    clock::SystemClock,
    config::{Problems, Settings},
    sim::{Apple, echo::Echo, presets, token::TokenTemplate},
    telemetry,
};

/// Show it all on this machine: a toy Apple, an echoing application, the proxy between them, and three curl lines.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoOptions {
    /// Where callers connect to.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4180")]
    listen: SocketAddr,
    /// Where health and metrics are served.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4181")]
    admin_listen: SocketAddr,
}

/// Runs everything until a signal ends it.
pub(crate) async fn run(options: DemoOptions) -> anyhow::Result<()> {
    let apple = Apple::start(Arc::new(SystemClock)).await?;
    let application = Echo::start().await?;
    let settings = settings(&options, &apple, &application)?;
    telemetry::init_log(settings.log())?;
    let app = App::bind(settings).await?;
    let page = Page {
        apple: &apple,
        application: &application,
        proxy: app.address()?,
        admin: app.admin_address()?,
    };
    page.print();
    app.run_until_signalled().await?;
    Ok(())
}

/// What an operator would write for this application, with the simulator in Apple's place.
fn settings(
    options: &DemoOptions,
    apple: &Apple,
    application: &Echo,
) -> Result<Settings, Problems> {
    let DemoOptions { listen, admin_listen } = options;
    let settings = Settings::from_toml(&format!(
        r#"
        server.listen = "{listen}"
        server.admin_listen = "{admin_listen}"
        server.drain_timeout = "1s"
        upstream.url = "{upstream}"
        apple.client_ids = ["{client_id}"]
        jwks.url = "{jwks_url}"
        "#,
        upstream = application.url(),
        client_id = presets::CLIENT_ID,
        jwks_url = apple.jwks_url(),
    ));
    // The simulator in Apple's place would be a mistake anywhere else.
    settings.map(Settings::without_warnings)
}

/// What the demonstration tells its visitor.
struct Page<'a> {
    apple: &'a Apple,
    application: &'a Echo,
    proxy: SocketAddr,
    admin: SocketAddr,
}

impl Page<'_> {
    #[expect(clippy::print_stdout, reason = "this is a program speaking to its visitor")]
    fn print(&self) {
        let Self { apple, application, proxy, admin } = self;
        let bearer = format!("-H 'Authorization: Bearer {}'", apple.mint(&TokenTemplate::native()));
        println!(
            "\
A toy Apple, an application and siwa-proxy between them, all on this machine.

  Apple        {apple}   keys at /auth/keys; POST /sim/token makes tokens
  application  {application}   echoes what reaches it
  siwa-proxy   http://{proxy}   GET http://{admin}/readyz, /metrics

1. With a token: 200, and the application is told who calls.

curl -i http://{proxy}/hello {bearer}

2. Without: 401, and why.

curl -i http://{proxy}/hello

3. With a token and somebody else's name: the application sees the token's.

curl -i http://{proxy}/hello -H 'X-Apple-Sub: somebody.else' -H 'x_apple_sub: somebody.else' {bearer}

ready: each request is logged below; Ctrl-C ends it
",
            apple = apple.url(),
            application = application.url(),
        );
    }
}
