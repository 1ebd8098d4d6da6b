//! `ems init`: a new instance with its first admin.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use clap::Args;
use ems_api::SecretText;
use ems_server::{app::SystemClock, instance};
use serde::Serialize;

use crate::{
    output::Output,
    password::{self, read_secret},
};

/// The flags of `ems init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Directory of the instance: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// Name of the first admin
    #[arg(long, value_name = "NAME", default_value = "admin")]
    admin: String,
    /// File that holds the admin's password (mode 0600) [default: one is made up]
    #[arg(long, value_name = "F")]
    admin_password_file: Option<PathBuf>,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    config: PathBuf,
    admin: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<SecretText>,
}

impl Init {
    /// Makes the instance.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let password = match &self.admin_password_file {
            Some(path) => password::Password {
                text: read_secret(path)?,
                generated: false,
            },
            None => password::generated(),
        };
        create(&self.dir, &self.admin, &password.text).await?;
        let made = Made {
            config: self.dir.join(instance::FILE),
            admin: self.admin,
            password: password.generated.then_some(password.text),
        };
        output.value(&made, || {
            let config = made.config.display();
            let shown = made.password.as_ref().map_or_else(String::new, |password| {
                format!(
                    "\npassword of {} (shown once): {}",
                    made.admin,
                    password.expose()
                )
            });
            format!("{config} is made{shown}\nrun it: ems serve --config {config}")
        })
    }
}

/// Makes an instance in a directory.
pub(crate) async fn create(dir: &Path, admin: &str, password: &SecretText) -> Result<()> {
    let made = instance::create(dir, admin, password, Arc::new(SystemClock)).await;
    made.map_err(crate::instance::failed)
        .with_context(|| format!("{} was not made an instance", dir.display()))
}
