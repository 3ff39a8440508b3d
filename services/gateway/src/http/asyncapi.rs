//! The AsyncAPI document: the messages of live streams (<https://www.asyncapi.com/docs/reference/specification/v3.0.0>).

use serde_json::{Map, Value, json};
use utoipa::{
    ToSchema,
    openapi::{RefOr, Schema},
};

use crate::live::event::{
    StreamedCandle, StreamedDelivery, StreamedFiring, StreamedGap, StreamedOrder, StreamedPrice, StreamedTrade,
};

/// Returns the document.
pub(crate) fn document() -> Value {
    let mut schemas = Map::new();
    let payloads = [
        ("prices", "A price", payload::<StreamedPrice<'_>>(&mut schemas)),
        ("candles", "A candle that has closed, or has changed after that", payload::<StreamedCandle<'_>>(&mut schemas)),
        ("gaps", "A state of a gap of a feed", payload::<StreamedGap<'_>>(&mut schemas)),
        ("firings", "A firing of an alert of the caller", payload::<StreamedFiring<'_>>(&mut schemas)),
        ("orders", "A change of an order of the caller", payload::<StreamedOrder<'_>>(&mut schemas)),
        ("trades", "A trade of the caller", payload::<StreamedTrade<'_>>(&mut schemas)),
        ("deliveries", "An attempt at a delivery of the caller", payload::<StreamedDelivery<'_>>(&mut schemas)),
    ];
    let mut messages = Map::new();
    for (name, title, payload) in &payloads {
        messages.insert(format!("sse.{name}"), message(name, title, payload.clone()));
        messages.insert(format!("ws.{name}"), message(name, title, ws_event(payload)));
    }
    for (name, title, payload) in answers().into_iter().chain(commands()) {
        messages.insert(name.to_owned(), message(name, title, payload));
    }
    let names =
        |of: &dyn Fn(&str) -> bool| -> Vec<String> { messages.keys().filter(|name| of(name)).cloned().collect() };
    let stream = names(&|name| name.starts_with("sse."));
    let (from_client, from_server) =
        (names(&|name| name.starts_with("client.")), names(&|name| name.starts_with("ws.")));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Tickbell streams",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What happens, as it happens. GET /v1/stream sends server-sent events: `event` is the \
                channel, for candles like `candles:1m`, `data` its payload, `id` a cursor. A client that connects again with the last id in Last-Event-ID gets all \
                that it has missed. GET /v1/ws is a WebSocket with the same channels. Decimals are strings and times RFC 3339 UTC. \
                Clients ignore fields that they do not know.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "stream": channel("/v1/stream", "Server-sent events; the OpenAPI document has the parameters.", &stream),
            "ws": channel(
                "/v1/ws",
                "A WebSocket. Close codes: 1001 the server stops, 1013 the broker or the database cannot be read, 4408 the client \
                 is too slow, 4410 a stream was created anew: connect again, and subscribe from the last id. 4401 the token is not \
                 valid any more, 1008 the client has not kept to the protocol: do not connect again as before. A client that sends \
                 nothing for 25 s is pinged; answer within 60 s.",
                &[from_client.clone(), from_server.clone()].concat(),
            ),
        },
        "operations": {
            "sendEvents": operation("send", "stream", &stream),
            "receiveCommands": operation("receive", "ws", &from_client),
            "sendMessages": operation("send", "ws", &from_server),
        },
        "components": {"messages": messages, "schemas": schemas},
    })
}

/// What the server sends beside events.
fn answers() -> [(&'static str, &'static str, Value); 9] {
    let text = || json!({"type": "string"});
    let nullable = || json!({"type": ["string", "null"]});
    let lost = || json!({"type": ["integer", "null"], "description": "The number of events that are lost; null where nobody knows"});
    let resumed = || object(&[("asked", nullable()), ("from", text()), ("lost", lost()), ("reason", nullable())]);
    let end = object(&[
        (
            "reason",
            json!({"type": "string", "enum": ["slow", "stream_replaced", "unauthorized", "unavailable", "shutdown"]}),
        ),
        ("from", text()),
        ("reconnect", json!({"type": "boolean"})),
    ]);
    let sequence =
        || json!({"type": "integer", "description": "The number of events that were sent on this connection"});
    [
        ("sse.resumed", "The first event of a stream that resumes: nothing is lost", resumed()),
        ("sse.reset", "The first event of a stream that cannot resume: what was before must be read again", resumed()),
        ("sse.end", "The last event before the server ends the stream", end),
        (
            "ws.subscribed",
            "The answer to subscribe",
            typed(
                "subscribed",
                &[
                    ("subscription", json!({"type": "integer"})),
                    ("channels", json!({"type": "array", "items": {"type": "string"}})),
                    ("symbols", json!({"type": ["array", "null"], "items": {"type": "string"}})),
                    ("epoch", json!({"type": "string", "description": "Another text once a stream was created anew"})),
                    ("sequence", sequence()),
                    ("recovered", json!({"type": "boolean", "description": "Whether all behind `from` is sent"})),
                    ("lost", lost()),
                    ("reason", nullable()),
                    ("from", text()),
                ],
            ),
        ),
        (
            "ws.unsubscribed",
            "The answer to unsubscribe",
            typed("unsubscribed", &[("subscription", json!({"type": ["integer", "null"]}))]),
        ),
        ("ws.heartbeat", "Sent each second, once asked for", typed("heartbeat", &[("sequence", sequence())])),
        ("ws.pong", "The answer to ping", typed("pong", &[("sequence", sequence())])),
        ("ws.error", "A message of the client was refused", typed("error", &[("code", text()), ("message", text())])),
        ("client.ping", "Asks for a pong", typed("ping", &[])),
    ]
}

/// What a client of a WebSocket sends.
fn commands() -> [(&'static str, &'static str, Value); 3] {
    let mut subscribe = typed(
        "subscribe",
        &[
            ("channels", json!({"type": "array", "items": {"type": "string"}, "default": ["prices"]})),
            ("symbols", json!({"type": "array", "items": {"type": "string"}})),
            ("conflate", json!({"type": "string", "enum": ["latest", "none"], "default": "latest"})),
            (
                "from",
                json!({"type": "string", "description": "The id of the last event that was received, or `earliest`"}),
            ),
        ],
    );
    subscribe["required"] = json!(["type"]);
    let mut unsubscribe = typed(
        "unsubscribe",
        &[("subscription", json!({"type": "integer", "description": "Without it, all subscriptions end"}))],
    );
    unsubscribe["required"] = json!(["type"]);
    [
        ("client.subscribe", "Begins a subscription; a connection may have several", subscribe),
        ("client.unsubscribe", "Ends a subscription", unsubscribe),
        ("client.heartbeat", "Asks for a heartbeat each second", typed("heartbeat", &[])),
    ]
}

/// Adds the schemas that a payload refers to, and returns the reference to its own.
fn payload<T: ToSchema>(schemas: &mut Map<String, Value>) -> Value {
    let mut referred: Vec<(String, RefOr<Schema>)> = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut referred);
    for (name, schema) in referred {
        schemas.insert(name, serde_json::to_value(schema).unwrap_or_default());
    }
    json!({"$ref": format!("#/components/schemas/{}", T::name())})
}

/// Returns the schema of an event on a WebSocket.
fn ws_event(data: &Value) -> Value {
    typed(
        "event",
        &[
            ("subscription", json!({"type": "integer"})),
            ("channel", json!({"type": "string"})),
            ("sequence", json!({"type": "integer"})),
            (
                "id",
                json!({"type": "string", "description": "The cursor: `from` of a subscription that goes on behind this event"}),
            ),
            ("data", data.clone()),
        ],
    )
}

fn typed(kind: &str, fields: &[(&str, Value)]) -> Value {
    let kind = ("type", json!({"type": "string", "const": kind}));
    object(&[&[kind][..], fields].concat())
}

fn object(fields: &[(&str, Value)]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    let required: Vec<&str> = fields.iter().map(|(name, _)| *name).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn message(name: &str, title: &str, payload: Value) -> Value {
    let name = name.split_once('.').map_or(name, |(_, name)| name);
    json!({"name": name, "title": title, "payload": payload})
}

fn channel(address: &str, description: &str, messages: &[String]) -> Value {
    let messages: Map<String, Value> =
        messages.iter().map(|name| (name.clone(), json!({"$ref": format!("#/components/messages/{name}")}))).collect();
    json!({"address": address, "description": description, "messages": messages})
}

fn operation(action: &str, channel: &str, messages: &[String]) -> Value {
    let messages: Vec<Value> =
        messages.iter().map(|name| json!({"$ref": format!("#/channels/{channel}/messages/{name}")})).collect();
    json!({"action": action, "channel": {"$ref": format!("#/channels/{channel}")}, "messages": messages})
}
