//! Alerts: how the channels stand, and a try of them.

use std::sync::Arc;

use axum::{Json, extract::State};
use ems_api::alert::{AlertChannels, AlertTests, TestAlert};
use ems_core::{Fault, FaultCode, audit::AuditKind};
use ems_store::Batch;

use crate::{
    app::App,
    body::Document,
    caller::{Admin, Caller},
    problem::Problem,
    query::NoQuery,
    strict,
};

/// Shows the channels of alerts, what became of their alerts, and what failed last.
#[utoipa::path(
    get, path = "/api/v1/security/alerts", operation_id = "listAlertChannels", tag = "security",
    responses((status = 200, description = "The channels", body = AlertChannels)),
)]
pub async fn list(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    _: NoQuery,
) -> Result<Json<AlertChannels>, Problem> {
    let channels = app.alerts.list();
    super::note_read(&app, &caller, "alert_channels", channels.len(), None).await?;
    Ok(Json(AlertChannels { channels }))
}

/// Sends a test alert on each channel, or on one, and waits for what it says. It is not counted by
/// the rules, and not tried again.
#[utoipa::path(
    post, path = "/api/v1/security/alerts/test", operation_id = "testAlerts", tag = "security",
    request_body = TestAlert,
    responses((status = 200, description = "What each channel said", body = AlertTests)),
)]
pub async fn test(
    caller: Caller<Admin>,
    State(app): State<Arc<App>>,
    _: NoQuery,
    Document(mut body): Document,
) -> Result<Json<AlertTests>, Problem> {
    let channel = body.optional("channel", strict::text);
    let channel = body.finish(Some(channel))?;
    let act = caller.act();
    let event = act.event(AuditKind::DataAccess, "test", "alert_channels");
    app.store.commit.commit(Batch::note(event)).await?;
    let tried = app.alerts.test(channel.as_deref(), act.at, &act.user).await;
    let Some(results) = tried else {
        let why = "there is no such channel";
        let fault = Fault::new("/channel", FaultCode::InvalidFormat, why);
        return Err(Problem::invalid(vec![fault]));
    };
    Ok(Json(AlertTests { results }))
}
