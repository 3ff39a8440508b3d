//! The life of one connection: connect, subscribe, check the answers, read until it ends.

use std::time::Duration;

use events::{Price, Size, Timestamp};
use futures::{SinkExt, StreamExt};
use platform::runtime::error::error_chain;
use reqwest::Url;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use tokio_tungstenite::tungstenite::{self, Message as Frame};
use tokio_util::sync::CancellationToken;

use super::{
    BadMessage, Timing,
    bad_messages::BadMessages,
    socket::{Dialer, Socket},
    subscriptions::{RefusedProduct, Subscriptions, WantedProduct},
};
use crate::sources::exchange::{
    adapter::{Adapter, KeepAlive},
    message::{LastTrade, Message, TradeId, Trades, VenueTrade},
};

/// Time for the closing handshake of a connection that is left.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum EndReason {
    /// There was never one, or the venue has closed it or broken the protocol.
    Lost(String),
    /// Nothing was received for too long.
    Silent,
    /// It is not wanted any more.
    Left,
}

/// Something that happened on a connection.
#[derive(Debug)]
pub(crate) struct ConnectionEvent {
    /// The number of the connection, which no other one of the process has.
    pub(crate) connection: u64,
    /// What the connection has to say.
    pub(crate) occurrence: Occurrence,
}

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum Occurrence {
    /// Products are subscribed.
    Subscribed(Vec<String>),
    /// Everything is subscribed, or refused.
    Settled,
    /// A product is refused.
    Refused(RefusedProduct),
    /// Trades of one message have arrived, oldest first.
    Trades(Vec<LiveTrade>),
    /// The number of the last trade of a product.
    LastTrade { product: String, id: u64 },
    /// The venue announces the end, or the connection is about to be too old.
    EndAnnounced(String),
    /// A message did not parse. Only some of them are passed on.
    Bad(Option<BadMessage>),
    /// It has ended. `heard_at` is when something was received last, where it was ever open.
    Ended { reason: EndReason, heard_at: Option<Instant> },
}

/// A trade of a live message, which no longer borrows from its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LiveTrade {
    pub(crate) product: String,
    pub(crate) id: TradeId<'static>,
    pub(crate) price: Price,
    pub(crate) size: Size,
    pub(crate) at: Timestamp,
    pub(crate) was_rounded: bool,
    /// Whether it happened before the subscription.
    pub(crate) is_past: bool,
}

impl LiveTrade {
    fn new(trade: &VenueTrade<'_>, is_past: bool) -> Self {
        let VenueTrade { product, id, price, size, at, was_rounded } = trade;
        let id = match id {
            TradeId::Numbers { first, last } => TradeId::Numbers { first: *first, last: *last },
            TradeId::Name(name) => TradeId::Name(name.clone().into_owned().into()),
        };
        let product = product.clone().into_owned();
        Self { product, id, price: *price, size: *size, at: *at, was_rounded: *was_rounded, is_past }
    }
}

/// One connection, before it is made.
pub(crate) struct Connection {
    pub(crate) number: u64,
    pub(crate) adapter: &'static dyn Adapter,
    pub(crate) dialer: Dialer,
    pub(crate) url: Url,
    /// What is to be subscribed, which changes while the connection is open.
    pub(crate) products: watch::Receiver<Vec<WantedProduct>>,
    pub(crate) timing: Timing,
    pub(crate) events: mpsc::Sender<ConnectionEvent>,
    /// Ends the connection once something more was received. That shows that it was alive until another one took its place:
    /// a connection that was dead in silence has lost trades that the other one has never seen.
    pub(crate) leave: CancellationToken,
    /// Ends the connection at once.
    pub(crate) stop: CancellationToken,
}

impl Connection {
    /// Runs the connection from `start` on, until it ends. The last event says why.
    pub(crate) async fn run(self, start: Instant) {
        let mut heard_at = None;
        let reason = tokio::select! {
            reason = self.connect_and_read(start, &mut heard_at) => reason,
            () = self.stop.cancelled() => EndReason::Left,
        };
        // The receiver is gone only where the feed has ended.
        let _ = self.send(Occurrence::Ended { reason, heard_at }).await;
    }

