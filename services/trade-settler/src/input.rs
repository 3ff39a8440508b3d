//! Reads the messages of the three streams.

use events::{
    AlertFired, Asset, DepositRequested, Event, LateVerdict, OrderCancelRequested, OrderPlaced, Symbol, TickPage,
    Timestamp,
};
use ledger::order_book::DepositError;
use market_data::{MaxAhead, StoredPage};
use platform::{DecodeError, Message};
use thiserror::Error;
use uuid::Uuid;

use crate::SERVICE;

/// The durable consumers, in the order in which messages that were stored in the same microsecond are applied.
pub(crate) const CONSUMERS: [&str; 3] = [SERVICE, "trade-settler-alerts", "trade-settler-orders"];

/// The reason why a message can never be applied.
#[derive(Debug, Error)]
pub(crate) enum InputError {
    /// The message cannot be decoded, or its type does not belong into its stream.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// The order has no row. Its user would not find it, and whoever can write to the stream could trade for anybody.
    #[error(
        "order {0} is not in table orders, or is there with another user or other terms; it is not settled. If its row was \
         lost with a newer database, restore the row and replay this message"
    )]
    NotPlaced(Uuid),
    /// No operator has requested the deposit. Whoever can write to the stream could otherwise make money.
    #[error(
        "deposit {0} is not in table deposits, or is there with another account, asset or amount; it makes no money"
    )]
    NotRequested(Uuid),
    /// The deposit can never be posted.
    #[error(transparent)]
    Deposit(#[from] DepositError),
}

/// An event to apply to the order book.
#[derive(Debug)]
pub(crate) enum Input {
    /// The ticks of a page. The history-writer gives up those that nobody may use.
    Page(StoredPage),
    Alert(Box<AlertFired>),
    Placed(Box<OrderPlaced>),
    Cancel(Box<OrderCancelRequested>),
    Deposit(Box<DepositRequested>),
    /// An event that changes no order.
    Ignored,
}

impl Input {
    /// Returns the symbol that an order trades.
    pub(crate) fn symbol(&self) -> Option<&Symbol> {
        if let Self::Placed(placed) = self { Some(&placed.terms.symbol) } else { None }
    }

    /// Returns the asset of a deposit.
    pub(crate) fn asset(&self) -> Option<&Asset> {
        if let Self::Deposit(request) = self { Some(&request.asset) } else { None }
    }

    /// Returns the order that is placed.
    pub(crate) fn placed(&self) -> Option<&OrderPlaced> {
        if let Self::Placed(placed) = self { Some(placed) } else { None }
    }

    /// Returns the id of a deposit.
    pub(crate) fn deposit(&self) -> Option<Uuid> {
        if let Self::Deposit(request) = self { Some(request.deposit_id) } else { None }
    }

    /// Returns the time of the event.
    pub(crate) fn at(&self) -> Option<Timestamp> {
        Some(match self {
            Self::Page(page) => return page.last_at(),
            Self::Alert(event) => event.ce_time(),
            Self::Placed(event) => event.ce_time(),
            Self::Cancel(event) => event.ce_time(),
            Self::Deposit(event) => event.ce_time(),
            Self::Ignored => return None,
        })
    }
}

/// Decodes a message of one of the [`CONSUMERS`].
pub(crate) fn decode(consumer: usize, message: &Message, max_ahead: MaxAhead) -> Result<Input, InputError> {
    Ok(match (CONSUMERS[consumer], message.class()) {
        // Gaps in a feed are announced in the stream of ticks.
        (SERVICE, class) if class.starts_with("feed-") => Input::Ignored,
        (SERVICE, _) => {
            let (sequence, stored_at) = (message.sequence, message.stored_at);
            let read = |body: &[u8]| StoredPage::read(body, sequence, stored_at, max_ahead);
            Input::Page(message.read(TickPage::TYPE, read)?)
        }
        // No order is placed at a price that nobody could trade at any more.
        ("trade-settler-alerts", LateVerdict::TYPE) => Input::Ignored,
        ("trade-settler-alerts", _) => Input::Alert(message.event().map(Box::new)?),
        (_, OrderPlaced::TYPE) => Input::Placed(message.event().map(Box::new)?),
        (_, OrderCancelRequested::TYPE) => Input::Cancel(message.event().map(Box::new)?),
        (_, DepositRequested::TYPE) => Input::Deposit(message.event().map(Box::new)?),
        (_, class) => return Err(DecodeError::Class(class.to_owned()).into()),
    })
}
