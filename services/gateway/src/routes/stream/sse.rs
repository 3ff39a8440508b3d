//! A stream of server-sent events (HTML, section 9.2).

use std::{convert::Infallible, fmt::Write, time::Duration};

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures::{FutureExt, future::BoxFuture};
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::{
    auth::stream_access::StreamToken,
    live::{
        channel::Audience,
        clients::{End, Slot, retry_ms},
        queue::Cut,
        subscription::{Delivery, Recovery, Subscription},
    },
    request::headers::MERCURE_LAST_EVENT_ID,
    routes::stream::failed,
    state::AppState,
};

/// The time between two signs of life: proxies close a connection on which nothing comes for a minute.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// The bytes after which what is there is handed over.
const CHUNK: usize = 16 * 1024;
/// Asks nginx not to collect the answer before it passes it on.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Answers with the events of a subscription, for as long as the client reads them.
pub(super) fn answer(
    state: AppState,
    token: StreamToken,
    slot: Slot,
    subscription: Subscription,
    asked: Option<String>,
) -> Response {
    let first = subscription.cursor().encode();
    let before = if asked.as_deref() == Some("earliest") { "earliest" } else { &first };
    let before = HeaderValue::from_str(before);
    let mut text = format!("retry: {}\n", retry_ms());
    match (subscription.recovery(), asked) {
        (Recovery::Fresh, _) => _ = write!(text, "id: {first}\n\n"),
        (recovery, asked) => {
            let event = if recovery == Recovery::Complete { "resumed" } else { "reset" };
            let data = json!({
                "asked": asked, "from": first, "lost": (recovery == Recovery::Complete).then_some(0),
                "reason": recovery.reason(),
            });
            _ = write!(text, "event: {event}\nid: {first}\ndata: {data}\n\n");
        }
    }
    let mut signs = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
    signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let drained = slot.when_drained().boxed();
    let client = Client { drained, state, token, slot, subscription, signs, text, has_ended: false };
    let chunks = futures::stream::unfold(client, |mut client| async {
        let chunk = client.next_chunk().await?;
        Some((Ok::<_, Infallible>(chunk), client))
    });
    let mut response = Body::from_stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    if let Ok(before) = before {
        headers.insert(MERCURE_LAST_EVENT_ID, before);
    }
    response
}

struct Client {
    state: AppState,
    token: StreamToken,
    slot: Slot,
    subscription: Subscription,
    signs: Interval,
    drained: BoxFuture<'static, ()>,
    /// What is to be sent.
    text: String,
    has_ended: bool,
}

impl Client {
    /// Waits for the next events, and returns all that are there; none behind the end.
    async fn next_chunk(&mut self) -> Option<Bytes> {
        self.slot.taken();
        if self.text.is_empty() {
            if self.has_ended {
                return None;
            }
            let first = tokio::select! {
                biased;
                () = &mut self.drained => Next::End(End::Shutdown),
                delivery = self.subscription.next() => Next::Delivery(delivery),
                _ = self.signs.tick() => Next::SignOfLife,
            };
            self.write(first).await;
        }
        self.slot.given();
        Some(std::mem::take(&mut self.text).into())
    }

    async fn write(&mut self, first: Next) {
        let mut next = Some(first);
        let mut is_authorized = self.token == StreamToken::None;
        while let Some(Next::Delivery(delivery)) = next {
            match delivery {
                Delivery::Event(event, conflated) => {
                    if !is_authorized && event.channel.audience() == Audience::Owner {
                        // The token may have been revoked since.
                        match self.token.authorize([event.channel], &self.state).await {
                            Ok(_) => is_authorized = true,
                            Err(problem) => return self.end(End::of(&problem)),
                        }
                    }
                    _ = write!(self.text, "event: {}\nid: ", event.channel);
                    self.subscription.cursor().write_to(&mut self.text);
                    self.text.push_str("\ndata: ");
                    push_json(&mut self.text, &event.json, conflated);
                    self.text.push_str("\n\n");
                }
                Delivery::Cut(Cut::Slow) => return self.end(End::Slow),
                Delivery::Cut(Cut::StreamReplaced) => return self.end(End::StreamReplaced),
                Delivery::Failed(error) => return self.end(failed(&error)),
            }
            let has_room = self.text.len() < CHUNK;
            next = if has_room { self.subscription.try_next().map(Next::Delivery) } else { None };
        }
        match next {
            Some(Next::End(end)) => self.end(end),
            Some(Next::SignOfLife) => {
                self.subscription.move_on();
                self.text.push_str(": \nid: ");
                self.subscription.cursor().write_to(&mut self.text);
                self.text.push_str("\n\n");
            }
            Some(Next::Delivery(_)) | None => {}
        }
    }

    /// Ends the stream. The client connects again behind the last event.
    fn end(&mut self, end: End) {
        self.slot.ended(end);
        self.has_ended = true;
        let id = self.subscription.cursor().encode();
        let data = json!({"reason": end.as_str(), "from": id, "reconnect": end != End::Unauthorized});
        _ = write!(self.text, "retry: {}\nevent: end\nid: {id}\ndata: {data}\n\n", retry_ms());
    }
}

enum Next {
    Delivery(Delivery),
    SignOfLife,
    End(End),
}

/// Appends an event's JSON object, with the number of earlier prices that it stands for where that is not 0.
pub(super) fn push_json(text: &mut String, json: &Bytes, conflated: u64) {
    // What was written as JSON is UTF-8.
    let json = std::str::from_utf8(json).unwrap_or("{}");
    match json.strip_suffix('}') {
        Some(open) if conflated > 0 => _ = write!(text, "{open},\"conflated\":{conflated}}}"),
        _ => text.push_str(json),
    }
}
