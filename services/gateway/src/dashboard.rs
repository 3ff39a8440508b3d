//! The dashboard at `/`: the files of `services/dashboard/dist`, which are part of the program.
//!
//! Each file lies there as it is and, where that is worth it, packed with brotli and with gzip. Files under `assets/` have a
//! hash of their content in their name and never change; the others are asked about each time.

use std::borrow::Cow;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::http::validators::IfNoneMatch;

/// The content security policy of the dashboard: its own files and its own API, nothing inline, no other site.
pub(crate) const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const INDEX: &str = "index.html";
/// The folder of the files with a hash in their name.
const HASHED: &str = "/assets/";
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const ASK_AGAIN: HeaderValue = HeaderValue::from_static("public, no-cache");

/// The codings of packed files, the smallest first, and what their names end with.
const CODINGS: [(&str, &str); 2] = [("br", ".br"), ("gzip", ".gz")];

#[derive(RustEmbed)]
#[folder = "../dashboard/dist"]
struct Dist;

/// Returns the routes of all files.
pub(crate) fn router() -> Router {
    let root = Router::new().route("/", get(|condition, headers: HeaderMap| answer(INDEX.into(), condition, headers)));
    let at_root = Dist::iter().filter(|name| !name.contains('/') && !is_packed(name));
    let root = at_root.fold(root, |router, name| {
        let path = format!("/{name}");
        router.route(&path, get(move |condition, headers: HeaderMap| answer(name.clone(), condition, headers)))
    });
    root.route(
        &format!("{HASHED}{{file}}"),
        get(|Path(file): Path<String>, condition, headers: HeaderMap| {
            answer(format!("{}{file}", &HASHED[1..]).into(), condition, headers)
        }),
    )
}

/// Whether a path is that of a file of the dashboard, and not of the API.
pub(crate) fn is_file(path: &str) -> bool {
    path == "/" || path.starts_with(HASHED) || (!path.starts_with("/v1/") && Dist::get(&path[1..]).is_some())
}

fn is_packed(name: &str) -> bool {
    CODINGS.iter().any(|(_, suffix)| name.ends_with(suffix))
}

async fn answer(name: Cow<'static, str>, condition: IfNoneMatch, headers: HeaderMap) -> Response {
    if is_packed(&name) {
        return StatusCode::NOT_FOUND.into_response();
    }
    let accepted = CODINGS.into_iter().filter(|(coding, _)| accepts(&headers, coding));
    let packed = accepted.filter_map(|(coding, suffix)| Some((Dist::get(&format!("{name}{suffix}"))?, Some(coding))));
    let Some((file, coding)) = packed.chain(Dist::get(&name).map(|file| (file, None))).next() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let tag = tag(&file);
    let is_known = condition.matches(&tag);
    let mut response = if is_known { StatusCode::NOT_MODIFIED.into_response() } else { body(file) };
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    let is_hashed = name.starts_with(&HASHED[1..]);
    headers.insert(header::CACHE_CONTROL, if is_hashed { FOR_EVER } else { ASK_AGAIN });
    if !is_known {
        headers.insert(header::CONTENT_TYPE, content_type(&name));
        if let Some(coding) = coding {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
        }
    }
    response
}

fn body(file: EmbeddedFile) -> Response {
    let bytes = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    Response::new(Body::from(bytes))
}

/// Returns the tag of a file: of its bytes, so that each coding has its own (RFC 9110 §8.8.3.3).
fn tag(file: &EmbeddedFile) -> HeaderValue {
    let hash = file.metadata.sha256_hash();
    let hex: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    HeaderValue::from_str(&format!("\"{hex}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// Whether a client accepts a coding (RFC 9110 §12.5.3). One that it does not name is not sent.
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let lines = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|offer| {
        let mut parts = offer.split(';').map(str::trim);
        let is_named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let is_refused = parts.any(|part| part.strip_prefix("q=").is_some_and(is_zero));
        is_named && !is_refused
    })
}

/// Whether a weight is 0, 0. or 0.000.
fn is_zero(weight: &str) -> bool {
    weight.starts_with('0') && weight.bytes().all(|byte| matches!(byte, b'0' | b'.'))
}

fn content_type(name: &str) -> HeaderValue {
    HeaderValue::from_static(match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("json") => "application/json",
        _ => "application/octet-stream",
    })
}

