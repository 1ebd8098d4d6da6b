//! The security guide's `API_KEYS_FILE`: API keys that were hashed elsewhere, with bcrypt.
//!
//! A JSON object: the first 8 characters of a key, and its hash or `{hash, role, meters}`. It is read
//! whole at start, and a row that cannot be meant is an error, not a key that silently never works.

use std::fmt;

use ems_core::{role::Role, scope::Pattern};
use ems_guard::identify::FileKey;
use serde::{
    Deserialize,
    de::{MapAccess, Visitor},
};

use super::{ConfigErrors, secrets, settings::Auth};

/// The length of the part of a key that finds it, in characters.
const PREFIX: usize = 8;
/// The length of a bcrypt hash.
const HASH: usize = 60;
/// The costs that are taken: below 4 bcrypt itself has none, above 14 one check takes seconds.
const COSTS: std::ops::RangeInclusive<u32> = 4..=14;

/// A row as it is written.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a row is a bcrypt hash or {hash, role, meters}")]
enum Row {
    Hash(String),
    Whole(WholeRow),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeRow {
    hash: String,
    role: Option<Role>,
    meters: Option<Vec<Pattern>>,
}

/// The rows in the file's order, a repeated prefix kept, so that it can be named.
struct Rows(Vec<(String, Row)>);

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of key prefixes and hashes")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Rows, A::Error> {
                let mut rows = Vec::new();
                while let Some(row) = map.next_entry()? {
                    rows.push(row);
                }
                Ok(Rows(rows))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// Reads the file that the settings name; no file, no keys.
pub(super) fn load(auth: &Auth, errors: &mut ConfigErrors) -> Vec<FileKey> {
    let Some(path) = auth.api_keys_file.as_ref().filter(|path| path.exists()) else {
        return Vec::new();
    };
    let text = match secrets::read_text(path) {
        Ok(text) => text,
        Err(problem) => {
            errors.add("auth.api_keys_file", problem);
            return Vec::new();
        }
    };
    parse(text.as_bytes(), auth.key_file_role).unwrap_or_else(|problem| {
        errors.add("auth.api_keys_file", problem);
        Vec::new()
    })
}

/// Parses the file's text. An error shows the row's number, never the row: it may hold a key.
fn parse(text: &[u8], default_role: Role) -> Result<Vec<FileKey>, String> {
    let Rows(rows) = serde_json::from_slice(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        format!("is not an object of key prefixes and hashes (line {line}, column {column})")
    })?;
    let mut keys: Vec<FileKey> = Vec::with_capacity(rows.len());
    for (index, (prefix, row)) in rows.into_iter().enumerate() {
        let wrong = |what: &str| format!("key {} of the file {what}", index + 1);
        let row = match row {
            Row::Whole(row) => row,
            Row::Hash(hash) => WholeRow {
                hash,
                role: None,
                meters: None,
            },
        };
        if prefix.chars().count() != PREFIX {
            return Err(wrong("is not named by the first 8 characters of a key"));
        }
        if !is_bcrypt(&row.hash) {
            return Err(wrong(
                "has no bcrypt hash of a cost of 4 to 14 ($2b$…, 60 characters)",
            ));
        }
        if keys.iter().any(|key| key.prefix == prefix) {
            return Err(wrong("begins as an earlier one does"));
        }
        keys.push(FileKey {
            prefix,
            hash: row.hash,
            role: row.role.unwrap_or(default_role),
            meters: row.meters.unwrap_or_else(|| vec![Pattern::All]),
        });
    }
    Ok(keys)
}

/// Whether a text has the form of a bcrypt hash: `$2b$12$` and 53 characters.
fn is_bcrypt(text: &str) -> bool {
    let mut parts = text.split('$');
    let version = parts.nth(1).unwrap_or_default();
    let cost = parts.next().and_then(|cost| cost.parse().ok());
    let rest = parts.next().unwrap_or_default();
    text.len() == HASH
        && matches!(version, "2a" | "2b" | "2y")
        && cost.is_some_and(|cost| COSTS.contains(&cost))
        && rest
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'/')
        && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH_12: &str = "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW";

    #[test]
    fn reads_bare_hashes_and_whole_rows() {
        let text = format!(
            r#"{{"abcdefgh": "{HASH_12}",
                "ijklmnop": {{"hash": "{HASH_12}", "role": "viewer", "meters": ["plant7-*"]}}}}"#
        );
        let keys = parse(text.as_bytes(), Role::MeterReader).unwrap();
        assert_eq!(
            (keys[0].role, &keys[0].meters),
            (Role::MeterReader, &vec![Pattern::All])
        );
        assert_eq!(keys[1].role, Role::Viewer);
        assert_eq!(keys[1].meters, [Pattern::parse("plant7-*").unwrap()]);
        assert!(!format!("{keys:?}").contains("EixZaYVK"));
    }

    #[test]
    fn refuses_rows_that_cannot_be_meant_and_shows_none_of_them() {
        let costly = HASH_12.replace("$12$", "$15$");
        for text in [
            "[]".to_owned(),
            r#"{"abcdefgh": "plain-key-in-the-clear"}"#.to_owned(),
            format!(r#"{{"short": "{HASH_12}"}}"#),
            format!(r#"{{"abcdefgh": "{costly}"}}"#),
            format!(r#"{{"abcdefgh": "{HASH_12}", "abcdefgh": "{HASH_12}"}}"#),
            format!(r#"{{"abcdefgh": {{"hash": "{HASH_12}", "rol": "admin"}}}}"#),
            format!(r#"{{"abcdefgh": {{"hash": "{HASH_12}", "meters": ["a b"]}}}}"#),
        ] {
            let problem = parse(text.as_bytes(), Role::MeterReader).unwrap_err();
            assert!(
                !problem.contains("plain") && !problem.contains("abcdefgh"),
                "{problem}"
            );
        }
    }
}
