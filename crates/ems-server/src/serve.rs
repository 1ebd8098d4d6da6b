//! The life of a server: settings, bind, log what is bound, serve, drain, close.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{Router, extract::State, response::IntoResponse, routing::get};
use ems_core::clock::Clock;
use ems_crypto::tls::{ServerIdentity, TlsServer};
use http::header::CONTENT_TYPE;
use tokio::{
    net::{TcpListener, TcpStream},
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Result,
    admin::AdminSocket,
    app::App,
    config::{self, Backend, ConfigErrors, Loaded, Settings, TlsMode},
    door, jobs,
    listener::{Gate, GivenUp, Listener},
    metrics, notify,
    plain::{self, Accept},
    roles::Role,
    router::router,
};

/// Reads the settings and secrets anew, as at start.
pub type Reload = Arc<dyn Fn() -> Result<Loaded, ConfigErrors> + Send + Sync>;

/// A server that is bound and does not answer yet.
pub struct Server {
    app: Arc<App>,
    listener: Listener,
    tls: Option<TlsServer>,
    admin: AdminSocket,
    metrics: Option<TcpListener>,
    hang_ups: Signal,
}

impl Server {
    /// Opens the store and the logs and binds every address. To be called within a runtime. From
    /// here on a SIGHUP ends no process.
    ///
    /// # Errors
    /// [`Error::Usage`] for a role that the store cannot serve; else what could not be opened or
    /// bound.
    pub fn bind(loaded: Loaded, role: Role, clock: Arc<dyn Clock>) -> Result<Self> {
        role.check(loaded.settings.store.backend)?;
        let settings = loaded.settings.server.clone();
        let tls = tls(&settings)?;
        let hang_ups = signal(SignalKind::hangup()).map_err(Error::io("SIGHUP"))?;
        let listener = Listener::bind(&settings)
            .map_err(unbound(settings.listen, "server.listen or --listen"))?;
        let metrics = settings.metrics_listen.map(bind_metrics).transpose()?;
        let app = App::open(loaded, clock)?;
        let admin = AdminSocket::bind(&settings.admin_socket)?;
        Ok(Self {
            app,
            listener,
            tls,
            admin,
            metrics,
            hang_ups,
        })
    }

    /// The address of the API; tells the port where the settings say 0.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn local_addr(&self) -> Result<SocketAddr> {
        self.listener
            .local_addr()
            .map_err(Error::io("the listener"))
    }

    /// The address of the metrics, where there is one.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.metrics.as_ref()?.local_addr().ok()
    }

    /// The server's state.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Serves until `shutdown` is cancelled, then drains: requests in flight get
    /// `server.drain_timeout`, `audit.log` catches up, the store folds and closes. SIGHUP reopens
    /// the logs and, with `reload`, takes certificate and token keys anew.
    ///
    /// # Errors
    /// [`Error::Store`] where the store could not close; what was acknowledged is durable all the
    /// same.
    pub async fn run(self, shutdown: CancellationToken, reload: Option<Reload>) -> Result<()> {
        self.announce();
        let Self {
            app,
            listener,
            tls,
            admin,
            metrics,
            hang_ups: signals,
        } = self;
        app.door.load(app.clock.now()).await?;
        let routes = router(Arc::clone(&app));
        let (beside, following) = (CancellationToken::new(), CancellationToken::new());
        let follower = follow(&app, following.clone());
        let telling = Telling::start(&app);
        let others = [
            tokio::spawn(jobs::run(Arc::clone(&app), beside.clone())),
            tokio::spawn(jobs::keep_bans(Arc::clone(&app), beside.clone())),
            tokio::spawn(admin.run(routes.clone(), beside.clone())),
            tokio::spawn(serve_metrics(Arc::clone(&app), metrics, beside.clone())),
            tokio::spawn(hang_ups(
                signals,
                (Arc::clone(&app), tls.clone()),
                reload,
                beside.clone(),
            )),
            tokio::spawn(mark_draining(Arc::clone(&app), shutdown.clone())),
        ];
        let gate = Arc::new(AtDoor(Arc::clone(&app)));
        let drained = listener.run((tls, gate), routes, shutdown.clone()).await;
        if drained.cut > 0 {
            tracing::warn!(connections = drained.cut, "the drain's time was over: cut");
        }
        // The listener may also end by itself; those that wait for the word must not wait on.
        shutdown.cancel();
        beside.cancel();
        for other in others {
            ended("a task", other.await);
        }
        following.cancel();
        ended("the writer of audit.log", follower.await);
        let closed = app.store.commit.close().await;
        app.journal.close().await;
        telling.end().await;
        tracing::info!("stopped");
        Ok(closed?)
    }

    fn announce(&self) {
        let settings = &self.app.settings;
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let address = self
            .local_addr()
            .map(|address| format!("{scheme}://{address}"));
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            api = address.unwrap_or_default(),
            metrics = self.metrics_addr().map(|address| address.to_string()),
            admin = %settings.server.admin_socket.display(),
            store = %store_of(settings),
            "serving",
        );
    }
}

/// What holds the data: a directory, or a database, whose address is for nobody to see.
fn store_of(settings: &Settings) -> impl fmt::Display {
    match settings.store.backend {
        Backend::Embedded => settings.store.dir.display().to_string(),
        Backend::Mongo => "mongo".to_owned(),
    }
}

/// The door and the log, as the listener sees them.
struct AtDoor(Arc<App>);

