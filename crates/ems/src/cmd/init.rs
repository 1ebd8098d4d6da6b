//! `ems init`: a new instance with its first admin.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use ems_api::SecretText;
use ems_server::{
    app::SystemClock,
    config::Environment,
    instance::{self, Database, NewStore},
};
use serde::Serialize;

use crate::{
    failure::usage,
    output::Output,
    password::{self, read_secret},
};

/// What the settings take the address of the database from.
const URI: &str = "EMS_STORE__MONGO_URI";

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
    /// Without an admin: an instance that `ems migrate` is to fill
    #[arg(long, conflicts_with_all = ["admin", "admin_password_file"])]
    no_admin: bool,
    /// Where the data is kept
    #[arg(long, value_enum, default_value_t = Kind::Embedded)]
    store: Kind,
    /// File that holds the mongodb:// address of the service's user (mode 0600)
    /// [default: the variable `EMS_STORE__MONGO_URI`]
    #[arg(long, value_name = "F")]
    mongo_uri_file: Option<PathBuf>,
    /// File that holds the address of the user who makes collections and indexes (mode 0600)
    /// [default: the service's]
    #[arg(long, value_name = "F")]
    mongo_owner_uri_file: Option<PathBuf>,
}

/// Where the data is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// In the directory
    Embedded,
    /// In MongoDB, which several processes may share
    Mongo,
}

/// What was made.
#[derive(Serialize)]
struct Made {
    config: PathBuf,
    #[serde(skip_serializing_if = "Option::is_none")]
    admin: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<SecretText>,
}

impl Init {
    /// Makes the instance.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let password = match &self.admin_password_file {
            _ if self.no_admin => None,
            Some(path) => Some(password::Password {
                text: read_secret(path)?,
                generated: false,
            }),
            None => Some(password::generated()),
        };
        let admin = password.as_ref().map(|it| (&*self.admin, &it.text));
        create(&self.dir, admin, &self.store()?).await?;
        let made = Made {
            config: self.dir.join(instance::FILE),
            admin: password.is_some().then_some(self.admin),
            password: password.filter(|it| it.generated).map(|it| it.text),
        };
        output.value(&made, || {
            let config = made.config.display();
            let shown = made.password.as_ref().map_or_else(String::new, |password| {
                format!(
                    "\npassword of {} (shown once): {}",
                    made.admin.as_deref().unwrap_or_default(),
                    password.expose()
                )
            });
            let next = match made.admin {
                Some(_) => format!("run it: ems serve --config {config}"),
                None => format!("fill it: ems migrate --from CONFIG --to {config}"),
            };
            format!("{config} is made{shown}\n{next}")
        })
    }
}

impl Init {
    /// The store, with addresses from files or variables: they hold passwords, and a command line is
    /// for everyone to see.
    fn store(&self) -> Result<NewStore> {
        let (uri, owner) = (&self.mongo_uri_file, &self.mongo_owner_uri_file);
        if self.store == Kind::Embedded {
            if uri.is_some() || owner.is_some() {
                return Err(usage("an address of MongoDB needs --store mongo"));
            }
            return Ok(NewStore::Embedded);
        }
        let env = Environment::read();
        let named = env.get(&format!("{URI}_FILE")).map(PathBuf::from);
        let uri = match (uri, env.get(URI), named) {
            (Some(file), _, _) => read_secret(file)?,
            (None, Some(uri), _) => SecretText::new(uri.to_owned()),
            (None, None, Some(file)) => read_secret(&file)?,
            (None, None, None) => {
                let why = format!("--store mongo needs --mongo-uri-file F, or {URI}");
                return Err(usage(why));
            }
        };
        let owner = owner.as_deref().map(read_secret).transpose()?;
        Ok(NewStore::Mongo(Database { uri, owner, env }))
    }
}

/// Makes an instance in a directory, with an admin of this name and password.
pub(crate) async fn create(
    dir: &Path,
    admin: Option<(&str, &SecretText)>,
    store: &NewStore,
) -> Result<()> {
    let made = instance::create(dir, admin, Arc::new(SystemClock), store).await;
    made.map_err(crate::instance::failed)
        .with_context(|| format!("{} was not made an instance", dir.display()))
}
