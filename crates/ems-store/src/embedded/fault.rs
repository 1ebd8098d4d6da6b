//! Turns an engine's error into ours.

use std::io;

use crate::Error;

/// What an error of redb is to us.
pub(crate) fn engine(error: impl Into<redb::Error>) -> Error {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull => {
            Error::Unavailable("no room on the disk".into())
        }
        redb::Error::PreviousIo | redb::Error::DatabaseClosed => {
            Error::Unavailable("an operation on the engine's file failed before".into())
        }
        redb::Error::Corrupted(why) => Error::damaged("an engine's file", why),
        error => Error::Engine(error.to_string()),
    }
}
