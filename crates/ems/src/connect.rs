//! How a command reaches a server: over the network with an API key, or as its administrator by
//! the local socket and, when no server runs, on the store itself.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::Args;
use ems_api::{SecretText, client::Client};
use ems_server::{
    app::SystemClock,
    config::{Environment, Settings, TlsMode},
    local::Local,
};

use crate::{
    failure::usage,
    instance::{FILE, Instance, failed, faults},
    password::read_secret,
};

/// For how long a command waits for a store that another process holds without a socket: a start
/// replays at most two journals.
const HELD: Duration = Duration::from_secs(10);
/// The pause before it asks again.
const AGAIN: Duration = Duration::from_millis(50);

/// Which server, over the network.
#[derive(Debug, Args)]
pub(crate) struct Remote {
    /// Where the server is.
    #[arg(
        long,
        value_name = "URL",
        help = "URL of the server [env: EMS_URL] [default: the instance's, or https://127.0.0.1:8000]"
    )]
    url: Option<String>,
    /// Certificate authority to trust, PEM [default: DIR/tls/ca.pem of the instance, or the system's]
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    #[command(flatten)]
    instance: Instance,
}

/// What to prove oneself with.
#[derive(Debug, Args)]
pub(crate) struct Proof {
    /// Where the key is.
    #[arg(
        long,
        value_name = "F",
        help = "File that holds the API key (mode 0600) [env: EMS_API_KEY]"
    )]
    key_file: Option<PathBuf>,
}

impl Remote {
    /// A client without a credential.
    pub(crate) fn client(&self) -> Result<Client> {
        let env = Environment::read();
        let url = self
            .url
            .clone()
            .or_else(|| env.get("EMS_URL").map(str::to_owned));
        let here = || Some(PathBuf::from(FILE)).filter(|file| url.is_none() && file.is_file());
        let file = self.instance.named().or_else(here);
        let url = match (&url, &file) {
            (Some(url), _) => url.clone(),
            (None, Some(file)) => {
                url_of(&Settings::read(Some(file), &env, &[]).map_err(|errors| faults(&errors))?)
            }
            (None, None) => "https://127.0.0.1:8000".to_owned(),
        };
        let local = || {
            let ca = file.as_deref().and_then(Path::parent)?.join("tls/ca.pem");
            ca.is_file().then_some(ca)
        };
        let authority =
            match self.ca.clone().or_else(local) {
                Some(path) => Some(std::fs::read(&path).map_err(|error| {
                    usage(format!("{} cannot be read: {error}", path.display()))
                })?),
                None => None,
            };
        Client::new(&url, authority.as_deref()).map_err(|error| usage(error.to_string()))
    }

    /// A client with the API key.
    pub(crate) fn client_with(&self, proof: &Proof) -> Result<Client> {
        let key = proof.key()?;
        Ok(self.client()?.with_api_key(key.expose()))
    }
}

impl Proof {
    fn key(&self) -> Result<SecretText> {
        if let Some(path) = &self.key_file {
            let text = read_secret(path)?;
            // A header file made for curl will do as well.
            let key = text
                .expose()
                .strip_prefix("X-API-Key:")
                .unwrap_or(text.expose());
            return Ok(SecretText::new(key.trim().to_owned()));
        }
        let env = Environment::read();
        let key = env
            .get("EMS_API_KEY")
            .map(|key| SecretText::new(key.to_owned()));
        key.ok_or_else(|| {
            usage("no API key: give --key-file F or set EMS_API_KEY (`ems key create` makes one)")
        })
    }
}

/// The URL by which a server with these settings is reached from this machine.
pub(crate) fn url_of(settings: &Settings) -> String {
    let tls = settings.server.tls == TlsMode::On;
    url_at(tls, settings.server.listen)
}

/// The URL of an address; of one that stands for all addresses, the loopback's.
pub(crate) fn url_at(tls: bool, address: SocketAddr) -> String {
    let scheme = if tls { "https" } else { "http" };
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, address.port()))
}

/// The administrator's way in.
pub(crate) struct Administration {
    /// A client that may do everything.
    client: Client,
    local: Option<Arc<Local>>,
}

impl Administration {
    /// Asks one thing as the administrator, and closes what had to be opened for it.
    pub(crate) async fn ask<T>(
        instance: &Instance,
        ask: impl AsyncFnOnce(&Client) -> Result<T>,
    ) -> Result<T> {
        let administration = Self::open(instance).await?;
        let answer = ask(&administration.client).await;
        administration.close().await?;
        answer
    }

    /// By the admin socket where a server runs, on the store itself where none does. A server that
    /// starts holds the store before it has a socket, and another command holds it for a moment:
    /// both are waited for.
    async fn open(instance: &Instance) -> Result<Self> {
        let settings = instance.settings()?;
        let deadline = Instant::now() + HELD;
        loop {
            if let Some(client) = running(&settings.server.admin_socket).await? {
                return Ok(Self {
                    client,
                    local: None,
                });
            }
            let loaded = instance.load(&[])?;
            match Local::open(loaded, Arc::new(SystemClock)).await {
                Err(error) if error.is_in_use() && Instant::now() < deadline => {
                    tokio::time::sleep(AGAIN).await;
                }
                opened => {
                    let local = Arc::new(opened.map_err(failed)?);
                    let client = Client::in_process(Arc::new(InProcess(Arc::clone(&local))))?;
                    return Ok(Self {
                        client,
                        local: Some(local),
                    });
                }
            }
        }
    }

    /// Closes the store, where it was opened.
    async fn close(self) -> Result<()> {
        match self.local {
            Some(local) => Ok(local.close().await?),
            None => Ok(()),
        }
    }
}

/// A client of the server that runs at this socket, if one does.
async fn running(socket: &Path) -> Result<Option<Client>> {
    match tokio::net::UnixStream::connect(socket).await {
        Ok(_) => Ok(Some(Client::unix(socket)?)),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Err(error)
            .with_context(|| {
                format!(
                    "{}: run this as the user that the server runs as",
                    socket.display()
                )
            }),
        Err(_) => Ok(None),
    }
}

/// The router, called within the process.
struct InProcess(Arc<Local>);

impl ems_api::client::InProcess for InProcess {
    fn call(
        &self,
        request: http::Request<bytes::Bytes>,
    ) -> futures_util::future::BoxFuture<'_, http::Response<bytes::Bytes>> {
        Box::pin(self.0.call(request))
    }
}
