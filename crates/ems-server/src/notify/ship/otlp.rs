//! A log to an OpenTelemetry receiver: OTLP over HTTP, in JSON. It answers, so that a batch counts
//! once it has said yes.

use std::time::Duration;

use http::StatusCode;
use reqwest::{Client, Url, header};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::{
    Refused, Shipper,
    follow::{Batch, Line},
    line,
};
use crate::{
    config::{Secret, Ship},
    notify::webhook::{client, told},
};

/// Bytes of lines in one request.
const MOST: usize = 512 * 1024;
/// The longest time that a receiver may ask to be left alone.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);
/// Lines in a row that a receiver may refuse for good before it is left alone for a while: one that
/// refuses all of them is wrong itself.
const REFUSED_IN_A_ROW: u32 = 3;

/// An OTLP receiver.
#[derive(Clone)]
pub(crate) struct Otlp {
    url: Url,
    token: Option<Secret>,
    client: Client,
}

impl std::fmt::Debug for Otlp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Otlp")
    }
}

/// What a receiver says of a request.
enum Said {
    /// It has them; so many of them it threw away.
    Taken(u64),
    /// It will not have them however often they come.
    Never(String),
    /// Not now.
    Later(Refused),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Answer {
    partial_success: Partial,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Partial {
    /// 64-bit numbers are texts in protobuf's JSON, though some write them as numbers.
    rejected_log_records: serde_json::Value,
}

impl Partial {
    fn rejected(&self) -> u64 {
        let number = &self.rejected_log_records;
        let text = || number.as_str().and_then(|text| text.parse().ok());
        number.as_u64().or_else(text).unwrap_or(0)
    }
}

impl Otlp {
    pub(in crate::notify) fn new(
        url: &str,
        token: Option<&str>,
        ship: &Ship,
    ) -> Result<Self, String> {
        let wrong = || format!("is {url:?}: it must have the form https://host:port");
        let base = Url::parse(url).map_err(|_| wrong())?;
        let plain = base.username().is_empty() && base.query().is_none();
        if base.scheme() != "https" || !base.has_host() || !plain {
            return Err(wrong());
        }
        let url = format!("{}/v1/logs", base.as_str().trim_end_matches('/'));
        Ok(Self {
            url: Url::parse(&url).map_err(|_| wrong())?,
            token: token.map(|token| Secret::new(token.to_owned())),
            client: client(ship.ca_file.as_deref(), None)?,
        })
    }

    async fn post(&self, body: String, within: Duration) -> Said {
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(within)
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return later(told(error), None),
        };
        let status = answer.status();
        let after = answer.headers().get(header::RETRY_AFTER);
        let after = after.and_then(|value| value.to_str().ok()?.trim().parse().ok());
        let after = after.map(|seconds| Duration::from_secs(seconds).min(LONGEST_PAUSE));
        if status.is_success() {
            // It is taken, whatever is said beside it.
            let said: Answer = match answer.bytes().await {
                Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
                Err(_) => Answer::default(),
            };
            return Said::Taken(said.partial_success.rejected());
        }
        let why = format!("answered {}", status.as_u16());
        match status {
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNPROCESSABLE_ENTITY => Said::Never(why),
            // A wrong token or path is mended by somebody; until then nothing is thrown away.
            _ => later(why, after),
        }
    }
}

fn later(why: String, after: Option<Duration>) -> Said {
    Said::Later(Refused { why, after })
}

pub(super) async fn session(
    shipper: &mut Shipper,
    to: &Otlp,
    stop: &CancellationToken,
) -> Result<(), Refused> {
    loop {
        let batch = shipper.next(MOST).await?;
        if !batch.lines.is_empty() {
            send(shipper, to, batch).await?;
        } else if stop.is_cancelled() || !super::look_again(stop).await {
            let last = shipper.next(MOST).await?;
            if last.lines.is_empty() {
                return Ok(());
            }
            send(shipper, to, last).await?;
        }
    }
}

/// Sends a batch; in halves where it is refused for good, down to the line that is why.
async fn send(shipper: &mut Shipper, to: &Otlp, batch: Batch) -> Result<(), Refused> {
    let within = shipper.app.settings.ship.timeout.get();
    let mut parts = vec![batch.lines];
    let mut refused_in_a_row = 0;
    while let Some(lines) = parts.pop() {
        let Some(last) = lines.last() else { continue };
        let after = batch.after.at(last);
        let body = line::otlp(shipper.log, shipper.app.alerts.instance(), &lines).to_string();
        match to.post(body, within).await {
            Said::Later(refused) => return Err(refused),
            Said::Taken(rejected) => {
                refused_in_a_row = 0;
                let count = u64::try_from(lines.len()).unwrap_or(0);
                if rejected > 0 {
                    thrown_away(shipper, rejected.min(count));
                }
                shipper
                    .confirm(after, count.saturating_sub(rejected))
                    .await?;
            }
            Said::Never(why) if lines.len() == 1 => {
                shipper.bury(&last.id, &last.text, &why).await;
                shipper.confirm(after, 0).await?;
                refused_in_a_row += 1;
                if refused_in_a_row >= REFUSED_IN_A_ROW {
                    let why = format!("refuses every line: {why}");
                    let after = Some(Duration::from_mins(1));
                    return Err(Refused { why, after });
                }
            }
            Said::Never(_) => {
                let (first, second) = halves(lines);
                parts.extend([second, first]);
            }
        }
    }
    Ok(())
}

fn halves(mut lines: Vec<Line>) -> (Vec<Line>, Vec<Line>) {
    let second = lines.split_off(lines.len() / 2);
    (lines, second)
}

/// The receiver took the batch and threw some away; OTLP says not to send them again.
fn thrown_away(shipper: &Shipper, lines: u64) {
    let (log, to) = shipper.labels();
    tracing::error!(
        log,
        to,
        lines,
        "the receiver threw lines away that it had taken"
    );
    shipper.app.metrics.notify.lines((log, to), "dead", lines);
}
