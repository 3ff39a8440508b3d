//! Error reports to Sentry, where a DSN is set: log lines of level error, with the lines before them, and panics. Email
//! addresses and passwords are removed before a report leaves the process.

use std::{borrow::Cow, time::Duration};

use sentry::{
    ClientInitGuard, ClientOptions,
    integrations::tracing::{BreadcrumbLayer, ErrorLayer},
    protocol::{Context, Event},
    types::Dsn,
};
use serde_json::Value;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{Layer, registry::LookupSpan};

use super::{Program, Settings, TelemetryError};

/// The time that the end of the process waits for reports that are not sent yet.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Starts the client for the DSN of the settings; returns none where no DSN is set.
pub(super) fn init(program: Program, settings: &Settings) -> Result<Option<ClientInitGuard>, TelemetryError> {
    if settings.sentry_dsn.is_empty() {
        return Ok(None);
    }
    let dsn: Dsn = settings.sentry_dsn.parse().map_err(|error| TelemetryError::Sentry(format!("{error}")))?;
    let Program { service, version, commit } = program;
    let mut options = ClientOptions::new()
        .release(format!("tickbell@{version}+{commit}"))
        .environment(settings.environment.clone())
        // A pod's name says nothing about the error; the service does.
        .server_name(service)
        .shutdown_timeout(FLUSH_TIMEOUT)
        .before_send(|event| Some(scrub_event(event)));
    options.dsn = Some(dsn);
    let guard = sentry::init(options);
    sentry::configure_scope(|scope| scope.set_tag("service", service));
    Ok(Some(guard))
}

/// Returns the layer that sends errors as events, with the log lines before them as breadcrumbs.
pub(super) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    ErrorLayer::new().with_filter(LevelFilter::ERROR).and_then(BreadcrumbLayer::new().with_filter(LevelFilter::INFO))
}

/// Removes from an event what could identify a person.
fn scrub_event(mut event: Event<'static>) -> Event<'static> {
    event.user = None;
    event.request = None;
    event.message = event.message.map(|text| scrub_text(&text));
    if let Some(entry) = &mut event.logentry {
        entry.message = scrub_text(&entry.message);
        entry.params.iter_mut().for_each(scrub_value);
    }
    for exception in &mut event.exception.values {
        exception.value = exception.value.take().map(|text| scrub_text(&text));
    }
    for crumb in &mut event.breadcrumbs.values {
        crumb.message = crumb.message.take().map(|text| scrub_text(&text));
        crumb.data.values_mut().for_each(scrub_value);
    }
    event.tags.values_mut().for_each(|text| *text = scrub_text(text));
    event.extra.values_mut().for_each(scrub_value);
    for context in event.contexts.values_mut() {
        if let Context::Other(fields) = context {
            fields.values_mut().for_each(scrub_value);
        }
    }
    event
}

fn scrub_value(value: &mut Value) {
    match value {
        Value::String(text) => *text = scrub_text(text),
        Value::Array(values) => values.iter_mut().for_each(scrub_value),
        Value::Object(fields) => fields.values_mut().for_each(scrub_value),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Replaces each word that contains an `@` by `[hidden]`: email addresses, and URLs that carry a password.
fn scrub_text(text: &str) -> String {
    let ends_word = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>' | '(' | ')' | ',' | ';' | '`');
    text.split_inclusive(ends_word)
        .map(|piece| {
            let word = piece.trim_end_matches(ends_word);
            if word.contains('@') { Cow::Owned(format!("[hidden]{}", &piece[word.len()..])) } else { piece.into() }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use sentry::protocol::{Breadcrumb, Exception};

    use super::*;

    #[test]
    fn words_with_an_address_are_hidden_and_the_rest_stays() {
        let scrubbed =
            scrub_text("550 <ada@example.com>: no such user (smtps://bob:pw@mail.example.com:465), try later");
        assert_eq!(scrubbed, "550 <[hidden]>: no such user ([hidden]), try later");
        assert_eq!(scrub_text("nothing to hide"), "nothing to hide");
    }

    #[test]
    fn an_event_contains_no_address() {
        let mut event = Event { message: Some("to ada@example.com".into()), ..Event::default() };
        event.user = Some(sentry::User { email: Some("ada@example.com".into()), ..Default::default() });
        event.exception.values.push(Exception { value: Some("for ada@example.com".into()), ..Default::default() });
        let mut crumb = Breadcrumb { message: Some("ada@example.com".into()), ..Default::default() };
        crumb.data.insert("address".into(), "ada@example.com".into());
        event.breadcrumbs.values.push(crumb);
        event.extra.insert("deep".into(), serde_json::json!({ "list": ["ada@example.com"] }));
        event.tags.insert("address".into(), "ada@example.com".into());
        let fields = [("address".to_owned(), Value::from("ada@example.com"))].into_iter().collect();
        event.contexts.insert("Rust Tracing Fields".into(), Context::Other(fields));
        let sent = serde_json::to_string(&scrub_event(event)).expect("JSON");
        assert!(!sent.contains("ada@") && sent.contains("[hidden]"), "{sent}");
    }
}
