//! Usage over buckets of a zone's calendar, over one meter or many.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State};
use ems_api::usage::{Bucket, Usage};
use ems_core::{
    analytics::UsageTable,
    calendar::{Interval, Zone},
    meter::MeterId,
    scope::Pattern,
    time::{TimeRange, Timestamp},
};
use ems_store::{Batch, Columns, Store};
use serde_json::json;

use super::{data::instant, sight};
use crate::{
    app::App,
    caller::{Analyze, Caller},
    problem::Problem,
    query::Query,
};

/// Values of `meter_id` at most.
const MAX_NAMES: usize = 200;
/// Meters at most.
const MAX_METERS: usize = 10_000;
/// Buckets at most: a bit under three years of quarters of an hour.
const MAX_BUCKETS: usize = 100_000;
/// Meters times buckets at most.
const MAX_CELLS: usize = 1_000_000;

/// Sums usage. `min`, `max` and `mean` are over the readings; a bucket without one has count 0
/// and null elsewhere. At most 10,000 meters, 100,000 buckets, and 1,000,000 of both multiplied.
#[utoipa::path(
    get, path = "/api/v1/analytics/usage", operation_id = "usage", tag = "analytics",
    params(
        ("meter_id" = Vec<String>, Query, style = Form, explode, min_items = 1,
         description = "A meter, a prefix such as `plant7-*` (which means the caller's meters \
                        that begin so), or `*`; may be given up to 200 times"),
        ("start" = Option<String>, Query, format = DateTime,
         description = "The first instant; the first reading's when absent"),
        ("end" = Option<String>, Query, format = DateTime,
         description = "The first instant after; the end of the last reading's bucket when absent"),
        ("interval" = Option<String>, Query, description = "A bucket's length; `1d` when absent",
         pattern = "^(15m|1h|1d|1mo)$"),
        ("timezone" = Option<String>, Query,
         description = "The IANA zone whose calendar the buckets follow; `UTC` when absent"),
    ),
    responses((status = 200, description = "Usage, bucket by bucket", body = Usage)),
)]
pub async fn usage(
    caller: Caller<Analyze>,
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<Usage>, Problem> {
    let asked = Asked::take(query)?;
    let meters = chosen(&app, &caller, &asked.meters).await?;
    let Some(range) = asked.range(&app.store, &meters).await? else {
        return asked.answer(&app, &caller, (&meters, None)).await;
    };
    let table = UsageTable::new(asked.buckets(range, meters.len())?);
    let table = summed(&app.store, (&meters, range), table).await?;
    asked
        .answer(&app, &caller, (&meters, Some((range, table))))
        .await
}

/// What was asked.
struct Asked {
    meters: Vec<Pattern>,
    start: Option<Timestamp>,
    end: Option<Timestamp>,
    interval: Interval,
    zone: Zone,
}

impl Asked {
    fn take(mut query: Query) -> Result<Self, Problem> {
        let names = query.many("meter_id");
        if names.is_empty() || names.len() > MAX_NAMES {
            let why = "has to be given, at most 200 times";
            return Err(Problem::parameter("meter_id", why));
        }
        let pattern = |name: &String| {
            Pattern::parse(name).map_err(|fault| Problem::parameter("meter_id", &fault.detail))
        };
        let meters = names.iter().map(pattern).collect::<Result<_, _>>()?;
        let start = instant(&mut query, "start")?;
        let end = instant(&mut query, "end")?;
        if start.zip(end).is_some_and(|(start, end)| start >= end) {
            return Err(Problem::parameter("end", "has to be later than 'start'"));
        }
        let interval = query.read("interval", |text| {
            Interval::parse(text).ok_or_else(|| "is 15m, 1h, 1d or 1mo".to_owned())
        })?;
        let zone = query.read("timezone", |text| {
            Zone::parse(text).ok_or_else(|| "is a name of the IANA database".to_owned())
        })?;
        query.finish()?;
        let (interval, zone) = (
            interval.unwrap_or(Interval::Day),
            zone.unwrap_or_else(Zone::utc),
        );
        Ok(Self {
            meters,
            start,
            end,
            interval,
            zone,
        })
    }

    /// The range: what was asked, and for the rest the span of the meters. `None` when that is
    /// empty.
    async fn range(&self, store: &Store, meters: &[MeterId]) -> Result<Option<TimeRange>, Problem> {
        let (mut start, mut end) = (self.start, self.end);
        if start.is_none() || end.is_none() {
            let mut span: Option<(Timestamp, Timestamp)> = None;
            for meter in meters {
                let Some((first, last)) = store.segments.statistics(meter).await?.span else {
                    continue;
                };
                let (from, to) = span.unwrap_or((first, last));
                span = Some((from.min(first), to.max(last)));
            }
            start = start.or(span.map(|span| span.0));
            end = end.or(span.map(|span| self.zone.next(span.1, self.interval)));
        }
        Ok(start
            .zip(end)
            .and_then(|(start, end)| TimeRange::new(start, end)))
    }

    /// The buckets, if they are not too many.
    fn buckets(&self, range: TimeRange, meters: usize) -> Result<Vec<TimeRange>, Problem> {
        let too_many = || {
            let why = "meters times buckets are too many: at most 100000 buckets, and 1000000 \
                       multiplied by the meters; ask for a longer one, or for less";
            Problem::parameter("interval", why)
        };
        // A cheap bound first: no list is made that is far too long.
        let seconds = range
            .end()
            .as_seconds()
            .saturating_sub(range.start().as_seconds());
        let at_least = self.longest_buckets(seconds);
        if at_least > MAX_BUCKETS {
            return Err(too_many());
        }
        let buckets = self.zone.buckets(range, self.interval);
        let cells = buckets.len().checked_mul(meters);
        if buckets.len() > MAX_BUCKETS || cells.is_none_or(|cells| cells > MAX_CELLS) {
            return Err(too_many());
        }
        Ok(buckets)
    }

    /// How many buckets a range has at the least, were all as long as they can be.
    fn longest_buckets(&self, seconds: i64) -> usize {
        let longest = match self.interval {
            Interval::QuarterHour => 900,
            Interval::Hour => 3600,
            Interval::Day => 50 * 3600, // a day after a skipped one, generously
            Interval::Month => 32 * 86_400,
        };
        usize::try_from(seconds / longest).unwrap_or(usize::MAX)
    }

    /// Notes the look in the ledger, then answers.
    async fn answer(
        &self,
        app: &App,
        caller: &Caller<Analyze>,
        (meters, summed): (&[MeterId], Option<(TimeRange, UsageTable)>),
    ) -> Result<Json<Usage>, Problem> {
        let (range, table) = summed.unzip();
        let mut event = caller.access("analyze", "readings");
        event.filters = json!({
            "start": range.map(TimeRange::start),
            "end": range.map(TimeRange::end),
            "interval": self.interval.as_str(),
            "timezone": self.zone.name(),
        });
        for meter in meters {
            event
                .subjects
                .extend(sight::pseudonym(&app.store, meter).await?);
        }
        let zone = self.zone.clone();
        let write = move || {
            table
                .map(|table| written(&zone, &table))
                .unwrap_or_default()
        };
        let buckets = blocking(write).await?;
        event.record_count = buckets.iter().map(|bucket| bucket.count).sum();
        app.store.commit.commit(Batch::note(event)).await?;
        Ok(Json(Usage {
            interval: self.interval.as_str().to_owned(),
            timezone: self.zone.name().to_owned(),
            buckets,
        }))
    }
}

/// The meters that were asked for, each once.
///
/// # Errors
/// 404 for a named one that the caller does not see, and where there is none at all; 400 for more
/// than [`MAX_METERS`].
async fn chosen(
    app: &App,
    caller: &Caller<Analyze>,
    asked: &[Pattern],
) -> Result<Vec<MeterId>, Problem> {
    let mut meters = BTreeSet::new();
    for pattern in asked {
        if let Pattern::One(meter) = pattern {
            sight::seen(&app.store, caller.scope(), meter).await?;
            meters.insert(meter.clone());
        } else {
            let (records, from) = (&*app.store.records, (pattern.prefix(), None));
            let found = sight::meters(records, caller.scope(), from, MAX_METERS + 1).await?;
            meters.extend(
                found
                    .iter()
                    .filter_map(|record| MeterId::parse(&record.id).ok()),
            );
        }
        if meters.len() > MAX_METERS {
            return Err(Problem::parameter(
                "meter_id",
                "means more than 10000 meters",
            ));
        }
    }
    if meters.is_empty() {
        return Err(Problem::not_found());
    }
    Ok(meters.into_iter().collect())
}

/// Adds the readings of the meters, in the order of their ids, so that the same question has the
/// same answer to the last bit.
async fn summed(
    store: &Store,
    (meters, range): (&[MeterId], TimeRange),
    mut table: UsageTable,
) -> Result<UsageTable, Problem> {
    for meter in meters {
        let mut rest = Some(range);
        while let Some(range) = rest {
            let piece = store.segments.scan(meter, range, Columns::Energy).await?;
            rest = TimeRange::new(piece.until, range.end());
            let add = move || {
                table.add(piece.block.at(), piece.block.energy());
                table
            };
            table = blocking(add).await?;
        }
    }
    Ok(table)
}

fn written(zone: &Zone, table: &UsageTable) -> Vec<Bucket> {
    let bucket = |(range, usage): (TimeRange, Option<ems_core::analytics::Usage>)| Bucket {
        start: zone.format(range.start()),
        end: zone.format(range.end()),
        energy_kwh: usage.map(|usage| usage.energy_kwh),
        min: usage.map(|usage| usage.min),
        max: usage.map(|usage| usage.max),
        mean: usage.map(|usage| usage.mean()),
        count: usage.map_or(0, |usage| usage.count),
    };
    table.rows().map(bucket).collect()
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Problem::internal(error.to_string()))
}

#[cfg(test)]
mod tests;
