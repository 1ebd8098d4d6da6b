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
use ems_guard::accounts;
use http::{Method, Request, header};

use crate::{
    Error, Result,
    config::{Environment, Loaded, MongoUri, Settings},
    local::Local,
    store,
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

[log]
dir = "log"

[store]
"#;

const EMBEDDED: &str = r#"dir = "data"
# Without the root key and the keyring nothing in data can be read: back them up, apart from it.
root_key_file = "secrets/root.key"
keyring_dir = "keyring"
"#;

const MONGO: &str = r#"backend = "mongo"
# Where the database is, with the name and password of a user who has the service's roles.
mongo_uri_file = "secrets/mongo_uri"
# Without the root key nothing in the database can be read: back it up, apart from that.
root_key_file = "secrets/root.key"
"#;

/// Directories of every instance.
const DIRECTORIES: [&str; 4] = ["secrets", "log", "run", "tls"];
/// Those of an embedded store.
const STORE_DIRECTORIES: [&str; 2] = ["keyring", "data"];

/// The file of the database's address, as [`MONGO`] names it.
const MONGO_URI: &str = "secrets/mongo_uri";
/// What may complete that address.
const PASSWORD_VARIABLES: [&str; 2] = ["MONGODB_PASSWORD", "MONGODB_PASSWORD_FILE"];

/// The store of a new instance.
#[derive(Debug)]
pub enum NewStore {
    /// In the directory.
    Embedded,
    /// In a database, which is initialised.
    Mongo(Database),
}

/// A database for a new instance.
#[derive(Debug)]
pub struct Database {
    /// The address of the service's user.
    pub uri: SecretText,
    /// The address of the user who makes collections and indexes; the service's where there is none.
    pub owner: Option<SecretText>,
    /// May hold the password that the service's address lacks.
    pub env: Environment,
}

impl NewStore {
    fn settings(&self) -> String {
        let ours = match self {
            Self::Embedded => EMBEDDED,
            Self::Mongo(_) => MONGO,
        };
        format!("{SETTINGS}{ours}")
    }

    fn directories(&self) -> impl Iterator<Item = &'static str> {
        let more: &[&str] = match self {
            Self::Embedded => &STORE_DIRECTORIES,
            Self::Mongo(_) => &[],
        };
        DIRECTORIES.iter().chain(more).copied()
    }
}

impl Database {
    /// Looks at all that can be wrong before anything is made: what is in a database stays there.
    fn check(&self, admin: Option<(&str, &SecretText)>) -> Result<()> {
        let of = |what: &'static str| {
            move |fault: &str| Error::Usage(format!("the database's address for {what} {fault}"))
        };
        let uri = MongoUri::parse(self.uri.expose()).map_err(of("the service"))?;
        if let Some(owner) = &self.owner {
            let owner = MongoUri::parse(owner.expose()).map_err(of("its owner"))?;
            if owner.database() != uri.database() {
                let why = "the owner's address and the service's name different databases";
                return Err(Error::Usage(why.into()));
            }
        }
        let Some((admin, password)) = admin else {
            return Ok(());
        };
        if !accounts::is_username(admin) || accounts::RESERVED.contains(&admin) {
            let why = "the admin was not made: a username is 1 to 64 letters, digits, '.', '_', '@' \
                       and '-', and no reserved one";
            return Err(Error::Usage(why.into()));
        }
        let password = Password::new(password.expose().to_owned());
        if let Some(fault) = accounts::password_fault("/password", &password, admin) {
            let why = format!("the admin was not made: {}", fault.detail);
            return Err(Error::Usage(why));
        }
        Ok(())
    }

    /// Makes its collections and keys.
    fn init(&self, loaded: &Loaded, clock: &Arc<dyn Clock>) -> Result<()> {
        let owner = self.owner.as_ref().map(|owner| {
            let parsed = MongoUri::parse(owner.expose());
            parsed.and_then(|owner| owner.address(None))
        });
        let owner = match owner.transpose() {
            Ok(Some(owner)) => owner,
            _ => loaded
                .secrets
                .database
                .clone()
                .ok_or_else(|| Error::Usage("the settings name no database".into()))?,
        };
        store::init(
            &loaded.settings,
            owner,
            loaded.secrets.root_key.clone(),
            clock,
        )
    }
}

/// A password of some 130 random bits.
pub fn generate_password() -> SecretText {
    SecretText::new(Password::generate().expose().to_owned())
}

/// Makes an instance in a directory that is empty or not there, with its first admin, or with
/// nobody where another instance is to be moved into it. Durable when it returns. To be called within
/// a runtime.
///
/// # Errors
/// [`Error::Usage`] where the directory is in use, the name or password breaks a rule, or the database
/// must not be used.
pub async fn create(
    dir: &Path,
    admin: Option<(&str, &SecretText)>,
    clock: Arc<dyn Clock>,
    store: &NewStore,
) -> Result<()> {
    if let NewStore::Mongo(database) = store {
        database.check(admin)?;
    }
    lay(dir, store, &*clock)?;
    let (new, whole) = (dir.join("ems.toml.new"), dir.join(FILE));
    write(&new, &store.settings(), 0o600)?;
    // Nothing but the file counts here: a variable must not lead the admin into another store.
    let mut env = Environment::default();
    if let NewStore::Mongo(database) = store {
        write(&dir.join(MONGO_URI), database.uri.expose(), 0o600)?;
        env = database.env.only(&PASSWORD_VARIABLES);
    }
    let loaded = Settings::load(Some(&new), &env, &[])?;
    if let NewStore::Mongo(database) = store {
        database.init(&loaded, &clock)?;
    }
    let local = Local::open(loaded, clock).await?;
    let made = match admin {
        Some((name, password)) => first_admin(&local, name, password).await,
        None => Ok(()),
    };
    local.close().await?;
    made?;
    for below in store.directories() {
        sync(&dir.join(below))?;
    }
    fs::rename(&new, &whole).map_err(Error::io(whole.display()))?;
    sync(dir)
}

/// Everything but the settings file.
fn lay(dir: &Path, store: &NewStore, clock: &dyn Clock) -> Result<()> {
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
    for below in store.directories() {
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
        let password = generate_password();
        let admin = Some((admin, &password));
        create(dir, admin, Arc::new(SystemClock), &NewStore::Embedded).await
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
        for below in NewStore::Embedded.directories() {
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
