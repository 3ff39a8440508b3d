//! What is checked of a request before anything of its body is read: its host, its codings and the length it announces.
//!
//! A request whose frame is read in two ways by two servers in a row is how requests are smuggled past the first one, so
//! what is ambiguous is refused (RFC 9112 §11.2).

use axum::{
    body::{Body, HttpBody},
    http::{
        HeaderMap, HeaderValue, Version, header,
        request::Parts,
        uri::{Authority, Uri},
    },
    response::{IntoResponse, Response},
};
use futures::StreamExt;
use tokio::time::{Instant, timeout_at};

use crate::http::problem::{Problem, ProblemKind};

/// The number of bytes of a refused body that are read and discarded, so that its sender reads the answer instead of a
/// connection reset. Behind them the connection is closed.
pub(crate) const DISCARDED_BYTES: usize = 32 * 1024 * 1024;

/// Refuses a request without one host, or with a body that this server would not read as its sender means it.
pub(crate) fn check(parts: &Parts, body: &Body, max_bytes: usize) -> Result<(), Problem> {
    host(parts.version, &parts.uri, &parts.headers).map_err(|detail| Problem::new(ProblemKind::BadRequest, detail))?;
    if body.is_end_stream() {
        return Ok(());
    }
    transfer_coding(&parts.headers).map_err(|detail| Problem::new(ProblemKind::BadRequest, detail))?;
    if has_content_coding(&parts.headers) {
        let detail = "Send the body as it is, without the header Content-Encoding.";
        return Err(Problem::new(ProblemKind::UnsupportedCoding, detail));
    }
    // hyper compares the header with the body and refuses what is not a number.
    let announced = parts.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|bytes: u64| bytes > max_bytes as u64) { Err(too_large(max_bytes)) } else { Ok(()) }
}

/// Makes the problem of a body that is too large.
pub(crate) fn too_large(max_bytes: usize) -> Problem {
    Problem::new(ProblemKind::TooLarge, format!("A body may have at most {max_bytes} bytes."))
}

/// Answers a request whose body is not wanted, at once, and asks for the end of the connection behind it.
///
/// A client that waits for `100 Continue` has not begun to send: reading would invite it to. Of any other client the rest of
/// the body is discarded meanwhile, until `deadline`.
pub(crate) fn refuse(problem: Problem, parts: &Parts, body: Body, deadline: Instant) -> Response {
    let mut response = problem.into_response();
    if body.is_end_stream() {
        return response;
    }
    if parts.version <= Version::HTTP_11 {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if !waits_for_continue(&parts.headers) {
        tokio::spawn(timeout_at(deadline, discard(body)));
    }
    response
}

async fn discard(body: Body) {
    let mut stream = body.into_data_stream();
    let mut discarded = 0;
    while let Some(Ok(chunk)) = stream.next().await {
        discarded += chunk.len();
        if discarded > DISCARDED_BYTES {
            return;
        }
    }
}

fn waits_for_continue(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// RFC 9112 §3.2: a request of HTTP/1.1 has one valid header `Host`, also beside an absolute target. RFC 9113 §8.3.1: HTTP/2
/// has `:authority` in its place, and a `Host` beside it says the same.
fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return Err("The request has more than one header Host. Send one.");
    }
    let authority = uri.authority().filter(|_| version >= Version::HTTP_2);
    match (host, authority) {
        (None, None) if version >= Version::HTTP_11 => {
            Err("The request has no header Host. Send one, with the server's name.")
        }
        (Some(host), _) if !is_host(host) => {
            Err("The header Host is not a host name or address, with or without a port.")
        }
        (Some(host), Some(authority)) if !host.as_bytes().eq_ignore_ascii_case(authority.as_str().as_bytes()) => {
            Err("The header Host and the pseudo-header :authority differ. Send only :authority.")
        }
        _ => Ok(()),
    }
}

fn is_host(value: &HeaderValue) -> bool {
    let Some(authority) = value.to_str().ok().and_then(|text| text.parse::<Authority>().ok()) else { return false };
    let port = authority.as_str().strip_prefix(authority.host());
    !authority.host().is_empty()
        && port.is_some_and(|port| port.is_empty() || port == ":" || authority.port_u16().is_some())
}

