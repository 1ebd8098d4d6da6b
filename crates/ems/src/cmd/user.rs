//! `ems user`: accounts, by the admin socket or on the store where no server runs.

use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use ems_api::{
    account::{NewUser, User as Account, UserPatch},
    client::Client,
    domain::{Grant, Pattern, Role},
};
use serde::Serialize;

use crate::{
    connect::Administration,
    failure::usage,
    instance::Instance,
    output::Output,
    password::{Given, Password},
};

/// The flags of `ems user`.
#[derive(Debug, Args)]
pub(crate) struct User {
    #[command(subcommand)]
    command: Command,
}

/// What to do with users.
#[derive(Debug, Subcommand)]
enum Command {
    /// Make a user
    #[command(after_help = "\
Example:
  ems user add bob --role viewer --meters 'plant7-*' --generate --dir /srv/ems")]
    Add(Add),
    /// List the users
    #[command(after_help = "Example:\n  ems user list --json --dir /srv/ems")]
    List(Instance),
    /// Shut a user out: tokens and sessions end at once
    #[command(after_help = "Example:\n  ems user disable bob --dir /srv/ems")]
    Disable(Named),
    /// Give a user a new password; its sessions end
    #[command(after_help = "Example:\n  ems user passwd bob --dir /srv/ems")]
    Passwd(Passwd),
    /// Take a user's second factor away, which it has lost; its sessions end
    #[command(after_help = "Example:\n  ems user mfa-reset bob --dir /srv/ems")]
    MfaReset(Named),
}

/// The flags of `ems user add`.
#[derive(Debug, Args)]
struct Add {
    /// Its name
    name: String,
    /// Its role
    #[arg(long, value_enum)]
    role: RoleName,
    /// Meters it sees: ids, prefixes such as 'plant7-*', '*' for all; needed for viewers and meter readers
    #[arg(long, value_name = "METER", value_delimiter = ',', value_parser = pattern)]
    meters: Vec<Pattern>,
    /// Customer whose meters it sees, in place of --meters
    #[arg(long, value_name = "ID", conflicts_with = "meters")]
    customer: Option<String>,
    /// Single permissions beside the role's
    #[arg(long = "grant", value_enum, value_delimiter = ',')]
    grants: Vec<GrantName>,
    #[command(flatten)]
    password: Given,
    #[command(flatten)]
    instance: Instance,
}

/// A user of an instance.
#[derive(Debug, Args)]
struct Named {
    /// Its name
    name: String,
    #[command(flatten)]
    instance: Instance,
}

/// The flags of `ems user passwd`.
#[derive(Debug, Args)]
struct Passwd {
    /// Its name
    name: String,
    #[command(flatten)]
    password: Given,
    #[command(flatten)]
    instance: Instance,
}

/// Roles by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum RoleName {
    /// Everything
    Admin,
    /// Reads, writes, analyses
    Analyst,
    /// Reads
    Viewer,
    /// A device: reads and writes readings
    MeterReader,
}

/// Grants by name.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum GrantName {
    /// An auditor
    Audit,
    /// A data-protection officer
    Privacy,
}

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Admin => Self::Admin,
            RoleName::Analyst => Self::Analyst,
            RoleName::Viewer => Self::Viewer,
            RoleName::MeterReader => Self::MeterReader,
        }
    }
}

impl From<GrantName> for Grant {
    fn from(name: GrantName) -> Self {
        match name {
            GrantName::Audit => Self::Audit,
            GrantName::Privacy => Self::Privacy,
        }
    }
}

/// Reads an entry of a scope.
pub(crate) fn pattern(text: &str) -> Result<Pattern, String> {
    Pattern::parse(text).map_err(|fault| fault.detail)
}

/// Entries of a scope in one cell.
pub(crate) fn in_words(meters: &[Pattern]) -> String {
    let entries: Vec<String> = meters.iter().map(ToString::to_string).collect();
    entries.join(",")
}

