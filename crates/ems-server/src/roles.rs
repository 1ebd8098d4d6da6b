//! Which part of the work a process does: all of it, or one role of several over a shared store.

use std::str::FromStr;

use crate::{Error, Result, config::Backend};

/// The part of the work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Role {
    /// All of it.
    #[default]
    All,
    /// Credentials, limits, the way in.
    Gateway,
    /// Readings in and out.
    Ingestion,
    /// Analytics.
    Analytics,
}

impl Role {
    /// The name on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Gateway => "gateway",
            Self::Ingestion => "ingestion",
            Self::Analytics => "analytics",
        }
    }

    /// Refuses a role that this store cannot serve: an embedded one belongs to one process.
    ///
    /// # Errors
    /// [`Error::Usage`].
    pub fn check(self, backend: Backend) -> Result<()> {
        if self == Self::All || backend != Backend::Embedded {
            return Ok(());
        }
        Err(Error::Usage(format!(
            "--role {} needs a store that several processes share; the embedded store belongs to \
             one process: leave --role away, or set store.backend to \"mongo\"",
            self.as_str()
        )))
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::All, Self::Gateway, Self::Ingestion, Self::Analytics]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| "a role is all, gateway, ingestion or analytics".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_embedded_store_serves_all_roles_in_one_process_only() {
        assert!(Role::All.check(Backend::Embedded).is_ok());
        let refused = Role::Gateway
            .check(Backend::Embedded)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("--role gateway"), "{refused}");
        assert_eq!("analytics".parse(), Ok(Role::Analytics));
        assert!("everything".parse::<Role>().is_err());
    }
}
