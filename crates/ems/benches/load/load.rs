//! Sends requests over kept connections as fast as they are answered, and says how that went.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    client::{Answer, Target},
    process::own_cpu,
};

/// Writes the request of a number into a buffer, which holds what it wrote there the last time.
pub type Source = Box<dyn Fn(u64, &mut Vec<u8>) + Send>;

/// When a load ends.
#[derive(Clone, Copy)]
pub enum Until {
    Time(Duration),
    Requests(u64),
}

/// What a load did.
pub struct Done {
    pub requests: u64,
    pub seconds: f64,
    /// Of the requests, in milliseconds, ascending.
    latencies: Vec<f64>,
    pub body_bytes: usize,
    /// Processor time of the bench itself meanwhile.
    pub own_cpu: Duration,
}

impl Done {
    /// Requests a second.
    pub fn rate(&self) -> f64 {
        ratio(self.requests, 1) / self.seconds
    }

    /// In milliseconds.
    pub fn percentile(&self, part: f64) -> f64 {
        let place = (part * ratio(self.latencies.len() as u64, 1)) as usize;
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(place.min(last)).copied().unwrap_or(0.0)
    }
}

/// Loads a server over so many connections; every answer has to be a good one.
pub async fn load(
    target: &Target,
    connections: usize,
    until: Until,
    source: &(dyn Fn() -> Source + Sync),
) -> Result<Done> {
    let numbers = Arc::new(AtomicU64::new(0));
    let mut open = Vec::new();
    for _ in 0..connections {
        let connection = target.connect().await?;
        let (source, mut buffer) = (source(), Vec::new());
        // Made before the clock runs, and made anew by the first request.
        source(0, &mut buffer);
        open.push((connection, source, buffer));
    }
    let (begin, before) = (Instant::now(), own_cpu()?);
    let tasks: Vec<_> = open
        .into_iter()
        .map(|(mut connection, source, mut buffer)| {
            let numbers = Arc::clone(&numbers);
            tokio::spawn(async move {
                let (mut latencies, mut last) = (Vec::new(), Answer::default());
                loop {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let over = match until {
                        Until::Time(time) => begin.elapsed() >= time,
                        Until::Requests(requests) => number >= requests,
                    };
                    if over {
                        return anyhow::Ok((latencies, last.body.len()));
                    }
                    source(number, &mut buffer);
                    let sent = Instant::now();
                    last = connection.exchange(&buffer).await?;
                    latencies.push(sent.elapsed().as_secs_f64() * 1e3);
                    ensure!(
                        (200..300).contains(&last.status),
                        "answered {}: {}",
                        last.status,
                        String::from_utf8_lossy(&last.body)
                    );
                }
            })
        })
        .collect();
    let (mut latencies, mut body_bytes) = (Vec::new(), 0);
    for task in tasks {
        let (some, size) = task.await??;
        latencies.extend(some);
        body_bytes = body_bytes.max(size);
    }
    latencies.sort_by(f64::total_cmp);
    Ok(Done {
        requests: latencies.len() as u64,
        seconds: begin.elapsed().as_secs_f64(),
        latencies,
        body_bytes,
        own_cpu: own_cpu()?.saturating_sub(before),
    })
}

/// A source that repeats one request.
pub fn repeated(request: Vec<u8>) -> impl Fn() -> Source {
    move || {
        let request = request.clone();
        Box::new(move |_, buffer| {
            if buffer.is_empty() {
                buffer.clone_from(&request);
            }
        })
    }
}

/// A source that makes each request.
pub fn made(make: impl Fn(u64) -> Vec<u8> + Clone + Send + 'static) -> impl Fn() -> Source {
    move || {
        let make = make.clone();
        Box::new(move |number, buffer| *buffer = make(number))
    }
}

pub fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

pub fn mebibytes(bytes: u64) -> f64 {
    ratio(bytes, 1 << 20)
}

pub fn print(name: &str, value: f64, unit: &str) {
    println!("{name} {value:.3} {unit}");
}