    async fn connect_and_read(&self, start: Instant, heard_at: &mut Option<Instant>) -> EndReason {
        let connected = async {
            sleep_until(start).await;
            self.dialer.connect(&self.url).await
        };
        let mut socket = tokio::select! {
            connected = connected => match connected {
                Ok(socket) => socket,
                Err(error) => return EndReason::Lost(error_chain(&error)),
            },
            () = self.leave.cancelled() => return EndReason::Left,
        };
        let mut reader = Reader::new(self);
        let reason = reader.read(&mut socket).await;
        *heard_at = Some(reader.heard_at);
        // A venue that does not answer is not waited for.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, socket.close(None)).await;
        reason
    }

    async fn send(&self, occurrence: Occurrence) -> Result<(), EndReason> {
        let event = ConnectionEvent { connection: self.number, occurrence };
        self.events.send(event).await.map_err(|_| EndReason::Left)
    }
}

/// What is known of an open connection.
struct Reader<'connection> {
    connection: &'connection Connection,
    subscriptions: Subscriptions,
    products: watch::Receiver<Vec<WantedProduct>>,
    bad_messages: BadMessages,
    is_settled: bool,
    /// When something was received last.
    heard_at: Instant,
    /// When the next message may be sent.
    send_at: Instant,
    /// When the text that keeps the connection alive is sent.
    keep_alive_at: Option<Instant>,
    /// When requests that are not answered are made again.
    answer_by: Instant,
    /// When the connection is announced to be too old.
    old_at: Option<Instant>,
}

impl<'connection> Reader<'connection> {
    fn new(connection: &'connection Connection) -> Self {
        let (now, timing) = (Instant::now(), &connection.timing);
        let keep_alive_at = keep_alive(connection.adapter).map(|(_, interval)| now + interval);
        let mut products = connection.products.clone();
        let subscriptions = Subscriptions::new(connection.adapter, &products.borrow_and_update());
        Self {
            connection,
            subscriptions,
            products,
            bad_messages: BadMessages::default(),
            is_settled: false,
            heard_at: now,
            send_at: now,
            keep_alive_at,
            answer_by: now + timing.answer_timeout,
            old_at: timing.max_age.map(|age| now + age),
        }
    }

    async fn read(&mut self, socket: &mut Socket) -> EndReason {
        loop {
            let (is_leaving, next_timer) = (self.connection.leave.is_cancelled(), self.next_timer());
            let result = tokio::select! {
                frame = socket.next() => {
                    let result = self.hear(frame).await;
                    if is_leaving { result.and(Err(EndReason::Left)) } else { result }
                }
                () = self.connection.leave.cancelled(), if !is_leaving => Ok(()),
                // Whoever drops the sender leaves the connection.
                Ok(()) = self.products.changed() => {
                    self.change_products();
                    Ok(())
                }
                () = sleep_until(next_timer) => self.on_timer(socket).await,
            };
            if let Err(reason) = result {
                return reason;
            }
        }
    }

    /// Begins to ask for products that were added, and to leave those that were removed.
    fn change_products(&mut self) {
        self.subscriptions.change(&self.products.borrow_and_update());
        self.is_settled = self.subscriptions.is_settled();
        self.answer_by = Instant::now() + self.connection.timing.answer_timeout;
    }

    /// Returns when there is something to do although nothing arrives.
    fn next_timer(&self) -> Instant {
        let silent_at = self.heard_at + self.connection.timing.silence;
        let send_at = self.subscriptions.has_more_to_send().then_some(self.send_at);
        let answer_by = (!self.is_settled).then_some(self.answer_by);
        let timers = [send_at, self.keep_alive_at, answer_by, self.old_at];
        timers.into_iter().flatten().fold(silent_at, Instant::min)
    }

    async fn on_timer(&mut self, socket: &mut Socket) -> Result<(), EndReason> {
        let (now, timing) = (Instant::now(), &self.connection.timing);
        if now >= self.heard_at + timing.silence {
            return Err(EndReason::Silent);
        }
        if now >= self.send_at && self.subscriptions.has_more_to_send() {
            if let Some(text) = self.subscriptions.next_to_send() {
                self.send(socket, text).await?;
            }
            (self.send_at, self.answer_by) = (now + timing.send_interval, now + timing.answer_timeout);
        }
        if let Some((text, interval)) = keep_alive(self.connection.adapter)
            && self.keep_alive_at.is_some_and(|at| now >= at)
        {
            self.send(socket, text.to_owned()).await?;
            self.keep_alive_at = Some(now + interval);
        }
        if !self.is_settled && now >= self.answer_by {
            let refused = self.subscriptions.retry_unanswered();
            self.answer_by = now + timing.answer_timeout;
            self.refuse(refused).await?;
        }
        if self.old_at.is_some_and(|at| now >= at) {
            self.old_at = None;
            self.connection.send(Occurrence::EndAnnounced("it is as old as the venue allows".to_owned())).await?;
        }
        Ok(())
    }

