//! A log to a syslog receiver: a connection for a while, ended in order, and only then confirmed.
//! A receiver that stops reading, resets or goes away confirms nothing, and gets it all again.

use std::io;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    LOOK, Refused, Shipper,
    follow::{Batch, Position},
    line,
};
use crate::notify::{
    rfc5424::framed,
    syslog::{Link, Syslog},
};

/// Bytes read at once, and on one connection before they have to be confirmed.
const READ: usize = 256 * 1024;
const MOST: usize = 4 << 20;

/// What is on its way.
#[derive(Default)]
struct Sent {
    lines: u64,
    bytes: usize,
    to: Option<Position>,
}

pub(super) async fn session(
    shipper: &mut Shipper,
    to: &Syslog,
    stop: &CancellationToken,
) -> Result<(), Refused> {
    loop {
        let batch = shipper.next(READ).await?;
        if batch.lines.is_empty() {
            if stop.is_cancelled() || !super::look_again(stop).await {
                // What came until now is in the file.
                let last = shipper.next(READ).await?;
                if last.lines.is_empty() {
                    return Ok(());
                }
                connection(shipper, to, last, stop).await?;
            }
            continue;
        }
        connection(shipper, to, batch, stop).await?;
    }
}

/// Sends lines on one connection until it is time to have them confirmed.
async fn connection(
    shipper: &mut Shipper,
    to: &Syslog,
    mut batch: Batch,
    stop: &CancellationToken,
) -> Result<(), Refused> {
    let settings = &shipper.app.settings.ship;
    let (within, confirm) = (settings.timeout.get(), settings.confirm.get());
    let mut link = Link::open(to, within).await?;
    let until = Instant::now() + confirm;
    let mut sent = Sent::default();
    loop {
        write(shipper, &mut link, batch, &mut sent).await?;
        loop {
            if sent.bytes >= MOST || Instant::now() >= until {
                return confirmed(shipper, link, sent).await;
            }
            batch = shipper.next(READ).await?;
            if !batch.lines.is_empty() {
                break;
            }
            tokio::select! {
                why = link.broken() => return Err(why.into()),
                () = sleep(LOOK) => {}
                () = stop.cancelled() => return confirmed(shipper, link, sent).await,
            }
        }
    }
}

async fn write(
    shipper: &Shipper,
    link: &mut Link,
    batch: Batch,
    sent: &mut Sent,
) -> io::Result<()> {
    let mut frames = Vec::with_capacity(2 * READ);
    for line in &batch.lines {
        let message = line::syslog(shipper.log, shipper.app.alerts.instance(), line);
        frames.extend_from_slice(&framed(&message));
    }
    link.write(&frames).await?;
    sent.lines += u64::try_from(batch.lines.len()).unwrap_or(0);
    sent.bytes += frames.len();
    sent.to = Some(batch.after);
    Ok(())
}

async fn confirmed(shipper: &mut Shipper, link: Link, sent: Sent) -> Result<(), Refused> {
    link.confirm().await?;
    if let Some(to) = sent.to {
        shipper.confirm(to, sent.lines).await?;
    }
    Ok(())
}
