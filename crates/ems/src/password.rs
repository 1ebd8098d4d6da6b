//! Where a password comes from: a file, a prompt, or the generator. Never the command line.

use std::{
    io::{self, Read as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ems_api::SecretText;

use crate::{failure::usage, output};

/// The largest file that can be a secret, in bytes.
const LARGEST: u64 = 64 * 1024;

/// A password, and whether its owner has yet to be told.
pub(crate) struct Password {
    /// The password.
    pub(crate) text: SecretText,
    /// Whether it was made up here.
    pub(crate) generated: bool,
}

/// How a password is given.
#[derive(Debug, clap::Args)]
pub(crate) struct Given {
    /// File that holds the password (mode 0600); `-` for stdin
    #[arg(long, value_name = "F", conflicts_with = "generate")]
    password_file: Option<PathBuf>,
    /// Make a password up, and print it once
    #[arg(long)]
    generate: bool,
}

impl Given {
    /// The password: from its file, made up, or asked for.
    pub(crate) fn read(&self, of: &str) -> Result<Password> {
        if let Some(path) = &self.password_file {
            let text = read_secret(path)?;
            return Ok(Password {
                text,
                generated: false,
            });
        }
        if self.generate {
            return Ok(generated());
        }
        if !output::is_interactive() {
            return Err(usage(
                "there is no terminal to ask for the password: give --password-file F or --generate",
            ));
        }
        let ask = |prompt: String| rpassword::prompt_password(prompt).context("the terminal");
        let first = SecretText::new(ask(format!("New password of {of}: "))?);
        let again = SecretText::new(ask("The same again: ".to_owned())?);
        if first != again {
            return Err(usage("the two passwords differ: try again"));
        }
        Ok(Password {
            text: first,
            generated: false,
        })
    }
}

/// A password that was made up.
pub(crate) fn generated() -> Password {
    Password {
        text: ems_server::instance::generate_password(),
        generated: true,
    }
}

/// Reads a secret from a file that nobody else can read, or from stdin; one line end is cut off.
pub(crate) fn read_secret(path: &Path) -> Result<SecretText> {
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().take(LARGEST).read_to_string(&mut text)?;
    } else {
        let shown = path.display();
        let unreadable = |error| usage(format!("{shown} cannot be read: {error}"));
        let file = std::fs::File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(usage(format!(
                "{shown} is open to others (mode {:04o}): chmod 600 it, and replace the secret if it leaked",
                mode & 0o7777
            )));
        }
        file.take(LARGEST)
            .read_to_string(&mut text)
            .map_err(unreadable)?;
    }
    let text = SecretText::new(text);
    let line = text.expose().strip_suffix('\n').unwrap_or(text.expose());
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(usage(format!("{} is empty", path.display())));
    }
    Ok(SecretText::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    #[test]
    fn reads_a_private_file_and_refuses_one_that_others_can_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        fs::write(&path, "correct horse\r\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_secret(&path).unwrap().expose(), "correct horse");
        fs::set_permissions(&path, Permissions::from_mode(0o604)).unwrap();
        let refused = read_secret(&path).unwrap_err().to_string();
        assert!(refused.contains("mode 0604"), "{refused}");
    }
}
