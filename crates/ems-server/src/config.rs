//! Settings: read from every source, checked as a whole, every fault named at once.
//!
//! Order, later wins: the compiled-in default file, the operator's file, `EMS_SECTION__KEY`
//! variables, flags. Only this module reads the process environment, and only through
//! [`Environment::read`]. A [`Loaded`] that exists is sound: addresses agree with TLS, the
//! certificate with its key, and every secret is there, in a file that nobody else may read.

mod api_keys;
mod checks;
mod environment;
mod error;
mod layers;
mod mongo_uri;
mod notify;
pub mod reference;
mod secrets;
mod settings;
mod sso;
mod units;

use std::path::Path;

pub use environment::Environment;
pub use error::{ConfigError, ConfigErrors};
pub use mongo_uri::MongoUri;
pub use secrets::{RootSource, Secret, Secrets};
pub use settings::{
    AlertRule, Alerts, Algorithm, AllowRule, Auth, Backend, Channel, Guard, Inspection, Level,
    Limits, Log, LogFormat, Network, Readings, SecretUrl, Server, Settings, Shared, Ship,
    ShippedLog, Store, TlsMode,
};
pub(crate) use sso::address_of;
pub use sso::{ClientSecret, Sso, SsoGroup};
pub use units::{ByteSize, Limit, Timespan};

/// The default file, as it is compiled in: every setting, its comment, its value.
pub const DEFAULT_FILE: &str = include_str!("../../../config/ems.default.toml");

/// Sound settings and the secrets that go with them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// What no log and no output may show.
    pub secrets: Secrets,
}

impl Settings {
    /// Reads and checks everything that a server needs: settings, certificate, secrets.
    ///
    /// `flags` are `section.key` with a value as an environment variable would have it. The errors
    /// are all there are, not the first.
    pub fn load(
        file: Option<&Path>,
        env: &Environment,
        flags: &[(String, String)],
    ) -> Result<Loaded, ConfigErrors> {
        let (settings, mut errors) = layers::merge(file, env, flags)?;
        checks::settings(&settings, &mut errors);
        checks::certificate(&settings.server, &mut errors);
        sso::authority(&settings.sso, &mut errors);
        let secrets = secrets::load(&settings, env, &mut errors);
        match secrets {
            Some(secrets) if errors.is_empty() => Ok(Loaded { settings, secrets }),
            _ => Err(errors),
        }
    }

    /// Reads and checks the settings alone, touching neither certificate nor secrets.
    pub fn read(
        file: Option<&Path>,
        env: &Environment,
        flags: &[(String, String)],
    ) -> Result<Self, ConfigErrors> {
        let (settings, mut errors) = layers::merge(file, env, flags)?;
        checks::settings(&settings, &mut errors);
        if errors.is_empty() {
            Ok(settings)
        } else {
            Err(errors)
        }
    }

    /// The settings as TOML, passwords within URLs struck out.
    pub fn redacted_toml(&self) -> String {
        // Serialising can fail only for types that TOML lacks, and the settings hold none of them.
        toml::to_string(self).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
