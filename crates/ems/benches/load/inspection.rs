//! What inspection costs the whole server, and what another firewall takes for the same requests:
//! nginx with `ModSecurity` and the OWASP Core Rule Set before a file, where Debian's packages of them
//! are installed.

use std::{
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use crate::{
    batches::{SENDERS, ours},
    client::{Target, get, request},
    instance::{Instance, free_address, temporary},
    load::{Source, Until, load, print, ratio, repeated},
    loads::Wanted,
    process::Process,
    requests::{CONNECTIONS, day, put_month, single_posts},
};

const NGINX: &str = "/usr/sbin/nginx";
const MODULE: &str = "/usr/lib/nginx/modules/ngx_http_modsecurity_module.so";
const RULES: &str = "/usr/share/modsecurity-crs/rules";
/// What clients send beside what a request needs.
const FIELDS: &str = "user-agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
                      accept: application/json\r\naccept-language: en-GB,en;q=0.8\r\n\
                      accept-encoding: gzip, deflate, br, zstd\r\nreferer: https://localhost/docs\r\n";
/// How often a load changes between the two servers, so that a machine that drifts does so for both.
const TURNS: u32 = 6;

/// A kind of request, on how many connections it is sent, and what makes it in a turn: each turn has
/// readings of its own, since those that are there already cost less.
type Kind = (&'static str, usize, Box<dyn Fn(u32) -> Result<Make> + Sync>);
type Make = Box<dyn Fn() -> Source + Sync>;

/// A server, and what is sent to it.
struct Side {
    instance: Instance,
    kinds: Vec<Kind>,
}

/// Compares a server that inspects with one that does not, then with the other firewall.
pub async fn run(wanted: &Wanted) -> Result<()> {
    let (with, without) = (Side::start("block").await?, Side::start("off").await?);
    let mut rates = Vec::new();
    for (one, other) in with.kinds.iter().zip(&without.kinds) {
        rates.push(compare(wanted, (&with, one), (&without, other)).await?);
    }
    let installed = [NGINX, MODULE, RULES];
    if !installed.iter().all(|file| Path::new(file).exists()) {
        eprintln!("modsecurity not_installed");
        return Ok(());
    }
    let firewall = Firewall::start(&with.instance.home()).await?;
    for ((name, connections, make), ours) in with.kinds.iter().zip(rates) {
        if *name != "batch" {
            let source = make(0)?;
            let theirs = load(&firewall.target, *connections, wanted.until(), &*source).await?;
            print(&format!("modsecurity_{name}"), theirs.rate(), "requests/s");
            let times = ours / theirs.rate();
            print(&format!("inspected_{name}_ratio"), times, "of_modsecurity");
        }
    }
    Ok(())
}

impl Side {
    async fn start(mode: &str) -> Result<Self> {
        let setting = ("EMS_GUARD__INSPECTION", mode.to_owned());
        let instance = Instance::start_with(vec![setting]).await?;
        let token = instance.token().await?;
        put_month(&instance.target, &token).await?;
        let (batch, post) = (Arc::clone(&token), Arc::clone(&token));
        let kinds: Vec<Kind> = vec![
            (
                "batch",
                SENDERS,
                Box::new(move |turn| {
                    let shape = ours(&format!("inspected{turn}-"), 100);
                    Ok(Box::new(shape.source(&batch, 0)?))
                }),
            ),
            (
                "post",
                CONNECTIONS,
                Box::new(move |turn| {
                    let posts = single_posts(&post, &format!("post{turn}"));
                    Ok(Box::new(move || with_fields(posts())))
                }),
            ),
            ("get", CONNECTIONS, same(usual("GET", &day(), &token))),
            (
                "me",
                CONNECTIONS,
                same(usual("GET", "/api/v1/auth/me", &token)),
            ),
        ];
        Ok(Self { instance, kinds })
    }

    /// Requests and their seconds, and processor time of the server.
    async fn load(&self, kind: &Kind, time: Duration, turn: u32) -> Result<(f64, f64, f64)> {
        let (_, connections, make) = kind;
        let source = make(turn)?;
        let before = self.instance.server.cpu()?;
        let until = Until::Time(time);
        let done = load(&self.instance.target, *connections, until, &*source).await?;
        let cpu = self.instance.server.cpu_since(before)?;
        Ok((ratio(done.requests, 1), done.seconds, cpu.as_secs_f64()))
    }
}

/// A kind that is the same in each turn.
fn same(request: Vec<u8>) -> Box<dyn Fn(u32) -> Result<Make> + Sync> {
    Box::new(move |_| Ok(Box::new(repeated(request.clone()))))
}

/// A request with the fields that clients send.
fn usual(method: &str, target: &str, token: &str) -> Vec<u8> {
    let mut request = request(method, target, token, ("application/json", b""));
    add_fields(&mut request);
    request
}

fn with_fields(source: Source) -> Source {
    Box::new(move |number, buffer| {
        source(number, buffer);
        add_fields(buffer);
    })
}

/// Puts them behind the first line.
fn add_fields(request: &mut Vec<u8>) {
    if let Some(end) = request.iter().position(|byte| *byte == b'\n') {
        let start = end + 1;
        request.splice(start..start, FIELDS.bytes());
    }
}

/// Loads both in turns; returns the rate of the one that inspects.
async fn compare(
    wanted: &Wanted,
    (with, one): (&Side, &Kind),
    (without, other): (&Side, &Kind),
) -> Result<f64> {
    let time = wanted.time / TURNS;
    let mut sums = [(0.0, 0.0, 0.0); 2];
    // A turn of each before those that count: meters come into being, caches fill.
    for (side, kind) in [(without, other), (with, one)] {
        side.load(kind, time, TURNS).await?;
    }
    for turn in 0..TURNS {
        for (sum, (side, kind)) in sums.iter_mut().zip([(without, other), (with, one)]) {
            let (requests, seconds, cpu) = side.load(kind, time, turn).await?;
            *sum = (sum.0 + requests, sum.1 + seconds, sum.2 + cpu);
        }
    }
    let [bare, inspected] = sums;
    let rate = |sum: (f64, f64, f64)| sum.0 / sum.1;
    let each = |sum: (f64, f64, f64)| sum.2 / sum.0 * 1e6;
    for (figure, value, unit) in [
        ("", rate(inspected), "requests/s"),
        ("_off", rate(bare), "requests/s"),
        ("_cpu", each(inspected), "us/request"),
        ("_cpu_off", each(bare), "us/request"),
        (
            "_cost",
            (each(inspected) / each(bare) - 1.0) * 100.0,
            "%_of_cpu",
        ),
    ] {
        print(&format!("inspected_{}{figure}", one.0), value, unit);
    }
    Ok(rate(inspected))
}

/// The other firewall, over TLS too, under the certificate of an instance.
struct Firewall {
    _process: Process,
    target: Target,
    _dir: tempfile::TempDir,
}

impl Firewall {
    async fn start(home: &Path) -> Result<Self> {
        let (dir, address) = (temporary()?, free_address()?);
        let path = dir.path();
        std::fs::write(
            path.join("answer"),
            "an answer that costs nothing to make\n",
        )?;
        std::fs::write(path.join("rules.conf"), rules())?;
        let config = config(path, &home.join("tls"), &address.to_string());
        std::fs::write(path.join("nginx.conf"), config)?;
        // Its workers give up root, and have to read what lies here.
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        let mut command = Command::new(NGINX);
        command.arg("-c").arg(path.join("nginx.conf"));
        let mut process = Process::quiet(&mut command)?;
        let target = Target {
            address,
            ca: Some(home.join("tls/ca.pem")),
        };
        let attack = get("/?q=1%27%20OR%20%271%27=%271%27--", "");
        for (request, expected) in [(get("/", ""), 200), (attack, 403)] {
            let status = answered(&mut process, &target, &request).await?;
            if status != expected {
                bail!("nginx answered {status} where {expected} was expected");
            }
        }
        Ok(Self {
            _process: process,
            target,
            _dir: dir,
        })
    }
}

/// The status of the first answer that comes.
async fn answered(process: &mut Process, target: &Target, request: &[u8]) -> Result<u16> {
    let start = Instant::now();
    loop {
        if let Ok(mut connection) = target.connect().await
            && let Ok(answer) = connection.exchange(request).await
        {
            return Ok(answer.status);
        }
        if process.has_ended()? || start.elapsed() > Duration::from_mins(1) {
            bail!("nginx does not answer");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The packaged configuration, made to block, without its log and without a look at answers: what
/// it needs for requests and no more.
fn rules() -> String {
    format!(
        "Include /etc/nginx/modsecurity.conf\nSecRuleEngine On\nSecAuditEngine Off\n\
         SecResponseBodyAccess Off\nInclude /etc/modsecurity/crs/crs-setup.conf\n\
         Include {RULES}/*.conf\n"
    )
}

fn config(dir: &Path, tls: &Path, address: &str) -> String {
    let (dir, tls) = (dir.display(), tls.display());
    format!(
        r"load_module {MODULE};
daemon off;
worker_processes 2;
pid {dir}/nginx.pid;
error_log {dir}/error.log crit;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  client_body_temp_path {dir}/body;
  server {{
    listen {address} ssl;
    ssl_certificate {tls}/server.pem;
    ssl_certificate_key {tls}/server.key;
    modsecurity on;
    modsecurity_rules_file {dir}/rules.conf;
    root {dir};
    location / {{
      try_files /answer =404;
      error_page 405 =200 /answer;
    }}
  }}
}}
"
    )
}
