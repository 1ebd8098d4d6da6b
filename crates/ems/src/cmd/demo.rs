//! `ems demo`: the main job in one command. A fresh instance, real sample data, and what to ask.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use clap::Args;
use ems_api::{
    SecretText,
    client::Client,
    domain::{Pattern, Role},
    key::NewKey,
    reading::BatchStored,
};
use ems_server::{
    app::SystemClock,
    config::{Level, TlsMode},
    instance::NewStore,
    roles,
    serve::Server,
};
use serde::Serialize;

use super::{import, init, serve};
use crate::{
    connect::url_at,
    failure::usage,
    instance::{FILE, Instance, failed},
    output::{Output, note},
    password,
};

const ADMIN: &str = "admin";
/// The name of the key in the header file.
const KEY: &str = "demo";
/// The file that curl takes its header from.
const HEADER: &str = "demo.header";

/// The sample series: meter and readings.
const SAMPLES: [(&str, &[u8]); 3] = [
    (
        "uk-home-1",
        include_bytes!("../../../../samples/uk-home-1.csv.gz"),
    ),
    (
        "uk-home-2",
        include_bytes!("../../../../samples/uk-home-2.csv.gz"),
    ),
    (
        "sceaux-house",
        include_bytes!("../../../../samples/sceaux-one-minute.csv.gz"),
    ),
];

/// The flags of `ems demo`.
#[derive(Debug, Args)]
pub(crate) struct Demo {
    /// Directory of the instance; one that is there is used again
    #[arg(long, value_name = "DIR", default_value = "./ems-demo")]
    dir: PathBuf,
    /// Address and port; port 0 for a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
}

/// What to do with the demo.
#[derive(Serialize)]
struct Ready {
    url: String,
    admin: &'static str,
    /// Absent where the instance was there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    password: Option<SecretText>,
    samples: Vec<Sample>,
    curl: String,
}

/// What became of a sample.
#[derive(Serialize)]
struct Sample {
    meter: &'static str,
    accepted: u64,
    unchanged: u64,
    corrected: u64,
}

impl Demo {
    /// Makes, serves, imports, tells, and waits for the end.
    pub(crate) async fn run(self, output: Output) -> Result<()> {
        let mut password = self.instance().await?;
        let served = self.serve(output, &mut password).await;
        if let Some(password) = password {
            // It did not come to that: told now, or nobody ever knows it.
            let password = password.expose();
            note(&format!("password of {ADMIN} (shown once): {password}"));
        }
        served
    }

    /// Serves, with the samples in it. Takes the password once it is told.
    async fn serve(&self, output: Output, password: &mut Option<SecretText>) -> Result<()> {
        let mut flags = serve::flags(Some(self.listen));
        // Another server on this machine may well have the usual port.
        flags.push(("server.metrics_listen".to_owned(), String::new()));
        let loaded = Instance::in_dir(&self.dir).load(&flags)?;
        serve::log_to_stderr(Level::Warn);
        let tls = loaded.settings.server.tls == TlsMode::On;
        let socket = loaded.settings.server.admin_socket.clone();
        let server = Server::bind(loaded, roles::Role::All, Arc::new(SystemClock));
        let server = server.map_err(failed)?;
        let url = url_at(tls, server.local_addr()?);
        let stop = serve::stop_on_signal()?;
        let running = tokio::spawn(server.run(stop.clone(), None));
        let prepared = stop.run_until_cancelled(self.prepare(&url, &socket)).await;
        match prepared {
            Some(Ok(samples)) => self.tell(output, url, password.take(), samples)?,
            Some(Err(error)) => {
                stop.cancel();
                running.await??;
                return Err(error);
            }
            None => {}
        }
        Ok(running.await??)
    }

    /// Makes the instance where it is not there; its admin's password then.
    async fn instance(&self) -> Result<Option<SecretText>> {
        if self.dir.join(FILE).is_file() {
            return Ok(None);
        }
        let occupied = fs::read_dir(&self.dir).is_ok_and(|mut entries| entries.next().is_some());
        if occupied {
            return Err(usage(format!(
                "{} holds something else, or a demo whose making was cut short: remove it, or \
                 choose another --dir",
                self.dir.display()
            )));
        }
        let password = password::generated().text;
        let admin = Some((ADMIN, &password));
        init::create(&self.dir, admin, &NewStore::Embedded).await?;
        Ok(Some(password))
    }

