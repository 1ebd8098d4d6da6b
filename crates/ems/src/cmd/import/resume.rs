//! Where an import that was cut short goes on: a small file beside the imported one.
//!
//! It only saves time. Sending a row again changes nothing, so an import without it, or with one
//! that does not fit the file, begins at the beginning.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ems_api::reading::BatchStored;
use serde::{Deserialize, Serialize};

use super::rows::{Form, Place};

/// What is kept of an import that is under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Progress {
    /// The server: another one has none of it.
    pub(crate) server: String,
    /// The form of the file.
    pub(crate) form: Form,
    /// All before this place is stored or refused.
    pub(crate) place: Place,
    /// What became of it.
    pub(crate) stored: BatchStored,
    /// The size of the file of refused rows, in bytes.
    pub(crate) rejected_bytes: u64,
}

/// The file that keeps it; none for stdin.
#[derive(Debug)]
pub(crate) struct Resume(Option<PathBuf>);

impl Resume {
    /// That of an imported file.
    pub(crate) fn beside(file: &Path) -> Self {
        Self((file != Path::new("-")).then(|| with_suffix(file, ".ems-resume")))
    }

    /// Where an earlier import into the same server stopped.
    pub(crate) fn load(&self, server: &str) -> Option<Progress> {
        let bytes = fs::read(self.0.as_ref()?).ok()?;
        let progress: Progress = serde_json::from_slice(&bytes).ok()?;
        (progress.server == server).then_some(progress)
    }

    /// Keeps it, whole or not at all.
    pub(crate) fn save(&self, progress: &Progress) -> Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let new = with_suffix(path, ".new");
        let shown = || format!("{} cannot be written", path.display());
        fs::write(&new, serde_json::to_vec(progress)?).with_context(shown)?;
        fs::rename(&new, path).with_context(shown)
    }

    /// Forgets it.
    pub(crate) fn remove(&self) -> Result<()> {
        match self.0.as_ref().map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// A path with more at its end.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_found_again_for_the_same_server_only() {
        let dir = tempfile::tempdir().unwrap();
        let resume = Resume::beside(&dir.path().join("x.csv"));
        let progress = Progress {
            server: "https://a/".into(),
            form: Form::Csv,
            place: Place {
                offset: 3,
                lines: 2,
                checksum: 1,
            },
            stored: BatchStored {
                accepted: 1,
                ..BatchStored::default()
            },
            rejected_bytes: 0,
        };
        resume.save(&progress).unwrap();
        assert_eq!(resume.load("https://a/"), Some(progress));
        assert_eq!(resume.load("https://b/"), None);
        resume.remove().unwrap();
        resume.remove().unwrap();
        assert_eq!(resume.load("https://a/"), None);
    }
}
