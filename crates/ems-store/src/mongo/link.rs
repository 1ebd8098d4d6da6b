//! The connection to the database: by majority, and journaled, whatever the address says. The driver
//! runs on threads of its own; ours wait for it, each at most for a while.

use std::time::Duration;

use mongodb::{
    Client, Collection, Database,
    bson::{Document, doc},
    error::{Error as DriverError, ErrorKind, WriteFailure},
    options::{
        Acknowledgment, ClientOptions, ReadConcern, SelectionCriteria, ServerAddress, Tls,
        WriteConcern,
    },
};
use tokio::runtime::{Builder, Runtime};

use super::Options;
use crate::{Error, Result};

/// How long one operation may take: a server that is cut off answers nothing.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a primary is waited for within one operation.
const SELECTION: Duration = Duration::from_secs(5);
/// Threads of the driver.
const THREADS: usize = 2;
/// What a server says of a key that is there already.
const DUPLICATE: i32 = 11000;

/// The open connection.
pub(super) struct Link {
    /// `None` once it is closed.
    runtime: Option<Runtime>,
    client: Client,
    data: Database,
    keys: Database,
}

impl Link {
    /// Connects, and looks whether the database is one that keeps what it acknowledges.
    ///
    /// # Errors
    /// [`Error::Refused`] for an address or a server that must not be used, saying why;
    /// [`Error::Unavailable`] where none answers.
    pub(super) fn open(options: &Options) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("ems-mongo")
            .enable_all()
            .build()
            .map_err(Error::io("threads of the driver"))?;
        let parsed = runtime.block_on(ClientOptions::parse(options.uri.expose()).into_future());
        let mut settings = parsed.map_err(|error| refused(&error))?;
        expect_tls(&settings)?;
        settings.app_name = Some("ems".into());
        settings.write_concern = Some(
            WriteConcern::builder()
                .w(Acknowledgment::Majority)
                .journal(true)
                .build(),
        );
        settings.read_concern = Some(ReadConcern::majority());
        settings.selection_criteria = Some(SelectionCriteria::ReadPreference(
            mongodb::options::ReadPreference::Primary,
        ));
        settings.retry_writes = Some(true);
        settings.retry_reads = Some(true);
        settings.server_selection_timeout = Some(SELECTION);
        settings.connect_timeout = Some(SELECTION);
        let name = settings.default_database.clone();
        let name = name.unwrap_or_else(|| "ems".into());
        let client = {
            let _inside = runtime.enter();
            Client::with_options(settings).map_err(|error| refused(&error))?
        };
        let link = Self {
            data: client.database(&name),
            keys: client.database(&format!("{name}_keys")),
            client,
            runtime: Some(runtime),
        };
        link.expect_majority()?;
        Ok(link)
    }

    /// A standalone server has no majority, and keeps no copy.
    fn expect_majority(&self) -> Result<()> {
        let hello = self.run(
            self.client
                .database("admin")
                .run_command(doc! { "hello": 1 }),
        )?;
        let sharded = hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
        if hello.contains_key("setName") || sharded {
            return Ok(());
        }
        Err(Error::Refused(
            "store.mongo_uri names a standalone server: what is acknowledged must be on a majority \
             of a replica set"
                .into(),
        ))
    }

    /// A table of the data.
    pub(super) fn data(&self, name: &str) -> Collection<Document> {
        self.data.collection(name)
    }

    /// A table of the key tree.
    pub(super) fn keys(&self, name: &str) -> Collection<Document> {
        self.keys.collection(name)
    }

    /// The database of the data, and that of the keys.
    pub(super) fn databases(&self) -> [&Database; 2] {
        [&self.data, &self.keys]
    }

    /// The driver's client.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Waits for an operation. Not to be called on an asynchronous thread.
    pub(super) fn run<T>(
        &self,
        work: impl IntoFuture<Output = Result<T, DriverError>>,
    ) -> Result<T> {
        self.attempt(work).map_err(Failed::into)
    }

    /// As [`Self::run`], and tells what the driver said.
    pub(super) fn attempt<T>(
        &self,
        work: impl IntoFuture<Output = Result<T, DriverError>>,
    ) -> Result<T, Failed> {
        let runtime = self.runtime.as_ref().ok_or(Failed::Late)?;
        let work = work.into_future();
        let done = runtime.block_on(async { tokio::time::timeout(PATIENCE, work).await });
        done.map_err(|_| Failed::Late)?.map_err(Failed::Driver)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It may be dropped on an asynchronous thread, which must not wait; and the driver's threads
        // stumble where it is not shut down before them.
        let (Some(runtime), client) = (self.runtime.take(), self.client.clone()) else {
            return;
        };
        let end = move || {
            let shut = runtime.block_on(async {
                let shut = client.shutdown().immediate(true).into_future();
                tokio::time::timeout(SELECTION, shut).await
            });
            drop(shut);
        };
        let thread = std::thread::Builder::new().name("ems-mongo-end".into());
        drop(thread.spawn(end));
    }
}

