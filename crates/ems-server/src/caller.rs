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
use ems_guard::{Act, Principal};
use http::request::Parts;

use crate::problem::Problem;

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
    /// The request as an act of `user`.
    pub fn act(&self, user: &str) -> Act {
        Act {
            at: self.now,
            user: user.to_owned(),
            source_ip: self.client.to_string(),
            request_id: self.request_id.to_string(),
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

/// Whoever owns the server's process. An extension of requests that did not come over the network.
#[derive(Debug, Clone, Copy)]
pub struct Local {
    /// The uid of the process that asks.
    pub uid: u32,
}

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
/// What happened: the ledger, security events.
#[derive(Debug)]
pub struct Audit;

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
impl Requirement for Audit {
    const PERMISSION: Option<Permission> = Some(Permission::Audit);
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

    /// Who does this, when, from where: for what the guard changes and logs.
    pub fn act(&self) -> Act {
        self.facts.act(self.name())
    }

    /// An entry for the ledger that data was read, written or deleted.
    pub fn access(&self, action: &str, table: &str) -> AuditEvent {
        self.act().event(AuditKind::DataAccess, action, table)
    }

    /// An entry for the ledger that one record of the configuration was changed.
    pub fn change(&self, action: &str, table: &str, change: Change) -> AuditEvent {
        let event = self
            .act()
            .event(AuditKind::ConfigurationChange, action, table);
        AuditEvent {
            change: Some(change),
            ..event
        }
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
        Ok(Self {
            principal,
            facts,
            permission: PhantomData,
        })
    }
}
