//! The pages of alerts: `/confirm/{token}` and `/unsubscribe/{token}`.

use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::Response,
    routing::get,
};
use events::link::Purpose;
use events::{Rule, RuleStatus, display, rule::RuleChange};
use store::rules::{self, Changed, RuleRecord};

use crate::{
    http::problem::{Problem, ProblemKind},
    pages::page::Page,
    state::AppState,
};

pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/confirm/{token}", get(ask_to_confirm).post(confirm))
        .route("/unsubscribe/{token}", get(ask_to_unsubscribe).post(unsubscribe))
}

async fn ask_to_confirm(State(state): State<AppState>, Path(token): Path<String>) -> Result<Response, Problem> {
    let record = linked(&state, Purpose::Confirm, &token).await?.ok_or_else(alert_deleted)?;
    Ok(match record.status {
        RuleStatus::Pending => question("Confirm your alert", "Do you want an email when", &record, "Yes, email me"),
        status => status_page(status, &record),
    })
}

async fn confirm(State(state): State<AppState>, Path(token): Path<String>) -> Result<Response, Problem> {
    let record = linked(&state, Purpose::Confirm, &token).await?.ok_or_else(alert_deleted)?;
    match rules::change(&state.store, record.rule.id, RuleChange::Confirmed, platform::clock::now()).await? {
        Changed::Done(record) => Ok(status_page(record.status, &record)),
        Changed::Refused(status) => Ok(status_page(status, &record)),
        Changed::Missing => Err(alert_deleted()),
    }
}

async fn ask_to_unsubscribe(State(state): State<AppState>, Path(token): Path<String>) -> Result<Response, Problem> {
    Ok(match linked(&state, Purpose::Unsubscribe, &token).await? {
        Some(record) => question("Stop this alert", "Do you want no more emails when", &record, "Stop this alert"),
        None => unsubscribed(),
    })
}

/// Also the target of one-click unsubscribing (RFC 8058): whatever form the mail program sends, the link alone identifies the alert.
async fn unsubscribe(State(state): State<AppState>, Path(token): Path<String>) -> Result<Response, Problem> {
    if let Some(record) = linked(&state, Purpose::Unsubscribe, &token).await? {
        rules::change(&state.store, record.rule.id, RuleChange::Deleted, platform::clock::now()).await?;
    }
    Ok(unsubscribed())
}

/// Returns the alert that a link belongs to; `None` when it is deleted.
async fn linked(state: &AppState, purpose: Purpose, token: &str) -> Result<Option<RuleRecord>, Problem> {
    let id = state.links.read(purpose, token).ok_or_else(Problem::bad_link)?;
    let (record, _) = rules::find(&state.store, id).await?.ok_or_else(Problem::bad_link)?;
    Ok(Some(record).filter(|record| record.status != RuleStatus::Deleted))
}

fn alert_deleted() -> Problem {
    Problem::new(ProblemKind::NotFound, "This alert was deleted. Create a new one if you want it back.")
}

fn question(title: &str, lead: &str, record: &RuleRecord, button: &str) -> Response {
    let rule = describe(&record.rule);
    Page::new(title, lead).about(&format!("{rule}?")).button(button).answer(StatusCode::OK)
}

fn describe(rule: &Rule) -> String {
    let venue = rule.venue.as_ref().map(|venue| format!(" at {venue}")).unwrap_or_default();
    format!("{}{venue}", display::rule(&rule.symbol, &rule.condition))
}

fn status_page(status: RuleStatus, record: &RuleRecord) -> Response {
    let (title, lead) = match status {
        RuleStatus::Pending | RuleStatus::Active => ("Your alert is on", "We email you when"),
        RuleStatus::Paused => ("Your alert is paused", "Once it is resumed, we email you when"),
        RuleStatus::Done => ("Your alert has fired", "We have emailed you once, as you asked, because"),
        RuleStatus::Expired | RuleStatus::Deleted => ("Your alert is over", "We no longer email you when"),
    };
    let rule = format!("{}.", describe(&record.rule));
    Page::new(title, lead).about(&rule).answer(StatusCode::OK)
}

fn unsubscribed() -> Response {
    let (title, lead) = ("You are unsubscribed", "This alert is deleted. We do not email you about it again.");
    Page::new(title, lead).answer(StatusCode::OK)
}
