//! A real MongoDB: three members of a replica set on free ports of the loopback interface, over
//! TLS, with authentication, that a test can kill, pause and step down. Members that are started
//! [apart](ReplicaSet::start_apart) can be cut off and run out of disk as well.
//!
//! It is set up as `deploy/mongodb` tells operators to, and its roles are made from the same file.
//! The server is what `cargo xtask setup` installs. Whatever fails here fails the test, so the
//! methods panic.

mod account;
mod apart;
mod disk;
mod election;
mod files;
mod member;
mod network;
mod plain;
mod standalone;
mod stutter;
#[cfg(test)]
mod tests;
mod tool;

use std::{net::SocketAddrV4, path::Path};

use anyhow::{Context, Result};
use mongodb::{
    Client,
    bson::{Document, doc},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tempfile::TempDir;

pub use account::{Account, Accounts};
pub use apart::Apart;
use disk::Disk;
use files::Files;
use member::{Member, Place};
use network::Network;
pub use plain::{Plain, PlainReading};
pub use standalone::Standalone;

use crate::attempt::or_panic;

/// Its name, as in `deploy/mongodb/mongod.conf`.
const NAME: &str = "ems";

/// How many members it has; they are counted from 0.
const MEMBERS: usize = 3;

/// The options of a connection to one member, whatever its state.
const ALONE: &str = "directConnection=true&serverSelectionTimeoutMS=5000";

/// Three members that run until they are killed or dropped.
#[derive(Debug)]
pub struct ReplicaSet {
    /// First: they end before their networks, disks and directories go.
    members: Vec<Member>,
    disk: Option<Disk>,
    network: Option<Network>,
    files: Files,
    admin: Account,
    place: TempDir,
}

impl ReplicaSet {
    /// Starts one, and returns once it has a primary that every member follows. A member misses a
    /// primary after two seconds.
    ///
    /// # Panics
    /// Where that fails; without a server: `run cargo xtask setup`.
    pub async fn start() -> Self {
        let started = Self::try_start(None, false).await;
        or_panic(started.context("MongoDB did not start"))
    }

    /// As [`Self::start`]; its members take connections in clear as well, so that what goes over them
    /// can be looked at.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub async fn start_in_clear() -> Self {
        let started = Self::try_start(None, true).await;
        or_panic(started.context("MongoDB did not start"))
    }

    async fn try_start(apart: Option<Apart>, in_clear: bool) -> Result<Self> {
        let place = tempfile::tempdir()?;
        let network = apart.map(|_| Network::make()).transpose()?;
        let addresses = match &network {
            Some(network) => network.addresses()?,
            None => Vec::new(),
        };
        let mut set = Self {
            members: Vec::new(),
            disk: None,
            files: Files::write(place.path(), &addresses)?,
            network,
            admin: Account::new("admin"),
            place,
        };
        if in_clear {
            set.files.let_in_clear();
        }
        if let (Some(apart), Some(network)) = (apart, &set.network) {
            set.disk = Disk::make(set.place.path(), network.name(), apart.small_disk)?;
        }
        for index in 0..MEMBERS {
            let place = Place::new(set.place.path(), index, set.network.as_ref())?;
            set.members.push(Member::start(place, &set.files)?);
        }
        for member in &set.members {
            member.listens().await?;
        }
        set.initiate().await?;
        set.settled().await?;
        Ok(set)
    }

    /// Makes one set of the members, and its first account. Until that is there, a server lets
    /// whoever comes from its own machine do just these two things.
    async fn initiate(&self) -> Result<()> {
        let hosts = (0..).zip(&self.members);
        let hosts: Vec<_> = hosts
            .map(|(id, member)| doc! { "_id": id, "host": member.host() })
            .collect();
        // A fifth of the defaults, or a quarter.
        let settings = doc! {
            "electionTimeoutMillis": 2000,
            "heartbeatIntervalMillis": 500,
            "heartbeatTimeoutSecs": 2,
        };
        let config = doc! { "_id": NAME, "members": hosts, "settings": settings };
        let initiate = doc! { "replSetInitiate": config };
        self.run_beside(0, initiate).await?;
        let primary = self.elected().await?;
        let mut account = self.admin.create(&["root"]);
        // A test may ask any member as soon as the set is there.
        account.insert("writeConcern", doc! { "w": i32::try_from(MEMBERS)? });
        self.run_beside(primary, account).await
    }

    /// Runs a command of nobody, coming from the machine of a member.
    async fn run_beside(&self, member: usize, command: Document) -> Result<()> {
        let host = format!("127.0.0.1:{}", self.port(member));
        let uri = self.address(&host, None, ALONE);
        let work = async move || run(&Client::with_uri_str(uri).await?, command).await;
        match &self.network {
            Some(network) => network.within(member, work).await,
            None => work().await,
        }
    }

    /// The connection string of an account, for all members.
    pub fn uri(&self, user: &Account) -> String {
        let hosts: Vec<_> = self.members.iter().map(Member::host).collect();
        let set = format!("replicaSet={NAME}");
        self.address(&hosts.join(","), Some(user), &set)
    }

    /// A client of an account, with the driver's defaults.
    pub async fn client(&self, user: &Account) -> Client {
        let client = Client::with_uri_str(self.uri(user)).await;
        or_panic(client.context("no client"))
    }

    /// The account with the role `root`; its password is random.
    pub fn admin(&self) -> &Account {
        &self.admin
    }

    /// Makes the roles of `deploy/mongodb/roles.json`, and an account for each.
    pub async fn with_roles(&self) -> Accounts {
        let client = self.client(&self.admin).await;
        or_panic(Accounts::make(&client).await.context("no roles"))
    }

    /// The member that is primary; waits until there is one. One that does not reach a majority is
    /// not asked: it may still take itself for it.
    pub async fn primary(&self) -> usize {
        or_panic(self.elected().await)
    }

    /// Waits until every member that runs and reaches a majority follows the same primary.
    pub async fn wait_for_primary(&self) {
        or_panic(self.settled().await);
    }

    /// Has the primary step down, for ten seconds at least, once another member has all that it
    /// has; that one is asked to stand at once.
    pub async fn step_down(&self) {
        or_panic(self.try_step_down().await.context("no step down"));
    }

    /// Ends a member as a crash would: SIGKILL, paused or not. Nothing where it has ended already.
    pub fn kill(&self, member: usize) {
        or_panic(self.member(member).kill());
    }

    /// Starts a member on the data that it had, killing it first where it runs; returns once it
    /// follows a primary or is one, so it must not be cut off.
    pub async fn restart(&self, member: usize) {
        or_panic(self.try_restart(member).await);
    }

    /// Stops a member where it stands: connections stay open and nothing answers.
    pub fn pause(&self, member: usize) {
        or_panic(self.member(member).pause());
    }

    /// Lets a member that was paused go on.
    pub fn resume(&self, member: usize) {
        or_panic(self.member(member).resume());
    }

    /// What the server of a member has logged, over all its starts.
    pub fn log(&self, member: usize) -> String {
        or_panic(self.member(member).log())
    }

    /// Where a member keeps its data.
    pub fn data_dir(&self, member: usize) -> &Path {
        self.member(member).data_dir()
    }

    /// Where a member listens: on 127.0.0.1, or apart on an address of its own.
    pub fn address_of(&self, member: usize) -> SocketAddrV4 {
        self.member(member).address()
    }

    /// The port of a member.
    pub fn port(&self, member: usize) -> u16 {
        self.address_of(member).port()
    }

    /// The file of the authority that signed the members' certificate.
    pub fn ca_file(&self) -> &Path {
        self.files.ca()
    }

    #[expect(clippy::indexing_slicing, reason = "no such member fails the test")]
    fn member(&self, index: usize) -> &Member {
        &self.members[index]
    }

    /// A client of one member alone, whatever its state.
    async fn direct(&self, member: usize, user: Option<&Account>) -> Result<Client> {
        let host = self.member(member).host();
        Ok(Client::with_uri_str(self.address(&host, user, ALONE)).await?)
    }

    fn address(&self, hosts: &str, user: Option<&Account>, options: &str) -> String {
        address(&self.files, hosts, user, options)
    }

    /// The connection string of an account, with a database of a name.
    pub fn uri_of(&self, user: &Account, database: &str) -> String {
        in_database(&self.uri(user), database)
    }

    /// Has a database say that it was made in another version of collections and indexes.
    pub async fn set_version(&self, database: &str, version: i64) {
        let client = self.client(&self.admin).await;
        let meta = client.database(database).collection::<Document>("meta");
        let set = doc! { "$set": { "v": version } };
        let set = meta.update_one(doc! { "_id": "schema" }, set).await;
        or_panic(set.context("no version"));
    }
}

/// A connection string with another database.
pub(crate) fn in_database(uri: &str, database: &str) -> String {
    uri.replacen("/?", &format!("/{database}?"), 1)
}

/// A connection string; the certificate of the server is checked.
fn address(files: &Files, hosts: &str, user: Option<&Account>, options: &str) -> String {
    let user = user.map_or_else(String::new, |user| {
        let part = |text| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        format!("{}:{}@", part(user.name()), part(user.password()))
    });
    let ca = files.ca().to_string_lossy();
    let ca = utf8_percent_encode(&ca, NON_ALPHANUMERIC);
    format!("mongodb://{user}{hosts}/?tls=true&tlsCAFile={ca}&authSource=admin&{options}")
}

async fn run(client: &Client, command: Document) -> Result<()> {
    client.database("admin").run_command(command).await?;
    Ok(())
}