impl Gate for AtDoor {
    fn is_shut(&self, address: IpAddr) -> bool {
        let banned = self.0.door.is_banned(address);
        if banned {
            self.0.metrics.guard().refused("accept");
        }
        banned
    }

    fn gave_up(self: Arc<Self>, client: IpAddr, why: GivenUp) {
        door::gave_up(&self.0, client, why);
    }
}

/// Completes at SIGTERM or SIGINT.
///
/// # Errors
/// [`Error::Io`] where signals cannot be taken.
pub async fn told_to_stop() -> Result<()> {
    let mut term = signal(SignalKind::terminate()).map_err(Error::io("SIGTERM"))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::io("SIGINT"))?;
    tokio::select! {
        _ = term.recv() => tracing::info!("SIGTERM: draining"),
        _ = interrupt.recv() => tracing::info!("SIGINT: draining"),
    }
    Ok(())
}

fn tls(settings: &config::Server) -> Result<Option<TlsServer>> {
    if settings.tls == TlsMode::Off {
        return Ok(None);
    }
    Ok(Some(TlsServer::new(identity(settings)?)?))
}

fn identity(settings: &config::Server) -> Result<ServerIdentity> {
    match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => Ok(ServerIdentity::load(cert, key)?),
        _ => Err(Error::Usage(
            "server.tls is on and needs server.cert and server.key".into(),
        )),
    }
}

fn bind_metrics(address: SocketAddr) -> Result<TcpListener> {
    let bound = std::net::TcpListener::bind(address).and_then(|socket| {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket)
    });
    bound.map_err(unbound(address, "server.metrics_listen"))
}

/// An address that could not be bound, and what names another.
fn unbound(address: SocketAddr, setting: &str) -> impl FnOnce(io::Error) -> Error {
    Error::io(format!(
        "{address} cannot be listened on; choose another by {setting}"
    ))
}

async fn serve_metrics(app: Arc<App>, socket: Option<TcpListener>, stop: CancellationToken) {
    let Some(socket) = socket else { return };
    let page = async |State(app): State<Arc<App>>| {
        ([(CONTENT_TYPE, metrics::MEDIA_TYPE)], app.metrics.render()).into_response()
    };
    let routes = Router::new().route("/metrics", get(page)).with_state(app);
    plain::serve(&Pages { socket, routes }, stop).await;
}

/// Connections to the metrics page.
struct Pages {
    socket: TcpListener,
    routes: Router,
}

impl Accept for Pages {
    type Io = TcpStream;

    async fn accept(&self) -> io::Result<Option<(TcpStream, Router)>> {
        let (stream, _) = self.socket.accept().await?;
        Ok(Some((stream, self.routes.clone())))
    }
}

fn follow(app: &Arc<App>, stop: CancellationToken) -> JoinHandle<()> {
    let app = Arc::clone(app);
    tokio::spawn(async move {
        let ledger = Arc::clone(&app.store.ledger);
        if let Err(error) = app.journal.follow(ledger, stop.cancelled_owned()).await {
            tracing::error!(%error, "audit.log is behind the ledger");
        }
    })
}

/// Alerts and shipping: until after the last line of the logs.
struct Telling {
    stop: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

impl Telling {
    fn start(app: &Arc<App>) -> Self {
        let stop = CancellationToken::new();
        let (alerting, ending) = (Arc::clone(app), stop.clone());
        let alerts = tokio::spawn(async move {
            let dir = &alerting.settings.log.dir;
            alerting.alerts.run(dir, ending).await;
        });
        let shipping = tokio::spawn(notify::ship(Arc::clone(app), stop.clone()));
        Self {
            stop,
            tasks: [alerts, shipping],
        }
    }

    async fn end(self) {
        self.stop.cancel();
        for task in self.tasks {
            ended("alerts or shipping", task.await);
        }
    }
}

async fn mark_draining(app: Arc<App>, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    app.drain();
}

async fn hang_ups(
    mut signals: Signal,
    (app, tls): (Arc<App>, Option<TlsServer>),
    reload: Option<Reload>,
    stop: CancellationToken,
) {
    while let Some(Some(())) = stop.run_until_cancelled(signals.recv()).await {
        app.journal.reopen();
        tracing::info!("SIGHUP: logs are opened anew");
        let Some(reload) = reload.clone() else {
            continue;
        };
        match tokio::task::spawn_blocking(move || reload()).await {
            Ok(Ok(loaded)) => renew(&app, tls.as_ref(), loaded),
            Ok(Err(errors)) => {
                tracing::error!(%errors, "the settings are not sound: kept as they were");
            }
            Err(error) => tracing::error!(%error, "the settings could not be read again"),
        }
    }
}

/// Takes what can be taken without a restart: certificate and token keys.
fn renew(app: &App, tls: Option<&TlsServer>, loaded: Loaded) {
    app.identities.replace_token_keys(loaded.secrets.token_keys);
    if let Some(tls) = tls {
        match identity(&loaded.settings.server) {
            Ok(identity) => tls.reload(identity),
            Err(error) => tracing::error!(%error, "the certificate is kept as it was"),
        }
    }
    tracing::info!("certificate and token keys were read again");
}

fn ended(what: &str, how: Result<(), tokio::task::JoinError>) {
    if let Err(error) = how {
        tracing::error!(%error, "{what} ended badly");
    }
}

#[cfg(test)]
mod tests;
