//! Clients of live streams whose connections break after some bytes.

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, join},
    net::TcpStream,
};
use tokio_tungstenite::{client_async, tungstenite::Message};

/// An event as a client has received it, completely.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Received {
    pub(super) channel: String,
    pub(super) id: String,
    pub(super) data: Value,
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Sse,
    WebSocket,
}

/// Connects to a gateway and reads events until `bytes` bytes have come or the connection ends, or `enough` says so. An event of
/// which a part is missing was not received. `query` has the parameters of the stream, `from` the id to resume behind.
pub(super) async fn read(
    transport: Transport,
    gateway: &str,
    (query, token): (&[(&str, &str)], Option<&str>),
    from: Option<&str>,
    bytes: u64,
    mut enough: impl FnMut(&Received) -> bool,
) -> Vec<Received> {
    let address = gateway.strip_prefix("http://").expect("a URL");
    let Ok(stream) = TcpStream::connect(address).await else { return Vec::new() };
    match transport {
        Transport::Sse => read_sse(stream, address, (query, token), from, bytes, &mut enough).await,
        Transport::WebSocket => read_websocket(stream, address, (query, token), from, bytes, &mut enough).await,
    }
}

async fn read_sse(
    mut stream: TcpStream,
    address: &str,
    (query, token): (&[(&str, &str)], Option<&str>),
    from: Option<&str>,
    bytes: u64,
    enough: &mut impl FnMut(&Received) -> bool,
) -> Vec<Received> {
    let query: Vec<_> = query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    // HTTP/1.0 has no chunks: all behind the headers is the stream.
    let mut head = format!("GET /v1/stream?{} HTTP/1.0\r\nHost: {address}\r\n", query.join("&"));
    for (name, value) in [("Last-Event-ID", from), ("Authorization", token)] {
        if let Some(value) = value {
            let scheme = if name == "Authorization" { "Bearer " } else { "" };
            head += &format!("{name}: {scheme}{value}\r\n");
        }
    }
    if stream.write_all(format!("{head}\r\n").as_bytes()).await.is_err() {
        return Vec::new();
    }
    let mut lines = BufReader::new(stream.take(bytes));
    let (mut received, mut line, mut is_event) = (Vec::new(), String::new(), false);
    let mut event = [String::new(), String::new(), String::new()];
    // What ends without its end of line has ended in its midst.
    while lines.read_line(&mut line).await.is_ok_and(|read| read > 0) && line.ends_with('\n') {
        let text = std::mem::take(&mut line);
        let text = text.trim_end_matches(['\r', '\n']);
        if !is_event {
            assert!(!text.starts_with("HTTP/") || text.contains(" 200 ") || text.contains(" 503 "), "{text}");
            is_event = text.is_empty();
            continue;
        }
        for (field, value) in ["event: ", "id: ", "data: "].iter().zip(&mut event) {
            if let Some(text) = text.strip_prefix(field) {
                text.clone_into(value);
            }
        }
        if text.is_empty() {
            let [channel, id, data] = std::mem::take(&mut event);
            if let Ok(data) = serde_json::from_str(&data) {
                received.push(Received { channel, id, data });
                if received.last().is_some_and(&mut *enough) {
                    break;
                }
            }
        }
    }
    received
}

async fn read_websocket(
    stream: TcpStream,
    address: &str,
    (query, token): (&[(&str, &str)], Option<&str>),
    from: Option<&str>,
    bytes: u64,
    enough: &mut impl FnMut(&Received) -> bool,
) -> Vec<Received> {
    let (reader, writer) = stream.into_split();
    let mut request = http_request(address);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    let request = request.body(()).expect("a request");
    let Ok((mut socket, _)) = client_async(request, join(reader.take(bytes), writer)).await else { return Vec::new() };
    let get = |wanted: &str| query.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
    let list = |wanted| get(wanted).map(|text| text.split(',').collect::<Vec<_>>());
    let mut subscribe = json!({"type": "subscribe"});
    for (name, value) in [
        ("channels", list("channels").map(Value::from)),
        ("symbols", list("symbols").map(Value::from)),
        ("conflate", get("conflate").map(Value::from)),
        ("from", from.map(Value::from)),
    ] {
        if let Some(value) = value {
            subscribe[name] = value;
        }
    }
    if socket.send(Message::text(subscribe.to_string())).await.is_err() {
        return Vec::new();
    }
    let mut received = Vec::new();
    while let Some(Ok(message)) = socket.next().await {
        let Message::Text(text) = message else { continue };
        let message: Value = serde_json::from_str(&text).expect("JSON");
        let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
        let kind = text("type");
        // A gateway that has just begun cannot be read yet.
        if kind == "error" {
            break;
        }
        let event = match kind.as_str() {
            "event" => Received { channel: text("channel"), id: text("id"), data: message["data"].clone() },
            _ => Received { channel: kind, id: text("from"), data: message.clone() },
        };
        received.push(event);
        if received.last().is_some_and(&mut *enough) {
            break;
        }
    }
    received
}

fn http_request(address: &str) -> hyper::http::request::Builder {
    hyper::Request::get(format!("ws://{address}/v1/ws"))
        .header("Host", address)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}
