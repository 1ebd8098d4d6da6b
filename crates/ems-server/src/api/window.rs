//! Windows that a handler charges once it knows how much: readings, new meters.

use ems_guard::limit::Rate;

use crate::{app::App, problem::Problem};

/// Heeds what a window said. `window` is for metrics and log.
///
/// # Errors
/// 429 where it is full; nothing was taken from it then.
pub(super) fn heed(app: &App, rate: Option<Rate>, window: &'static str) -> Result<(), Problem> {
    match rate {
        Some(rate) if !rate.allowed() => {
            app.metrics.rate_limited(window);
            Err(Problem::rate_limited(&rate, window))
        }
        _ => Ok(()),
    }
}
