//! What names a request in logs, metrics and traces: its id, its trace, its method and its route.

use axum::{
    extract::{MatchedPath, Request},
    http::{HeaderMap, HeaderName, Method},
};
use events::envelope::TRACEPARENT;

/// The header with the id of a request, for the logs of the client and of the server.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest request id that a client may send, in bytes.
const LONGEST_ID: usize = 64;
/// The route label of a request without a route. Paths are not labels, because there is no limit to them.
const NO_ROUTE: &str = "none";

/// Returns the label of the route of a request.
pub(crate) fn route(request: &Request) -> &str {
    request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str)
}

/// Returns the label of a method. Unknown methods share one, because there is no limit to them.
pub(crate) fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Returns the id that the client has given its request, if it is one.
pub(crate) fn client_id(headers: &HeaderMap) -> Option<&str> {
    headers.get(&REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| is_id(id))
}

fn is_id(id: &str) -> bool {
    (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns the trace context of the client, if its header is valid (W3C trace context §3.2, version 00).
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let parts: Vec<_> = text.split('-').collect();
    let hex = |part: &str, length| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        part.len() == length && digits && part.bytes().any(|byte| byte != b'0')
    };
    let valid = matches!(parts[..], ["00", trace, parent, flags]
        if hex(trace, 32) && hex(parent, 16) && (flags == "00" || hex(flags, 2)));
    valid.then_some(text)
}

/// Returns the trace id in a trace context.
pub(crate) fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}

/// Returns a trace id for a request whose client has sent none.
pub(crate) fn new_trace_id() -> String {
    format!("{:032x}", rand::random::<u128>() | 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_ascii_of_a_sane_length_is_a_request_id() {
        assert!(is_id("a") && is_id("0f:7-x_9") && is_id(&"a".repeat(64)));
        for bad in ["", "a b", "a\tb", "é", &"a".repeat(65)] {
            assert!(!is_id(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_trace_is_followed_only_when_it_is_one() {
        let read = |text: &str| {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(TRACEPARENT), text.parse().expect("a header"))]);
            traceparent(&headers).map(str::to_owned)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(read(good).as_deref(), Some(good));
        assert_eq!(trace_id(good), "4bf92f3577b34da6a3ce929d0e0e4736");
        for bad in [
            "",
            "x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
