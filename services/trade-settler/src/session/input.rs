//! A message of one of the streams as what it asks for.

use events::{AlertFired, Asset, DepositRequested, Event, OrderCancelRequested, OrderPlaced, Symbol, Tick, Timestamp};
use platform::{Message, broker::ordered_consumer::DecodeError};
use thiserror::Error;
use uuid::Uuid;

use crate::book::Unpostable;

/// A message that can never be settled.
#[derive(Debug, Error)]
pub(crate) enum Unusable {
    /// It is not what its stream is for.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// It asks for what cannot be.
    #[error(transparent)]
    Deposit(#[from] Unpostable),
}

/// What is to be applied.
#[derive(Debug)]
pub(crate) enum Input {
    Tick(Box<Tick>),
    Alert(Box<AlertFired>),
    Placed(Box<OrderPlaced>),
    Cancel(Box<OrderCancelRequested>),
    Deposit(Box<DepositRequested>),
    /// Something else that the stream carries, which changes no order.
    Passed,
}

impl Input {
    /// What an order trades.
    pub(crate) fn symbol(&self) -> Option<&Symbol> {
        if let Self::Placed(placed) = self { Some(&placed.terms.symbol) } else { None }
    }

    /// What is deposited.
    pub(crate) fn asset(&self) -> Option<&Asset> {
        if let Self::Deposit(request) = self { Some(&request.asset) } else { None }
    }

    pub(crate) fn order(&self) -> Option<Uuid> {
        if let Self::Placed(placed) = self { Some(placed.order_id) } else { None }
    }

    pub(crate) fn deposit(&self) -> Option<Uuid> {
        if let Self::Deposit(request) = self { Some(request.deposit_id) } else { None }
    }

    /// Its own time.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        Some(match self {
            Self::Tick(event) => event.ce_time(),
            Self::Alert(event) => event.ce_time(),
            Self::Placed(event) => event.ce_time(),
            Self::Cancel(event) => event.ce_time(),
            Self::Deposit(event) => event.ce_time(),
            Self::Passed => return None,
        })
    }
}

/// Reads a message of the stream that a feed reads.
pub(crate) fn read(feed: usize, message: &Message) -> Result<Input, Unusable> {
    Ok(match (super::CONSUMERS[feed], message.class()) {
        // Gaps in a feed are kept in the stream of ticks.
        (crate::SERVICE, class) if class.starts_with("feed-") => Input::Passed,
        (crate::SERVICE, _) => Input::Tick(message.event().map(Box::new)?),
        ("trade-settler-alerts", _) => Input::Alert(message.event().map(Box::new)?),
        (_, OrderPlaced::TYPE) => Input::Placed(message.event().map(Box::new)?),
        (_, OrderCancelRequested::TYPE) => Input::Cancel(message.event().map(Box::new)?),
        (_, DepositRequested::TYPE) => Input::Deposit(message.event().map(Box::new)?),
        (_, class) => return Err(DecodeError::Class(class.to_owned()).into()),
    })
}