    /// A key of this run for curl, and the samples, over TLS as any client would.
    async fn prepare(&self, url: &str, socket: &Path) -> Result<Vec<Sample>> {
        let key = fresh_key(&Client::unix(socket)?)
            .await
            .context("the key for curl")?;
        self.write_header(&key)?;
        let authority = fs::read(self.authority())?;
        let client = Client::new(url, Some(&authority))?.with_api_key(key.expose());
        let mut samples = Vec::new();
        for (meter, bytes) in SAMPLES {
            let stored = import::sample(&client, bytes).await;
            let stored = stored.with_context(|| format!("importing {meter}"))?;
            note(&format!("{meter}: {}", in_words(&stored)));
            samples.push(Sample {
                meter,
                accepted: stored.accepted,
                unchanged: stored.unchanged,
                corrected: stored.corrected,
            });
        }
        Ok(samples)
    }

    fn write_header(&self, key: &SecretText) -> Result<()> {
        let path = self.dir.join(HEADER);
        let new = self.dir.join("demo.header.new");
        let _ = fs::remove_file(&new);
        let shown = || format!("{} cannot be written", path.display());
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&new);
        let mut file = file.with_context(shown)?;
        file.write_all(format!("X-API-Key: {}\n", key.expose()).as_bytes())?;
        fs::rename(&new, &path).with_context(shown)
    }

    fn authority(&self) -> PathBuf {
        self.dir.join("tls/ca.pem")
    }

    fn tell(
        &self,
        output: Output,
        url: String,
        password: Option<SecretText>,
        samples: Vec<Sample>,
    ) -> Result<()> {
        let curl = format!(
            "curl --cacert {} -H @{} '{url}/api/v1/analytics/usage?meter_id=uk-home-1\
             &start=2013-03-25T00:00:00Z&end=2013-04-08T00:00:00%2B01:00&interval=1d\
             &timezone=Europe/London'",
            quoted(&self.authority()),
            quoted(&self.dir.join(HEADER)),
        );
        let ready = Ready {
            url,
            admin: ADMIN,
            password,
            samples,
            curl,
        };
        output.value(&ready, || {
            let password = ready.password.as_ref().map_or_else(
                || "as it was shown when this instance was made".to_owned(),
                |password| format!("{} (shown once)", password.expose()),
            );
            format!(
                "\nURL       {}\nDocs      {}/docs\nAdmin     {ADMIN}\nPassword  {password}\n\n\
                 Two weeks of a home, day by day, the change to summer time among them:\n\n{}\n\n\
                 Ctrl-C stops it; {} stays and is used again.",
                ready.url,
                ready.url,
                ready.curl,
                self.dir.display()
            )
        })
    }
}

/// A new key that reads, writes and analyses; those of earlier runs end.
async fn fresh_key(admin: &Client) -> Result<SecretText> {
    let earlier = admin.keys().await?;
    let ended = |key: &&ems_api::key::Key| key.name == KEY && !key.revoked;
    for key in earlier.iter().filter(ended) {
        admin.revoke_key(&key.id).await?;
    }
    let new = NewKey {
        name: KEY.to_owned(),
        role: Role::Analyst,
        meters: vec![Pattern::All],
        expires_at: None,
    };
    Ok(admin.create_key(&new).await?.key)
}

fn in_words(stored: &BatchStored) -> String {
    format!(
        "{} accepted, {} unchanged, {} corrected, {} rejected",
        stored.accepted, stored.unchanged, stored.corrected, stored.rejected
    )
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reaches_curl_as_one_word() {
        assert_eq!(
            quoted(Path::new("./ems-demo/tls/ca.pem")),
            "./ems-demo/tls/ca.pem"
        );
        assert_eq!(quoted(Path::new("my dir's")), r"'my dir'\''s'");
    }
}
