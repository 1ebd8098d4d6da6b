//! The socket under watch: heads that trickle, clients that idle or do not read.
//!
//! hyper's own timeout for heads counts idleness between requests as part of the next head, knows
//! nothing of HTTP/2, and arms a timer a request. This one timer a connection is armed anew only
//! when it fires: it always fires in time, since it never sleeps longer than the shortest deadline.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::activity::Activity;
use crate::config::Server;

/// How every HTTP/2 connection begins, and no HTTP/1 request does (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI";

/// The deadlines of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// For a head, from its first byte.
    head: Duration,
    /// For the next request.
    idle: Duration,
    /// For a client to take what waits for it.
    write: Duration,
}

impl Deadlines {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            head: server.header_timeout.get(),
            idle: server.idle_timeout.get(),
            write: server.write_timeout.get(),
        }
    }

    fn shortest(&self) -> Duration {
        self.head.min(self.idle).min(self.write)
    }
}

/// A socket that fails with [`io::ErrorKind::TimedOut`] when a deadline passes.
pub(super) struct Watched<I> {
    inner: I,
    activity: Arc<Activity>,
    deadlines: Deadlines,
    /// Whether the client speaks HTTP/2; `None` before its first byte.
    http2: Option<bool>,
    /// When the head being read began, and how many requests had begun then.
    head: Option<(Instant, u64)>,
    timer: Pin<Box<Sleep>>,
    write_timer: Option<Pin<Box<Sleep>>>,
}

impl<I> Watched<I> {
    pub(super) fn new(inner: I, activity: Arc<Activity>, deadlines: Deadlines) -> Self {
        Self {
            inner,
            activity,
            deadlines,
            http2: None,
            head: None,
            timer: Box::pin(sleep(deadlines.shortest())),
            write_timer: None,
        }
    }

    /// Notes bytes that came: the first of a connection, the first of a head.
    fn note_read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let http2 = *self
            .http2
            .get_or_insert_with(|| bytes.starts_with(HTTP2_PREFACE));
        if http2 || self.activity.is_busy() {
            return;
        }
        let begun = self.activity.begun();
        if self.head.is_none_or(|(_, before)| before != begun) {
            self.head = Some((Instant::now(), begun));
        }
    }

    /// When this connection is to be given up, as things stand; `None` while we owe it an answer.
    fn due(&self) -> Option<(Instant, &'static str)> {
        let activity = &self.activity;
        if activity.is_busy() {
            let due = activity.last_progress() + self.deadlines.write;
            return activity.is_unread().then_some((due, "does not read"));
        }
        let begun = activity.begun();
        if begun == 0 {
            return Some((activity.origin() + self.deadlines.head, "sent no request"));
        }
        match self.head {
            Some((since, before)) if before == begun => {
                Some((since + self.deadlines.head, "sent half a request"))
            }
            _ => Some((activity.last_progress() + self.deadlines.idle, "is idle")),
        }
    }

    /// Waits for a deadline; ready with the error when it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let next = now + self.deadlines.shortest();
            let next = match self.due() {
                Some((due, why)) if due <= now => {
                    tracing::debug!("connection closed: the client {why}");
                    return Poll::Ready(io::ErrorKind::TimedOut.into());
                }
                Some((due, _)) => next.min(due),
                None => next,
            };
            self.timer.as_mut().reset(next);
        }
    }

    /// Passes on what a write came to, or the error when it has made no progress for too long.
    fn bound_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.write_timer = None;
            return written;
        }
        let write = self.deadlines.write;
        let timer = self
            .write_timer
            .get_or_insert_with(|| Box::pin(sleep(write)));
        ready!(timer.as_mut().poll(cx));
        tracing::debug!("connection closed: the client does not read");
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Watched<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.inner).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.note_read(buffer.filled().get(before..).unwrap_or_default());
                Poll::Ready(read)
            }
            Poll::Pending => self.poll_deadline(cx).map(Err),
        }
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Watched<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        if written.is_ready() {
            self.activity.touch();
        }
        self.bound_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        if written.is_ready() {
            self.activity.touch();
        }
        self.bound_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        self.bound_write(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let closed = Pin::new(&mut self.inner).poll_shutdown(cx);
        self.bound_write(cx, closed)
    }
}
