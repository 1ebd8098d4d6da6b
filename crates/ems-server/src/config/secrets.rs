//! The secrets: root key, token keys, pepper, database password, the guide's API keys.
//!
//! Each may come in a variable or, better, in a file (`…_FILE`, or a setting); a file that others
//! may read is refused, since a secret that leaked through its mode is no secret. What is read
//! lands in types that wipe their memory and show nothing.

use std::{
    fmt, fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use ems_crypto::{
    api_key::Pepper,
    keyring::RootKey,
    read_secret_file,
    token::{self, TokenKeys},
};
use ems_guard::identify::FileKey;
use ems_store::mongo::Address;
use zeroize::Zeroizing;

use super::{Algorithm, Backend, ConfigErrors, Environment, MongoUri, Settings, api_keys};
use crate::notify::Receivers;

/// Text that nobody may see: wiped when dropped, never shown.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// A secret that was read elsewhere.
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text.
    pub fn expose(&self) -> &str {
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
    pub root_key: RootKey,
    /// Where it came from, and so where a new one has to lie.
    pub root_source: RootSource,
    /// Sign and verify access tokens.
    pub token_keys: TokenKeys,
    /// Goes into the hash of every API key.
    pub pepper: Pepper,
    /// Where the database is, with the password; `None` where the store is embedded.
    pub database: Option<Address>,
    /// The keys of `auth.api_keys_file`.
    pub api_keys: Vec<FileKey>,
    /// Who is told of security events and where the logs go, with the secrets of that.
    pub receivers: Receivers,
}

/// What holds the root key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootSource {
    /// A file, which can be replaced.
    File(PathBuf),
    /// Something that is not ours to change, in words.
    Elsewhere(&'static str),
}

impl fmt::Display for RootSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Elsewhere(what) => f.write_str(what),
        }
    }
}

/// Permission bits that a systemd credential must not have. The access list by which systemd lets
/// the service in shows as group bits, so that only those of the world tell anything.
const OPEN_TO_WORLD: u32 = 0o007;

/// Where one secret may come from: a variable, its `_FILE`, a setting that names a file.
struct Source<'a> {
    name: &'a str,
    variable: &'a str,
    setting: Option<(&'a str, Option<&'a PathBuf>)>,
}

/// A secret, and the setting or variable that an error about it names.
struct Found {
    key: String,
    secret: Secret,
}

/// Reads all of them; `None` when one that is needed is missing or wrong.
pub(super) fn load(
    settings: &Settings,
    env: &Environment,
    errors: &mut ConfigErrors,
) -> Option<Secrets> {
    let pepper = Source {
        name: "the pepper of API keys",
        variable: "EMS_PEPPER",
        setting: Some(("auth.pepper_file", settings.auth.pepper_file.as_ref())),
    };
    let root_key = root_key(settings, env, errors);
    let root_source = root_source(settings, env);
    let token_keys = token_keys(settings, env, errors);
    let pepper = pepper
        .required(env, errors)
        .and_then(|found| found.parse(Pepper::parse, errors));
    let database = database(settings, env, errors);
    let api_keys = api_keys::load(&settings.auth, errors);
    let receivers = Receivers::load(settings, errors);
    Some(Secrets {
        root_key: root_key?,
        root_source,
        token_keys: token_keys?,
        pepper: pepper?,
        database,
        api_keys,
        receivers: receivers?,
    })
}

/// The address of the database, with the guide's password where it has none.
fn database(settings: &Settings, env: &Environment, errors: &mut ConfigErrors) -> Option<Address> {
    let uri = settings.store.mongo_uri.as_ref();
    let uri = uri.filter(|_| settings.store.backend == Backend::Mongo)?;
    let source = Source {
        name: "the database password",
        variable: "MONGODB_PASSWORD",
        setting: None,
    };
    let password = source.read(env, errors);
    let password = password.as_ref().map(|found| found.secret.expose());
    let parsed = MongoUri::parse(uri.expose()).map_err(|fault| ("store.mongo_uri", fault));
    let whole = parsed.and_then(|uri| {
        uri.address(password)
            .map_err(|fault| ("MONGODB_PASSWORD", fault))
    });
    whole.map_err(|(key, fault)| errors.add(key, fault)).ok()
}

/// The root key: the variable, its file, the systemd credential, the settings' file.
fn root_key(settings: &Settings, env: &Environment, errors: &mut ConfigErrors) -> Option<RootKey> {
    let store = &settings.store;
    let source = Source {
        name: "the root key",
        variable: "EMS_ROOT_KEY",
        setting: Some(("store.root_key_file", store.root_key_file.as_ref())),
    };
    let said = env.get("EMS_ROOT_KEY").or(env.get("EMS_ROOT_KEY_FILE"));
    let found = match &store.root_key_credential {
        Some(name) if said.is_none() => credential(name, env, errors),
        _ => source.required(env, errors),
    };
    found?.parse(RootKey::parse, errors)
}

/// Where [`root_key`] finds it.
fn root_source(settings: &Settings, env: &Environment) -> RootSource {
    let store = &settings.store;
    let file = env.get("EMS_ROOT_KEY_FILE").map(PathBuf::from);
    if env.get("EMS_ROOT_KEY").is_some() {
        return RootSource::Elsewhere("the variable EMS_ROOT_KEY");
    }
    if file.is_none() && store.root_key_credential.is_some() {
        return RootSource::Elsewhere("the systemd credential of store.root_key_credential");
    }
    match file.or_else(|| store.root_key_file.clone()) {
        Some(file) => RootSource::File(std::path::absolute(&file).unwrap_or(file)),
        None => RootSource::Elsewhere("nowhere"),
    }
}

