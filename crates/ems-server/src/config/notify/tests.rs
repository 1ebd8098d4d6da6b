//! Alerts and shipping as settings: what is sound comes through, what is not is refused by its key.

use super::*;
use crate::{config::Environment, testing::Files};

fn faults(alerts: &str) -> String {
    let lines = alerts.lines().chain(["server.tls = off"]);
    let flags: Vec<(String, String)> = lines
        .map(|line| line.split_once(" = ").unwrap())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    match Settings::read(None, &Environment::default(), &flags) {
        Ok(_) => String::new(),
        Err(errors) => errors.to_string(),
    }
}

const SOC: &str = "{ name = \"soc\", kind = \"webhook\", url = \"https://h.example/x\", \
                   secret_file = \"s\" }";

#[test]
fn rules_and_channels_that_fit_are_taken() {
    let channels = [
        SOC,
        "{ name = \"siem\", kind = \"syslog\", address = \"tls://siem.example:6514\" }",
        "{ name = \"old\", kind = \"syslog\", address = \"udp://[2001:db8::1]:514\" }",
        "{ name = \"mail\", kind = \"email\", server = \"smtp://mx.example:587\", \
         from = \"EMS <ems@example.org>\", to = [\"soc@example.org\"], user = \"ems\", \
         password_file = \"p\" }",
    ];
    let rules = "[{ name = \"r\", events = [\"ip_blocked\", \"login_failed\"], \
                 channels = [\"soc\", \"mail\"], least = 5, within = \"10m\" }]";
    let told = faults(&format!(
        "alerts.channels = [{}]\nalerts.rules = {rules}\nship.syslog = tls://siem.example:6514\n\
         ship.otlp = https://otlp.example:4318",
        channels.join(", ")
    ));
    assert_eq!(told, "");
}

/// Holds that each is refused in these words.
fn refused<const N: usize>(cases: [(String, &str); N]) {
    for (settings, expected) in cases {
        let told = faults(&settings);
        assert!(told.contains(expected), "{expected}\n{told}");
    }
}

#[test]
fn rules_and_channels_that_cannot_be_are_refused_by_their_key() {
    let rule = |rule: &str| format!("alerts.channels = [{SOC}]\nalerts.rules = [{rule}]");
    let channel = |channel: &str| format!("alerts.channels = [{channel}]");
    refused([
        (
            rule("{ name = \"r\", events = [\"ip_blokked\"], channels = [\"soc\"] }"),
            "alerts.rules.r: there is no event \"ip_blokked\"",
        ),
        (
            rule("{ name = \"r\", events = [\"ip_blocked\"], channels = [\"sok\"] }"),
            "alerts.rules.r: there is no channel \"sok\"",
        ),
        (
            rule("{ name = \"r\", events = [], channels = [\"soc\"] }"),
            "alerts.rules.r: events and channels",
        ),
        (
            rule("{ name = \"r\", events = [\"ip_blocked\"], channels = [\"soc\"], least = 0 }"),
            "alerts.rules.r: least is 0",
        ),
        (
            rule(
                "{ name = \"r\", events = [\"ip_blocked\"], channels = [\"soc\"], within = \"2d\" }",
            ),
            "alerts.rules.r: within is 48h",
        ),
        (
            rule("{ name = \"r\", events = [\"ip_blocked\"], channels = [\"soc\"], size = 1 }"),
            "alerts.rules: unknown field `size`",
        ),
        (
            format!("alerts.channels = [{SOC}, {SOC}]"),
            "alerts.channels: \"soc\" is there twice",
        ),
        (
            channel("{ name = \"a b\", kind = \"syslog\", address = \"udp://h:1\" }"),
            "alerts.channels: \"a b\" is no name",
        ),
        (
            channel("{ name = \"p\", kind = \"pager\", number = 1 }"),
            "alerts.channels: unknown variant `pager`",
        ),
        (
            channel("{ name = \"s\", kind = \"syslog\", address = \"tcp://h:1\" }"),
            "alerts.channels.s: address is \"tcp://h:1\"",
        ),
        (
            channel("{ name = \"s\", kind = \"syslog\", address = \"udp://h:1\", port = 1 }"),
            "alerts.channels: unknown field `port`",
        ),
        (
            channel("{ name = \"w\", kind = \"webhook\", secret_file = \"s\" }"),
            "alerts.channels.w: one of url and url_file",
        ),
    ]);
}

