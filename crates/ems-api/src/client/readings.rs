//! Readings in and out, and usage.

use bytes::Bytes;
use ems_core::time::Timestamp;
use reqwest::{Method, Response};

use super::{Client, Request, Result};
use crate::{
    reading::{BatchStored, Deleted, NewReading, Readings, Stored},
    usage::Usage,
};

/// The form of readings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A JSON array.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// RFC 4180 with a header row.
    Csv,
}

impl Format {
    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
        }
    }
}

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// It is not.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
}

/// A batch as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Body {
    /// The form of what was compressed.
    pub format: Format,
    /// How it was compressed.
    pub coding: Coding,
    /// The bytes.
    pub bytes: Bytes,
}

/// From `start` up to and without `end`, as RFC 3339 texts.
#[derive(Debug, Clone, Copy)]
pub struct Span<'a> {
    /// The first instant.
    pub start: &'a str,
    /// The first instant after.
    pub end: &'a str,
}

/// What usage is asked for.
#[derive(Debug, Clone, Copy)]
pub struct UsageQuery<'a> {
    /// Meter ids or prefixes such as `plant7-*`.
    pub meters: &'a [&'a str],
    /// The range.
    pub span: Span<'a>,
    /// `15m`, `1h`, `1d` or `1mo`.
    pub interval: &'a str,
    /// An IANA zone.
    pub timezone: &'a str,
}

/// An answer that is read as it comes. One that ends early is an error, never a shorter file.
#[derive(Debug)]
pub struct Download(Response);

impl Download {
    /// The next bytes; `None` behind the last.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.chunk().await?)
    }
}

impl Client {
    /// `POST /api/v1/data`: one reading, on disk when this returns.
    pub async fn push(&self, reading: &NewReading) -> Result<Stored> {
        self.json(Request::new(Method::POST, "/api/v1/data").json(reading)?)
            .await
    }

    /// `POST /api/v1/data/batch`: the good rows are on disk when this returns.
    pub async fn batch(&self, body: Body) -> Result<BatchStored> {
        self.post_rows("/api/v1/data/batch", body).await
    }

    /// `POST /api/v1/data/batch?atomic=true`: all rows or none.
    pub async fn batch_atomic(&self, body: Body) -> Result<BatchStored> {
        self.post_rows("/api/v1/data/batch?atomic=true", body).await
    }

    /// `POST /api/v1/data/validate`: what [`Client::batch`] would answer, with nothing stored.
    pub async fn validate(&self, body: Body) -> Result<BatchStored> {
        self.post_rows("/api/v1/data/validate", body).await
    }

    async fn post_rows(&self, target: &str, body: Body) -> Result<BatchStored> {
        let request = Request::new(Method::POST, target);
        let request = request.header("content-type", body.format.media_type())?;
        let request = match body.coding {
            Coding::Identity => request,
            Coding::Gzip => request.header("content-encoding", "gzip")?,
            Coding::Zstd => request.header("content-encoding", "zstd")?,
        };
        self.json(request.body(body.bytes)).await
    }

    /// `GET /api/v1/data/{meter_id}`, one page of at most `limit` readings.
    pub async fn readings_page(
        &self,
        meter: &str,
        span: Span<'_>,
        limit: u32,
        cursor: Option<&str>,
    ) -> Result<Readings> {
        let limit = limit.to_string();
        let mut query = vec![("start", span.start), ("end", span.end), ("limit", &limit)];
        query.extend(cursor.map(|cursor| ("cursor", cursor)));
        let path = ["api", "v1", "data", meter];
        self.json(Request::to(Method::GET, &path, &query)?).await
    }

    /// `GET /api/v1/data/{meter_id}`, page by page until there is no more.
    pub async fn readings(&self, meter: &str, span: Span<'_>) -> Result<Readings> {
        let mut all = self.readings_page(meter, span, 10_000, None).await?;
        while let Some(cursor) = all.next_cursor.take() {
            let page = self
                .readings_page(meter, span, 10_000, Some(&cursor))
                .await?;
            all.readings.extend(page.readings);
            all.next_cursor = page.next_cursor;
        }
        Ok(all)
    }

    /// `GET /api/v1/data/{meter_id}` as a stream of CSV or NDJSON.
    pub async fn download(&self, meter: &str, span: Span<'_>, format: Format) -> Result<Download> {
        let query = [("start", span.start), ("end", span.end)];
        let request = Request::to(Method::GET, &["api", "v1", "data", meter], &query)?;
        let request = request.header("accept", format.media_type())?;
        self.ask(request).await.map(Download)
    }

    /// `DELETE /api/v1/data/{meter_id}`: how many readings are gone.
    pub async fn delete_readings(&self, meter: &str, span: Span<'_>) -> Result<Deleted> {
        let query = [("start", span.start), ("end", span.end)];
        let path = ["api", "v1", "data", meter];
        self.json(Request::to(Method::DELETE, &path, &query)?).await
    }

    /// `GET /api/v1/analytics/usage`.
    pub async fn usage(&self, query: UsageQuery<'_>) -> Result<Usage> {
        let mut pairs: Vec<_> = query.meters.iter().map(|id| ("meter_id", *id)).collect();
        pairs.extend([
            ("start", query.span.start),
            ("end", query.span.end),
            ("interval", query.interval),
            ("timezone", query.timezone),
        ]);
        let path = ["api", "v1", "analytics", "usage"];
        self.json(Request::to(Method::GET, &path, &pairs)?).await
    }
}

impl NewReading {
    /// A reading of a meter at an instant, in kWh.
    pub fn plain(meter_id: ems_core::meter::MeterId, timestamp: Timestamp, kwh: f64) -> Self {
        Self {
            meter_id,
            timestamp,
            energy_consumption: kwh,
            power_factor: None,
            location: None,
        }
    }
}
