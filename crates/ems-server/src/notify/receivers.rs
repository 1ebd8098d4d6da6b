//! The receivers of the settings, made: every secret read, every authority loaded, every fault named
//! by its key at the start.

use std::path::Path;

use ems_crypto::{read_secret_file, tls::TlsClient};
use ems_guard::alert::Rule;

use super::{
    channel::Sender,
    email::{Email, Security},
    place::Place,
    ship::{Otlp, Receiver},
    syslog::Syslog,
    webhook::Webhook,
};
use crate::config::{self, Channel, ConfigErrors, Settings, Ship};

/// Who is told of security events, and where the logs are shipped.
#[derive(Debug, Default)]
pub struct Receivers {
    pub(super) instance: String,
    pub(super) channels: Vec<(String, Sender)>,
    pub(crate) shipped: Vec<Receiver>,
}

impl Receivers {
    /// Makes them; `None` where one cannot be.
    pub(crate) fn load(settings: &Settings, errors: &mut ConfigErrors) -> Option<Self> {
        let before = errors.as_slice().len();
        let mut channels = Vec::new();
        for channel in &settings.alerts.channels {
            let name = channel.name().to_owned();
            match sender(channel) {
                Ok(sender) => channels.push((name, sender)),
                Err(why) => errors.add(&format!("alerts.channels.{name}"), why),
            }
        }
        let shipped = shipped(&settings.ship, errors);
        let instance = match settings.alerts.instance.as_str() {
            "" => host_name(),
            name => name.to_owned(),
        };
        (errors.as_slice().len() == before).then_some(Self {
            instance,
            channels,
            shipped,
        })
    }
}

/// The rules of the settings.
pub(super) fn rules(settings: &config::Alerts) -> Vec<Rule> {
    let rules = settings.rules.iter().map(|rule| Rule {
        name: rule.name.clone(),
        events: rule.events.clone(),
        channels: rule.channels.clone(),
        least: rule.least,
        within: rule.within.get(),
    });
    rules.collect()
}

fn sender(channel: &Channel) -> Result<Sender, String> {
    match channel {
        Channel::Webhook {
            url,
            url_file,
            secret_file,
            allow_private,
            ca_file,
            ..
        } => {
            let url = match (url, url_file) {
                (Some(url), _) => url.expose().to_owned().into(),
                (None, Some(file)) => text("url_file", file)?,
                (None, None) => return Err("one of url and url_file is needed".into()),
            };
            let secret = text("secret_file", secret_file)?;
            let webhook =
                Webhook::new(&url, secret.as_bytes(), *allow_private, ca_file.as_deref())?;
            Ok(Sender::Webhook(Box::new(webhook)))
        }
        Channel::Syslog {
            address, ca_file, ..
        } => Ok(Sender::Syslog(syslog(address, ca_file.as_deref())?)),
        Channel::Email {
            server,
            starttls,
            user,
            password_file,
            from,
            to,
            ca_file,
            ..
        } => {
            let place = Place::parse(server, &["smtp", "smtps"])?;
            let password = password_file
                .as_deref()
                .map(|file| text("password_file", file))
                .transpose()?;
            let security = Security {
                starttls: *starttls,
                ca: ca_file.as_deref(),
                login: user.as_deref().zip(password.as_ref().map(|it| it.as_str())),
            };
            let email = Email::new(place, &security, (from, to))?;
            Ok(Sender::Email(Box::new(email)))
        }
    }
}

fn syslog(address: &str, ca: Option<&Path>) -> Result<Syslog, String> {
    let place = Place::parse(address, &["tls", "udp"])?;
    if place.scheme == "udp" {
        return Ok(Syslog::Udp(place));
    }
    let tls = TlsClient::new(ca).map_err(|error| format!("ca_file: {error}"))?;
    Ok(Syslog::Tls(place, tls))
}

fn shipped(ship: &Ship, errors: &mut ConfigErrors) -> Vec<Receiver> {
    let mut receivers = Vec::new();
    if let Some(address) = &ship.syslog {
        match syslog(address, ship.ca_file.as_deref()) {
            Ok(to) => receivers.push(Receiver::Syslog(to)),
            Err(why) => errors.add("ship.syslog", why),
        }
    }
    if let Some(url) = &ship.otlp {
        let token = ship.token_file.as_deref();
        let token = token.map(|file| text("token_file", file)).transpose();
        let made = token.and_then(|token| {
            let token = token.as_ref().map(|token| token.as_str());
            Otlp::new(url, token, ship)
        });
        match made {
            Ok(to) => receivers.push(Receiver::Otlp(to)),
            Err(why) => errors.add("ship.otlp", why),
        }
    }
    receivers
}

/// A secret from a file that is its owner's alone.
fn text(key: &str, path: &Path) -> Result<zeroize::Zeroizing<String>, String> {
    let bytes = read_secret_file(path).map_err(|error| format!("{key}: {error}"))?;
    let text =
        str::from_utf8(&bytes).map_err(|_| format!("{key}: {} is not text", path.display()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned().into())
}

/// The machine's name, as far as a log's line can hold it.
fn host_name() -> String {
    let named = rustix::system::uname();
    let name = named.nodename().to_string_lossy();
    let printable: String = name
        .chars()
        .filter(char::is_ascii_graphic)
        .take(255)
        .collect();
    if printable.is_empty() {
        "-".to_owned()
    } else {
        printable
    }
}
