//! The process environment, taken once and passed on as a value.
//!
//! Everything else gets it as an argument, so that tests need no global state and a reader of the
//! code sees what depends on it.

use std::{collections::BTreeMap, fmt};

/// The variables that the settings may come from. Shown by name only: values may be secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    /// Names whose value is not UTF-8.
    unreadable: Vec<String>,
}

/// Names beside `EMS_…` that matter: the security guide's, and systemd's.
const OTHER_NAMES: [&str; 9] = [
    "JWT_SECRET_KEY",
    "JWT_SECRET_KEY_FILE",
    "JWT_SECRET_KEY_PREVIOUS",
    "JWT_SECRET_KEY_PREVIOUS_FILE",
    "MONGODB_PASSWORD",
    "MONGODB_PASSWORD_FILE",
    "API_KEYS_FILE",
    "CREDENTIALS_DIRECTORY",
    "NETWORK_MODE",
];

impl Environment {
    /// Reads the environment of this process.
    pub fn read() -> Self {
        let mut read = Self::default();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| matters(name)) else {
                continue;
            };
            match value.into_string() {
                Ok(value) => drop(read.variables.insert(name.to_owned(), value)),
                Err(_) => read.unreadable.push(name.to_owned()),
            }
        }
        read
    }

    /// The variables of these names alone.
    pub(crate) fn only(&self, names: &[&str]) -> Self {
        let ours = |name: &str| names.contains(&name);
        let variables = self.variables.iter().filter(|(name, _)| ours(name));
        Self {
            variables: variables
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect(),
            unreadable: self
                .unreadable
                .iter()
                .filter(|name| ours(name))
                .cloned()
                .collect(),
        }
    }

    /// The value of a variable. An empty one counts as absent, as container files often have it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }

    /// The variables that name a setting: (`EMS_SERVER__LISTEN`, value).
    pub(super) fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables
            .iter()
            .filter(|(name, _)| name.starts_with("EMS_") && name.contains("__"))
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(super) fn unreadable(&self) -> &[String] {
        &self.unreadable
    }
}

fn matters(name: &str) -> bool {
    name.starts_with("EMS_") || OTHER_NAMES.contains(&name)
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Self {
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.into(), value.into()))
                .collect(),
            unreadable: Vec::new(),
        }
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}
