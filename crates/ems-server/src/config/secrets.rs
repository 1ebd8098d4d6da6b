//! The secrets: root key, token keys, pepper, database password, the guide's API keys.
//!
//! Each may come in a variable or, better, in a file (`…_FILE`, or a setting); a file that others
//! may read is refused, since a secret that leaked through its mode is no secret. What is read
//! lands in types that wipe their memory and show nothing.

use std::{
    fmt,
    fs::File,
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use super::{ConfigErrors, Environment, FileKey, Settings, api_keys};

/// Bytes that nobody may see: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Every secret of a server.
#[derive(Debug)]
pub struct Secrets {
    /// The key above all stored keys.
    pub root_key: Secret,
    /// Signs access tokens; at least 32 bytes.
    pub token_key: Secret,
    /// Signed them before; only verifies.
    pub token_key_previous: Option<Secret>,
    /// Goes into the hash of every API key; at least 32 bytes.
    pub pepper: Secret,
    /// The database's password, if it is not in its URL.
    pub mongodb_password: Option<Secret>,
    /// The keys of `auth.api_keys_file`.
    pub api_keys: Vec<FileKey>,
}

/// The least length of a key, in bytes (RFC 7518 §3.2 for HS256).
const LEAST: usize = 32;
/// The largest secret file, in bytes.
const LARGEST: u64 = 1 << 20;
/// Permission bits that a secret file must not have: anything for group and others.
const OPEN_TO_OTHERS: u32 = 0o077;
/// The same for a systemd credential, whose access list for the service shows as group bits.
const OPEN_TO_WORLD: u32 = 0o007;

/// Where one secret may come from.
struct Source<'a> {
    /// The name in errors.
    name: &'a str,
    variable: &'a str,
    setting: &'a str,
    file: Option<&'a PathBuf>,
    least: usize,
}

/// Reads all of them; `None` when one that is needed is missing or wrong.
pub(super) fn load(
    settings: &Settings,
    env: &Environment,
    errors: &mut ConfigErrors,
) -> Option<Secrets> {
    let auth = &settings.auth;
    let token = Source {
        name: "the key that signs access tokens",
        variable: "JWT_SECRET_KEY",
        setting: "auth.token_key_file",
        file: auth.token_key_file.as_ref(),
        least: LEAST,
    };
    let previous = Source {
        name: "the previous token key",
        variable: "JWT_SECRET_KEY_PREVIOUS",
        setting: "auth.token_key_previous_file",
        file: auth.token_key_previous_file.as_ref(),
        least: LEAST,
    };
    let pepper = Source {
        name: "the pepper of API keys",
        variable: "EMS_PEPPER",
        setting: "auth.pepper_file",
        file: auth.pepper_file.as_ref(),
        least: LEAST,
    };
    let password = Source {
        name: "the database password",
        variable: "MONGODB_PASSWORD",
        setting: "store.mongo_uri",
        file: None,
        least: 1,
    };
    let root_key = root_key(settings, env, errors);
    let token_key = token.required(env, errors);
    let token_key_previous = previous.read(env, errors);
    let pepper = pepper.required(env, errors);
    let mongodb_password = password.read(env, errors);
    let api_keys = api_keys::load(auth, errors);
    Some(Secrets {
        root_key: root_key?,
        token_key: token_key?,
        token_key_previous,
        pepper: pepper?,
        mongodb_password,
        api_keys,
    })
}

/// The root key: the variable, its file, the systemd credential, the settings' file.
fn root_key(settings: &Settings, env: &Environment, errors: &mut ConfigErrors) -> Option<Secret> {
    let source = Source {
        name: "the root key",
        variable: "EMS_ROOT_KEY",
        setting: "store.root_key_file",
        file: settings.store.root_key_file.as_ref(),
        least: LEAST,
    };
    let said = env.get("EMS_ROOT_KEY").or(env.get("EMS_ROOT_KEY_FILE"));
    let Some(name) = settings
        .store
        .root_key_credential
        .as_ref()
        .filter(|_| said.is_none())
    else {
        return source.required(env, errors);
    };
    let key = "store.root_key_credential";
    let Some(directory) = env.get("CREDENTIALS_DIRECTORY") else {
        errors.add(
            key,
            "systemd passed no credentials: add LoadCredentialEncrypted= to the unit",
        );
        return None;
    };
    let read = read_secret(&Path::new(directory).join(name), OPEN_TO_WORLD);
    source.sound(key, read, errors)
}

impl Source<'_> {
    /// The secret; an error if it is nowhere.
    fn required(&self, env: &Environment, errors: &mut ConfigErrors) -> Option<Secret> {
        let before = errors.as_slice().len();
        let found = self.read(env, errors);
        if found.is_none() && errors.as_slice().len() == before {
            errors.add(
                self.setting,
                format!(
                    "{} is missing: set this to its file, or set {}_FILE (`ems init` makes one)",
                    self.name, self.variable
                ),
            );
        }
        found
    }

    /// The secret, if it is anywhere: the variable, then its `_FILE`, then the settings' file.
    fn read(&self, env: &Environment, errors: &mut ConfigErrors) -> Option<Secret> {
        let file_variable = format!("{}_FILE", self.variable);
        let (key, read) = match (env.get(self.variable), env.get(&file_variable), self.file) {
            (Some(_), Some(_), _) => {
                errors.add(
                    self.variable,
                    format!("is set, and so is {file_variable}: unset one of them"),
                );
                return None;
            }
            (Some(text), None, _) => (self.variable, Ok(Secret::new(text.as_bytes().to_vec()))),
            (None, Some(path), _) => (
                &*file_variable,
                read_secret(Path::new(path), OPEN_TO_OTHERS),
            ),
            (None, None, Some(path)) => (self.setting, read_secret(path, OPEN_TO_OTHERS)),
            (None, None, None) => return None,
        };
        self.sound(key, read, errors)
    }

    /// A secret that was found, if it could be read and is long enough.
    fn sound(
        &self,
        key: &str,
        read: Result<Secret, String>,
        errors: &mut ConfigErrors,
    ) -> Option<Secret> {
        match read {
            Err(problem) => errors.add(key, problem),
            Ok(secret) if secret.expose().len() < self.least => errors.add(
                key,
                format!(
                    "{} has {} bytes; it needs at least {}",
                    self.name,
                    secret.expose().len(),
                    self.least
                ),
            ),
            Ok(secret) => return Some(secret),
        }
        None
    }
}

/// A secret file's text, for settings that are text.
pub(super) fn text_of(path: &Path) -> Result<String, String> {
    let secret = read_secret(path, OPEN_TO_OTHERS)?;
    String::from_utf8(secret.expose().to_vec())
        .map_err(|_| format!("{} is not UTF-8 text", path.display()))
}

/// Reads a secret file that only its owner can.
pub(super) fn read_private(path: &Path) -> Result<Secret, String> {
    read_secret(path, OPEN_TO_OTHERS)
}

/// Reads a file without the given permission bits; one line end at its end is not part of it.
///
/// The mode is that of the open file, so that nothing can be swapped in between.
fn read_secret(path: &Path, forbidden: u32) -> Result<Secret, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("{shown} cannot be read: {error}");
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode();
    if mode & forbidden != 0 {
        return Err(format!(
            "{shown} is open to others (mode {:04o}): chmod 600 it, and replace the secret if it leaked",
            mode & 0o7777
        ));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(4096));
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > LARGEST {
        return Err(format!("{shown} is too large to be a secret"));
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    Ok(Secret(bytes))
}
