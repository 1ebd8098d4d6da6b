//! Readings as plain documents in a time-series collection, as the database's own manual says: what the
//! store is measured against.

use anyhow::{Context, Result, bail};
use mongodb::{
    Collection, Database,
    bson::{DateTime, Document, doc},
    options::{TimeseriesGranularity, TimeseriesOptions},
};

use super::ReplicaSet;

/// A reading in clear.
#[derive(Debug, Clone)]
pub struct PlainReading<'a> {
    /// The meter's id.
    pub meter: &'a str,
    /// Seconds since 1970.
    pub second: i64,
    /// In kWh.
    pub energy: f64,
    /// Between 0 and 1.
    pub factor: f64,
}

/// A time-series collection of readings.
#[derive(Debug, Clone)]
pub struct Plain {
    database: Database,
    readings: Collection<Document>,
}

impl Plain {
    /// Makes it, in a database of its own.
    ///
    /// # Errors
    /// What the driver says, here and below.
    pub async fn make(set: &ReplicaSet) -> Result<Self> {
        let database = set.client(set.admin()).await.database("plain");
        let options = TimeseriesOptions::builder()
            .time_field("t".to_owned())
            .meta_field("m".to_owned())
            .granularity(TimeseriesGranularity::Minutes)
            .build();
        database
            .create_collection("readings")
            .timeseries(options)
            .await?;
        Ok(Self {
            readings: database.collection("readings"),
            database,
        })
    }

    /// Inserts readings by majority.
    pub async fn insert(&self, readings: &[PlainReading<'_>]) -> Result<()> {
        let document = |reading: &PlainReading<'_>| {
            doc! {
                "t": DateTime::from_millis(reading.second * 1000),
                "m": reading.meter,
                "energy_consumption": reading.energy,
                "power_factor": reading.factor,
                "location": "Leeds",
            }
        };
        let documents: Vec<Document> = readings.iter().map(document).collect();
        self.readings.insert_many(documents).ordered(false).await?;
        Ok(())
    }

    /// The usage of all meters by day; how many days and readings there are.
    pub async fn usage_by_day(&self) -> Result<(usize, i64)> {
        let day = doc! { "$dateTrunc": { "date": "$t", "unit": "day" } };
        let group = doc! { "$group": {
            "_id": day,
            "energy": { "$sum": "$energy_consumption" },
            "min": { "$min": "$energy_consumption" },
            "max": { "$max": "$energy_consumption" },
            "mean": { "$avg": "$energy_consumption" },
            "count": { "$sum": 1_i64 },
        } };
        let mut days = self.readings.aggregate([group]).await?;
        let (mut number, mut readings) = (0, 0);
        while days.advance().await? {
            number += 1;
            readings += days.deserialize_current()?.get_i64("count")?;
        }
        Ok((number, readings))
    }

    /// Reads a stretch of a meter, seconds since 1970; how many readings it holds.
    pub async fn find(&self, meter: &str, from: i64, until: i64) -> Result<usize> {
        let at = |second: i64| DateTime::from_millis(second * 1000);
        let range = doc! { "$gte": at(from), "$lt": at(until) };
        let filter = doc! { "m": meter, "t": range };
        let mut found = self.readings.find(filter).sort(doc! { "t": 1 }).await?;
        let mut count = 0;
        while found.advance().await? {
            drop(found.deserialize_current()?);
            count += 1;
        }
        Ok(count)
    }

    /// Bytes of its files that are in use, indexes among them.
    pub async fn stored_bytes(&self) -> Result<u64> {
        // The collection itself is a view of its buckets.
        stored(&self.database, |name| name != "readings").await
    }
}

impl ReplicaSet {
    /// Bytes of some collections' files that are in use, indexes among them; all that was written is
    /// in them.
    ///
    /// # Errors
    /// What the driver says.
    pub async fn stored_bytes(&self, database: &str, of: impl Fn(&str) -> bool) -> Result<u64> {
        let client = self.client(self.admin()).await;
        let admin = client.database("admin");
        admin.run_command(doc! { "fsync": 1 }).await?;
        stored(&client.database(database), of).await
    }
}

async fn stored(database: &Database, of: impl Fn(&str) -> bool) -> Result<u64> {
    let mut used = 0;
    for name in database.list_collection_names().await? {
        let stored = !name.starts_with("system.") || name.starts_with("system.buckets.");
        if !stored || !of(&name) {
            continue;
        }
        let stats = database.run_command(doc! { "collStats": name }).await?;
        used += number(&stats, "storageSize")? - number(&stats, "freeStorageSize")?;
        used += number(&stats, "totalIndexSize")?;
    }
    Ok(u64::try_from(used).unwrap_or(0))
}

/// A figure: a server gives it as a whole number or as a double, as it likes.
fn number(stats: &Document, field: &str) -> Result<i64> {
    let number = stats.get(field).context("no such figure")?;
    let whole = number.as_i64().or_else(|| number.as_i32().map(i64::from));
    match (whole, number.as_f64()) {
        (Some(whole), _) => Ok(whole),
        (None, Some(double)) => Ok(format!("{double:.0}").parse()?),
        (None, None) => bail!("{field} is no number"),
    }
}
