//! The template of the pages, and their content security policy.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    http::StatusCode,
    response::{Html, IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha256};

use crate::http::problem::Problem;

/// The style of all pages but that of prices.
const STYLE: &str = include_str!("../../templates/page.css");

/// The media type of pages.
pub(crate) const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// The content security policy of pages: no script, no image, no frame, no other site; the two styles by their hashes.
pub(crate) static CONTENT_POLICY: LazyLock<String> = LazyLock::new(|| {
    let (style, prices) = (BASE64_STANDARD.encode(Sha256::digest(STYLE)), price_page::style_hash());
    format!(
        "default-src 'none'; style-src 'sha256-{style}' {prices}; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
});

/// A page: a title, a sentence, and perhaps a form.
#[derive(Template)]
#[template(path = "page.html")]
pub(crate) struct Page<'a> {
    style: &'static str,
    title: &'a str,
    lead: &'a str,
    /// The subject of the page: the condition of an alert, or an address.
    subject: Option<&'a str>,
    /// The label of the password field, if there is one.
    password: Option<&'a str>,
    /// The password that a browser fills in: `new-password` or `current-password`.
    autocomplete: &'static str,
    /// The label of the button, if there is one.
    button: Option<&'a str>,
    /// The id of the request in logs and traces.
    trace_id: Option<&'a str>,
}

/// Whether a path is that of a page, and not of the API.
pub(crate) fn is_page(path: &str) -> bool {
    path == "/prices" || ["/confirm/", "/unsubscribe/", "/join/", "/reset/"].iter().any(|pages| path.starts_with(pages))
}

/// Renders a problem as a page.
pub(crate) fn problem(problem: &Problem, trace_id: &str) -> String {
    let title = problem.kind.title();
    Page { trace_id: Some(trace_id), ..Page::new(title, &problem.detail) }.text()
}

impl<'a> Page<'a> {
    /// Makes a page with a title and a sentence.
    pub(crate) fn new(title: &'a str, lead: &'a str) -> Self {
        Self {
            style: STYLE,
            title,
            lead,
            subject: None,
            password: None,
            autocomplete: "new-password",
            button: None,
            trace_id: None,
        }
    }

    pub(crate) fn about(self, subject: &'a str) -> Self {
        Self { subject: Some(subject), ..self }
    }

    pub(crate) fn button(self, label: &'a str) -> Self {
        Self { button: Some(label), ..self }
    }

    /// Adds a field for a new password.
    pub(crate) fn password(self, label: &'a str) -> Self {
        Self { password: Some(label), ..self }
    }

    /// Adds a field for a password that was chosen before.
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
    use crate::http::problem::ProblemKind;

    #[test]
    fn a_page_escapes_what_it_shows_and_holds_exactly_the_style_it_allows() {
        let page = problem(&Problem::new(ProblemKind::NotFound, "<script>alert(1)</script>"), "abc");
        assert!(!page.contains("<script>") && page.contains("alert(1)"), "{page}");
        let style = page.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next());
        assert_eq!(style, Some(STYLE));
        assert!(CONTENT_POLICY.contains("sha256-"));
    }
}
