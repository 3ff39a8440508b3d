//! The rows of the ledger, as they are saved and loaded.
//!
//! Where an audit reads a row, its fields have the types of the columns and not those of the parsers: a row that somebody
//! has tampered with must be readable, so that the audit can name it.

use std::borrow::Cow;

use events::{Asset, OrderRequest, OrderStatus, Price, RejectReason, Symbol, Timestamp, Venue, order::AlertTrigger};
use market_data::{MarketTicks, TickPosition};
use rust_decimal::Decimal;
use uuid::Uuid;

/// An account, which holds one asset. The database moves its balance as transfers are added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// The number of the account, from 1.
    pub id: i64,
    /// The kind of the account: `available` or `held` of a user; `house`, `fees` or `issued`.
    pub kind: Cow<'static, str>,
    /// The user that the account belongs to; none for the house's own.
    pub user_id: Option<Uuid>,
    /// The code of the asset.
    pub asset: String,
    /// The hash of the fields above.
    pub hash: Vec<u8>,
}

/// A posting: transfers that happen together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostingRow {
    /// The number of the posting, from 1 without a gap.
    pub id: i64,
    /// The kind of the posting: `deposit`, `hold`, `release` or `fill`.
    pub kind: Cow<'static, str>,
    /// The user whose accounts are moved.
    pub user_id: Uuid,
    /// The id of the order or the deposit that caused the posting.
    pub cause: Uuid,
    /// The time of the event that caused the posting.
    pub at: Timestamp,
    /// The hash of the posting before this one; empty for the first.
    pub previous_hash: Vec<u8>,
    /// The hash of the fields above and of the transfers.
    pub hash: Vec<u8>,
}

/// A transfer: an amount of one asset that moves from one account to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferRow {
    /// The number of the posting that the transfer belongs to.
    pub posting_id: i64,
    /// The number of the transfer within its posting, from 1.
    pub number: i16,
    /// The code of the asset.
    pub asset: String,
    /// The account that is debited.
    pub from_account: i64,
    /// The account that is credited.
    pub to_account: i64,
    /// The amount, above zero.
    pub amount: Decimal,
    /// The hash of the fields above.
    pub hash: Vec<u8>,
}

/// The state of an order after its last decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderState {
    /// The id of the order.
    pub order_id: Uuid,
    /// The user that owns the order.
    pub user_id: Uuid,
    /// The number of the decision, from 1.
    pub revision: i32,
    /// The status of the order; never `received`.
    pub status: OrderStatus,
    /// The reason of a rejection.
    pub reason: Option<RejectReason>,
    /// The FIFO rank among open orders at one price; 0 once the order is final.
    pub queue_rank: i64,
    /// The asset and the amount that the order holds while it is open.
    pub held: Option<(Asset, Decimal)>,
    /// The alert that the order waits for; none once it has fired, and for orders that no alert places.
    pub awaiting_alert: Option<AlertTrigger>,
    /// The sequence of the last page of ticks that was applied before the decision.
    pub tick_sequence: u64,
    /// The time of the event that caused the decision.
    pub updated_at: Timestamp,
}

/// The trade of an order, which always fills as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TradeRow {
    /// The id of the order.
    pub order_id: Uuid,
    /// The number of the posting that moved the assets.
    pub posting_id: i64,
    /// The user that owns the order.
    pub user_id: Uuid,
    /// The symbol that was traded.
    pub symbol: String,
    /// The side of the order: `buy` or `sell`.
    pub side: Cow<'static, str>,
    /// The amount of the base asset.
    pub size: Decimal,
    /// The price of one unit of the base asset, in the quote asset.
    pub price: Decimal,
    /// The amount of the quote asset, before the fee.
    pub quote_amount: Decimal,
    /// The fee, in the quote asset.
    pub fee: Decimal,
    /// The rate of the fee, in basis points of the quote amount.
    pub fee_bp: i32,
    /// The id of the tick that priced the trade.
    pub tick_id: String,
    /// The sequence of the page that has that tick.
    pub tick_sequence: i64,
    /// The index of that tick in its page.
    pub tick_index: i16,
    /// The price of that tick.
    pub tick_price: Decimal,
    /// The time of that tick.
    pub tick_at: Timestamp,
    /// The time of the event that caused the trade.
    pub at: Timestamp,
    /// The hash of the fields above.
    pub hash: Vec<u8>,
}

