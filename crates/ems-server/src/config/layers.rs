//! Laying the sources over one another: default file, operator's file, variables, flags.
//!
//! Every source is flattened to single settings. Each is tried alone on top of the defaults, which
//! finds every unknown name and wrong type at once; what is sound then makes the merged whole.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::{Table, Value};

use super::{ConfigErrors, DEFAULT_FILE, Environment, Settings, secrets};

/// Settings that are paths: relative ones are relative to the directory of the operator's file.
const PATHS: [&str; 14] = [
    "server.cert",
    "server.key",
    "server.admin_socket",
    "auth.token_key_file",
    "auth.pepper_file",
    "auth.api_keys_file",
    "shared.ca_file",
    "sso.ca_file",
    "store.dir",
    "store.root_key_file",
    "store.keyring_dir",
    "log.dir",
    "ship.token_file",
    "ship.ca_file",
];

/// Settings whose value may be a secret, and so may come from a file: `EMS_…_FILE`, or `…_file` in
/// the operator's file.
const SECRET_SETTINGS: [&str; 3] = ["shared.redis_url", "store.mongo_uri", "sso.client_secret"];

/// One setting from one source.
struct Override {
    key: String,
    value: Value,
    /// Where it was said, for the error.
    origin: String,
}

/// The merged settings (with the default in place of whatever is faulty) and the faults so far.
/// Without any settings only when the defaults themselves are broken.
pub(super) fn merge(
    file: Option<&Path>,
    env: &Environment,
    flags: &[(String, String)],
) -> Result<(Settings, ConfigErrors), ConfigErrors> {
    let mut errors = ConfigErrors::default();
    let mut defaults: Table = DEFAULT_FILE
        .parse()
        .map_err(|error: toml::de::Error| fault("the default settings", error.message()))?;
    let base = file.and_then(Path::parent).map(Path::to_path_buf);
    resolve_paths(&mut defaults, base.as_deref());

    let mut overrides = file.map_or_else(Vec::new, |file| from_file(file, &mut errors));
    overrides.extend(from_environment(env, &defaults, &mut errors));
    overrides.extend(flags.iter().map(|(key, text)| Override {
        key: key.clone(),
        value: value_of(text, get(&defaults, key)),
        origin: format!("--{}", key.replace('.', "-")),
    }));

    let mut merged = defaults.clone();
    for said in overrides {
        if let Err(problem) = try_alone(&defaults, &said) {
            errors.add(&said.key, format!("{problem} (in {})", said.origin));
        } else {
            set(&mut merged, &said.key, said.value);
        }
    }
    let settings = Settings::deserialize(merged)
        .map_err(|error| fault("the default settings", error.message()))?;
    Ok((settings, errors))
}

fn fault(key: &str, problem: &str) -> ConfigErrors {
    let mut errors = ConfigErrors::default();
    errors.add(key, problem);
    errors
}

/// The operator's file, flattened, its relative paths made relative to it.
fn from_file(file: &Path, errors: &mut ConfigErrors) -> Vec<Override> {
    let name = file.display().to_string();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            errors.add(&name, format!("cannot be read: {error}"));
            return Vec::new();
        }
    };
    let mut table: Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            let line = error.span().and_then(|span| text.get(..span.start));
            let line = line.map_or(1, |before| before.matches('\n').count() + 1);
            errors.add(
                &name,
                format!("line {line} is not TOML: {}", error.message()),
            );
            return Vec::new();
        }
    };
    resolve_paths(&mut table, file.parent());
    let mut flat = Vec::new();
    for (section, value) in table {
        match value {
            Value::Table(keys) => flat.extend(keys.into_iter().map(|(key, value)| Override {
                key: format!("{section}.{key}"),
                value,
                origin: name.clone(),
            })),
            value => flat.push(Override {
                key: section,
                value,
                origin: name.clone(),
            }),
        }
    }
    let base = file.parent().unwrap_or(Path::new(""));
    SECRET_SETTINGS
        .iter()
        .for_each(|key| from_secret_file(key, base, &mut flat, errors));
    flat
}

/// Puts what the file of a secret setting holds in the place of `…_file`, which names it.
fn from_secret_file(key: &str, base: &Path, flat: &mut Vec<Override>, errors: &mut ConfigErrors) {
    let file_key = format!("{key}_file");
    let Some(place) = flat.iter().position(|said| said.key == file_key) else {
        return;
    };
    if flat.iter().any(|said| said.key == key) {
        errors.add(key, format!("is set, and so is {file_key}: keep one"));
    }
    let mut said = flat.swap_remove(place);
    let Some(path) = said.value.as_str() else {
        return errors.add(&file_key, "is not text: it names a file");
    };
    match secrets::read_text(&base.join(path)) {
        Ok(content) => {
            said.value = Value::String(content.to_string());
            key.clone_into(&mut said.key);
            flat.push(said);
        }
        Err(problem) => errors.add(&file_key, problem),
    }
}

