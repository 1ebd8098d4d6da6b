//! Changing the root key, in steps that each are durable before the next: the new key lies in a
//! file; the keyring opens by both; the file from which the root key comes is replaced; the keyring
//! opens by the new one alone. After a crash between any two, what the next start finds in its
//! place opens the keyring, and the same command goes on.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use ems_api::{ErrorCode, keyring::RotatedRoot};
use ems_crypto::keyring::RootKey;

use crate::{app::App, config::RootSource, problem::Problem};

/// Changes the root key. `given` holds the new one, or is made with one.
///
/// # Errors
/// 409 where a file is needed and none was given, or it holds the root key in use; 503 where one
/// cannot be read or written.
pub(crate) async fn rotate(app: &App, given: Option<PathBuf>) -> Result<RotatedRoot, Problem> {
    let source = &app.root_source;
    let file = match (source, given) {
        (_, Some(given)) => given,
        (RootSource::File(path), None) => beside(path),
        (RootSource::Elsewhere(what), None) => {
            let why = format!("The root key comes from {what}: name a file for the new one");
            return Err(Problem::with_detail(ErrorCode::Conflict, why));
        }
    };
    let new = {
        let file = file.clone();
        blocking(move || obtain(&file)).await?
    };
    app.store
        .keys
        .admit_root(new.clone())
        .await
        .map_err(in_use)?;
    let told = |settled, file: &Path| RotatedRoot {
        settled,
        file: file.display().to_string(),
        source: source.to_string(),
    };
    let RootSource::File(path) = source else {
        return Ok(told(false, &file));
    };
    let replaced = {
        let (new, file, path) = (new.clone(), file.clone(), path.clone());
        blocking(move || replace(&new, &file, &path)).await
    };
    if let Err(problem) = replaced {
        // Such as a mounted secret, which is for others to replace.
        tracing::warn!(
            cause = problem.cause(),
            "the file of the root key could not be replaced: both root keys open the keyring"
        );
        return Ok(told(false, &file));
    }
    app.store.keys.settle_root(new).await?;
    Ok(told(true, path))
}

fn in_use(error: ems_store::Error) -> Problem {
    match error {
        ems_store::Error::Key(error @ ems_crypto::Error::Form(_)) => {
            Problem::with_detail(ErrorCode::Conflict, error.to_string())
        }
        other => other.into(),
    }
}

/// The key in a file that is there, or a new one, durable.
fn obtain(file: &Path) -> Result<RootKey, String> {
    if file.exists() {
        return RootKey::from_file(file).map_err(|error| error.to_string());
    }
    let new = RootKey::generate();
    new.write_new(file).map_err(|error| error.to_string())?;
    Ok(new)
}

/// Puts the new key where the old one is, at once, and durably.
fn replace(new: &RootKey, file: &Path, path: &Path) -> Result<(), String> {
    let staged = beside(path);
    let failed = |error: io::Error| format!("{}: {error}", path.display());
    if file == path {
        return Ok(());
    }
    if file != staged {
        match fs::remove_file(&staged) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        new.write_new(&staged).map_err(|error| error.to_string())?;
    }
    fs::rename(&staged, path).map_err(failed)?;
    let dir = path.parent().unwrap_or(path);
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(failed)
}

/// `root.key` → `root.key.new`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

/// Runs what works on files off the asynchronous threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| Problem::internal(error.to_string()))?;
    done.map_err(|why| Problem::with_detail(ErrorCode::Conflict, why))
}
