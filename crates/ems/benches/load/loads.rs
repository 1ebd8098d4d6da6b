//! Which loads there are, and in what order they run: each group on an instance of its own.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};

use crate::{
    batches, client::Target, inspection, instance::Instance, limited, load::Until, mongo, peers,
    requests, series, stream,
};

/// The names by which loads can be asked for.
const NAMES: [&str; 11] = [
    "single_post",
    "get_48_readings",
    "batch_100_meters",
    "batch_10000_meters",
    "commit",
    "largest_bodies",
    "batch_1000000_meters",
    "stream",
    "stored",
    "limited",
    "inspection",
];
const PEERS: &str = "peers";
const MONGO: &str = "mongo";

/// What was asked for.
pub struct Wanted {
    /// How long a load runs that is not bounded otherwise.
    pub time: Duration,
    /// Readings of the stream; of the real series, two fifths of them.
    pub readings: u64,
    /// Meters of the load over very many.
    pub meters: u64,
    /// The loads; all when none is named.
    pub names: Vec<String>,
}

impl Wanted {
    pub fn is(&self, name: &str) -> bool {
        self.names.is_empty() || self.names.iter().any(|wanted| wanted == name)
    }

    fn any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| self.is(name))
    }

    pub fn until(&self) -> Until {
        Until::Time(self.time)
    }
}

/// An instance under load.
pub struct Bench<'a> {
    pub wanted: &'a Wanted,
    pub instance: Instance,
    pub token: Arc<str>,
}

impl<'a> Bench<'a> {
    async fn start(wanted: &'a Wanted) -> Result<Self> {
        let instance = Instance::start().await?;
        Ok(Self {
            wanted,
            token: instance.token().await?,
            instance,
        })
    }

    pub fn target(&self) -> &Target {
        &self.instance.target
    }
}

/// Runs what is wanted.
pub async fn run(wanted: &Wanted) -> Result<()> {
    let known = |name: &str| NAMES.contains(&name) || name == PEERS || name == MONGO;
    if let Some(name) = wanted.names.iter().find(|name| !known(name)) {
        bail!(
            "no load is called {name}; there are {} {PEERS} {MONGO}",
            NAMES.join(" ")
        );
    }
    if wanted.any(&NAMES[..6]) {
        let mut bench = Bench::start(wanted).await?;
        requests::run(&bench).await?;
        batches::run(&bench).await?;
        requests::largest_bodies(&mut bench).await?;
        bench.instance.server.terminate()?;
    }
    if wanted.is("batch_1000000_meters") {
        batches::many_meters(&Bench::start(wanted).await?).await?;
    }
    if wanted.is("stream") {
        stream::run(&mut Bench::start(wanted).await?).await?;
    }
    if wanted.is("stored") {
        series::run(&mut Bench::start(wanted).await?).await?;
    }
    if wanted.is("limited") {
        limited::run(wanted).await?;
    }
    if wanted.is("inspection") {
        inspection::run(wanted).await?;
    }
    if wanted.is(PEERS) {
        peers::run(wanted).await?;
    }
    if wanted.is(MONGO) {
        mongo::run(wanted).await?;
    }
    Ok(())
}