/// `EMS_SECTION__KEY` variables, their `_FILE` forms for secrets, and the security guide's names.
fn from_environment(
    env: &Environment,
    defaults: &Table,
    errors: &mut ConfigErrors,
) -> Vec<Override> {
    for name in env.unreadable() {
        errors.add(name, "its value is not UTF-8 text");
    }
    let mut found = Vec::new();
    if let Some(path) = env.get("API_KEYS_FILE") {
        found.push(Override {
            key: "auth.api_keys_file".to_owned(),
            value: Value::String(path.to_owned()),
            origin: "API_KEYS_FILE".to_owned(),
        });
    }
    if let Some(mode) = env.get("NETWORK_MODE") {
        found.push(Override {
            key: "network.restricted".to_owned(),
            value: match mode {
                "restricted" => Value::Boolean(true),
                "open" => Value::Boolean(false),
                other => Value::String(other.to_owned()),
            },
            origin: "NETWORK_MODE".to_owned(),
        });
    }
    for (name, text) in env.settings() {
        let key = name
            .trim_start_matches("EMS_")
            .to_ascii_lowercase()
            .replacen("__", ".", 1);
        let secret = key
            .strip_suffix("_file")
            .filter(|key| SECRET_SETTINGS.contains(key));
        let (key, value) = match secret {
            None => (key.as_str(), value_of(text, get(defaults, &key))),
            Some(secret) => match secrets::read_text(Path::new(text)) {
                Ok(content) => (secret, Value::String(content.to_string())),
                Err(problem) => {
                    errors.add(name, problem);
                    continue;
                }
            },
        };
        found.push(Override {
            key: key.to_owned(),
            value,
            origin: name.to_owned(),
        });
    }
    found
}

/// The value a text stands for: itself where the setting is text, a TOML value elsewhere.
fn value_of(text: &str, default: Option<&Value>) -> Value {
    match (text.parse(), default) {
        (Ok(value @ Value::String(_)), _) => value,
        (Ok(value), Some(default)) if !default.is_str() => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Whether the settings stand with this one laid over the defaults; what is wrong otherwise.
fn try_alone(defaults: &Table, said: &Override) -> Result<(), String> {
    let Some((section, key)) = said.key.split_once('.') else {
        return Err(match defaults.get(&said.key) {
            Some(_) => format!(
                "is a section: write [{}] and its settings under it",
                said.key
            ),
            None => format!("there is no such section; there are {}", names(defaults)),
        });
    };
    let Some(known) = defaults.get(section).and_then(Value::as_table) else {
        return Err(format!(
            "there is no section [{section}]; there are {}",
            names(defaults)
        ));
    };
    if !known.contains_key(key) {
        return Err(format!(
            "there is no such setting; [{section}] has {}",
            names(known)
        ));
    }
    let mut trial = defaults.clone();
    set(&mut trial, &said.key, said.value.clone());
    Settings::deserialize(trial)
        .map(drop)
        .map_err(|error| error.message().to_owned())
}

fn names(table: &Table) -> String {
    table
        .keys()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(", ")
}

fn get<'t>(table: &'t Table, key: &str) -> Option<&'t Value> {
    let (section, key) = key.split_once('.')?;
    table.get(section)?.get(key)
}

fn set(table: &mut Table, key: &str, value: Value) {
    let slot = key
        .split_once('.')
        .and_then(|(section, key)| table.get_mut(section)?.get_mut(key));
    if let Some(slot) = slot {
        *slot = value;
    }
}

/// The files that channels name.
fn resolve_channels(table: &mut Table, base: &Path) {
    let channels = table
        .get_mut("alerts")
        .and_then(|alerts| alerts.get_mut("channels"))
        .and_then(Value::as_array_mut);
    let tables = channels.into_iter().flatten();
    for channel in tables.filter_map(Value::as_table_mut) {
        for (key, value) in channel.iter_mut() {
            let Some(path) = value.as_str().filter(|path| !path.is_empty()) else {
                continue;
            };
            if key.ends_with("_file")
                && let Some(whole) = base.join(path).to_str()
            {
                *value = Value::String(whole.to_owned());
            }
        }
    }
}

fn resolve_paths(table: &mut Table, base: Option<&Path>) {
    let Some(base) = base else { return };
    resolve_channels(table, base);
    for key in PATHS {
        let Some(Value::String(path)) = get(table, key) else {
            continue;
        };
        if path.is_empty() || Path::new(path).is_absolute() {
            continue;
        }
        let whole: PathBuf = base.join(path);
        if let Some(whole) = whole.to_str() {
            let whole = Value::String(whole.to_owned());
            set(table, key, whole);
        }
    }
}
