//! Deadlines on a request's body: it must keep coming, and fast enough.
//!
//! Only time spent waiting for the client counts, never time in which we did not ask for more. A
//! body that is there costs no look at the clock.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::Server;

/// How a body must come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// The longest pause.
    idle: Duration,
    /// Waiting that is allowed before the rate counts.
    grace: Duration,
    /// The least average, in bytes a second; 0 for none.
    rate: u64,
}

impl Pace {
    pub(super) fn new(server: &Server) -> Self {
        Self {
            idle: server.body_idle_timeout.get(),
            grace: server.body_grace.get(),
            rate: server.body_min_rate.get(),
        }
    }

    /// How long one may have waited in all for this much to come.
    fn allowance(&self, received: u64) -> Option<Duration> {
        let earned = received.checked_mul(1_000)?.checked_div(self.rate)?;
        Some(self.grace.max(Duration::from_millis(earned)))
    }
}

/// Why a body ended before its end.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Nothing came for `server.body_idle_timeout`.
    #[error("the body stalled")]
    Stalled,
    /// It came slower than `server.body_min_rate`.
    #[error("the body came too slowly")]
    TooSlow,
    /// The connection broke, or the body was malformed.
    #[error("the body could not be read")]
    Broken(#[source] Box<dyn Error + Send + Sync>),
}

impl BodyError {
    /// Whether an error of a body reader is, at its root, a deadline passed (408).
    pub fn is_deadline(error: &(dyn Error + 'static)) -> bool {
        std::iter::successors(Some(error), |&error| error.source())
            .filter_map(|error| error.downcast_ref())
            .any(|error| matches!(error, Self::Stalled | Self::TooSlow))
    }
}

/// A body under deadlines.
pub struct PacedBody<B> {
    inner: B,
    pace: Pace,
    received: u64,
    /// Time waited, beside the present wait.
    waited: Duration,
    /// When the present wait began.
    waiting_since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> PacedBody<B> {
    pub(super) fn new(inner: B, pace: Pace) -> Self {
        Self {
            inner,
            pace,
            received: 0,
            waited: Duration::ZERO,
            waiting_since: None,
            timer: None,
        }
    }

    /// Waits for the deadline that comes first; ready when it has passed.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<BodyError> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let stalled = since + self.pace.idle;
        let too_slow = self
            .pace
            .allowance(self.received)
            .map(|allowance| since + allowance.saturating_sub(self.waited))
            .filter(|at| *at < stalled);
        let at = too_slow.unwrap_or(stalled);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if timer.deadline() != at {
            timer.as_mut().reset(at);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(match too_slow {
            Some(_) => BodyError::TooSlow,
            None => BodyError::Stalled,
        })
    }
}

impl<B> Body for PacedBody<B>
where
    B: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            return this.poll_deadline(cx).map(|error| Some(Err(error)));
        };
        if let Some(since) = this.waiting_since.take() {
            this.waited += since.elapsed();
        }
        Poll::Ready(frame.map(|frame| {
            let frame = frame.map_err(|error| BodyError::Broken(error.into()))?;
            let length = frame.data_ref().map_or(0, Bytes::len);
            this.received += u64::try_from(length).unwrap_or(u64::MAX);
            Ok(frame)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::StreamExt;
    use http_body_util::{BodyExt, StreamBody};
    use tokio::time::sleep;

    use super::*;

    const PACE: Pace = Pace {
        idle: Duration::from_secs(5),
        grace: Duration::from_secs(10),
        rate: 100,
    };

    /// Reads a body of chunks, each (milliseconds before it, bytes); the bytes read, or the error.
    async fn read(chunks: Vec<(u64, usize)>) -> Result<usize, BodyError> {
        let stream = futures_util::stream::iter(chunks).then(|(pause, length)| async move {
            sleep(Duration::from_millis(pause)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; length])))
        });
        let body = PacedBody::new(StreamBody::new(Box::pin(stream)), PACE);
        body.collect().await.map(|whole| whole.to_bytes().len())
    }

    #[tokio::test(start_paused = true)]
    async fn a_steady_body_arrives_whole() {
        assert_eq!(read(vec![(1_000, 120); 60]).await.unwrap(), 7_200);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_past_the_limit_ends_it_at_the_limit() {
        let start = Instant::now();
        let error = read(vec![(0, 100_000), (6_000, 1)]).await.unwrap_err();
        assert!(matches!(error, BodyError::Stalled) && BodyError::is_deadline(&error));
        assert_eq!(start.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_trickle_is_cut_once_the_grace_is_over() {
        let start = Instant::now();
        let error = read(vec![(1_000, 1); 60]).await.unwrap_err();
        assert!(matches!(error, BodyError::TooSlow));
        assert_eq!(start.elapsed().as_secs(), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_early_pays_for_what_comes_late() {
        // 3,000 bytes at 100 a second are good for 30 seconds of waiting.
        let start = Instant::now();
        let mut chunks = vec![(0, 3_000)];
        chunks.extend([(4_000, 0); 20]);
        assert!(matches!(
            read(chunks).await.unwrap_err(),
            BodyError::TooSlow
        ));
        assert_eq!(start.elapsed().as_secs(), 30);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_asked_does_not_count() {
        let chunks = futures_util::stream::iter([(); 5])
            .map(|()| Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))));
        let mut body = PacedBody::new(StreamBody::new(chunks), PACE);
        for _ in 0..5 {
            sleep(Duration::from_mins(1)).await;
            assert!(body.frame().await.unwrap().is_ok());
        }
    }
}
