//! Makes an instance: a directory with settings, secrets, certificates and the first admin.
//!
//! The settings file comes last and at once: a directory without it is no instance, so one whose
//! making was cut short never passes as whole.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use bytes::Bytes;
use ems_api::{Problem, SecretText, account::NewUser};
use ems_core::{clock::Clock, role::Role};
use ems_crypto::{
    api_key::Pepper, certificate, keyring::RootKey, password::Password, token::TokenKeys,
};
use http::{Method, Request, header};

use crate::{
    Error, Result,
    config::{Environment, Settings},
    local::Local,
};

/// The name of the settings file.
pub const FILE: &str = "ems.toml";

const SETTINGS: &str = r#"# An instance of EMS Agent. `ems config show` prints every setting and its value.
# Relative paths are relative to this file.

[server]
# Where requests come in. For other machines: an address of theirs, and a certificate they trust.
listen = "127.0.0.1:8000"
# Signed by the local authority tls/ca.pem, good for localhost.
cert = "tls/server.pem"
key = "tls/server.key"

[auth]
token_key_file = "secrets/token.key"
pepper_file = "secrets/pepper"

[store]
dir = "data"
# Without the root key and the keyring nothing in data can be read: back them up, apart from it.
root_key_file = "secrets/root.key"
keyring_dir = "keyring"

[log]
dir = "log"
"#;

/// Directories of an instance.
const DIRECTORIES: [&str; 6] = ["secrets", "keyring", "data", "log", "run", "tls"];

/// A password of some 130 random bits.
pub fn generate_password() -> SecretText {
    SecretText::new(Password::generate().expose().to_owned())
}

/// Makes an instance in a directory that is empty or not there, with its first admin. Durable
/// when it returns. To be called within a runtime.
///
/// # Errors
/// [`Error::Usage`] where the directory is in use, or the name or password breaks a rule.
pub async fn create(
    dir: &Path,
    admin: &str,
    password: &SecretText,
    clock: Arc<dyn Clock>,
) -> Result<()> {
    lay(dir, &*clock)?;
    let (new, whole) = (dir.join("ems.toml.new"), dir.join(FILE));
    write(&new, SETTINGS, 0o600)?;
    // Nothing but the file counts here: a variable must not lead the admin into another store.
    let loaded = Settings::load(Some(&new), &Environment::default(), &[])?;
    let local = Local::open(loaded, clock)?;
    let made = first_admin(&local, admin, password).await;
    local.close().await?;
    made?;
    for below in DIRECTORIES {
        sync(&dir.join(below))?;
    }
    fs::rename(&new, &whole).map_err(Error::io(whole.display()))?;
    sync(dir)
}

/// Everything but the settings file.
fn lay(dir: &Path, clock: &dyn Clock) -> Result<()> {
    let place = dir.display().to_string();
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(Error::io(&place))?;
    let mut entries = fs::read_dir(dir).map_err(Error::io(&place))?;
    if entries.next().is_some() {
        let what = if dir.join(FILE).exists() {
            "holds an instance already"
        } else {
            "is not empty, perhaps from an `ems init` that was cut short"
        };
        return Err(Error::Usage(format!(
            "{place} {what}: choose another directory"
        )));
    }
    let private = fs::Permissions::from_mode(0o700);
    fs::set_permissions(dir, private).map_err(Error::io(&place))?;
    for below in DIRECTORIES {
        // Of two that make an instance here at the same time one fails at the first of these.
        let below = dir.join(below);
        let made = DirBuilder::new().mode(0o700).create(&below);
        made.map_err(Error::io(below.display()))?;
    }
    let secrets = dir.join("secrets");
    RootKey::generate().write_new(&secrets.join("root.key"))?;
    TokenKeys::write_new(&secrets.join("token.key"))?;
    Pepper::write_new(&secrets.join("pepper"))?;
    let made = certificate::generate(&[], today(clock))?;
    write(&secrets.join("ca.key"), &made.ca_key, 0o600)?;
    let tls = dir.join("tls");
    write(&tls.join("ca.pem"), &made.ca_certificate, 0o600)?;
    write(&tls.join("server.pem"), &made.certificate, 0o600)?;
    write(&tls.join("server.key"), &made.key, 0o600)
}

