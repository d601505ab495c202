//! `siwa-proxy serve`: the proxy itself.

use anyhow::Context;
use clap::Args;
use siwa_proxy::{
    app::App,
    config::{Flags, Settings},
    telemetry,
};

use super::options::SettingsOptions;

/// Verify the token of every request, and forward those that prove somebody.
///
/// What a flag does not say, the environment may (`--jwks-url` is SIWA_JWKS__URL; SIWA_JWKS__URL_FILE names a file that
/// holds the value), then the file (`url` below [jwks]), then the default. Everything that is wrong with them is reported
/// at once.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
#[expect(clippy::doc_markdown, reason = "the command prints these comments as they are")]
pub(crate) struct ServeOptions {
    #[command(flatten)]
    settings: SettingsOptions,
}

const EXAMPLE: &str = "\
Example:
  siwa-proxy serve --upstream http://127.0.0.1:3000 --client-id com.example.app
  curl -i http://127.0.0.1:4180/ -H 'Authorization: Bearer <identity token>'

A request with a genuine token reaches the application with X-Apple-Sub and
X-Apple-Email; any other is refused, and the body says why.";

/// Serves until a signal ends it.
pub(crate) async fn run(options: ServeOptions) -> anyhow::Result<()> {
    let flags = Flags::from(options.settings);
    let settings = Settings::load(&flags)?;
    // Dropped last: what is left of the traces goes out then.
    let _telling = telemetry::init(settings.log(), settings.traces())
        .context("cannot set up log and traces")?;
    App::bind(settings).await?.with_reloads(flags).run_until_signalled().await?;
    Ok(())
}
