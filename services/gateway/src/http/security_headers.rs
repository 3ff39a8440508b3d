//! The headers of every answer that restrict what a browser does with it.

use axum::http::{HeaderMap, HeaderValue, header};

use crate::{dashboard, pages::page};

/// The content security policy of everything but pages and documentation.
const API_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
/// The content security policy of the API's documentation.
const DOCS_POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// Returns the content security policy of what is at a path.
pub(crate) fn policy(path: &str) -> HeaderValue {
    if page::is_page(path) {
        HeaderValue::from_static(&page::CONTENT_POLICY)
    } else if dashboard::is_file(path) {
        HeaderValue::from_static(dashboard::CONTENT_POLICY)
    } else if path == "/docs" || path.starts_with("/docs/") {
        HeaderValue::from_static(DOCS_POLICY)
    } else {
        HeaderValue::from_static(API_POLICY)
    }
}

/// Adds the headers to those of an answer.
pub(crate) fn add(headers: &mut HeaderMap, policy: HeaderValue) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    // New alerts come with tokens, and accounts are nobody else's business. What may be kept says so itself.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
