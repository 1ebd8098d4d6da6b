//! Every command, as a user runs it: the built binary, its output, its exit codes.

mod accounts;
mod ban;
mod config;
mod demo;
mod export;
mod import;
mod incident;
mod init;
mod keyring;
mod migrate;
mod reference;
mod serve;
mod usage;
mod verify;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use ems_api::{
    client::Client,
    domain::{Pattern, Role},
    key::NewKey,
};
use ems_testkit::{Binary, Ran, TestProcess, secret_file};
use tempfile::TempDir;

/// The binary under test.
pub(crate) fn binary() -> Binary {
    Binary::new(env!("CARGO_BIN_EXE_ems"))
}

/// An instance in a directory of its own, as `ems init` made it.
pub(crate) struct Home {
    place: TempDir,
}

impl Home {
    /// Makes one.
    pub(crate) fn new() -> Self {
        let home = Self {
            place: tempfile::tempdir().unwrap(),
        };
        binary().init(&home.dir()).unwrap();
        home
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> PathBuf {
        self.place.path().join("instance")
    }

    /// A path beside it, for a test's own files.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    /// Runs a command about it: the words of `command`, then `more` as they are, then `--dir`.
    pub(crate) fn run(&self, command: &str, more: &[&str]) -> Ran {
        let dir = text(&self.dir());
        let words = command.split(' ').chain(more.iter().copied());
        binary().run(words.chain(["--dir", &dir]))
    }

    /// Serves it.
    pub(crate) fn serve(&self) -> TestProcess {
        self.serve_with(&[])
    }

    /// Serves it with settings as variables.
    pub(crate) fn serve_with(&self, settings: &[(&str, &str)]) -> TestProcess {
        binary().serve(&self.dir(), settings).unwrap()
    }

    /// Leaves its directory where it is, to be looked at.
    pub(crate) fn keep(self) -> PathBuf {
        self.place.keep()
    }

    /// A key of the role for all meters, in a file that only its owner can read.
    pub(crate) async fn key_file(&self, admin: &Client, role: Role) -> PathBuf {
        let new = NewKey {
            name: "a test's".to_owned(),
            role,
            meters: vec![Pattern::All],
            expires_at: None,
        };
        let made = admin.create_key(&new).await.unwrap();
        secret_file(&self.path("key"), made.key.expose()).unwrap()
    }
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// The permission bits of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

/// Changes the permission bits of a file.
pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}