fn credential(name: &str, env: &Environment, errors: &mut ConfigErrors) -> Option<Found> {
    let key = "store.root_key_credential";
    let Some(directory) = env.get("CREDENTIALS_DIRECTORY") else {
        errors.add(
            key,
            "systemd passed no credentials: add LoadCredentialEncrypted= to the unit",
        );
        return None;
    };
    let path = Path::new(directory).join(name);
    Found::new(key, read_credential(&path), errors)
}

/// The token keys. A variable holds the guide's shared secret as it is; a file, a line a key.
fn token_keys(
    settings: &Settings,
    env: &Environment,
    errors: &mut ConfigErrors,
) -> Option<TokenKeys> {
    let auth = &settings.auth;
    let current = Source {
        name: "the key that signs access tokens",
        variable: "JWT_SECRET_KEY",
        setting: Some(("auth.token_key_file", auth.token_key_file.as_ref())),
    };
    let previous = Source {
        name: "the previous token key",
        variable: "JWT_SECRET_KEY_PREVIOUS",
        setting: None,
    };
    let (current, previous) = (current.required(env, errors), previous.read(env, errors));
    let (current, key) = current.map(|found| (found.keys(auth.algorithm, errors), found.key))?;
    let mut keys = current?.into_iter();
    let signing = keys.next()?;
    let mut verifying: Vec<_> = keys.collect();
    if let Some(previous) = previous {
        verifying.extend(previous.keys(auth.algorithm, errors)?);
    }
    let made = TokenKeys::new(auth.algorithm.into(), &signing, &verifying);
    made.map_err(|error| errors.add(&key, error.to_string()))
        .ok()
}

impl From<Algorithm> for token::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::Hs256,
            Algorithm::EdDsa => Self::EdDsa,
        }
    }
}

impl Source<'_> {
    /// The secret; an error if it is nowhere.
    fn required(&self, env: &Environment, errors: &mut ConfigErrors) -> Option<Found> {
        let before = errors.as_slice().len();
        let found = self.read(env, errors);
        if found.is_none() && errors.as_slice().len() == before {
            let setting = self.setting.map_or(self.variable, |(key, _)| key);
            errors.add(
                setting,
                format!(
                    "{} is missing: name its file here or in {}_FILE (`ems init` makes one)",
                    self.name, self.variable
                ),
            );
        }
        found
    }

    /// The secret, if it is anywhere: the variable, then its `_FILE`, then the settings' file.
    fn read(&self, env: &Environment, errors: &mut ConfigErrors) -> Option<Found> {
        let file_variable = format!("{}_FILE", self.variable);
        match (env.get(self.variable), env.get(&file_variable)) {
            (Some(_), Some(_)) => {
                errors.add(
                    self.variable,
                    format!("is set, and so is {file_variable}: unset one of them"),
                );
                None
            }
            (Some(text), None) => Found::new(self.variable, Ok(text.to_owned().into()), errors),
            (None, Some(path)) => Found::new(&file_variable, read_text(Path::new(path)), errors),
            (None, None) => {
                let (key, path) = self.setting?;
                Found::new(key, read_text(path?), errors)
            }
        }
    }
}

impl Found {
    fn new(
        key: &str,
        read: Result<Zeroizing<String>, String>,
        errors: &mut ConfigErrors,
    ) -> Option<Self> {
        let text = read.map_err(|problem| errors.add(key, problem)).ok()?;
        Some(Self {
            key: key.to_owned(),
            secret: Secret(text),
        })
    }

    fn parse<T>(
        &self,
        parse: fn(&str) -> ems_crypto::Result<T>,
        errors: &mut ConfigErrors,
    ) -> Option<T> {
        parse(self.secret.expose())
            .map_err(|error| errors.add(&self.key, error.to_string()))
            .ok()
    }

    /// The keys in it, the signing one first.
    fn keys(
        &self,
        algorithm: Algorithm,
        errors: &mut ConfigErrors,
    ) -> Option<Vec<Zeroizing<Vec<u8>>>> {
        let guides = self.key.starts_with("JWT_SECRET_KEY") && algorithm == Algorithm::Hs256;
        if guides {
            let bytes = self.secret.expose().as_bytes().to_vec();
            return Some(vec![Zeroizing::new(bytes)]);
        }
        self.parse(TokenKeys::parse_file, errors)
    }
}

/// The text of a secret file that is its owner's alone; a line end at its end is not part of it.
pub(super) fn read_text(path: &Path) -> Result<Zeroizing<String>, String> {
    let bytes = read_secret_file(path).map_err(|error| error.to_string())?;
    text(path, &bytes)
}

/// The text of a systemd credential.
fn read_credential(path: &Path) -> Result<Zeroizing<String>, String> {
    let failed = |error| format!("{}: {error}", path.display());
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & OPEN_TO_WORLD != 0 {
        return Err(format!("{} is open to everyone", path.display()));
    }
    text(path, &Zeroizing::new(fs::read(path).map_err(failed)?))
}

fn text(path: &Path, bytes: &[u8]) -> Result<Zeroizing<String>, String> {
    let text = str::from_utf8(bytes).map_err(|_| format!("{} is not text", path.display()))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(text.strip_suffix('\r').unwrap_or(text).to_owned().into())
}
