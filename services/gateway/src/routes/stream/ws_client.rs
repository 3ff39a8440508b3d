//! One WebSocket: the messages of the client, and what it gets.

use std::{fmt::Write, future::pending, time::Duration};

use futures::{FutureExt, SinkExt, StreamExt, future::select_all};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, interval, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use crate::{
    auth::stream_access::StreamToken,
    http::{problem::Problem, websocket::Socket},
    live::{
        channel::{Audience, Source},
        clients::{End, Slot},
        interest::Interest,
        queue::{Conflation, Cut},
        subscription::{Delivery, Recovery, Subscription},
    },
    routes::stream::{
        failed, not_opened,
        request::{channels, resume, symbols},
        sse::push_json,
    },
    state::AppState,
};

/// The most subscriptions of one connection.
const MOST_SUBSCRIPTIONS: usize = 8;
/// The number of events that are written before the client's messages are read again.
const EVENTS_AT_ONCE: usize = 256;
/// The interval of heartbeats, where the client asks for them.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The time without a message of the client after which it is pinged, and after which it is given up.
const PING_AFTER: Duration = Duration::from_secs(25);
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);

/// A message of a client.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    r#type: String,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    symbols: Option<Vec<String>>,
    #[serde(default)]
    conflate: Option<String>,
    #[serde(default)]
    from: Option<String>,
    #[serde(default)]
    subscription: Option<u32>,
}

/// A client on a WebSocket.
pub(super) struct WsClient {
    state: AppState,
    token: StreamToken,
    slot: Slot,
    socket: Socket,
    subscriptions: Vec<(u32, Subscription)>,
    next_subscription: u32,
    /// The number of events that were sent.
    sequence: u64,
    wants_heartbeat: bool,
    heard_at: Instant,
    pinged: bool,
}

/// The reason why a connection ends.
enum Stop {
    /// The client has closed it, or it has failed.
    Closed,
    /// The client gets the reason, and connects again.
    End(End),
    /// The client has sent something else than a message of the protocol.
    Protocol(&'static str),
}

impl WsClient {
    pub(super) fn new(state: AppState, token: StreamToken, slot: Slot, socket: Socket) -> Self {
        Self {
            state,
            token,
            slot,
            socket,
            subscriptions: Vec::new(),
            next_subscription: 1,
            sequence: 0,
            wants_heartbeat: false,
            heard_at: Instant::now(),
            pinged: false,
        }
    }

    /// Serves the client until one of the two ends the connection.
    pub(super) async fn run(mut self) {
        let (code, reason) = match self.serve().await {
            Stop::Closed => return,
            Stop::Protocol(reason) => (CloseCode::Policy, reason),
            Stop::End(end) => {
                self.slot.ended(end);
                (close_code(end), end.as_str())
            }
        };
        let frame = CloseFrame { code, reason: reason.into() };
        let wait = self.slot.write_timeout().min(Duration::from_secs(2));
        // Whoever does not read is not waited for.
        _ = timeout(wait, async {
            self.socket.close(Some(frame)).await?;
            while self.socket.next().await.transpose()?.is_some() {}
            Ok::<_, tokio_tungstenite::tungstenite::Error>(())
        })
        .await;
    }

    async fn serve(&mut self) -> Stop {
        let mut heartbeats = interval(HEARTBEAT);
        let mut drained = Box::pin(self.slot.when_drained());
        loop {
            let silent_until = self.heard_at + if self.pinged { GIVE_UP_AFTER } else { PING_AFTER };
            let done = tokio::select! {
                biased;
                () = &mut drained => return Stop::End(End::Shutdown),
                message = self.socket.next() => match message {
                    Some(Ok(message)) => {
                        (self.heard_at, self.pinged) = (Instant::now(), false);
                        self.answer(message).await
                    }
                    Some(Err(_)) | None => Err(Stop::Closed),
                },
                (id, delivery) = next(&mut self.subscriptions) => self.deliver(id, delivery).await,
                _ = heartbeats.tick(), if self.wants_heartbeat => {
                    let text = json!({"type": "heartbeat", "sequence": self.sequence}).to_string();
                    self.send(text).await
                }
                () = sleep_until(silent_until) => {
                    if self.pinged {
                        return Stop::End(End::Slow);
                    }
                    self.pinged = true;
                    self.subscriptions.iter_mut().for_each(|(_, subscription)| subscription.move_on());
                    self.write(Message::Ping(Vec::new().into())).await
                }
            };
            if let Err(stop) = done {
                return stop;
            }
        }
    }

