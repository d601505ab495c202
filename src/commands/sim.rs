//! `siwa-proxy sim`: a toy Apple, for trying and testing.

use std::{net::SocketAddr, sync::Arc};

use clap::Args;
use siwa_proxy::{app, clock::SystemClock, sim::Apple};

/// Run a toy Apple on loopback: keys, tokens, rotation and faults on request, for trying and testing.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct SimOptions {
    /// Where it listens: a loopback address, as it mints tokens for whoever asks.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4190")]
    listen: SocketAddr,
}

const EXAMPLE: &str = "\
Example, in three terminals:
  siwa-proxy sim
  siwa-proxy serve --upstream http://127.0.0.1:3000 --client-id com.example.app \\
      --jwks-url http://127.0.0.1:4190/auth/keys
  curl -d '{}' http://127.0.0.1:4190/sim/token

`curl http://127.0.0.1:4190/` lists what else it does.";

/// Runs it until a signal ends it.
#[expect(clippy::print_stdout, reason = "the binary speaks to the terminal")]
pub(crate) async fn run(options: SimOptions) -> anyhow::Result<()> {
    let apple = Apple::start_on(options.listen, Arc::new(SystemClock)).await?;
    println!(
        "a toy Apple listens on {url}; its keys are at {keys}",
        url = apple.url(),
        keys = apple.jwks_url()
    );
    println!(
        "a token:  curl -d '{{\"claims\": {{\"aud\": \"com.example.app\"}}}}' {}/sim/token",
        apple.url()
    );
    app::signalled().await?;
    Ok(())
}
