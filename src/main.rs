//! Flags and subcommands → exit code.

mod commands;

use std::process::ExitCode;

use clap::Parser;

use commands::{Cli, EX_USAGE, conclude};

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Fails only if there is a provider already, and nothing ran before this line.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    match Cli::try_parse() {
        Ok(cli) => conclude(cli.run()),
        Err(answer) if answer.to_string().contains("eyJ") => {
            // So begins every token, and what is printed may be kept.
            refuse_token_as_argument()
        }
        Err(answer) => {
            // Help and version come this way too. If nobody reads them, there is nobody to tell.
            drop(answer.print());
            if answer.use_stderr() { ExitCode::from(EX_USAGE) } else { ExitCode::SUCCESS }
        }
    }
}

#[expect(clippy::print_stderr, reason = "the binary speaks to the terminal")]
fn refuse_token_as_argument() -> ExitCode {
    eprintln!(
        "siwa-proxy: a token is no argument, where others could read it: pass it on standard input"
    );
    ExitCode::from(EX_USAGE)
}
