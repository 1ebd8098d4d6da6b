//! Security events, and the report on an incident by the admin socket.

use ems_core::time::Timestamp;
use reqwest::Method;

use super::{Client, Request, Result};
use crate::{incident::Incident, security::SecurityEvents};

/// What a report is to be about.
#[derive(Debug, Clone)]
pub enum Suspect {
    /// A principal, as the ledger names it.
    Principal(String),
    /// An address.
    Address(String),
}

impl Client {
    /// `GET /api/v1/security/events` with these parameters.
    pub async fn security_events(&self, query: &[(&str, &str)]) -> Result<SecurityEvents> {
        let path = ["api", "v1", "security", "events"];
        self.json(Request::to(Method::GET, &path, query)?).await
    }

    /// `GET /api/v1/security/incident`: from `since` up to `until`, or now.
    pub async fn incident(
        &self,
        suspect: &Suspect,
        (since, until): (Timestamp, Option<Timestamp>),
        detected: Option<Timestamp>,
    ) -> Result<Incident> {
        let (name, value) = match suspect {
            Suspect::Principal(name) => ("principal", name),
            Suspect::Address(address) => ("address", address),
        };
        let mut query = vec![(name, value.clone()), ("since", since.to_string())];
        query.extend(until.map(|until| ("until", until.to_string())));
        query.extend(detected.map(|detected| ("detected", detected.to_string())));
        let query: Vec<(&str, &str)> = query
            .iter()
            .map(|(name, value)| (*name, &**value))
            .collect();
        let path = ["api", "v1", "security", "incident"];
        self.json(Request::to(Method::GET, &path, &query)?).await
    }
}