/// Year, month and day.
fn today(clock: &dyn Clock) -> (i32, u8, u8) {
    let text = clock.now().to_string();
    let mut parts = text.split(['-', 'T']);
    let mut part = || parts.next().unwrap_or_default();
    (
        part().parse().unwrap_or(1970),
        part().parse().unwrap_or(1),
        part().parse().unwrap_or(1),
    )
}

async fn first_admin(local: &Local, name: &str, password: &SecretText) -> Result<()> {
    let user = NewUser {
        username: name.to_owned(),
        password: password.clone(),
        role: Role::Admin,
        meters: None,
        customer_id: None,
        grants: Vec::new(),
        disabled: false,
    };
    let body = serde_json::to_vec(&user).unwrap_or_default();
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = http::Uri::from_static("/api/v1/users");
    let json = header::HeaderValue::from_static("application/json");
    request.headers_mut().insert(header::CONTENT_TYPE, json);
    let answer = local.call(request).await;
    if answer.status().is_success() {
        return Ok(());
    }
    let problem: Option<Problem> = serde_json::from_slice(answer.body()).ok();
    let why = problem.map_or_else(String::new, |problem| {
        let faults = problem.errors.iter();
        let faults: Vec<String> = faults
            .map(|fault| {
                format!(
                    "{}: {}",
                    fault.pointer.trim_start_matches('/'),
                    fault.detail
                )
            })
            .collect();
        if faults.is_empty() {
            problem.detail
        } else {
            faults.join("; ")
        }
    });
    Err(Error::Usage(format!("the admin was not made: {why}")))
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    file.and_then(|mut file: File| {
        file.write_all(text.as_bytes())?;
        file.sync_all()
    })
    .map_err(Error::io(path.display()))
}

/// Makes the names in a directory durable.
fn sync(dir: &Path) -> Result<()> {
    let synced: io::Result<()> = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(Error::io(dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::SystemClock;

    async fn make(dir: &Path, admin: &str) -> Result<()> {
        create(dir, admin, &generate_password(), Arc::new(SystemClock)).await
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[tokio::test]
    async fn makes_an_instance_that_only_its_owner_can_read() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("a/b");
        make(&dir, "alice").await.unwrap();
        assert!(Settings::load(Some(&dir.join(FILE)), &Environment::default(), &[]).is_ok());
        assert_eq!(mode(&dir), 0o700);
        for below in DIRECTORIES {
            assert_eq!(mode(&dir.join(below)), 0o700, "{below}");
        }
        for file in ["secrets/root.key", "secrets/ca.key", "tls/server.key", FILE] {
            assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
        }
    }

    #[tokio::test]
    async fn refuses_a_directory_in_use_and_leaves_it_as_it_was() {
        let place = tempfile::tempdir().unwrap();
        make(place.path(), "alice").await.unwrap();
        let key = fs::read(place.path().join("secrets/root.key")).unwrap();
        let refused = make(place.path(), "alice").await.unwrap_err().to_string();
        assert!(refused.contains("holds an instance already"), "{refused}");
        assert_eq!(
            fs::read(place.path().join("secrets/root.key")).unwrap(),
            key
        );
    }

    #[tokio::test]
    async fn what_was_cut_short_is_no_instance() {
        let place = tempfile::tempdir().unwrap();
        let refused = make(place.path(), "not a name")
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("username"), "{refused}");
        assert!(!place.path().join(FILE).exists());
        let again = make(place.path(), "alice").await.unwrap_err().to_string();
        assert!(again.contains("cut short"), "{again}");
    }
}