    async fn answer(&mut self, message: Message) -> Result<(), Stop> {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => {
                // Sends the answer to it.
                _ = timeout(HEARTBEAT, self.socket.flush()).await;
                return Err(Stop::Closed);
            }
            Message::Binary(_) => return Err(Stop::Protocol("send text")),
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        let command: Command = match serde_json::from_str(&text) {
            Ok(command) => command,
            Err(error) => {
                return self.refuse("malformed", &format!("The message is not one of this API: {error}.")).await;
            }
        };
        match &*command.r#type {
            "subscribe" => self.subscribe(command).await,
            "unsubscribe" => {
                let which = command.subscription;
                self.subscriptions.retain(|(id, _)| which.is_some_and(|which| which != *id));
                self.send(json!({"type": "unsubscribed", "subscription": which}).to_string()).await
            }
            "ping" => self.send(json!({"type": "pong", "sequence": self.sequence}).to_string()).await,
            "heartbeat" => {
                self.wants_heartbeat = true;
                Ok(())
            }
            other => {
                let allowed = "allowed are subscribe, unsubscribe, ping and heartbeat";
                self.refuse("unknown_type", &format!("The type {other:?} is not known; {allowed}.")).await
            }
        }
    }

    async fn subscribe(&mut self, command: Command) -> Result<(), Stop> {
        if self.subscriptions.len() >= MOST_SUBSCRIPTIONS {
            let text =
                format!("A connection has at most {MOST_SUBSCRIPTIONS} subscriptions; end one with unsubscribe.");
            return self.refuse("too_many_subscriptions", &text).await;
        }
        let Command { channels: words, symbols: names, conflate, from, .. } = command;
        let wanted = match wanted(words, names, conflate) {
            Ok(wanted) => wanted,
            Err(detail) => return self.refuse("invalid", &detail).await,
        };
        let (channels, symbols, conflation) = wanted;
        let opened = async {
            let viewer = self.token.authorize(channels.iter().copied(), &self.state).await?;
            let interest = Interest { channels: channels.clone(), symbols: symbols.clone(), viewer, conflation };
            Subscription::open(&self.state.hub, interest, resume(from.as_deref())).await.map_err(not_opened)
        };
        let subscription = match opened.await {
            Ok(subscription) => subscription,
            Err(Problem { kind, detail, .. }) => return self.refuse(word(kind.status().as_u16()), &detail).await,
        };
        let id = self.next_subscription;
        self.next_subscription += 1;
        let recovery = subscription.recovery();
        let answer = json!({
            "type": "subscribed",
            "subscription": id,
            "channels": channels.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "symbols": symbols,
            "epoch": epoch(&subscription),
            "sequence": self.sequence,
            "recovered": recovery == Recovery::Complete,
            "lost": matches!(recovery, Recovery::Complete | Recovery::Fresh).then_some(0),
            "reason": recovery.reason(),
            "from": subscription.cursor().encode(),
        });
        self.subscriptions.push((id, subscription));
        self.send(answer.to_string()).await
    }

    /// Sends an event and those behind it that are there.
    async fn deliver(&mut self, id: u32, first: Delivery) -> Result<(), Stop> {
        let (mut next, mut sent) = (Some(first), 0);
        let mut is_authorized = self.token == StreamToken::None;
        while let Some(delivery) = next {
            let (event, conflated) = match delivery {
                Delivery::Event(event, conflated) => (event, conflated),
                Delivery::Cut(Cut::Slow) => return Err(Stop::End(End::Slow)),
                Delivery::Cut(Cut::StreamReplaced) => return Err(Stop::End(End::StreamReplaced)),
                Delivery::Failed(error) => return Err(Stop::End(failed(&error))),
            };
            if !is_authorized && event.channel.audience() == Audience::Owner {
                // The token may have been revoked since.
                match self.token.authorize([event.channel], &self.state).await {
                    Ok(_) => is_authorized = true,
                    Err(problem) => return Err(Stop::End(End::of(&problem))),
                }
            }
            self.sequence += 1;
            sent += 1;
            let Some((_, subscription)) = self.subscriptions.iter_mut().find(|(found, _)| *found == id) else { break };
            let mut text = String::with_capacity(192 + event.json.len());
            // Neither has a character that JSON escapes.
            _ = write!(
                text,
                "{{\"type\":\"event\",\"subscription\":{id},\"channel\":\"{}\",\"sequence\":{},\"id\":\"",
                event.channel, self.sequence
            );
            subscription.cursor().write_to(&mut text);
            text.push_str("\",\"data\":");
            push_json(&mut text, &event.json, conflated);
            text.push('}');
            next = if sent < EVENTS_AT_ONCE { subscription.try_next() } else { None };
            let wait = self.slot.write_timeout();
            written(timeout(wait, self.socket.feed(Message::text(text))).await)?;
        }
        written(timeout(self.slot.write_timeout(), self.socket.flush()).await)
    }

