//! Who logs in to MongoDB: one account for each role of EMS Agent, as `deploy/mongodb` has them.

use anyhow::Result;
use ems_crypto::password::Password;
use mongodb::{
    Client,
    bson::{Bson, Document, doc},
};

/// The commands that make the roles, as operators run them.
const ROLES: &str = include_str!("../../../../deploy/mongodb/roles.json");

/// The roles of a server, in the order of the fields of [`Accounts`].
const SERVICES: [&str; 4] = ["emsIdentity", "emsIngestion", "emsAnalytics", "emsControl"];

/// A name and a random password.
#[derive(Debug, Clone)]
pub struct Account {
    name: String,
    password: Password,
}

impl Account {
    /// One that no server knows yet.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            password: Password::generate(),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its password.
    pub fn password(&self) -> &str {
        self.password.expose()
    }

    /// The command that makes it, with roles of the database `admin`.
    pub(super) fn create(&self, roles: &[&str]) -> Document {
        let roles = roles
            .iter()
            .map(|role| doc! { "role": role, "db": "admin" });
        doc! {
            "createUser": &self.name,
            "pwd": self.password(),
            "roles": Bson::Array(roles.map(Bson::Document).collect()),
            "mechanisms": ["SCRAM-SHA-256"],
            "writeConcern": { "w": "majority" },
        }
    }
}

/// An account for each role, one with all that a single process needs, and the owner's.
#[derive(Debug, Clone)]
pub struct Accounts {
    /// With `emsIdentity` alone.
    pub identity: Account,
    /// With `emsIngestion` alone.
    pub ingestion: Account,
    /// With `emsAnalytics` alone.
    pub analytics: Account,
    /// With `emsControl` alone.
    pub control: Account,
    /// With these four roles: one process that does everything.
    pub ems: Account,
    /// With `emsOwner` alone: `ems init` and migrations.
    pub owner: Account,
}

impl Accounts {
    pub(super) async fn make(client: &Client) -> Result<Self> {
        let admin = client.database("admin");
        let roles: Vec<Document> = serde_json::from_str(ROLES)?;
        for mut role in roles {
            role.insert("writeConcern", doc! { "w": "majority" });
            admin.run_command(role).await?;
        }
        let accounts = Self {
            identity: Account::new("identity"),
            ingestion: Account::new("ingestion"),
            analytics: Account::new("analytics"),
            control: Account::new("control"),
            ems: Account::new("ems"),
            owner: Account::new("owner"),
        };
        let [identity, ingestion, analytics, control] = SERVICES;
        for (account, roles) in [
            (&accounts.identity, &[identity][..]),
            (&accounts.ingestion, &[ingestion]),
            (&accounts.analytics, &[analytics]),
            (&accounts.control, &[control]),
            (&accounts.ems, &SERVICES),
            (&accounts.owner, &["emsOwner"]),
        ] {
            admin.run_command(account.create(roles)).await?;
        }
        Ok(accounts)
    }
}
