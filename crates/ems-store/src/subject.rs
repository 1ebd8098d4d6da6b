//! Whose data it is: the unit of encryption and of erasure.

use ems_core::meter::MeterId;

/// A holder of a data key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A meter without a customer.
    Meter(MeterId),
    /// One of the store's own tables (users, ledger …): erased by nobody.
    Table(&'static str),
}

impl Subject {
    /// What the subject's key token is made from; no two subjects share it.
    pub(crate) fn token_input(&self) -> String {
        match self {
            Self::Meter(meter) => format!("meter:{meter}"),
            Self::Table(table) => format!("table:{table}"),
        }
    }

    /// The letter that a pseudonym of it begins with.
    pub(crate) fn letter(&self) -> char {
        match self {
            Self::Meter(_) => 'm',
            Self::Table(_) => 't',
        }
    }
}
