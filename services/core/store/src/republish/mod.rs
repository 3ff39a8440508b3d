//! Events that the broker has lost and a consumer still needs, made again from the rows that they were published for.
//!
//! A stream can be created anew, purged, or put back to an older copy of its files. What a consumer has read of it is in the
//! database. What it had not read is not, but its cause is: a rule whose last change the engine has not applied, an order that
//! the settler has not decided, a firing without its notification. Such an event is published again under the id that it had,
//! so that every reader recognises a repeat.
//!
//! An event is lost when three things hold, which are asked in this order: its row is older than three minutes and has no
//! effect that its consumer would have saved; no outbox holds it; and it is not among the messages that the consumer has yet to
//! read. The position is read before the rows, and the outbox before the stream: what moves on meanwhile is found at the next
//! place, and does not count as lost. Three minutes are more than the duplicate window of the streams: within it the broker
//! refuses an id, also where the message of that id was deleted since.
//!
//! Some events are not made again: ticks, which are in no row before they are read; notices about accounts, whose links
//! expire and are asked for again; a cancellation that an owner has requested, who sees that the order is open; and outcomes of
//! deliveries, which no consumer reads.

mod orders;
mod rules;

use std::{collections::HashSet, pin::pin};

use events::OutboundMessage;
use futures::TryStreamExt;
use platform::{
    Broker, ServiceError, StreamPosition,
    broker::{stream_position, stream_scan},
};

use crate::{Error, Store, consumer::position, outbox};

/// The most events of a kind that one call returns.
pub const MAX_EVENTS: usize = 10_000;
/// The most messages that a consumer may have yet to read. Behind more, what is lost is not looked for.
const MAX_UNREAD: usize = 100_000;

/// What events of one kind do, for the one consumer that needs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// Deposits that the settler has not posted.
    Deposits,
    /// Orders that the settler has not decided.
    Orders,
    /// The first firings of rules whose order waits for it.
    Triggers,
    /// Cancellations of orders whose rule or account is deleted.
    Cancellations,
    /// Changes of rules that the alert-engine has not applied.
    Rules,
    /// New rules whose address has not been asked to confirm.
    Confirmations,
    /// Firings that nobody was notified of.
    Firings,
    /// Trades, rejections and expiries of orders that their owner was not notified of.
    OrderNews,
}

impl EventKind {
    /// Every kind, in the order of publication: a deposit must be there before the order that it pays, an order before the
    /// firing that places it, and the firing before the end of its rule.
    pub const ALL: [Self; 8] = [
        Self::Deposits,
        Self::Orders,
        Self::Triggers,
        Self::Cancellations,
        Self::Rules,
        Self::Confirmations,
        Self::Firings,
        Self::OrderNews,
    ];
    /// The kinds that a service publishes again by itself: those whose effect does not depend on when they are published. An
    /// order would trade at a price of today, at once or by its trigger; a person decides about these. So does a person about
    /// mails that are hours late, which the other kinds lead to.
    pub const AUTOMATIC: [Self; 2] = [Self::Deposits, Self::Rules];

    /// Returns the word for it in commands and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deposits => "deposits",
            Self::Orders => "orders",
            Self::Triggers => "triggers",
            Self::Cancellations => "cancellations",
            Self::Rules => "rules",
            Self::Confirmations => "confirmations",
            Self::Firings => "firings",
            Self::OrderNews => "order-news",
        }
    }

    /// Returns the kind of a word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// Returns the durable consumer that needs the events.
    fn consumer(self) -> &'static str {
        match self {
            Self::Deposits | Self::Orders | Self::Cancellations => "trade-settler-orders",
            Self::Triggers => "trade-settler-alerts",
            Self::Rules => "alert-engine-rules",
            Self::Confirmations => "notifier-rules",
            Self::Firings => "notifier",
            Self::OrderNews => "notifier-trades",
        }
    }
}

/// Returns the events of a kind that are lost, oldest first and at most [`MAX_EVENTS`].
pub async fn find_lost(store: &Store, broker: &Broker, kind: EventKind) -> Result<Vec<OutboundMessage>, ServiceError> {
    let position = position::read(store, kind.consumer()).await?;
    let mut events = find_without_effect(store, kind).await?;
    if events.is_empty() {
        return Ok(events);
    }
    let ids: Vec<&str> = events.iter().map(|event| event.id.as_str()).collect();
    let unpublished = outbox::find_ids(store, &ids).await?;
    let unread = read_ids(broker, kind.consumer(), position).await?;
    events.retain(|event| !unpublished.contains(&event.id) && !unread.contains(&event.id));
    Ok(events)
}

/// Returns the events of a kind whose row is older than three minutes and has no effect that the consumer would have saved.
/// They may be on their way.
pub async fn find_without_effect(store: &Store, kind: EventKind) -> Result<Vec<OutboundMessage>, Error> {
    let limit = MAX_EVENTS as i64;
    // In a transaction, because these statements read whole tables, and may take longer than those of a request.
    let found = store.transaction(move |tx| {
        Box::pin(async move {
            match kind {
                EventKind::Deposits => orders::unposted_deposits(tx, limit).await,
                EventKind::Orders => orders::undecided(tx, limit).await,
                EventKind::Triggers => rules::awaited_firings(tx, limit).await,
                EventKind::Cancellations => orders::uncancelled(tx, limit).await,
                EventKind::Rules => rules::unapplied(tx, limit).await,
                EventKind::Confirmations => rules::unconfirmed(tx, limit).await,
                EventKind::Firings => rules::unnotified_firings(tx, limit).await,
                EventKind::OrderNews => orders::unnotified(tx, limit).await,
            }
        })
    });
    found.await
}

/// Adds events to the outbox of a service, whose relay publishes them.
pub async fn add(store: &Store, service: &'static str, events: Vec<OutboundMessage>) -> Result<(), Error> {
    store.transaction(move |tx| Box::pin(async move { outbox::add(tx, service, &events).await })).await
}

/// Returns the ids of the messages that a consumer has yet to read.
async fn read_ids(
    broker: &Broker,
    consumer: &str,
    position: Option<StreamPosition>,
) -> Result<HashSet<String>, ServiceError> {
    // Where the stream is another one than the consumer has read, it will read it again from this position.
    let resumption = stream_position::resume(broker, consumer, position).await?;
    let behind = resumption.position.sequence.saturating_add(1);
    let mut messages = pin!(stream_scan::messages(broker, &resumption.stream, behind..).await?);
    let mut ids = HashSet::new();
    let mut unread = 0;
    while let Some(message) = messages.try_next().await? {
        unread += 1;
        if unread > MAX_UNREAD {
            let error = format!("it has more than {MAX_UNREAD} messages to read; try again when it has caught up");
            return Err(ServiceError::transient(format!("find what consumer {consumer} has lost"), error));
        }
        ids.extend(message.id().map(str::to_owned));
    }
    Ok(ids)
}
