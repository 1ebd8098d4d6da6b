//! Roles, permissions and single grants: who may do what kind of thing.

use serde::{Deserialize, Serialize};

/// What a user or a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Reads, writes and analyses.
    Analyst,
    /// Reads within its meters.
    Viewer,
    /// A device: reads and writes readings of its meters.
    MeterReader,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Analyst, Self::Viewer, Self::MeterReader];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Analyst => "analyst",
            Self::Viewer => "viewer",
            Self::MeterReader => "meter_reader",
        }
    }

    /// The role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }

    /// Whether a user of this role must be given its meters. (A key always must.)
    pub fn needs_meters(self) -> bool {
        matches!(self, Self::Viewer | Self::MeterReader)
    }

    /// Whether the role by itself carries a permission.
    pub fn allows(self, permission: Permission) -> bool {
        use Permission::{Analyze, Read, Write, WriteMeterData};
        match self {
            Self::Admin => true,
            Self::Analyst => matches!(permission, Read | Write | WriteMeterData | Analyze),
            Self::Viewer => matches!(permission, Read),
            Self::MeterReader => matches!(permission, Read | WriteMeterData),
        }
    }
}

/// A kind of thing that may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Reading readings and meters.
    Read,
    /// Usage, groups, pseudonymised exports.
    Analyze,
    /// Storing and validating readings.
    WriteMeterData,
    /// Changing meters; includes [`Permission::WriteMeterData`].
    Write,
    /// Deleting readings and meters.
    Delete,
    /// Users, keys, customers, security.
    Admin,
    /// The audit ledger: of an admin, or by grant.
    Audit,
    /// Customers' rights: of an admin, or by grant.
    Privacy,
}

/// A single administrative permission given to a user of another role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grant {
    /// An auditor.
    Audit,
    /// A data-protection officer.
    Privacy,
}

impl Grant {
    /// The permission it gives.
    pub fn permission(self) -> Permission {
        match self {
            Self::Audit => Permission::Audit,
            Self::Privacy => Permission::Privacy,
        }
    }
}

/// Whether a role with its grants carries a permission.
pub fn allows(role: Role, grants: &[Grant], permission: Permission) -> bool {
    role.allows(permission) || grants.iter().any(|grant| grant.permission() == permission)
}
