//! Who calls, as an argument of a handler: `Caller<P>` in a signature is the authorisation.
//!
//! A value exists only after the credential was verified and carries the permission that `P`
//! names. The layers check the same by the policy table; a route has to pass both.

use std::{marker::PhantomData, net::IpAddr, sync::Arc};

use axum::extract::FromRequestParts;
use ems_api::ErrorCode;
use ems_core::{
    audit::{AuditEvent, AuditKind, Change},
    role::Permission,
    scope::Scope,
    time::Timestamp,
};
use http::request::Parts;

use crate::{problem::Problem, shim::Principal};

/// What is known of a request before its credential is. An extension of every request.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Our id of it, or a trusted proxy's.
    pub request_id: Arc<str>,
    /// The client's address, as far as trusted proxies vouch for it. Never IPv4 in IPv6.
    pub client: IpAddr,
    /// When it came, by the server's clock.
    pub now: Timestamp,
    /// The route's template.
    pub route: &'static str,
}

impl Facts {
    /// An entry for the ledger by `user`, with nothing asked for and nothing changed yet.
    pub fn event(&self, user: &str, kind: AuditKind, (action, table): (&str, &str)) -> AuditEvent {
        AuditEvent {
            timestamp: self.now,
            event_type: kind,
            user: user.to_owned(),
            action: action.to_owned(),
            table: table.to_owned(),
            record_count: 0,
            filters: serde_json::Value::Object(serde_json::Map::new()),
            subjects: Vec::new(),
            source_ip: self.client.to_string(),
            request_id: self.request_id.to_string(),
            change: None,
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Facts {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let facts = parts.extensions.get::<Self>().cloned();
        facts.ok_or_else(|| Problem::internal("a request passed no layer"))
    }
}

/// The verified principal of a request. An extension of requests with a valid credential.
#[derive(Debug, Clone)]
pub struct Identified(pub Arc<Principal>);

/// What a handler asks of its caller.
pub trait Requirement: Send + Sync + 'static {
    /// The permission; `None`: any valid credential.
    const PERMISSION: Option<Permission>;
}

/// Any valid credential.
#[derive(Debug)]
pub struct AnyCredential;
/// Reading readings and meters.
#[derive(Debug)]
pub struct Read;
/// Usage and groups.
#[derive(Debug)]
pub struct Analyze;
/// Storing and validating readings.
#[derive(Debug)]
pub struct WriteMeterData;
/// Changing meters.
#[derive(Debug)]
pub struct Write;
/// Deleting readings and meters.
#[derive(Debug)]
pub struct Delete;
/// Users, keys, security.
#[derive(Debug)]
pub struct Admin;

impl Requirement for AnyCredential {
    const PERMISSION: Option<Permission> = None;
}
impl Requirement for Read {
    const PERMISSION: Option<Permission> = Some(Permission::Read);
}
impl Requirement for Analyze {
    const PERMISSION: Option<Permission> = Some(Permission::Analyze);
}
impl Requirement for WriteMeterData {
    const PERMISSION: Option<Permission> = Some(Permission::WriteMeterData);
}
impl Requirement for Write {
    const PERMISSION: Option<Permission> = Some(Permission::Write);
}
impl Requirement for Delete {
    const PERMISSION: Option<Permission> = Some(Permission::Delete);
}
impl Requirement for Admin {
    const PERMISSION: Option<Permission> = Some(Permission::Admin);
}

/// A caller who is known and may do what `P` names.
#[derive(Debug)]
pub struct Caller<P> {
    principal: Arc<Principal>,
    facts: Facts,
    permission: PhantomData<P>,
}

impl<P> Caller<P> {
    /// Who it is.
    pub fn principal(&self) -> &Arc<Principal> {
        &self.principal
    }

    /// Its name, as logs have it.
    pub fn name(&self) -> &str {
        &self.principal.name
    }

    /// The meters it may see and write.
    pub fn scope(&self) -> &Scope {
        &self.principal.scope
    }

    /// The request's id, the client's address, the time.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// When the request came.
    pub fn now(&self) -> Timestamp {
        self.facts.now
    }

    /// An entry for the ledger that data was read, written or deleted.
    pub fn access(&self, action: &str, table: &str) -> AuditEvent {
        self.facts.event(self.name(), AuditKind::DataAccess, (action, table))
    }

    /// An entry for the ledger that one record of the configuration was changed.
    pub fn change(&self, action: &str, table: &str, change: Change) -> AuditEvent {
        let kind = AuditKind::ConfigurationChange;
        let mut event = self.facts.event(self.name(), kind, (action, table));
        event.record_count = 1;
        event.change = Some(change);
        event
    }
}

impl<P: Requirement, S: Send + Sync> FromRequestParts<S> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let facts = Facts::from_request_parts(parts, state).await?;
        let Some(Identified(principal)) = parts.extensions.get().cloned() else {
            return Err(Problem::new(ErrorCode::InvalidCredentials));
        };
        if P::PERMISSION.is_some_and(|permission| !principal.may(permission)) {
            return Err(Problem::new(ErrorCode::InsufficientPermissions));
        }
        Ok(Self { principal, facts, permission: PhantomData })
    }
}
