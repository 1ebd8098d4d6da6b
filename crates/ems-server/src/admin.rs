//! The local admin socket: the same routes, for whoever owns the server's process.
//!
//! The kernel tells whose process is at the other end (`SO_PEERCRED`): root, or the user that the
//! server runs as. Either could read the store's files anyway, so no other credential is asked.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use axum::{Extension, Router};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::sync::CancellationToken;

use crate::{
    Error, Result,
    caller::Local,
    plain::{self, Accept},
};

/// The socket, bound.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Binds the socket, mode 0600, in a directory of mode 0700. A socket that is there is a dead
    /// server's, since the store was ours to open: it is replaced.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bind(path: &Path) -> Result<Self> {
        let place = path.display().to_string();
        if let Some(directory) = path.parent() {
            let made = fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(directory);
            made.map_err(Error::io(directory.display()))?;
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io(place)(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(path).map_err(Error::io(&place))?;
        let mode = fs::Permissions::from_mode(0o600);
        fs::set_permissions(path, mode).map_err(Error::io(place))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }

    /// Serves until told to stop; then the socket's file is gone.
    pub(crate) async fn run(self, router: Router, stop: CancellationToken) {
        let path = self.path;
        let own = rustix::process::geteuid().as_raw();
        let owners = Owners {
            listener: self.listener,
            router,
            own,
        };
        plain::serve(&owners, stop).await;
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, "the admin socket could not be removed");
        }
    }
}

/// Connections of root and of our own user.
struct Owners {
    listener: UnixListener,
    router: Router,
    own: u32,
}

impl Accept for Owners {
    type Io = UnixStream;

    async fn accept(&self) -> io::Result<Option<(UnixStream, Router)>> {
        let (stream, _) = self.listener.accept().await?;
        let uid = stream.peer_cred()?.uid();
        if uid == self.own || uid == 0 {
            return Ok(Some((stream, local(self.router.clone(), uid))));
        }
        tracing::warn!(uid, "another user came to the admin socket");
        Ok(None)
    }
}

/// The routes as the local administrator has them: no credential, no rate window. For the admin
/// socket, and for commands that open the store themselves.
pub fn local(router: Router, uid: u32) -> Router {
    router.layer(Extension(Local { uid }))
}
