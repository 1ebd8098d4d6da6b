//! `cargo xtask waf`: replays a corpus of requests byte for byte against a server of its own, and
//! counts by category what became of them. Nothing is made more polite on the way: what an HTTP
//! client would refuse to send is sent.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use data_encoding::BASE64;
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};

use crate::instance::{ADMIN, Instance};
use crate::shell;

/// What is waited for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a replay must not run into.
const SETTINGS: [(&str, &str); 10] = [
    ("EMS_SERVER__TLS", "off"),
    ("EMS_GUARD__BAN_SCORE", "0"),
    ("EMS_GUARD__FAILED_LOGINS", "0"),
    ("EMS_GUARD__BURST_401", "0"),
    ("EMS_GUARD__BURST_403", "0"),
    ("EMS_GUARD__BURST_404", "0"),
    ("EMS_LIMITS__ADDRESS_PER_HOUR", "0"),
    ("EMS_LIMITS__USER_PER_HOUR", "0"),
    ("EMS_LIMITS__KEY_PER_HOUR", "0"),
    ("EMS_SERVER__MAX_CONNECTIONS_PER_ADDRESS", "0"),
];

/// The flags of `cargo xtask waf`.
#[derive(Args)]
pub(crate) struct Waf {
    /// Lines of JSON, gzip or not: `id`, `category`, `attack`, `paranoia_level`, `request_base64`
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Requests of this paranoia level and below
    #[arg(long, default_value_t = 1)]
    level: u64,
    /// Names the attacks that passed, too
    #[arg(long)]
    misses: bool,
    /// Texts, each ended by a line `%`, to be put into a free-text field: whatever is blocked of
    /// them is a false alarm
    #[arg(long, value_name = "FILE", num_args = 1..)]
    prose: Vec<PathBuf>,
    /// A server that runs already, without TLS, and is set as a replay needs it; its admin's
    /// password comes from a file
    #[arg(long, value_name = "HOST:PORT", requires = "password_file")]
    server: Option<String>,
    /// See `--server`
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// What became of requests of one category.
#[derive(Default)]
struct Tally {
    blocked: u32,
    malformed: u32,
    closed: u32,
    passed: u32,
    others: u32,
    others_blocked: u32,
}

/// Replays what is asked for.
pub(crate) fn run(waf: &Waf) -> Result<()> {
    if let (Some(server), Some(file)) = (&waf.server, &waf.password_file) {
        let password = std::fs::read_to_string(file).context("cannot read the password")?;
        return replay(waf, server, password.trim_end());
    }
    let instance = Instance::init()?;
    let server = instance.serve(&SETTINGS)?;
    let url = server.url();
    let address = url.trim_start_matches("https://");
    replay(waf, address, instance.password())?;
    server.stop()
}

fn replay(waf: &Waf, server: &str, password: &str) -> Result<()> {
    if let Some(file) = &waf.corpus {
        corpus(waf, file, server)?;
    }
    if !waf.prose.is_empty() {
        prose(&waf.prose, server, password)?;
    }
    Ok(())
}

fn corpus(waf: &Waf, file: &Path, server: &str) -> Result<()> {
    let mut table: BTreeMap<String, Tally> = BTreeMap::new();
    for line in reader(file)?.lines() {
        let row: Value = serde_json::from_str(&line?).context("a line is no JSON")?;
        let field = |name: &str| row.get(name).unwrap_or(&Value::Null);
        if field("paranoia_level").as_u64().unwrap_or(1) > waf.level {
            continue;
        }
        let request = field("request_base64").as_str();
        let request = request.context("a line has no request")?;
        let request = BASE64
            .decode(request.as_bytes())
            .context("a request is no Base64")?;
        let status = exchange(server, &request)?;
        let category = field("category").as_str().unwrap_or("?");
        let tally = table.entry(category.to_owned()).or_default();
        if field("attack") != &json!(true) {
            tally.others += 1;
            tally.others_blocked += u32::from(status == Some(403));
            continue;
        }
        match status {
            Some(403) => tally.blocked += 1,
            Some(400) => tally.malformed += 1,
            None => tally.closed += 1,
            Some(status) => {
                tally.passed += 1;
                if waf.misses {
                    let id = field("id").as_str().unwrap_or("?");
                    shell::say(&format!("passed ({status}): {id}"));
                }
            }
        }
    }
    shell::say(&render(&table));
    Ok(())
}

fn render(table: &BTreeMap<String, Tally>) -> String {
    let mut page = format!(
        "{:<50} {:>7} {:>7} {:>5} {:>6} {:>6} {:>7}   {:>6}\n",
        "category", "attacks", "403", "400", "closed", "passed", "blocked", "others"
    );
    let mut all = Tally::default();
    for (category, tally) in table {
        row(&mut page, category, tally);
        all.blocked += tally.blocked;
        all.malformed += tally.malformed;
        all.closed += tally.closed;
        all.passed += tally.passed;
        all.others += tally.others;
        all.others_blocked += tally.others_blocked;
    }
    row(&mut page, "all", &all);
    page
}

fn row(page: &mut String, name: &str, tally: &Tally) {
    let attacks = tally.blocked + tally.malformed + tally.closed + tally.passed;
    let share = f64::from(tally.blocked) * 100.0 / f64::from(attacks.max(1));
    let _ = writeln!(
        page,
        "{name:<50} {attacks:>7} {:>7} {:>5} {:>6} {:>6} {share:>6.1}%   {}/{}",
        tally.blocked,
        tally.malformed,
        tally.closed,
        tally.passed,
        tally.others_blocked,
        tally.others,
    );
}

/// Puts each text into the location of a reading that is checked and not stored.
fn prose(files: &[PathBuf], server: &str, password: &str) -> Result<()> {
    let login = json!({ "username": ADMIN, "password": password }).to_string();
    let (status, body) = answer(server, &post("/api/v1/auth/token", "", &login))?;
    if status != Some(200) {
        bail!("the login was answered {status:?}");
    }
    let start = body.find('{').unwrap_or(0);
    let told: Value = serde_json::from_str(body.get(start..).unwrap_or_default())?;
    let token = told.get("access_token").and_then(Value::as_str);
    let token = token.context("no token came")?;
    let (mut texts, mut blocked) = (0_u32, 0_u32);
    for file in files {
        let mut all = Vec::new();
        reader(file)?.read_to_end(&mut all)?;
        for text in String::from_utf8_lossy(&all).split("\n%\n") {
            let plain: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let location: String = plain
                .chars()
                .filter(|c| !c.is_control())
                .take(200)
                .collect();
            if location.is_empty() {
                continue;
            }
            texts += 1;
            let row = json!([{ "meter_id": "m", "timestamp": "2024-01-01T00:00:00Z",
                               "energy_consumption": 1, "location": location }]);
            let authorization = format!("Authorization: Bearer {token}\r\n");
            let request = post("/api/v1/data/validate", &authorization, &row.to_string());
            match exchange(server, &request)? {
                Some(200) => {}
                Some(403) => {
                    blocked += 1;
                    shell::say(&format!("blocked: {location}"));
                }
                other => bail!("a text was answered {other:?}: {location}"),
            }
        }
    }
    let share = f64::from(blocked) * 100.0 / f64::from(texts.max(1));
    shell::say(&format!(
        "prose: {blocked} of {texts} texts blocked ({share:.2} %)"
    ));
    Ok(())
}

fn post(path: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{fields}\
         Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends bytes as they are; the status of the answer, if one came.
fn exchange(server: &str, request: &[u8]) -> Result<Option<u16>> {
    let mut stream = send(server, request)?;
    let mut answer = Vec::new();
    let mut piece = [0_u8; 1024];
    // The rest of an answer that is not closed would be waited for in vain.
    while status(&answer).is_none()
        && let Ok(length @ 1..) = stream.read(&mut piece)
    {
        answer.extend_from_slice(piece.get(..length).unwrap_or_default());
    }
    Ok(status(&answer))
}

/// The same, and all of an answer after which the connection is closed.
fn answer(server: &str, request: &[u8]) -> Result<(Option<u16>, String)> {
    let mut answer = Vec::new();
    send(server, request)?.read_to_end(&mut answer)?;
    Ok((
        status(&answer),
        String::from_utf8_lossy(&answer).into_owned(),
    ))
}

fn send(server: &str, request: &[u8]) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(server).context("the server takes no connection")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // A server that has answered and closed before all was sent has answered.
    let _ = stream.write_all(request);
    Ok(stream)
}

fn status(answer: &[u8]) -> Option<u16> {
    let digits = answer.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// A file, unpacked if it is gzip.
fn reader(file: &Path) -> Result<Box<dyn BufRead>> {
    let open = || File::open(file).with_context(|| format!("cannot read {}", file.display()));
    let mut start = [0_u8; 2];
    let length = open()?.read(&mut start)?;
    if length == 2 && start == [0x1f, 0x8b] {
        return Ok(Box::new(BufReader::new(MultiGzDecoder::new(open()?))));
    }
    Ok(Box::new(BufReader::new(open()?)))
}
