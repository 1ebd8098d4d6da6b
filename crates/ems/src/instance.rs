//! Which instance a command is about: a settings file, given or found.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use ems_server::{
    Error,
    config::{ConfigErrors, Environment, Loaded, Settings},
};

use crate::failure::usage;

pub(crate) use ems_server::instance::FILE;

/// Which instance.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Instance {
    /// Settings file of the instance [default: ./ems.toml]
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    config: Option<PathBuf>,
    /// Directory of the instance, as `ems init` made it
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Instance {
    /// The instance in a directory.
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self {
            config: None,
            dir: Some(dir.to_owned()),
        }
    }

    /// The settings file that was named, if one was.
    pub(crate) fn named(&self) -> Option<PathBuf> {
        let in_dir = || self.dir.as_ref().map(|dir| dir.join(FILE));
        self.config.clone().or_else(in_dir)
    }

    /// The settings file: the one that was named, or the one that lies here.
    pub(crate) fn file(&self) -> Result<PathBuf> {
        if let Some(file) = self.named() {
            return Ok(file);
        }
        let here = PathBuf::from(FILE);
        if here.is_file() {
            return Ok(here);
        }
        Err(usage(
            "which instance? there is no ./ems.toml: give --config FILE or --dir DIR",
        ))
    }

    /// The settings, without certificate and secrets.
    pub(crate) fn settings(&self) -> Result<Settings> {
        Settings::read(Some(&self.file()?), &Environment::read(), &[])
            .map_err(|errors| faults(&errors))
    }

    /// Settings and secrets, with flags over them.
    pub(crate) fn load(&self, flags: &[(String, String)]) -> Result<Loaded> {
        Settings::load(Some(&self.file()?), &Environment::read(), flags)
            .map_err(|errors| faults(&errors))
    }
}

/// Every fault of a configuration.
pub(crate) fn faults(errors: &ConfigErrors) -> anyhow::Error {
    usage(errors.to_string())
}

/// A failure of the server: wrong usage where it is one.
pub(crate) fn failed(error: Error) -> anyhow::Error {
    match error {
        Error::Usage(text) => usage(text),
        Error::Config(errors) => faults(&errors),
        error => error.into(),
    }
}
