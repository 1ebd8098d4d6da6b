//! Files that hold secrets: read only where nobody else can, made only for their owner.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use zeroize::Zeroizing;

use crate::{Error, Result};

/// More than any secret has, so that a wrong path fills no memory.
const LARGEST: u64 = 1 << 20;
/// Group and others may do nothing.
pub(crate) const OWNER_ALONE: u32 = 0o077;
/// Others may do nothing. systemd lets a service in by an access list, which shows as group bits.
pub(crate) const NOT_THE_WORLD: u32 = 0o007;

/// Reads a secret file, of 1 MiB at most.
///
/// # Errors
/// [`Error::Mode`] where group or others have any permission on it; [`Error::Io`].
pub fn read_secret_file(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    read_guarded(path, OWNER_ALONE)
}

/// Reads a secret file whose mode has none of the `forbidden` bits.
pub(crate) fn read_guarded(path: &Path, forbidden: u32) -> Result<Zeroizing<Vec<u8>>> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(Error::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let room = usize::try_from(metadata.len().min(LARGEST)).unwrap_or(0) + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(io)?;
    if u64::try_from(read).is_ok_and(|read| read <= LARGEST) {
        Ok(bytes)
    } else {
        Err(io(io::Error::other("too large for a secret")))
    }
}

/// Writes a new secret file with mode 0600; the file and its name are durable when it returns.
/// Never over an old one, and never in part.
///
/// # Errors
/// [`Error::Io`], also where the file exists.
pub fn write_new_secret_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .map_err(io)?;
    let written = file
        .write_all(bytes)
        .and_then(|()| file.sync_all())
        .and_then(|()| sync_directory_of(path));
    written.map_err(|source| {
        // Half a key would be in the way of the next attempt. That the disk refuses this as well
        // is told by the error that it gave first.
        let _ = std::fs::remove_file(path);
        io(source)
    })
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let named = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(named.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn comes_back_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_new_secret_file(&path, b"one").unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(read_secret_file(&path).unwrap().as_slice(), b"one");
        assert!(matches!(
            write_new_secret_file(&path, b"two"),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists
        ));
        assert_eq!(fs::read(&path).unwrap(), b"one", "never over an old one");
    }

    #[test]
    fn any_permission_of_another_is_refused_by_path_and_mode() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        write_new_secret_file(&path, b"one").unwrap();
        for mode in [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666] {
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = read_secret_file(&path).unwrap_err().to_string();
            let named = format!("{} has mode {mode:o}", path.display());
            assert!(error.contains(&named), "{error}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o400)).unwrap();
        assert!(read_secret_file(&path).is_ok());
    }

    #[test]
    fn a_missing_and_an_endless_file_are_refused_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        let error = read_secret_file(&path).unwrap_err().to_string();
        assert!(error.contains(&path.display().to_string()), "{error}");
        write_new_secret_file(&path, &vec![b'a'; (1 << 20) + 1]).unwrap();
        let error = read_secret_file(&path).unwrap_err().to_string();
        assert!(error.contains("too large"), "{error}");
    }
}
