//! What the door decides, as an answer; and what was noticed, as log lines and figures.

use std::{net::IpAddr, sync::Arc};

use ems_api::ErrorCode;
use ems_guard::{
    Act,
    door::{Decision, Entry, Failure, Finding},
    journal::Violation,
    limit::Rate,
};

use crate::{app::App, caller::Facts, listener::GivenUp, problem::Problem};

/// What a flood of frames adds to the score of its address: no client sends one by mistake.
const FLOOD: u64 = 10;
/// What a request that can be read in two ways adds.
const AMBIGUOUS: u64 = 2;

/// Whether a request goes on, after what was noticed is told. The window that held it, full or not.
/// `kind` names the window in log and metrics. `stranger`: the address, where what is noticed is to
/// be counted against it.
pub(crate) async fn heed(
    app: &App,
    act: &Act,
    (decision, kind): (Decision, &'static str),
    stranger: Option<IpAddr>,
) -> (Option<Rate>, Result<(), Problem>) {
    let Decision {
        entry,
        findings,
        alone,
    } = decision;
    tell(app, act, findings, stranger).await;
    if alone {
        tracing::debug!(kind, "decided by the windows of this process");
    }
    match entry {
        Entry::Open(rate) => (rate, Ok(())),
        Entry::Full(rate) => {
            app.metrics.rate_limited(kind);
            (Some(rate), Err(Problem::rate_limited(&rate, kind)))
        }
        Entry::Shut => {
            app.metrics.guard().refused("request");
            (None, Err(Problem::new(ErrorCode::RequestBlocked)))
        }
        Entry::Unsure => {
            let why = "the shared state cannot be asked, and this is not decided without it";
            (None, Err(Problem::unavailable(why)))
        }
    }
}

/// Counts a refused credential against its address.
///
/// # Errors
/// What to answer in place of 401, where the address is shut out or its window is full.
pub(crate) async fn refused(
    app: &App,
    facts: &Facts,
    failure: Failure<'_>,
) -> (Option<Rate>, Result<(), Problem>) {
    let act = facts.act("anonymous");
    let decision = app.door.refused(facts.client, failure, &act).await;
    heed(app, &act, (decision, "address"), Some(facts.client)).await
}

/// Tells what was noticed, and what follows from it.
pub(crate) async fn tell(app: &App, act: &Act, findings: Vec<Finding>, stranger: Option<IpAddr>) {
    for Finding {
        violation,
        details,
        score,
        sentence,
    } in findings
    {
        match sentence {
            Some((kind, reason)) => app.metrics.guard().sentenced(kind, reason),
            None if violation == Violation::IpReleased => {}
            None => app.metrics.guard().pattern(violation),
        }
        app.journal.violation(act, violation, details);
        if let Some(address) = stranger.filter(|_| score > 0) {
            let follows = app.door.offended(address, score, act).await;
            Box::pin(tell(app, act, follows, None)).await;
        }
    }
}

/// The same, beside the request that it was noticed in.
pub(crate) fn tell_later(
    app: &Arc<App>,
    act: Act,
    findings: Vec<Finding>,
    stranger: Option<IpAddr>,
) {
    if findings.is_empty() {
        return;
    }
    let app = Arc::clone(app);
    tokio::spawn(async move { tell(&app, &act, findings, stranger).await });
}

/// Counts a connection that was given up, and tells of those that somebody meant to do harm with.
pub(crate) fn gave_up(app: &Arc<App>, client: IpAddr, why: GivenUp) {
    app.metrics.guard().gave_up(why);
    tracing::debug!(%client, why = why.as_str(), "connection given up");
    let score = match why {
        GivenUp::Flood => FLOOD,
        GivenUp::Ambiguous => AMBIGUOUS,
        GivenUp::Crowded => 0,
        GivenUp::SlowHead | GivenUp::SlowRead | GivenUp::Idle => return,
    };
    let act = Act {
        at: app.clock.now(),
        user: "anonymous".to_owned(),
        source_ip: client.to_string(),
        request_id: String::new(),
    };
    let finding = Finding::of_connection(why.as_str(), score);
    tell_later(app, act, vec![finding], Some(client));
}