/// Only `chunked` is read: hyper would take a body that was compressed before it was chunked for the content.
fn transfer_coding(headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => {
            Err("Of the header Transfer-Encoding only \"chunked\" is understood. Send the body with a Content-Length.")
        }
    }
}

/// RFC 9110 §8.4.1: `identity` stands for no coding; it is not to be sent, and harmless.
fn has_content_coding(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut codings = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    codings.any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, Request};

    use super::*;

    fn status(version: Version, target: &str, headers: &[(HeaderName, &str)], body: &'static str) -> Option<u16> {
        let mut request = Request::builder().method("POST").version(version).uri(target);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        let (parts, body) = request.body(Body::from(body)).expect("a request").into_parts();
        check(&parts, &body, 10).err().map(|problem| problem.kind.status().as_u16())
    }

    #[test]
    fn a_request_names_one_host() {
        const ONE: Version = Version::HTTP_11;
        const TWO: Version = Version::HTTP_2;
        for (version, target, hosts, refused) in [
            (ONE, "/", &["a"][..], false),
            (ONE, "/", &["localhost:8080"], false),
            (ONE, "/", &["127.0.0.1"], false),
            (ONE, "/", &["[::1]:8080"], false),
            (ONE, "/", &["a:"], false),
            (ONE, "http://b/", &["a"], false),
            (ONE, "/", &[], true),
            (ONE, "http://a/", &[], true),
            (ONE, "/", &["a", "b"], true),
            (ONE, "/", &["a", "a"], true),
            (ONE, "/", &[""], true),
            (ONE, "/", &["a b"], true),
            (ONE, "/", &["a/b"], true),
            (ONE, "/", &["eve@a"], true),
            (ONE, "/", &["a:b"], true),
            (ONE, "/", &["a:99999"], true),
            (ONE, "/", &["[::1"], true),
            (Version::HTTP_10, "/", &[], false),
            (Version::HTTP_10, "/", &["a", "b"], true),
            (TWO, "http://a/", &[], false),
            (TWO, "http://a/", &["A"], false),
            (TWO, "/", &["a"], false),
            (TWO, "http://a/", &["b"], true),
            (TWO, "http://a/", &["a", "a"], true),
            (TWO, "/", &[], true),
        ] {
            let headers: Vec<_> = hosts.iter().map(|host| (header::HOST, *host)).collect();
            assert_eq!(status(version, target, &headers, ""), refused.then_some(400), "{version:?} {target} {hosts:?}");
        }
    }

    #[test]
    fn a_body_is_read_only_as_its_sender_means_it() {
        use header::{CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING};
        for (headers, body, expected) in [
            (&[][..], "x", None),
            (&[(CONTENT_ENCODING, "gzip")], "x", Some(415)),
            (&[(CONTENT_ENCODING, "gzip")], "", None),
            (&[(CONTENT_ENCODING, "br")], "x", Some(415)),
            (&[(CONTENT_ENCODING, "unheard-of")], "x", Some(415)),
            (&[(CONTENT_ENCODING, "identity")], "x", None),
            (&[(CONTENT_ENCODING, "Identity, ")], "x", None),
            (&[(CONTENT_ENCODING, "identity, gzip")], "x", Some(415)),
            (&[(CONTENT_ENCODING, "identity"), (CONTENT_ENCODING, "deflate")], "x", Some(415)),
            (&[(TRANSFER_ENCODING, "Chunked")], "x", None),
            (&[(TRANSFER_ENCODING, "gzip, chunked")], "x", Some(400)),
            (&[(TRANSFER_ENCODING, "gzip"), (TRANSFER_ENCODING, "chunked")], "x", Some(400)),
            (&[(CONTENT_LENGTH, "10")], "x", None),
            (&[(CONTENT_LENGTH, "11")], "x", Some(413)),
            (&[(CONTENT_LENGTH, "18446744073709551615")], "x", Some(413)),
        ] {
            let mut headers = headers.to_vec();
            headers.push((header::HOST, "a"));
            assert_eq!(status(Version::HTTP_11, "/", &headers, body), expected, "{headers:?} {body:?}");
        }
    }
}
