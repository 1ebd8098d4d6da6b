//! What the store has against readings that break no rule by themselves: meters that are not
//! registered, corrections that come too late. With the default settings it is asked nothing.

use ems_core::{
    meter::MeterId,
    reading::{Reading, ReadingBatch},
    time::{TimeRange, Timestamp},
};
use ems_store::{Columns, Table};

use crate::{app::App, decode::Refused, problem::Problem};

/// The meters of a batch that the store does not know.
pub(super) async fn unknown(app: &App, batch: &ReadingBatch) -> Result<Vec<MeterId>, Problem> {
    let mut unknown = Vec::new();
    for (meter, _) in batch.groups() {
        if app
            .store
            .records
            .get(Table::Meters, meter.as_str())
            .await?
            .is_none()
        {
            unknown.push(meter.clone());
        }
    }
    Ok(unknown)
}

/// What the settings refuse of a batch.
pub(super) async fn refused(app: &App, batch: &ReadingBatch) -> Result<Refused, Problem> {
    let settings = &app.settings.readings;
    let mut refused = Refused::default();
    if !settings.auto_register {
        refused.meters = unknown(app, batch).await?.into_iter().collect();
    }
    if let Some(window) = settings.correction_window.limit() {
        let back = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        let horizon = app.clock.now().saturating_add_micros(back.saturating_neg());
        for (meter, readings) in batch.groups() {
            let old: Vec<&Reading> = readings.iter().filter(|r| r.at < horizon).collect();
            let late = replaced(app, meter, &old).await?;
            refused
                .corrections
                .extend(late.into_iter().map(|at| (meter.clone(), at)));
        }
    }
    Ok(refused)
}

/// When those of some readings begin that would replace a stored one of other values.
async fn replaced(
    app: &App,
    meter: &MeterId,
    readings: &[&Reading],
) -> Result<Vec<Timestamp>, Problem> {
    let first = readings.iter().map(|reading| reading.at).min();
    let last = readings.iter().map(|reading| reading.at).max();
    let Some((mut from, last)) = first.zip(last) else {
        return Ok(Vec::new());
    };
    let end = last.saturating_add_micros(1);
    let mut replaced = Vec::new();
    while let Some(range) = TimeRange::new(from, end) {
        let piece = app.store.segments.scan(meter, range, Columns::All).await?;
        let differs = |reading: &&&Reading| {
            let place = piece.block.at().binary_search(&reading.at.as_micros());
            let stored = place.ok().and_then(|place| piece.block.get(place));
            stored.is_some_and(|stored| stored != ***reading)
        };
        replaced.extend(readings.iter().filter(differs).map(|reading| reading.at));
        from = piece.until;
    }
    Ok(replaced)
}
