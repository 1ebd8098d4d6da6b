//! Waiting for what a server of its own comes to: asked again and again, until a deadline.

use std::time::Duration;

use anyhow::{Result, bail};
use tokio::time::{Instant, sleep};

/// How long anything may take before the test fails: an election takes two to four seconds.
const LONGEST: Duration = Duration::from_mins(1);

/// How long one question may go unanswered.
pub(crate) const SOON: Duration = Duration::from_secs(1);

/// Between two questions.
const BETWEEN: Duration = Duration::from_millis(20);

/// Asks until it is there. An error ends it, as it will not come any more.
pub(crate) async fn until<T>(
    what: &str,
    mut attempt: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + LONGEST;
    while Instant::now() < deadline {
        if let Some(found) = attempt().await? {
            return Ok(found);
        }
        sleep(BETWEEN).await;
    }
    bail!("waited in vain for {what}")
}

/// What it came to; a test cannot go on without.
#[expect(
    clippy::panic,
    reason = "a server that does not do its part fails the test"
)]
pub(crate) fn or_panic<T>(outcome: Result<T>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("{error:#}"),
    }
}
