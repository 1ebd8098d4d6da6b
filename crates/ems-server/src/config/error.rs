//! What is wrong with a configuration: a list, since fixing one fault to meet the next wastes time.

use std::fmt;

/// One fault: where it is and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ConfigError {
    /// The setting (`server.cert`), variable (`JWT_SECRET_KEY`) or file.
    pub key: String,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

/// Every fault of a configuration. Shown one a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// The faults, in the order of discovery.
    pub fn as_slice(&self) -> &[ConfigError] {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a fault, unless this setting already has one: the first is the cause of the second.
    pub(crate) fn add(&mut self, key: &str, problem: impl Into<String>) {
        if self.0.iter().all(|error| error.key != key) {
            self.0.push(ConfigError {
                key: key.to_owned(),
                problem: problem.into(),
            });
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
