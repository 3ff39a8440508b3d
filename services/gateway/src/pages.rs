//! The pages behind the links in mails. Opening one asks, its button acts: mail scanners open links.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    Router,
    extract::{Path, State},
    http::StatusCode,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use events::link::Purpose;
use events::{Rule, RuleStatus, display, rule::RuleChange};
use sha2::{Digest, Sha256};
use store::rules::{self, Changed, RuleRecord};

use crate::{
    App,
    problem::{Kind, Problem},
};

const STYLE: &str = include_str!("../templates/page.css");

/// No script, no image, no frame, no other site; the one style by its hash.
pub(crate) static CONTENT_POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// A page: what it is about, what can be done, how it went.
#[derive(Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    style: &'static str,
    title: &'a str,
    lead: &'a str,
    /// What is asked or told about: a rule's condition, an address.
    rule: Option<&'a str>,
    /// What the one field says, which takes a password.
    password: Option<&'a str>,
    /// What a browser fills in: `new-password` or `current-password`.
    autocomplete: &'static str,
    /// What the one button says.
    button: Option<&'a str>,
    /// How we find the request again.
    trace_id: Option<&'a str>,
}

/// `/confirm/{token}` and `/unsubscribe/{token}`.
pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/confirm/{token}", get(ask_to_confirm).post(confirm))
        .route("/unsubscribe/{token}", get(ask_to_unsubscribe).post(unsubscribe))
}

/// Whether what is under this path is for people.
pub(crate) fn is_page(path: &str) -> bool {
    ["/confirm/", "/unsubscribe/", "/join/", "/reset/"].iter().any(|pages| path.starts_with(pages))
}

/// A problem as a page.
pub(crate) fn problem(problem: &Problem, trace_id: &str) -> String {
    let title = problem.kind.title();
    Page { trace_id: Some(trace_id), ..Page::new(title, &problem.detail) }.text()
}

async fn ask_to_confirm(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    let record = linked(&app, Purpose::Confirm, &token).await?.ok_or_else(gone)?;
    Ok(match record.status {
        RuleStatus::Pending => ask("Confirm your alert", "Shall we write to you when", &record, "Yes, write to me"),
        status => tell_status(status, &record),
    })
}

async fn confirm(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    let record = linked(&app, Purpose::Confirm, &token).await?.ok_or_else(gone)?;
    match rules::change(&app.store, record.rule.id, RuleChange::Confirmed, platform::clock::now()).await? {
        Changed::Done(record) => Ok(tell_status(record.status, &record)),
        Changed::Refused(status) => Ok(tell_status(status, &record)),
        Changed::Missing => Err(gone()),
    }
}

async fn ask_to_unsubscribe(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    Ok(match linked(&app, Purpose::Unsubscribe, &token).await? {
        Some(record) => ask("Stop this alert", "Shall we no longer write to you when", &record, "Stop this alert"),
        None => unsubscribed(),
    })
}

/// Also the target of one-click unsubscribing (RFC 8058): whatever form the mail program sends, the link says it all.
async fn unsubscribe(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    if let Some(record) = linked(&app, Purpose::Unsubscribe, &token).await? {
        rules::change(&app.store, record.rule.id, RuleChange::Deleted, platform::clock::now()).await?;
    }
    Ok(unsubscribed())
}

/// The rule that a link is about; `None` when it is deleted.
async fn linked(app: &App, purpose: Purpose, token: &str) -> Result<Option<RuleRecord>, Problem> {
    let no_link = || Problem::new(Kind::NotFound, "This link is not one of ours, or was not copied whole.");
    let id = app.links.read(purpose, token).ok_or_else(no_link)?;
    let (record, _) = rules::find(&app.store, id).await?.ok_or_else(no_link)?;
    Ok(Some(record).filter(|record| record.status != RuleStatus::Deleted))
}

fn gone() -> Problem {
    Problem::new(Kind::NotFound, "This alert was deleted. Make a new one if you want it back.")
}

fn ask(title: &str, lead: &str, record: &RuleRecord, button: &str) -> Response {
    let rule = in_words(&record.rule);
    Page::new(title, lead).about(&format!("{rule}?")).button(button).answer(StatusCode::OK)
}

fn in_words(rule: &Rule) -> String {
    let place = rule.venue.as_ref().map(|venue| format!(" at {venue}")).unwrap_or_default();
    format!("{}{place}", display::rule(&rule.symbol, &rule.condition))
}

fn tell_status(status: RuleStatus, record: &RuleRecord) -> Response {
    let (title, lead) = match status {
        RuleStatus::Pending | RuleStatus::Active => ("Your alert is on", "We write to you when"),
        RuleStatus::Paused => ("Your alert is paused", "Once it is resumed, we write to you when"),
        RuleStatus::Done => ("Your alert has done its work", "We have written to you once, as you asked, because"),
        RuleStatus::Expired | RuleStatus::Deleted => ("Your alert is over", "We no longer write to you when"),
    };
    let rule = format!("{}.", in_words(&record.rule));
    Page::new(title, lead).about(&rule).answer(StatusCode::OK)
}

fn unsubscribed() -> Response {
    let (title, lead) = ("You are unsubscribed", "This alert is deleted. We do not write to you about it again.");
    Page::new(title, lead).answer(StatusCode::OK)
}

impl<'a> Page<'a> {
    /// One that only says something.
    pub(crate) fn new(title: &'a str, lead: &'a str) -> Self {
        Self {
            style: STYLE,
            title,
            lead,
            rule: None,
            password: None,
            autocomplete: "new-password",
            button: None,
            trace_id: None,
        }
    }

    pub(crate) fn about(self, what: &'a str) -> Self {
        Self { rule: Some(what), ..self }
    }

    pub(crate) fn button(self, says: &'a str) -> Self {
        Self { button: Some(says), ..self }
    }

    /// A field for a new password.
    pub(crate) fn password(self, label: &'a str) -> Self {
        Self { password: Some(label), ..self }
    }

    /// A field for a password that was chosen before.
    pub(crate) fn known_password(self, label: &'a str) -> Self {
        Self { password: Some(label), autocomplete: "current-password", ..self }
    }

    fn text(&self) -> String {
        self.render().expect("a page of text always renders")
    }

    pub(crate) fn answer(&self, status: StatusCode) -> Response {
        (status, Html(self.text())).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_escapes_what_it_shows_and_holds_exactly_the_style_it_allows() {
        let page = problem(&Problem::new(Kind::NotFound, "<script>alert(1)</script>"), "abc");
        assert!(!page.contains("<script>") && page.contains("alert(1)"), "{page}");
        let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next());
        assert_eq!(style, Some(STYLE));
        assert!(CONTENT_POLICY.contains("sha256-"));
    }
}
