//! A server alone, as a first trial has it: what it acknowledges is on no other.

use anyhow::{Context, Result};
use tempfile::TempDir;

use super::{
    address,
    files::Files,
    member::{Member, Place},
};
use crate::attempt::or_panic;

/// A server without a replica set and without users, over TLS, that runs until it is dropped.
#[derive(Debug)]
pub struct Standalone {
    /// Before `place`: it ends before its directory goes.
    member: Member,
    files: Files,
    _place: TempDir,
}

impl Standalone {
    /// Starts one, and returns once it takes connections.
    ///
    /// # Panics
    /// Where that fails; without a server: `run cargo xtask setup`.
    pub async fn start() -> Self {
        or_panic(Self::try_start().await.context("MongoDB did not start"))
    }

    async fn try_start() -> Result<Self> {
        let place = tempfile::tempdir()?;
        let files = Files::write(place.path(), &[])?;
        let member = Member::start_alone(Place::new(place.path(), 0, None)?, &files)?;
        member.listens().await?;
        Ok(Self {
            member,
            files,
            _place: place,
        })
    }

    /// Its connection string, of nobody.
    pub fn uri(&self) -> String {
        address(
            &self.files,
            &self.member.host(),
            None,
            "directConnection=true",
        )
    }
}
