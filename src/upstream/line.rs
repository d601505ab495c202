//! A connection of HTTP/1.1 to the application, which moves when whoever waits for it is polled.
//!
//! It needs no task of its own: a request and its response are moved by the task that serves the client, which is woken by
//! both sockets and by nothing in between (`bell.rs`). Only what goes on when nobody waits any more (an upload whose
//! response is here already, the rest of a response that nobody wants) is given to a task.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    sync::{Arc, Weak},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use hyper::{
    body::Incoming,
    client::conn::{TrySendError, http1},
};
use hyper_util::rt::TokioIo;
use tracing::debug;

use super::{
    bell::Bell,
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
    ring: Ring,
    pulse: Pulse,
}

/// What a connection calls whoever uses it by.
struct Ring {
    bell: Arc<Bell>,
    /// Of the bell: one for all that wait.
    waker: Waker,
}

impl Ring {
    fn new() -> Self {
        let bell = Bell::new();
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Asks `here` for what has come; if nothing has, moves what `driver` can move, and asks once more.
    fn ask_then_move<T>(
        &self,
        driver: &mut Option<Box<Driver>>,
        cx: &Context<'_>,
        mut here: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.bell.watch(cx, || match here(&mut Context::from_waker(&self.waker)) {
            Poll::Ready(it) => Poll::Ready(it),
            Poll::Pending => self.move_now(driver, here),
        })
    }

    /// Moves what `driver` can move, without which nothing comes, and asks `here`.
    fn move_then_ask<T>(
        &self,
        driver: &mut Option<Box<Driver>>,
        cx: &Context<'_>,
        here: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.bell.watch(cx, || self.move_now(driver, here))
    }

    fn move_now<T>(
        &self,
        driver: &mut Option<Box<Driver>>,
        here: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut cx = Context::from_waker(&self.waker);
        self.bell.heard();
        drive(driver, &mut cx);
        here(&mut cx)
    }
}

impl Line {
    pub(super) fn new(
        sender: http1::SendRequest<StreamedBody>,
        driver: Driver,
        pulse: Pulse,
    ) -> Self {
        Self { sender, driver: Some(Box::new(driver)), ring: Ring::new(), pulse }
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
        request: Box<Request<StreamedBody>>,
    ) -> Result<Response<Incoming>, TrySendError<Request<StreamedBody>>> {
        let Self { sender, driver, ring, .. } = self;
        ring.bell.hush();
        let mut response = pin!(sender.try_send_request(*request));
        poll_fn(|cx| ring.move_then_ask(driver, cx, |cx| response.as_mut().poll(cx))).await
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

    /// The next frame of `body`, which comes over this connection: what is here, else what the connection brings now.
    pub(super) fn poll_frame(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.line {
            Some(Line { driver: driver @ Some(_), ring, .. }) => {
                ring.ask_then_move(driver, cx, |cx| Pin::new(&mut *body).poll_frame(cx))
            }
            // Somebody else moves it.
            _ => Pin::new(body).poll_frame(cx),
        }
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