    async fn send(&mut self, socket: &mut Socket, text: String) -> Result<(), EndReason> {
        let sent = tokio::time::timeout(self.connection.timing.connect_timeout, socket.send(Frame::text(text))).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EndReason::Lost(error_chain(&error))),
            Err(_) => Err(EndReason::Silent),
        }
    }

    async fn hear(&mut self, frame: Option<Result<Frame, tungstenite::Error>>) -> Result<(), EndReason> {
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Err(EndReason::Lost(error_chain(&error))),
            None => return Err(EndReason::Lost("the venue has closed the connection".to_owned())),
        };
        let now = Instant::now();
        self.heard_at = now;
        if let KeepAlive::WhenSilent(_, interval) = self.connection.adapter.profile().keep_alive {
            self.keep_alive_at = Some(now + interval);
        }
        match frame {
            Frame::Text(text) => self.decode(text.as_str(), now).await,
            Frame::Binary(bytes) => {
                let bad = self.bad_messages.take(&bytes, "it is no text".to_owned(), now);
                self.connection.send(Occurrence::Bad(bad)).await
            }
            Frame::Close(close) => {
                let reason = close.map(|close| format!(": {} {}", close.code, close.reason)).unwrap_or_default();
                Err(EndReason::Lost(format!("the venue has closed the connection{reason}")))
            }
            // The library answers pings by itself.
            Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_) => Ok(()),
        }
    }

    async fn decode(&mut self, text: &str, now: Instant) -> Result<(), EndReason> {
        let mut trades = Trades::new();
        let message = match self.connection.adapter.decode(text, &mut trades) {
            Ok(message) => message,
            Err(error) => {
                let bad = self.bad_messages.take(text.as_bytes(), error_chain(&error), now);
                return self.connection.send(Occurrence::Bad(bad)).await;
            }
        };
        let occurrence = match message {
            Message::Trades | Message::Snapshot => {
                let is_past = message == Message::Snapshot;
                Occurrence::Trades(trades.iter().map(|trade| LiveTrade::new(trade, is_past)).collect())
            }
            Message::Heartbeat(Some(LastTrade { product, id })) => {
                Occurrence::LastTrade { product: product.into_owned(), id }
            }
            Message::Subscribed(products) => {
                let added = self.subscriptions.confirm(products.iter().map(|product| &**product));
                return self.subscribed(added).await;
            }
            Message::Accepted(number) => {
                let added = self.subscriptions.accept(number);
                return self.subscribed(added).await;
            }
            Message::Refused(refusal) => {
                let refused = self.subscriptions.refuse(&refusal);
                return self.refuse(refused).await;
            }
            Message::Closing(reason) => Occurrence::EndAnnounced(reason.into_owned()),
            Message::Heartbeat(None) | Message::Skipped => return Ok(()),
        };
        self.connection.send(occurrence).await
    }

    async fn subscribed(&mut self, products: Vec<String>) -> Result<(), EndReason> {
        if !products.is_empty() {
            self.connection.send(Occurrence::Subscribed(products)).await?;
        }
        self.settle().await
    }

    async fn refuse(&mut self, refused: Vec<RefusedProduct>) -> Result<(), EndReason> {
        for refused in refused {
            self.connection.send(Occurrence::Refused(refused)).await?;
        }
        self.settle().await
    }

    async fn settle(&mut self) -> Result<(), EndReason> {
        if self.is_settled || !self.subscriptions.is_settled() {
            return Ok(());
        }
        if !self.subscriptions.has_any() {
            return Err(EndReason::Lost("the venue refuses every product".to_owned()));
        }
        self.is_settled = true;
        self.connection.send(Occurrence::Settled).await
    }
}

/// Returns the text that keeps a connection alive, and its interval.
fn keep_alive(adapter: &dyn Adapter) -> Option<(&'static str, Duration)> {
    match adapter.profile().keep_alive {
        KeepAlive::ByVenue => None,
        KeepAlive::WhenSilent(text, interval) | KeepAlive::Every(text, interval) => Some((text, interval)),
    }
}
