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

use super::{GivenUp, activity::Activity};
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
    /// What it takes in a second buys it that second anew; 0 where anything buys it all.
    write_rate: u64,
}

impl Deadlines {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            head: server.header_timeout.get(),
            idle: server.idle_timeout.get(),
            write: server.write_timeout.get(),
            write_rate: server.write_min_rate.get(),
        }
    }

    fn shortest(&self) -> Duration {
        self.head.min(self.idle).min(self.write)
    }
}

/// How long we will still wait for a client to take what is ready for it. Taking little and often
/// holds a connection no longer than taking nothing.
struct Patience {
    most: Duration,
    rate: u64,
    left: Duration,
}

impl Patience {
    fn new(deadlines: &Deadlines) -> Self {
        Self {
            most: deadlines.write,
            rate: deadlines.write_rate,
            left: deadlines.write,
        }
    }

    fn spend(&mut self, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
    }

    fn earn(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = bytes.saturating_mul(1_000).checked_div(self.rate);
        let earned = earned.map_or(self.most, Duration::from_millis);
        self.left = self.left.saturating_add(earned).min(self.most);
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
    patience: Patience,
    /// When patience was last spent on an HTTP/2 client.
    looked: Instant,
    /// Since when a write has waited, and its end.
    write_timer: Option<(Instant, Pin<Box<Sleep>>)>,
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
            patience: Patience::new(&deadlines),
            looked: Instant::now(),
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
    fn due(&mut self, now: Instant) -> Option<(Instant, GivenUp)> {
        let before = std::mem::replace(&mut self.looked, now);
        let activity = &self.activity;
        if activity.is_busy() {
            let since = activity.unread_since()?;
            if self.http2 == Some(true) {
                let waited = now.saturating_duration_since(since.max(before));
                self.patience.spend(waited);
                return Some((now + self.patience.left, GivenUp::SlowRead));
            }
            let due = activity.last_progress() + self.deadlines.write;
            return Some((due, GivenUp::SlowRead));
        }
        let begun = activity.begun();
        if begun == 0 {
            let due = activity.origin() + self.deadlines.head;
            return Some((due, GivenUp::SlowHead));
        }
        match self.head {
            Some((since, before)) if before == begun => {
                Some((since + self.deadlines.head, GivenUp::SlowHead))
            }
            _ => Some((
                activity.last_progress() + self.deadlines.idle,
                GivenUp::Idle,
            )),
        }
    }

    /// Waits for a deadline; ready with the error when it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let now = Instant::now();
            let next = now + self.deadlines.shortest();
            let next = match self.due(now) {
                Some((due, why)) if due <= now => {
                    self.activity.give_up(why);
                    return Poll::Ready(io::ErrorKind::TimedOut.into());
                }
                Some((due, _)) => next.min(due),
                None => next,
            };
            self.timer.as_mut().reset(next);
        }
    }

    /// Passes on what a write came to, or the error when patience is at its end.
    fn bound_write<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            if let Some((since, _)) = self.write_timer.take() {
                self.patience.spend(since.elapsed());
            }
            return written;
        }
        let left = self.patience.left;
        let (_, timer) = self
            .write_timer
            .get_or_insert_with(|| (Instant::now(), Box::pin(sleep(left))));
        ready!(timer.as_mut().poll(cx));
        self.activity.give_up(GivenUp::SlowRead);
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    /// The same of a write of bytes, which buy time.
    fn bound_bytes(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let bound = self.bound_write(cx, written);
        if let Poll::Ready(Ok(bytes)) = bound {
            self.activity.touch();
            self.patience.earn(bytes);
        }
        bound
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
        self.bound_bytes(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, parts);
        self.bound_bytes(cx, written)
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
