//! `[alerts]` and `[ship]`: the settings as types, and what must hold of them.
//!
//! Whether a secret or an authority can be read is found out where the senders are made of them,
//! in `notify.rs`.

use std::{collections::HashSet, path::PathBuf, time::Duration};

use ems_guard::alert::event_names;
use serde::{Deserialize, Serialize};

use super::{
    ConfigErrors,
    settings::{SecretUrl, Settings, blank},
    units::{Limit, Timespan},
};
use crate::notify::{Place, is_mailbox};

/// The longest time of a rule, a quiet time, or of trying again.
const LONGEST: Duration = Duration::from_hours(24);
const MOST_RULES: usize = 64;
const MOST_CHANNELS: usize = 32;

/// `[alerts]`: who is told of security events, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Alerts {
    pub dedup: Timespan,
    pub per_hour: Limit,
    pub retry_for: Timespan,
    pub instance: String,
    pub rules: Vec<AlertRule>,
    pub channels: Vec<Channel>,
}

/// One of `alerts.rules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct AlertRule {
    pub name: String,
    pub events: Vec<String>,
    pub channels: Vec<String>,
    #[serde(default = "one")]
    pub least: u64,
    #[serde(default = "ten_minutes")]
    pub within: Timespan,
}

fn one() -> u64 {
    1
}

fn ten_minutes() -> Timespan {
    Timespan::new(Duration::from_mins(10))
}

/// One of `alerts.channels`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub enum Channel {
    Webhook {
        name: String,
        #[serde(default, with = "blank")]
        url: Option<SecretUrl>,
        #[serde(default, with = "blank")]
        url_file: Option<PathBuf>,
        secret_file: PathBuf,
        #[serde(default)]
        allow_private: bool,
        #[serde(default, with = "blank")]
        ca_file: Option<PathBuf>,
    },
    Syslog {
        name: String,
        address: String,
        #[serde(default, with = "blank")]
        ca_file: Option<PathBuf>,
    },
    Email {
        name: String,
        server: String,
        #[serde(default = "yes")]
        starttls: bool,
        #[serde(default, with = "blank")]
        user: Option<String>,
        #[serde(default, with = "blank")]
        password_file: Option<PathBuf>,
        from: String,
        to: Vec<String>,
        #[serde(default, with = "blank")]
        ca_file: Option<PathBuf>,
    },
}

fn yes() -> bool {
    true
}

impl Channel {
    /// Its name, by which rules ask for it.
    pub fn name(&self) -> &str {
        match self {
            Self::Webhook { name, .. } | Self::Syslog { name, .. } | Self::Email { name, .. } => {
                name
            }
        }
    }
}

/// `[ship]`: where the logs are shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the comments of the default file say it, once")]
pub struct Ship {
    #[serde(with = "blank")]
    pub syslog: Option<String>,
    #[serde(with = "blank")]
    pub otlp: Option<String>,
    #[serde(with = "blank")]
    pub token_file: Option<PathBuf>,
    #[serde(with = "blank")]
    pub ca_file: Option<PathBuf>,
    pub logs: Vec<ShippedLog>,
    pub confirm: Timespan,
    pub timeout: Timespan,
}

/// One of `ship.logs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShippedLog {
    /// `security.log`.
    Security,
    /// `audit.log`.
    Audit,
}

impl ShippedLog {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Security => "security",
            Self::Audit => "audit",
        }
    }
}

/// Checks both sections.
pub(super) fn check(settings: &Settings, errors: &mut ConfigErrors) {
    let Alerts {
        dedup,
        per_hour,
        retry_for,
        instance,
        rules,
        channels,
    } = &settings.alerts;
    if dedup.get() > LONGEST {
        errors.add("alerts.dedup", format!("is {dedup}; 24h at most"));
    }
    if per_hour.get().unwrap_or(0) > 100_000 {
        errors.add("alerts.per_hour", "is more than 100000");
    }
    if retry_for.get() > LONGEST || retry_for.limit().is_none() {
        errors.add("alerts.retry_for", "must be more than nothing, 24h at most");
    }
    if !instance.is_empty() && !is_host_name(instance) {
        let why = "must be 1 to 255 printable ASCII characters without spaces";
        errors.add("alerts.instance", why);
    }
    names("alerts.rules", rules.iter().map(|rule| &*rule.name), errors);
    let names_of_channels = channels.iter().map(Channel::name);
    names("alerts.channels", names_of_channels, errors);
    if rules.len() > MOST_RULES {
        errors.add("alerts.rules", format!("are more than {MOST_RULES}"));
    }
    if channels.len() > MOST_CHANNELS {
        errors.add("alerts.channels", format!("are more than {MOST_CHANNELS}"));
    }
    let known: HashSet<&str> = channels.iter().map(Channel::name).collect();
    rules.iter().for_each(|it| rule(it, &known, errors));
    channels.iter().for_each(|it| channel(it, errors));
    ship(&settings.ship, errors);
}

