//! An instance without a listener, for commands that run while no server does: the same routes,
//! called within the process by whoever owns the files.

use std::sync::Arc;

use axum::{Router, body::Body, response::IntoResponse};
use bytes::Bytes;
use ems_core::clock::Clock;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::{
    Result, admin,
    app::App,
    config::Loaded,
    problem::Problem,
    router::router,
    store::{Place, can_share},
};

pub use ems_store::{Progress, Report, Watch};

/// An open instance.
pub struct Local {
    app: Arc<App>,
    routes: Router,
}

impl Local {
    /// Opens the store and the logs. To be called within a runtime.
    ///
    /// # Errors
    /// [`crate::Error::Store`], also where a server has an embedded store open;
    /// [`crate::Error::Usage`] where the settings name a database that must not be used.
    pub async fn open(mut loaded: Loaded, clock: Arc<dyn Clock>) -> Result<Self> {
        // Whoever owns the process has no window, and must get in while Redis is away.
        if !can_share(&loaded) {
            loaded.settings.shared.redis_url = None;
        }
        let app = App::open(loaded, clock)?;
        app.door.load(app.clock.now()).await?;
        let uid = rustix::process::geteuid().as_raw();
        let routes = admin::local(router(Arc::clone(&app)), uid);
        Ok(Self { app, routes })
    }

    /// Answers a request as the admin socket would.
    pub async fn call(&self, request: Request<Bytes>) -> Response<Bytes> {
        let Ok(answer) = self.routes.clone().oneshot(request.map(Body::from)).await;
        if let Some(answer) = gathered(answer).await {
            return answer;
        }
        let broken = Problem::internal("an answer broke off within the process");
        gathered(broken.into_response()).await.unwrap_or_default()
    }

    /// Lets `audit.log` catch up, and closes the store.
    ///
    /// # Errors
    /// [`crate::Error::Store`] where the store could not close; what was acknowledged is durable
    /// all the same.
    pub async fn close(&self) -> Result<()> {
        let ledger = Arc::clone(&self.app.store.ledger);
        if let Err(error) = self
            .app
            .journal
            .follow(ledger, std::future::ready(()))
            .await
        {
            tracing::error!(%error, "audit.log is behind the ledger");
        }
        let closed = self.app.store.commit.close().await;
        self.app.journal.close().await;
        Ok(closed?)
    }
}

/// An answer with its whole body; nothing where that breaks off.
async fn gathered(answer: Response<Body>) -> Option<Response<Bytes>> {
    let (parts, body) = answer.into_parts();
    let body = body.collect().await.ok()?;
    Some(Response::from_parts(parts, body.to_bytes()))
}

/// Reads and authenticates everything stored. No process may have an embedded store open; one in a
/// database may be in use.
///
/// # Errors
/// [`crate::Error::Store`] naming what is damaged so that the store does not open, and
/// [`crate::Error::Usage`] as [`Local::open`]; all else is in the report.
pub fn verify(loaded: Loaded, clock: Arc<dyn Clock>, watch: Watch<'_>) -> Result<Report> {
    let place = Place::of(&loaded.settings, &loaded.secrets);
    place.verify(loaded.secrets.root_key, clock, watch)
}
