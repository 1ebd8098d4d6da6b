//! `cargo xtask conformance`: generated requests to the release binary, good and bad, each answer
//! held against the OpenAPI document that the server itself gives.
//!
//! The tester (schemathesis) logs in through the API and trusts the instance's own CA. Rate windows
//! are opened for it: a refusal for being too many says nothing about an operation's answers.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::instance::{self, ADMIN, Instance};
use crate::{setup, shell};

/// How long and how much is tried.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    examples: u32,
    time: Duration,
    /// A fixed seed makes a run repeatable; without one each run tries something new.
    seed: Option<u32>,
}

/// The run of CI: repeatable.
pub(crate) const SHORT: Bounds = Bounds {
    examples: 5,
    time: Duration::from_secs(75),
    seed: Some(1),
};

/// The run of a developer: something new each time.
pub(crate) const FULL: Bounds = Bounds {
    examples: 20,
    time: Duration::from_mins(3),
    seed: None,
};

/// Settings of the server under test. All requests come from one address and most logins fail.
const SETTINGS: [(&str, &str); 4] = [
    ("EMS_LIMITS__ADDRESS_PER_HOUR", "0"),
    ("EMS_LIMITS__USER_PER_HOUR", "0"),
    ("EMS_LIMITS__KEY_PER_HOUR", "0"),
    ("EMS_GUARD__BAN_ALLOW", "[\"127.0.0.0/8\"]"),
];

/// Variable by which the tester learns the password.
const PASSWORD: &str = "CONFORMANCE_PASSWORD";

/// Runs the tester within its bounds; fails where an answer is outside the document.
pub(crate) fn run(bounds: Bounds) -> Result<()> {
    let tester = setup::schemathesis()?;
    let instance = Instance::init()?;
    let server = instance.serve(&SETTINGS)?;
    let config = instance.scratch().join("schemathesis.toml");
    instance::write(&config, &tester_config(&instance)?)?;

    let mut run = shell::command(tester, ["--config-file"]);
    run.arg(&config)
        .arg("run")
        .arg(format!("{}/api/v1/openapi.json", server.url()))
        .args(["--checks", "all", "--continue-on-failure", "--no-color"])
        .args(["--max-examples", &bounds.examples.to_string()])
        .args(["--max-time", &bounds.time.as_secs().to_string()])
        .args(["--generation-database", "none", "--request-timeout", "30"])
        .env(PASSWORD, instance.password())
        .current_dir(instance.scratch());
    if let Some(seed) = bounds.seed {
        // A repeatable run has the phases that are; what is tried by chance or in sequences of
        // requests depends on how fast the machine is.
        run.args(["--seed", &seed.to_string(), "--phases", "examples,coverage"]);
    }
    shell::run(&mut run)?;
    server.stop()
}

/// The tester's settings. A token that it has ended itself, by logging out, is fetched anew. A
/// request that fits the schema may still break a rule that no schema can express (an end before
/// its start, a time in the future, a forged cursor, meters beside a customer): 400 and 422 are
/// answers to one, and every answer is held to the document all the same.
fn tester_config(instance: &Instance) -> Result<String> {
    let ca = instance.ca();
    let ca = ca
        .to_str()
        .context("the temporary directory is not UTF-8")?;
    Ok(format!(
        "tls-verify = {ca:?}\n\
         [auth.dynamic.openapi.bearer]\n\
         path = \"/api/v1/auth/token\"\n\
         payload = {{ username = \"{ADMIN}\", password = \"${{{PASSWORD}}}\" }}\n\
         extract_selector = \"/access_token\"\n\
         [checks.positive_data_acceptance]\n\
         expected-statuses = [\"2xx\", 400, 401, 403, 404, 409, 422, 429]\n\
         [checks.negative_data_rejection]\n\
         expected-statuses = [400, 401, 403, 404, 405, 406, 409, 413, 414, 415, 422, 429, 431]\n"
    ))
}