    async fn refuse(&mut self, code: &str, message: &str) -> Result<(), Stop> {
        self.send(json!({"type": "error", "code": code, "message": message}).to_string()).await
    }

    async fn send(&mut self, text: String) -> Result<(), Stop> {
        self.write(Message::text(text)).await
    }

    async fn write(&mut self, message: Message) -> Result<(), Stop> {
        written(timeout(self.slot.write_timeout(), self.socket.send(message)).await)
    }
}

/// Waits for the next delivery of any subscription; for ever where there is none.
async fn next(subscriptions: &mut [(u32, Subscription)]) -> (u32, Delivery) {
    if subscriptions.is_empty() {
        return pending().await;
    }
    let each = subscriptions.iter_mut().map(|(id, subscription)| {
        let id = *id;
        async move { (id, subscription.next().await) }.boxed()
    });
    select_all(each).await.0
}

type Wanted = (Vec<crate::live::channel::Channel>, Option<Vec<events::Symbol>>, Conflation);

/// Reads what a client subscribes to. The error is a sentence.
fn wanted(words: Option<Vec<String>>, names: Option<Vec<String>>, conflate: Option<String>) -> Result<Wanted, String> {
    let words = words.unwrap_or_else(|| vec!["prices".into()]);
    let read = channels(words.iter().map(String::as_str)).map_err(|error| format!("channels {error}."))?;
    if read.is_empty() {
        return Err("channels must name at least one channel.".into());
    }
    let symbols = names.map(|names| symbols(names.iter().map(String::as_str))).transpose();
    let symbols = symbols.map_err(|error| format!("symbols {error}."))?;
    let conflation = conflate.map_or(Ok(Conflation::Latest), |text| text.parse());
    Ok((read, symbols, conflation.map_err(|error| format!("conflate {error}."))?))
}

fn written<E>(result: Result<Result<(), E>, tokio::time::error::Elapsed>) -> Result<(), Stop> {
    match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Stop::Closed),
        Err(_) => Err(Stop::End(End::Slow)),
    }
}

/// Returns text that is another one once a stream of the subscription is another one.
fn epoch(subscription: &Subscription) -> String {
    let mut digest = Sha256::new();
    for source in Source::ALL {
        let created = subscription.cursor().get(source).map_or(0, |place| place.created.micros());
        digest.update(created.to_be_bytes());
    }
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the close code of an end. After 4401 a client needs another token; after all others it connects again.
fn close_code(end: End) -> CloseCode {
    match end {
        End::Shutdown => CloseCode::Away,
        End::Unavailable => CloseCode::Again,
        End::Slow => CloseCode::Library(4408),
        End::StreamReplaced => CloseCode::Library(4410),
        End::Unauthorized => CloseCode::Library(4401),
    }
}

/// Returns the code of an error by the status of the problem.
fn word(status: u16) -> &'static str {
    match status {
        401 => "unauthorized",
        403 => "forbidden",
        404 => "not_found",
        503 => "unavailable",
        _ => "internal",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subscription_names_channels_and_symbols() {
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        let (channels, symbols, conflation) = wanted(None, None, None).expect("the default");
        assert_eq!((channels.len(), symbols, conflation), (1, None, Conflation::Latest));
        let (channels, symbols, conflation) =
            wanted(texts(&["prices", "candles:1m"]), texts(&["BTC/USD"]), Some("none".into())).expect("all");
        assert_eq!((channels.len(), symbols.map(|symbols| symbols.len()), conflation), (2, Some(1), Conflation::Off));
        for (words, names, conflate, said) in [
            (texts(&[]), None, None, "channels must name"),
            (texts(&["candles"]), None, None, "channels must be one of"),
            (None, texts(&["btc"]), None, "symbols must be a symbol"),
            (None, None, Some("off".to_owned()), "conflate must be"),
        ] {
            let error = wanted(words, names, conflate).expect_err(said);
            assert!(error.starts_with(said), "{error}");
        }
    }

    #[test]
    fn only_a_refused_token_keeps_a_client_from_connecting_again() {
        assert_eq!(u16::from(close_code(End::Unauthorized)), 4401);
        assert_eq!(u16::from(close_code(End::Shutdown)), 1001);
        assert_eq!(u16::from(close_code(End::Unavailable)), 1013);
    }
}