#[cfg(test)]
mod tests {
    use axum::{body::to_bytes, extract::Request};
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, headers: &[(&str, &str)]) -> Response {
        let request = headers.iter().fold(Request::get(path), |request, (name, value)| request.header(*name, *value));
        router().oneshot(request.body(Body::empty()).expect("a request")).await.expect("a router always answers")
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
    }

    fn hashed() -> String {
        let script = Dist::iter().find(|name| name.starts_with("assets/") && name.ends_with(".js"));
        format!("/{}", script.expect("the dashboard has a script"))
    }

    #[tokio::test]
    async fn the_page_is_asked_about_each_time_and_what_has_a_hash_in_its_name_never_again() {
        let script = hashed();
        for (path, kind, caching) in [
            ("/", "text/html; charset=utf-8", "public, no-cache"),
            ("/index.html", "text/html; charset=utf-8", "public, no-cache"),
            ("/config.json", "application/json", "public, no-cache"),
            ("/icon.svg", "image/svg+xml", "public, no-cache"),
            (&script, "text/javascript; charset=utf-8", "public, max-age=31536000, immutable"),
        ] {
            let response = ask(path, &[]).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(header(&response, "content-type"), kind, "{path}");
            assert_eq!(header(&response, "cache-control"), caching, "{path}");
            assert_eq!(header(&response, "content-encoding"), "", "{path}");
            assert!(is_file(path), "{path}");
        }
    }

    #[tokio::test]
    async fn a_file_is_sent_in_the_smallest_coding_that_the_client_accepts() {
        let plain = to_bytes(ask("/", &[]).await.into_body(), 1 << 20).await.expect("a body");
        for (accepted, coding) in [
            ("gzip, deflate, br", "br"),
            ("GZIP", "gzip"),
            ("gzip;q=0.5, br;q=0", "gzip"),
            ("br; q=0.000, identity", ""),
            ("zstd", ""),
            ("", ""),
        ] {
            let response = ask("/", &[("accept-encoding", accepted)]).await;
            assert_eq!(header(&response, "content-encoding"), coding, "{accepted}");
            assert_eq!(header(&response, "vary"), "accept-encoding");
            let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
            assert_eq!(body == plain, coding.is_empty(), "{accepted}");
        }
        let config = ask("/config.json", &[("accept-encoding", "br")]).await;
        assert_eq!(header(&config, "content-encoding"), "", "it is replaced where the API is elsewhere");
    }

    #[tokio::test]
    async fn a_file_that_the_client_has_is_not_sent_again() {
        let first = ask("/", &[("accept-encoding", "br")]).await;
        let tag = header(&first, "etag").to_owned();
        let again = ask("/", &[("accept-encoding", "br"), ("if-none-match", &tag)]).await;
        assert_eq!((again.status(), header(&again, "etag")), (StatusCode::NOT_MODIFIED, &*tag));
        let other = ask("/", &[("accept-encoding", "gzip"), ("if-none-match", &tag)]).await;
        assert_eq!(other.status(), StatusCode::OK, "another coding is another body");
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_found() {
        for path in ["/assets/none.js", "/assets/..%2findex.html", "/index.html.br", "/nope"] {
            assert_eq!(ask(path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let packed = format!("{}.gz", hashed());
        assert_eq!(ask(&packed, &[]).await.status(), StatusCode::NOT_FOUND);
        assert!(["/v1/prices", "/docs/", "/healthz", "/openapi.json"].iter().all(|path| !is_file(path)));
    }

    #[test]
    fn the_page_has_nothing_inline_and_nothing_of_another_site() {
        let page = Dist::get(INDEX).expect("the page");
        let page = String::from_utf8(page.data.into_owned()).expect("text");
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("://"), "{page}");
        for script in page.split("<script").skip(1) {
            assert!(script.split('>').next().is_some_and(|tag| tag.contains("src=")), "{page}");
        }
    }
}