fn names<'a>(key: &str, given: impl Iterator<Item = &'a str>, errors: &mut ConfigErrors) {
    let mut seen = HashSet::new();
    for name in given {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
            let why = format!("{name:?} is no name: 1 to 32 of A-Z a-z 0-9 - _");
            errors.add(key, why);
        } else if !seen.insert(name) {
            errors.add(key, format!("{name:?} is there twice"));
        }
    }
}

fn rule(rule: &AlertRule, channels: &HashSet<&str>, errors: &mut ConfigErrors) {
    let key = format!("alerts.rules.{}", rule.name);
    let mut fault = |why: String| errors.add(&key, why);
    let known: Vec<String> = event_names().collect();
    for event in rule.events.iter().filter(|event| !known.contains(event)) {
        fault(format!(
            "there is no event {event:?}; there are {}",
            known.join(", ")
        ));
    }
    for channel in rule
        .channels
        .iter()
        .filter(|name| !channels.contains(&***name))
    {
        fault(format!(
            "there is no channel {channel:?} in alerts.channels"
        ));
    }
    if rule.events.is_empty() || rule.channels.is_empty() {
        fault("events and channels must each name one at least".into());
    }
    if !(1..=1_000_000).contains(&rule.least) {
        fault(format!("least is {}; 1 to 1000000", rule.least));
    }
    let within = rule.within.get();
    if !(Duration::from_secs(1)..=LONGEST).contains(&within) {
        fault(format!("within is {}; 1s to 24h", rule.within));
    }
}

fn channel(channel: &Channel, errors: &mut ConfigErrors) {
    let key = format!("alerts.channels.{}", channel.name());
    let mut fault = |why: String| errors.add(&key, why);
    match channel {
        Channel::Webhook { url, url_file, .. } => {
            if url.is_some() == url_file.is_some() {
                fault("one of url and url_file is needed".into());
            }
        }
        Channel::Syslog { address, .. } => {
            if let Err(why) = Place::parse(address, &["tls", "udp"]) {
                fault(format!("address {why}"));
            }
        }
        Channel::Email {
            server,
            starttls,
            user,
            password_file,
            from,
            to,
            ..
        } => {
            match Place::parse(server, &["smtp", "smtps"]) {
                Err(why) => fault(format!("server {why}")),
                Ok(place) if !starttls && place.scheme == "smtp" && !place.is_this_machine() => {
                    fault("starttls may be false only for a server on this machine".into());
                }
                Ok(_) => {}
            }
            if user.is_some() != password_file.is_some() {
                fault("user and password_file go together".into());
            }
            if to.is_empty() || to.len() > 50 {
                fault("to must name 1 to 50 addresses".into());
            }
            for address in to.iter().chain([from]).filter(|it| !is_mailbox(it)) {
                fault(format!("{address:?} is no e-mail address"));
            }
        }
    }
}

fn ship(ship: &Ship, errors: &mut ConfigErrors) {
    if let Some(Err(why)) = ship.syslog.as_ref().map(|to| Place::parse(to, &["tls"])) {
        errors.add("ship.syslog", why);
    }
    let distinct: HashSet<_> = ship.logs.iter().collect();
    let asked = ship.syslog.is_some() || ship.otlp.is_some();
    if asked && (distinct.is_empty() || distinct.len() != ship.logs.len()) {
        errors.add("ship.logs", "must name each log to be shipped once");
    }
    for (key, span) in [
        ("ship.confirm", ship.confirm),
        ("ship.timeout", ship.timeout),
    ] {
        let span = span.get();
        if !(Duration::from_millis(100)..=Duration::from_mins(10)).contains(&span) {
            errors.add(key, "must be from 100ms to 10m");
        }
    }
}

/// RFC 5424's `HOSTNAME`.
fn is_host_name(text: &str) -> bool {
    text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests;
