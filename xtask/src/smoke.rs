//! `cargo xtask smoke`: the main job with the release binary and nothing else: init, serve, one
//! reading in, the same reading out, SIGTERM, exit code 0, and `verify` finds nothing wrong.

use anyhow::{Context, Result, bail};

use crate::instance::{self, Instance, ems};
use crate::shell;

/// The reading as a user would write it, and as it must come back: UTC, columns complete.
const READING_IN: &str = "meter_id,timestamp,energy_consumption,power_factor\n\
                          smoke-1,2024-03-01T01:30:00+01:00,1.25,0.97\n";
const READING_OUT: &str = "meter_id,timestamp,energy_consumption,power_factor,location\n\
                           smoke-1,2024-03-01T00:30:00Z,1.25,0.97,\n";

/// Runs the product once from beginning to end.
pub(crate) fn run() -> Result<()> {
    let instance = Instance::init()?;
    let server = instance.serve(&[])?;

    let mut create = ems(&["key", "create", "smoke", "--role", "admin", "--meters", "*"]);
    let created = shell::output(create.arg("--config").arg(instance.config()))?;
    let key = key_in(&created).context("`ems key create` printed no key")?;
    let key = instance.secret("api-key", key)?;

    let readings = instance.scratch().join("readings.csv");
    instance::write(&readings, READING_IN)?;
    let mut import = ems(&["import", "--json"]);
    import.arg(&readings).args(["--url", &server.url()]);
    let imported = shell::output(
        import
            .arg("--key-file")
            .arg(&key)
            .arg("--ca")
            .arg(instance.ca()),
    )?;
    if !imported.replace(' ', "").contains("\"accepted\":1") {
        bail!("one reading went in and import says: {imported}");
    }

    let mut export = ems(&["export", "smoke-1", "--format", "csv"]);
    export.args([
        "--start",
        "2024-03-01T00:00:00Z",
        "--end",
        "2024-03-02T00:00:00Z",
    ]);
    export.args(["--url", &server.url()]);
    let exported = shell::output(
        export
            .arg("--key-file")
            .arg(&key)
            .arg("--ca")
            .arg(instance.ca()),
    )?;
    if exported.replace("\r\n", "\n") != READING_OUT {
        bail!("another reading came back: {exported}");
    }

    server.stop()?;
    shell::run(ems(&["verify", "--config"]).arg(instance.config()))
}

/// The API key within what a command printed.
fn key_in(printed: &str) -> Option<&str> {
    let part_of_key = |c: char| c.is_ascii_alphanumeric() || c == '_';
    printed
        .split(|c: char| !part_of_key(c))
        .find(|word| word.starts_with("ems_") && word.len() > 40)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_key_in_text_and_in_json() {
        let key = "ems_a1b2c3d4_0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLM";
        assert_eq!(key_in(&format!("Key (shown once): {key}\n")), Some(key));
        assert_eq!(key_in(&format!("{{\"key\":\"{key}\"}}")), Some(key));
        assert_eq!(key_in("EMS_API_KEY or ems_key"), None);
    }
}
