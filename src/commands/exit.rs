//! What came of a command, as an exit code.
//!
//! | code | meaning (`sysexits.h`) |
//! |---|---|
//! | 0 | asked to end, and ended well |
//! | 1 | `explain`: the token is not good; `healthcheck`: the proxy is not ready; `migrate`: Apple refused somebody |
//! | 64 | the command line or the settings are wrong |
//! | 69 | an address cannot be listened on; `explain`, `check --online`: the keys, an application or Redis cannot be had;
//! |    | `migrate`: Apple cannot be asked |
//! | 70 | something else failed |

use std::process::ExitCode;

use siwa_proxy::{
    app::{AppError, StoreError},
    apple::AppleFault,
    config::Problems,
    sim::StartError,
    verify::FetchFault,
};

use super::migrate;

pub(crate) const EX_USAGE: u8 = 64;
pub(crate) const EX_UNAVAILABLE: u8 = 69;
const EX_SOFTWARE: u8 = 70;

/// Tells what went wrong, causes and all, and says it in a number.
#[expect(clippy::print_stderr, reason = "the binary speaks to the terminal")]
pub(crate) fn conclude(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    if let Some(problems) = error.downcast_ref::<Problems>() {
        eprintln!("{problems}");
    } else {
        eprintln!("siwa-proxy: {error:#}");
    }
    ExitCode::from(code_of(&error))
}

/// Whether `check` would have told of it: a file that settings name cannot be used.
const fn is_of_settings(error: &AppError) -> bool {
    use StoreError::{Client, Emptied, Open};

    matches!(
        error,
        AppError::Tls(_)
            | AppError::Verifier(_)
            | AppError::UpstreamTls(_)
            | AppError::TokenEndpoint(_)
            | AppError::Store(Open { .. } | Emptied { .. } | Client(_))
    )
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.is::<Problems>() || error.is::<migrate::Misused>() {
        return EX_USAGE;
    }
    if error.is::<FetchFault>() || error.is::<migrate::Unavailable>() || error.is::<AppleFault>() {
        return EX_UNAVAILABLE;
    }
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(error), _) if is_of_settings(error) => EX_USAGE,
        (Some(AppError::Listen { .. }), _) | (_, Some(StartError::Bind { .. })) => EX_UNAVAILABLE,
        (_, Some(StartError::NotLoopback(_))) => EX_USAGE,
        _ => EX_SOFTWARE,
    }
}
