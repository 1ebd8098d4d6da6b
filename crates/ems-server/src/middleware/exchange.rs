//! One request and its answer: what the layers learn of it, and how it leaves.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use axum::{
    extract::{MatchedPath, Request},
    response::Response,
};
use ems_core::policy::TABLE;
use ems_crypto::random;
use ems_guard::{
    Act, Principal,
    journal::Violation,
    limit::{Rate, Whom},
};
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::Map;
use tokio::time::Instant;

use super::{headers, rate};
use crate::{
    app::App,
    caller::Facts,
    door,
    forwarded::{client_address, is_trusted},
    listener::Peer,
    metrics::InFlight,
    problem::{Probe, Problem, code_of},
};

/// The route of a request that matched none.
const UNMATCHED: &str = "unmatched";
/// Random characters of a request's id: 119 bits.
const ID_LENGTH: usize = 20;
/// Characters of a proxy's id for a request at most.
const MAX_FOREIGN_ID: usize = 64;

pub(super) struct Exchange {
    facts: Facts,
    method: &'static str,
    principal: Option<Arc<Principal>>,
    window: Option<Rate>,
    began: Instant,
    _in_flight: InFlight,
}

impl Exchange {
    pub(super) fn begin(app: &App, request: &Request) -> Self {
        let peer = request.extensions().get::<Peer>();
        let trusted = &app.settings.server.trusted_proxies;
        let client = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |peer| {
            client_address(peer.client, request.headers(), trusted)
        });
        let proxy = peer.is_some_and(|peer| is_trusted(peer.socket.ip(), trusted));
        let request_id = proxy.then(|| foreign_id(request.headers())).flatten();
        Self {
            facts: Facts {
                request_id: request_id
                    .unwrap_or_else(|| random::base62(ID_LENGTH))
                    .into(),
                client,
                now: app.clock.now(),
                route: route(request.extensions().get::<MatchedPath>()),
            },
            method: method(request.method()),
            principal: None,
            window: None,
            began: Instant::now(),
            _in_flight: app.metrics.begin(),
        }
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The route's template.
    pub(super) fn route(&self) -> &'static str {
        self.facts.route
    }

    pub(super) fn method(&self) -> &'static str {
        self.method
    }

    pub(super) fn principal(&self) -> Option<&Arc<Principal>> {
        self.principal.as_ref()
    }

    pub(super) fn identified(&mut self, principal: Arc<Principal>) {
        self.principal = Some(principal);
    }

    /// Notes the window that the answer is to tell of, and passes on whether the request goes on.
    pub(super) fn heed(
        &mut self,
        (window, goes_on): (Option<Rate>, Result<(), Problem>),
    ) -> Result<(), Problem> {
        self.window = window.or(self.window);
        goes_on
    }

    /// The answer as it leaves: rendered, with its header fields, logged, counted.
    pub(super) fn finish(self, app: &Arc<App>, mut answer: Response) -> Response {
        let problem = answer.extensions_mut().remove::<Problem>();
        let problem = problem.or_else(|| bare_refusal(&answer));
        let probe = problem.as_ref().and_then(Problem::probe);
        if let Some(problem) = problem {
            self.log(app, &problem);
            let allow = answer.headers_mut().remove(header::ALLOW);
            answer = problem.render(&self.facts.request_id);
            if let Some(allow) = allow {
                answer.headers_mut().insert(header::ALLOW, allow);
            }
        }
        headers::put(answer.headers_mut(), &self.facts.request_id);
        if let Some(window) = &self.window {
            rate::put(window, answer.headers_mut());
        }
        let status = answer.status().as_u16();
        app.metrics
            .answered(self.facts.route, self.method, status, self.began.elapsed());
        app.journal
            .api_access(&self.act(), self.facts.route, self.method, status);
        self.watch(app, status, probe);
        answer
    }

    /// Counts what many answers of this kind would show.
    fn watch(&self, app: &Arc<App>, status: u16, probe: Option<Probe>) {
        if !(400..500).contains(&status) && probe.is_none() {
            return;
        }
        let (whom, stranger) = match &self.principal {
            Some(principal) => (Whom::Principal(principal), None),
            None => (Whom::Address(self.facts.client), Some(self.facts.client)),
        };
        let burst = app.door.answered(status, whom);
        let probing = self.principal.as_ref().zip(probe);
        let probing =
            probing.and_then(|(who, Probe(meter))| app.door.probed(who, meter.as_deref()));
        let findings = burst.into_iter().chain(probing).collect();
        door::tell_later(app, self.act(), findings, stranger);
    }

    /// The request as an act of whoever it is known to be.
    pub(super) fn act(&self) -> Act {
        let principal = self.principal.as_ref();
        self.facts
            .act(principal.map_or("anonymous", |principal| &principal.name))
    }

    fn log(&self, app: &App, problem: &Problem) {
        if let Some(violation) = problem.violation() {
            let mut details = Map::from_iter([("endpoint".to_owned(), self.facts.route.into())]);
            if violation == Violation::RateLimitExceeded {
                details.insert("window".to_owned(), problem.cause().into());
            }
            if violation == Violation::DamagedData {
                details.insert("fault".to_owned(), problem.cause().into());
                app.metrics.damaged();
            }
            app.journal.violation(&self.act(), violation, details);
        }
        let (request_id, route) = (&*self.facts.request_id, self.facts.route);
        let code = problem.code().as_str();
        match problem.cause() {
            Some(cause) if crate::problem::status(problem.code()).is_server_error() => {
                tracing::error!(request_id, route, code, cause, "a request failed");
            }
            Some(cause) => tracing::debug!(request_id, route, code, cause, "a request was refused"),
            None => {}
        }
    }
}

/// A refusal by something below us that gave no more than a status.
fn bare_refusal(answer: &Response) -> Option<Problem> {
    let status = answer.status();
    let failed = status.is_client_error() || status.is_server_error();
    let told = answer.headers().get(header::CONTENT_TYPE);
    let ours = told.is_some_and(|value| value.as_bytes().starts_with(b"application/"));
    (failed && !ours).then(|| Problem::new(code_of(status)))
}

fn route(matched: Option<&MatchedPath>) -> &'static str {
    let rows = matched.and_then(|path| TABLE.iter().find(|row| row.path == path.as_str()));
    rows.map_or(UNMATCHED, |row| row.path)
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        _ => "OTHER",
    }
}

/// A trusted proxy's id for the request, if it has a harmless form.
fn foreign_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(headers::X_REQUEST_ID).and_then(text)?;
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let fits = (1..=MAX_FOREIGN_ID).contains(&id.len()) && id.bytes().all(harmless);
    fits.then(|| id.to_owned())
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}