/// A user, with the password that was made up for it.
#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    user: Account,
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<ems_api::SecretText>,
}

/// A user whose second factor was taken away.
#[derive(Serialize)]
struct Reset {
    username: String,
}

impl Told {
    fn new(user: Account, password: Password) -> Self {
        let password = password.generated.then_some(password.text);
        Self { user, password }
    }

    fn in_words(&self, done: &str) -> String {
        let name = &self.user.username;
        match &self.password {
            Some(password) => format!(
                "{name} {done}\npassword (shown once): {}",
                password.expose()
            ),
            None => format!("{name} {done}"),
        }
    }
}

impl User {
    /// Does it.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        match self.command {
            Command::Add(add) => add.run(output).await,
            Command::List(instance) => {
                let ask = async |client: &Client| Ok(client.users().await?);
                let users = Administration::ask(&instance, ask).await?;
                let head = ["NAME", "ROLE", "METERS", "GRANTS", "STATE", "CREATED"];
                output.rows(&users, head, row)
            }
            Command::Disable(named) => {
                let patch = UserPatch {
                    disabled: Some(true),
                    ..UserPatch::default()
                };
                let user = change(&named.instance, &named.name, &patch).await?;
                output.value(&user, || format!("{} is shut out", user.username))
            }
            Command::MfaReset(named) => {
                let ask = async |client: &Client| Ok(client.reset_mfa(&named.name).await?);
                Administration::ask(&named.instance, ask).await?;
                let done = Reset {
                    username: named.name,
                };
                output.value(&done, || {
                    format!("{} has no second factor; its sessions ended", done.username)
                })
            }
            Command::Passwd(passwd) => {
                let password = passwd.password.read(&passwd.name)?;
                let patch = UserPatch {
                    password: Some(password.text.clone()),
                    ..UserPatch::default()
                };
                let user = change(&passwd.instance, &passwd.name, &patch).await?;
                let told = Told::new(user, password);
                output.value(&told, || {
                    told.in_words("has a new password; its sessions ended")
                })
            }
        }
    }
}

impl Add {
    async fn run(self, output: Output) -> Result<()> {
        let role = Role::from(self.role);
        if role.needs_meters() && self.meters.is_empty() && self.customer.is_none() {
            let role = role.as_str();
            return Err(usage(format!(
                "a {role} needs --meters: ids, prefixes such as 'plant7-*', or '*'"
            )));
        }
        let ask = async |client: &Client| self.make(client, role).await;
        let told = Administration::ask(&self.instance, ask).await?;
        output.value(&told, || told.in_words("is made"))
    }

    async fn make(&self, client: &Client, role: Role) -> Result<Told> {
        let password = self.password.read(&self.name)?;
        let new = NewUser {
            username: self.name.clone(),
            password: password.text.clone(),
            role,
            meters: (!self.meters.is_empty()).then(|| self.meters.clone()),
            customer_id: self.customer.clone(),
            grants: self.grants.iter().copied().map(Grant::from).collect(),
            disabled: false,
        };
        Ok(Told::new(client.create_user(&new).await?, password))
    }
}

async fn change(instance: &Instance, name: &str, patch: &UserPatch) -> Result<Account> {
    let ask = async |client: &Client| Ok(client.change_user(name, patch).await?);
    Administration::ask(instance, ask).await
}

fn row(user: &Account) -> [String; 6] {
    let meters = user.meters.as_deref().map(in_words);
    let customer = || user.customer_id.as_ref().map(|id| format!("customer {id}"));
    let grants: Vec<&str> = user
        .grants
        .iter()
        .map(|grant| match grant {
            Grant::Audit => "audit",
            Grant::Privacy => "privacy",
        })
        .collect();
    [
        user.username.clone(),
        user.role.as_str().to_owned(),
        meters.or_else(customer).unwrap_or_else(|| "*".to_owned()),
        grants.join(","),
        if user.disabled { "disabled" } else { "enabled" }.to_owned(),
        user.created.to_string(),
    ]
}