/// Why an operation failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// It took too long, or the connection is closed.
    Late,
    /// What the driver said.
    Driver(DriverError),
}

impl Failed {
    /// The number by which a server tells why.
    pub(super) fn code(&self) -> Option<i32> {
        match self {
            Self::Driver(error) => match &*error.kind {
                ErrorKind::Command(error) => Some(error.code),
                _ => None,
            },
            Self::Late => None,
        }
    }

    /// Whether a key that was to be new is there already.
    pub(super) fn is_duplicate(&self) -> bool {
        let Self::Driver(error) = self else {
            return false;
        };
        match &*error.kind {
            ErrorKind::Write(WriteFailure::WriteError(error)) => error.code == DUPLICATE,
            ErrorKind::InsertMany(error) => {
                let errors = error.write_errors.iter().flatten();
                errors.map(|error| error.code).any(|code| code == DUPLICATE)
            }
            ErrorKind::Command(error) => error.code == DUPLICATE,
            _ => false,
        }
    }

    /// Whether the same transaction may be begun again.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Late => false,
            Self::Driver(error) => {
                error.contains_label(mongodb::error::TRANSIENT_TRANSACTION_ERROR)
            }
        }
    }

    /// Whether a commit may have happened all the same.
    pub(super) fn is_unknown(&self) -> bool {
        match self {
            Self::Late => true,
            Self::Driver(error) => {
                error.contains_label(mongodb::error::UNKNOWN_TRANSACTION_COMMIT_RESULT)
            }
        }
    }
}

impl From<Failed> for Error {
    fn from(failed: Failed) -> Self {
        match failed {
            Failed::Late => Self::Unavailable("the database does not answer".into()),
            Failed::Driver(error) => match &*error.kind {
                ErrorKind::Authentication { .. } | ErrorKind::InvalidTlsConfig { .. } => {
                    refused(&error)
                }
                _ => Self::Unavailable(format!("the database: {}", error.kind)),
            },
        }
    }
}

fn refused(error: &DriverError) -> Error {
    Error::Refused(format!("store.mongo_uri: {}", error.kind))
}

/// Whoever is not on this machine is spoken to by TLS alone, with the certificate checked.
fn expect_tls(settings: &ClientOptions) -> Result<()> {
    let strict = match &settings.tls {
        Some(Tls::Enabled(tls)) => {
            if tls.allow_invalid_certificates == Some(true) {
                let why = "store.mongo_uri: tlsInsecure lets anybody pass for the database";
                return Err(Error::Refused(why.into()));
            }
            true
        }
        _ => false,
    };
    let here = |host: &ServerAddress| match host {
        ServerAddress::Tcp { host, .. } => {
            host == "localhost"
                || host
                    .trim_matches(['[', ']'])
                    .parse::<std::net::IpAddr>()
                    .is_ok_and(|ip| ip.is_loopback())
        }
        _ => true,
    };
    if strict || settings.hosts.iter().all(here) {
        return Ok(());
    }
    Err(Error::Refused(
        "store.mongo_uri: a server that is not on this machine must be reached by TLS (tls=true)"
            .into(),
    ))
}
