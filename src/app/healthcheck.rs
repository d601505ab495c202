//! Asking a running proxy how it is: for images without a shell.

use std::time::Duration;

use http::{Method, StatusCode};

use super::admin_client::{AdminClient, NotAnswered};
use crate::config::Flags;

/// What a proxy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether requests should be sent to it.
    Ready,
    /// Whether it should go on running.
    Alive,
}

/// Why a proxy is not well, as far as can be told from here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotWell {
    /// It says so.
    #[error("{place} says no:\n{answer}")]
    SaysNo {
        /// Who was asked.
        place: String,
        /// What it says.
        answer: String,
    },
    /// It says nothing.
    #[error(transparent)]
    NotAnswered(#[from] NotAnswered),
}

impl Question {
    const fn path(self) -> &'static str {
        match self {
            Self::Ready => "/readyz",
            Self::Alive => "/livez",
        }
    }
}

/// Asks the proxy whose admin listener `flags` and the environment name, and waits no longer than `patience`.
///
/// # Errors
///
/// [`NotWell`].
pub async fn healthcheck(
    flags: &Flags,
    question: Question,
    patience: Duration,
) -> Result<(), NotWell> {
    let admin = AdminClient::named_by(flags, patience)?;
    let answer = admin.ask(Method::GET, question.path(), None, String::new()).await?;
    if answer.status == StatusCode::OK {
        return Ok(());
    }
    let (place, answer) = (admin.place().to_owned(), answer.text.trim_end().to_owned());
    Err(NotWell::SaysNo { place, answer })
}
