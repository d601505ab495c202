//! `siwa-proxy completions`: what makes a shell complete the commands.

use std::io;

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;

/// Print what makes a shell complete these commands: put it where your shell looks for such.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLE)]
pub(crate) struct CompletionsOptions {
    /// For which shell.
    shell: Shell,
}

const EXAMPLE: &str = "\
Example:
  siwa-proxy completions bash > ~/.local/share/bash-completion/completions/siwa-proxy";

/// Prints it.
pub(crate) fn run(CompletionsOptions { shell }: CompletionsOptions) {
    clap_complete::generate(shell, &mut Cli::command(), "siwa-proxy", &mut io::stdout());
}
