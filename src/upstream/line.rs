//! A connection of HTTP/1.1 to the application, which moves when whoever waits for it is polled.
//!
//! It needs no task of its own: a request and its response are moved by the task that serves the client, which is woken by
//! both sockets and by nothing in between. Only what goes on when nobody waits any more (an upload whose response is here
//! already, the rest of a response that nobody wants) is given to a task.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::{
    body::{Activity, StreamedBody},
    connect::Wire,
    pool::Pool,
    socket::Pulse,
};

/// What moves the bytes.
pub(super) type Driver = http1::Connection<TokioIo<Box<dyn Wire>>, StreamedBody>;

/// One connection.
pub(super) struct Line {
    sender: http1::SendRequest<StreamedBody>,
    /// None once a task has it, or when it is over.
    driver: Option<Box<Driver>>,
    pulse: Pulse,
}

impl Line {
    pub(super) fn new(
        sender: http1::SendRequest<StreamedBody>,
        driver: Driver,
        pulse: Pulse,
    ) -> Self {
        Self { sender, driver: Some(Box::new(driver)), pulse }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }

    /// Whether its last exchange is over.
    pub(super) fn is_ready(&self) -> bool {
        self.sender.is_ready()
    }

    /// Whether the application has not closed it, and has nothing to say.
    pub(super) fn is_open_and_silent(&self) -> bool {
        self.pulse.is_open_and_silent()
    }

    /// Sends `request` and waits for the head of its response.
    pub(super) async fn send(
        &mut self,
        request: Request<StreamedBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<StreamedBody>>> {
        let mut response = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        poll_fn(|cx| {
            drive(driver, cx);
            response.as_mut().poll(cx)
        })
        .await
    }

    /// What still has to be moved if nobody polls this any more.
    fn unfinished(&mut self) -> Option<Box<Driver>> {
        if self.is_ready() { None } else { self.driver.take() }
    }
}

/// Moves what can be moved.
fn drive(driver: &mut Option<Box<Driver>>, cx: &mut Context<'_>) {
    let Some(moving) = driver else { return };
    if let Poll::Ready(ended) = Pin::new(moving).poll(cx) {
        note_end(ended);
        *driver = None;
    }
}

pub(super) fn note_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        debug!(error = &error as &dyn std::error::Error, "a connection to the application ended");
    }
}

/// A line that carries an exchange, and is kept for the next one when this is dropped.
pub(super) struct Lease {
    line: Option<Line>,
    pool: Weak<Pool>,
}

impl Lease {
    /// `line`, whose response is here; `upload` is the body of its request. What is left of that goes on by itself: its
    /// client may read nothing until all is sent.
    pub(super) fn new(mut line: Line, pool: &Arc<Pool>, upload: Option<&Activity>) -> Self {
        if upload.is_some_and(Activity::is_under_way)
            && let Some(driver) = line.driver.take()
        {
            pool.run(driver);
        }
        Self { line: Some(line), pool: Arc::downgrade(pool) }
    }

    /// Moves what can be moved. Whether there was anything to move it with.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(line) = self.line.as_mut().filter(|line| line.driver.is_some()) else {
            return false;
        };
        drive(&mut line.driver, cx);
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        let Some(pool) = self.pool.upgrade() else { return };
        if let Some(driver) = line.unfinished() {
            pool.run(driver);
        }
        if !line.is_closed() {
            pool.keep(line);
        }
    }
}