#[test]
fn mail_times_and_shipping_that_cannot_be_are_refused_by_their_key() {
    let mail = |more: &str| {
        format!(
            "alerts.channels = [{{ name = \"m\", kind = \"email\", \
             from = \"ems@example.org\", {more} }}]"
        )
    };
    refused([
        (
            mail("server = \"smtp://mx.example:25\", starttls = false, to = [\"a@b.example\"]"),
            "alerts.channels.m: starttls may be false only",
        ),
        (
            mail(
                "server = \"smtp://mx.example:587\", to = [\"a@b.example\\r\\nBcc: x@y.example\"]",
            ),
            "is no e-mail address",
        ),
        (
            mail("server = \"smtp://mx.example:587\", to = []"),
            "alerts.channels.m: to must name",
        ),
        (
            mail("server = \"smtp://mx.example:587\", to = [\"a@b.example\"], user = \"u\""),
            "alerts.channels.m: user and password_file",
        ),
        ("alerts.dedup = 25h".into(), "alerts.dedup: is 25h"),
        (
            "alerts.retry_for = 0s".into(),
            "alerts.retry_for: must be more",
        ),
        (
            "alerts.instance = plant 7".into(),
            "alerts.instance: must be",
        ),
        (
            "ship.syslog = udp://h:514".into(),
            "ship.syslog: is \"udp://h:514\"",
        ),
        (
            "ship.logs = [\"access\"]".into(),
            "ship.logs: unknown variant `access`",
        ),
        (
            "ship.syslog = tls://h:1\nship.logs = []".into(),
            "ship.logs: must name each log",
        ),
        ("ship.confirm = 1h".into(), "ship.confirm: must be from"),
    ]);
}

#[test]
fn what_a_receiver_needs_is_read_at_the_start_and_refused_by_its_key() {
    let files = Files::new();
    files.write("short", "fifteen bytes..");
    files.write("no.pem", "nothing");
    let webhook = |secret: &str, url: &str| {
        let secret = files.path(secret);
        format!(
            "[{{ name = \"w\", kind = \"webhook\", url = \"{url}\", secret_file = \"{}\" }}]",
            secret.display()
        )
    };
    let authority = files.path("no.pem").display().to_string();
    for (key, value, expected) in [
        (
            "alerts.channels",
            webhook("short", "https://h.example/"),
            "alerts.channels.w: secret_file holds less",
        ),
        (
            "alerts.channels",
            webhook("absent", "https://h.example/"),
            "alerts.channels.w: secret_file: ",
        ),
        (
            "alerts.channels",
            webhook("root.key", "https://10.0.0.1/"),
            "address that is not public",
        ),
        (
            "alerts.channels",
            webhook("root.key", "http://h.example/"),
            "must begin with https://",
        ),
        (
            "ship.otlp",
            "http://h.example:4318".into(),
            "ship.otlp: is \"http://h.example:4318\"",
        ),
        ("ship.token_file", "absent".into(), ""),
    ] {
        let flags = [(key.to_owned(), value)];
        let file = files.path("ems.toml");
        let loaded = Settings::load(Some(&file), &Environment::default(), &flags);
        match loaded {
            Ok(_) => assert_eq!(expected, "", "{key}"),
            Err(errors) => assert!(errors.to_string().contains(expected), "{errors}"),
        }
    }
    let flags = [
        ("ship.syslog".to_owned(), "tls://h.example:6514".to_owned()),
        ("ship.ca_file".to_owned(), authority),
    ];
    let file = files.path("ems.toml");
    let errors = Settings::load(Some(&file), &Environment::default(), &flags).unwrap_err();
    assert!(
        errors.to_string().contains("ship.syslog: ca_file"),
        "{errors}"
    );
}

#[test]
fn a_webhooks_path_is_shown_to_nobody() {
    let channel = SOC.replace("/x", "/services/T0/hunter2");
    let flags = [
        ("alerts.channels".to_owned(), format!("[{channel}]")),
        ("server.tls".to_owned(), "off".to_owned()),
    ];
    let settings = Settings::read(None, &Environment::default(), &flags).unwrap();
    let shown = format!("{}{settings:?}", settings.redacted_toml());
    assert!(
        shown.contains("h.example") && !shown.contains("hunter2"),
        "{shown}"
    );
}
