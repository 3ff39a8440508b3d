//! Requests byte by byte, as no client library sends them.

use e2e::System;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

const ALERT: &str = r#"{"email": "ada@example.com","symbol":"BTC-USD","percent":"5"}"#;
const ANSWER_TIME: Duration = Duration::from_secs(5);

/// Sends the lines and the body, and returns the answer up to the end of the connection.
async fn send(base: &str, lines: &[&str], body: &str) -> String {
    let address = base.strip_prefix("http://").expect("a base URL");
    let mut stream = TcpStream::connect(address).await.expect("connected");
    stream.write_all(format!("{}\r\n\r\n{body}", lines.join("\r\n")).as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    timeout(ANSWER_TIME, stream.read_to_end(&mut answer)).await.expect("the connection ends").expect("an answer");
    String::from_utf8(answer).expect("text")
}

#[tokio::test]
async fn a_request_is_read_in_one_way_or_refused() {
    const POST: &str = "POST /v1/alerts HTTP/1.1";
    const JSON: &str = "Content-Type: application/json";
    let mut system = System::start().await;
    let base = system.api.base().to_owned();
    let length = format!("Content-Length: {}", ALERT.len());
    let length = length.as_str();
    let chunked = format!("{:x}\r\n{ALERT}\r\n0\r\n\r\n", ALERT.len());
    for (lines, body, status) in [
        (&["GET /v1/prices HTTP/1.1", "Connection: close"][..], "", 400),
        (&["GET /v1/prices HTTP/1.1", "Host: a", "Host: b", "Connection: close"], "", 400),
        (&["GET /v1/prices HTTP/1.1", "Host: a", "Host: a", "Connection: close"], "", 400),
        (&["GET /v1/prices HTTP/1.1", "Host: a b", "Connection: close"], "", 400),
        (&["GET /v1/prices HTTP/1.0"], "", 200),
        (&["GET http://a/v1/prices HTTP/1.1", "Host: a", "Connection: close"], "", 200),
        (&["GET http://a/v1/prices HTTP/1.1", "Connection: close"], "", 400),
        (&["GET /v1/prices HTTP/1.1", "Host: a", "Content-Length: 5", "Connection: close"], "hello", 200),
        (&["GET /v1/prices/%00 HTTP/1.1", "Host: a", "Connection: close"], "", 422),
        (&["GET /v1/prices/BTC%2FUSD HTTP/1.1", "Host: a", "Connection: close"], "", 404),
        (&["GET /v1/prices/%ff HTTP/1.1", "Host: a", "Connection: close"], "", 422),
        (&[POST, "Host: a", JSON, length, "Connection: close"], ALERT, 201),
        (&[POST, "Host: a", JSON, length, "Content-Encoding: gzip", "Connection: close"], ALERT, 415),
        (&[POST, "Host: a", JSON, length, "Content-Encoding: gzip", "Expect: 100-continue"], "", 415),
        (&[POST, "Host: a", JSON, length, "Content-Length: 5"], ALERT, 400),
        (&[POST, "Host: a", JSON, "Transfer-Encoding: gzip, chunked"], &chunked, 400),
        (&[POST, "Host: a", JSON, "Transfer-Encoding: chunked", length], &chunked, 201),
        (&[POST, "Host: a", JSON, "Content-Length: 99999999999999999999999"], "", 400),
        (&[POST, "Host: a", JSON, "Expect: 100-continue", "Content-Length: 99000000"], "", 413),
    ] {
        let answer = send(&base, lines, body).await;
        let first = answer.lines().next().unwrap_or_default();
        assert_eq!(first.split(' ').nth(1), Some(&*status.to_string()), "{lines:?}: {answer}");
    }
    system.stop().await;
}
