//! The file of refused rows: the line, the reasons, the row as it was.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Seek as _, SeekFrom},
    path::PathBuf,
};

use anyhow::{Context as _, Result};

use super::batch::Rejected;

/// Writes refused rows; there is no file as long as there are none.
#[derive(Debug)]
pub(crate) struct Rejects {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl Rejects {
    /// Goes on behind the first `keep` bytes of a file that is there; with 0 there is none.
    pub(crate) fn open(path: PathBuf, keep: u64) -> Result<Self> {
        let shown = format!("{} cannot be written", path.display());
        if keep == 0 {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(error).context(shown);
                }
                _ => {
                    return Ok(Self {
                        path,
                        file: None,
                        bytes: 0,
                    });
                }
            }
        }
        let mut file = OpenOptions::new()
            .write(true)
            .open(&path)
            .context(shown.clone())?;
        file.set_len(keep).context(shown)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self {
            path,
            file: Some(file),
            bytes: keep,
        })
    }

    /// Adds rows.
    pub(crate) fn add(&mut self, rows: &[Rejected]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let shown = || format!("{} cannot be written", self.path.display());
        let mut writer = csv::Writer::from_writer(Vec::new());
        if self.file.is_none() {
            self.file = Some(File::create(&self.path).with_context(shown)?);
            writer.write_record(["line", "reasons", "row"])?;
        }
        for row in rows {
            let line = row.line.to_string();
            writer.write_record([line.as_bytes(), row.reasons.as_bytes(), &row.row])?;
        }
        let bytes = writer.into_inner()?;
        if let Some(file) = &mut self.file {
            io::Write::write_all(file, &bytes).with_context(shown)?;
        }
        self.bytes += u64::try_from(bytes.len())?;
        Ok(())
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it is, if there is one.
    pub(crate) fn path(&self) -> Option<&PathBuf> {
        self.file.is_some().then_some(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_on_where_an_interrupted_import_was_sure() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rejected.csv");
        let row = |line, row: &str| Rejected {
            line,
            row: row.into(),
            reasons: "a \"b\", c".into(),
        };
        fs::write(&path, "stale").unwrap();
        let mut first = Rejects::open(path.clone(), 0).unwrap();
        assert!(first.path().is_none() && !path.exists());
        first.add(&[row(2, "x,1")]).unwrap();
        let sure = first.bytes();
        first.add(&[row(3, "lost")]).unwrap();
        let mut second = Rejects::open(path.clone(), sure).unwrap();
        second.add(&[row(3, "y")]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "line,reasons,row\n2,\"a \"\"b\"\", c\",\"x,1\"\n3,\"a \"\"b\"\", c\",y\n"
        );
    }
}