/// The newest applied price of a symbol at a venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRow {
    /// The symbol of the tick.
    pub symbol: Symbol,
    /// The venue of the tick.
    pub venue: Venue,
    /// True for the first venue that quoted the symbol, where orders trade that name none.
    pub is_primary: bool,
    /// The id of the tick.
    pub tick_id: String,
    /// The price of the tick.
    pub price: Price,
    /// The time of the tick.
    pub at: Timestamp,
    /// The position of the tick in stream `TICKS`.
    pub position: TickPosition,
}

/// An asset, and the number of decimal places that an amount of it has.
pub type AssetRow = (Asset, u32);

/// All that the order book remembers, loaded when a consumer run starts.
#[derive(Debug, Default)]
pub struct LedgerState {
    /// The assets that can be traded.
    pub assets: Vec<AssetRow>,
    /// Every account with its balance.
    pub accounts: Vec<(AccountRow, Decimal)>,
    /// The number and the hash of the last posting.
    pub last_posting: Option<(i64, Vec<u8>)>,
    /// The open orders by queue rank, each with its request; without one where the order's row is missing.
    pub open: Vec<(OrderState, Option<OrderRequest>)>,
    /// The newest price of each symbol at each venue.
    pub prices: Vec<PriceRow>,
    /// The newest ticks of each market, by which the settler recognises repeats.
    pub markets: Vec<MarketTicks>,
}

/// What a batch has changed and the store has to save.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    /// The accounts that were opened.
    pub accounts: Vec<AccountRow>,
    /// The new postings.
    pub postings: Vec<PostingRow>,
    /// The transfers of the new postings.
    pub transfers: Vec<TransferRow>,
    /// The orders that were decided, each once, with the last decision.
    pub orders: Vec<OrderState>,
    /// The new trades.
    pub trades: Vec<TradeRow>,
    /// The prices that are newer than the saved ones.
    pub prices: Vec<PriceRow>,
    /// The newest ticks of each market that has ticked. The settler adds them: the book is given no repeats.
    pub markets: Vec<MarketTicks>,
}

/// A deposit as it was requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepositRow {
    /// The id of the deposit.
    pub id: Uuid,
    /// The user whose account is funded.
    pub user_id: Uuid,
    /// The code of the asset.
    pub asset: String,
    /// The amount of the asset.
    pub amount: Decimal,
}

/// An order as it was placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderRow {
    /// The user that owns the order.
    pub user_id: Uuid,
    /// The order's request, as JSON.
    pub terms: String,
    /// The hash of the request, by [`crate::hash_chain::fingerprint`].
    pub fingerprint: Vec<u8>,
}

impl OrderRow {
    /// Returns the order's request; none where it cannot be read.
    pub fn request(&self) -> Option<OrderRequest> {
        serde_json::from_str(&self.terms).ok()
    }
}

/// The state of an order as its row says it, with what the audit compares it with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderStateRow {
    /// The id of the order.
    pub order_id: Uuid,
    /// The user that owns the order.
    pub user_id: Uuid,
    /// The status of the order.
    pub status: String,
    /// The reason of a rejection.
    pub reason: Option<String>,
    /// The code of the asset that the order holds.
    pub held_asset: Option<String>,
    /// The amount that the order holds.
    pub held: Decimal,
    /// True when the order has a trade.
    pub is_traded: bool,
    /// The order that the state belongs to; none where its row is missing.
    pub order: Option<OrderRow>,
}
