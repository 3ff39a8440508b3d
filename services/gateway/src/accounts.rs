//! `/v1/accounts`, `/v1/trades`, `/v1/ledger`, `/v1/assets`: what somebody has and how it came to be.

use axum::{Json, extract::State};
use events::{Amount, Asset, Price, Side, Size, Symbol, Timestamp, TradeSettled};
use ledger::rows::AssetRow;
use rust_decimal::Decimal;
use serde::Serialize;
use store::trading::{
    balances::{self, Balance, Posting},
    settlement,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    App,
    caller::Reads,
    extract::{FromQuery, Params},
    openapi::ProblemResponses,
    order_schemas::{AccountKindDoc, PostingKindDoc, SideDoc},
    problem::Problem,
    query::{Cursor, Given, Query, page},
};

/// What you have of an asset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Account {
    #[schema(value_type = String, example = "USD")]
    asset: Asset,
    /// What orders may use.
    #[schema(value_type = String, example = "9319.32")]
    available: Decimal,
    /// What open orders hold.
    #[schema(value_type = String, example = "680.68")]
    held: Decimal,
    /// Both.
    #[schema(value_type = String, example = "10000.00")]
    total: Decimal,
}

impl From<Balance> for Account {
    fn from(Balance { asset, available, held }: Balance) -> Self {
        Self { asset, available, held, total: available + held }
    }
}

/// What you have, by asset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AccountList {
    items: Vec<Account>,
    /// Always null: there is one page.
    next_cursor: Option<String>,
}

/// An order that has traded, as a whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Trade {
    /// `<order id>-1`.
    #[schema(example = "0197d0a4-6f5e-7c3a-9d2b-1e4f5a6b7c8d-1")]
    id: String,
    order_id: Uuid,
    #[schema(value_type = String, example = "BTC-USD")]
    symbol: Symbol,
    #[schema(value_type = SideDoc)]
    side: Side,
    /// How much of the base.
    #[schema(value_type = String, example = "0.1")]
    size: Size,
    /// What one cost: the tick's price, for a market order with the half spread.
    #[schema(value_type = String, example = "6808.312455")]
    price: Price,
    /// What all of it cost or brought, in the quote, before the fee.
    #[schema(value_type = String, example = "680.83")]
    quote_amount: Amount,
    /// In the quote.
    #[schema(value_type = String, example = "0.68")]
    fee: Amount,
    /// The tick that priced it, by its place in stream `TICKS`.
    tick_sequence: u64,
    /// Its price.
    #[schema(value_type = String, example = "6804.91")]
    tick_price: Price,
    /// The ledger's posting.
    posting_id: i64,
    /// The time of what decided it.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<balances::Trade> for Trade {
    fn from(trade: balances::Trade) -> Self {
        Self {
            id: TradeSettled::id_of(trade.order_id),
            order_id: trade.order_id,
            symbol: trade.symbol,
            side: trade.side,
            size: trade.size,
            price: trade.price,
            quote_amount: trade.quote_amount,
            fee: trade.fee,
            tick_sequence: trade.tick_sequence,
            tick_price: trade.tick_price,
            posting_id: trade.posting_id,
            at: trade.at,
        }
    }
}

/// A page of trades.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TradePage {
    items: Vec<Trade>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which trades.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct TradeQuery {
    /// Only that of this order.
    #[param(value_type = Option<Uuid>)]
    order_id: Option<Uuid>,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<TradePlace>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: u16,
}

impl FromQuery for TradeQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let order_id = query.optional("order_id");
        let cursor = query.optional("cursor").map(|Given(place)| place);
        Some(Self { order_id, cursor, limit: query.limit() })
    }
}

/// A posting of the ledger, as it moved your accounts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerPosting {
    /// Its place in the ledger, which is everybody's.
    id: i64,
    #[schema(value_type = PostingKindDoc)]
    kind: String,
    /// The order or the deposit.
    cause: Uuid,
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    entries: Vec<Entry>,
    /// SHA-256 over it and the posting before it, as hex.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    hash: String,
}

/// What came into one of your accounts, or below zero, went out of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Entry {
    #[schema(value_type = AccountKindDoc)]
    account: String,
    #[schema(value_type = String, example = "USD")]
    asset: Asset,
    #[schema(value_type = String, example = "-680.68")]
    amount: Decimal,
}

impl From<Posting> for LedgerPosting {
    fn from(Posting { id, kind, cause, at, hash, entries }: Posting) -> Self {
        let entry = |balances::Entry { account, asset, amount }| Entry { account, asset, amount };
        let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id, kind, cause, at, hash, entries: entries.into_iter().map(entry).collect() }
    }
}

/// A page of the ledger.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LedgerPage {
    items: Vec<LedgerPosting>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which postings.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LedgerQuery {
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<PostingPlace>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: u16,
}

impl FromQuery for LedgerQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let cursor = query.optional("cursor").map(|Given(place)| place);
        Some(Self { cursor, limit: query.limit() })
    }
}

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident as $letter:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(i64);

        impl Cursor for $name {
            const LIST: &'static str = $letter;
            fn key(&self) -> String {
                self.0.to_string()
            }
            fn from_key(key: &str) -> Option<Self> {
                key.parse().ok().filter(|number| *number > 0).map(Self)
            }
        }
    )*};
}

places! {
    /// Behind a trade, by its posting.
    TradePlace as "t";
    /// Behind a posting.
    PostingPlace as "l";
}

/// Something that accounts may hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssetInfo {
    #[schema(value_type = String, example = "USD")]
    code: Asset,
    /// How many decimal places an amount of it has.
    #[schema(example = 2)]
    scale: u32,
}

impl From<AssetRow> for AssetInfo {
    fn from((code, scale): AssetRow) -> Self {
        Self { code, scale }
    }
}

/// What accounts may hold, by code.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssetList {
    items: Vec<AssetInfo>,
    /// Always null: there is one page.
    next_cursor: Option<String>,
}

/// What you have
///
/// All of it at one moment; only assets that you have had.
#[utoipa::path(
    get, path = "/v1/accounts", tag = "accounts", operation_id = "list_accounts",
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = AccountList), ProblemResponses),
)]
pub(crate) async fn balances(
    State(app): State<App>,
    Reads(caller): Reads,
    Params(()): Params<()>,
) -> Result<Json<AccountList>, Problem> {
    let balances = balances::list(&app.store, caller.user_id).await?;
    Ok(Json(AccountList { items: balances.into_iter().map(Account::from).collect(), next_cursor: None }))
}

/// Your trades, newest first
#[utoipa::path(
    get, path = "/v1/trades", tag = "accounts", operation_id = "list_trades", params(TradeQuery),
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = TradePage), ProblemResponses),
)]
pub(crate) async fn trades(
    State(app): State<App>,
    Reads(caller): Reads,
    Params(query): Params<TradeQuery>,
) -> Result<Json<TradePage>, Problem> {
    let before = query.cursor.map(|TradePlace(posting)| posting);
    let trades =
        balances::list_trades(&app.store, caller.user_id, query.order_id, before, i64::from(query.limit) + 1).await?;
    let (trades, next_cursor) = page(trades, query.limit, |trade| TradePlace(trade.posting_id));
    Ok(Json(TradePage { items: trades.into_iter().map(Trade::from).collect(), next_cursor }))
}

/// Your part of the ledger, newest first
///
/// Every posting that moved your accounts. What comes in and goes out sums to what you have.
#[utoipa::path(
    get, path = "/v1/ledger", tag = "accounts", operation_id = "list_postings", params(LedgerQuery),
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = LedgerPage), ProblemResponses),
)]
pub(crate) async fn ledger(
    State(app): State<App>,
    Reads(caller): Reads,
    Params(query): Params<LedgerQuery>,
) -> Result<Json<LedgerPage>, Problem> {
    let before = query.cursor.map(|PostingPlace(posting)| posting);
    let postings = balances::list_postings(&app.store, caller.user_id, before, i64::from(query.limit) + 1).await?;
    let (postings, next_cursor) = page(postings, query.limit, |posting| PostingPlace(posting.id));
    Ok(Json(LedgerPage { items: postings.into_iter().map(LedgerPosting::from).collect(), next_cursor }))
}

/// What accounts may hold
#[utoipa::path(
    get, path = "/v1/assets", tag = "accounts", operation_id = "list_assets",
    responses((status = 200, body = AssetList), ProblemResponses),
)]
pub(crate) async fn assets(State(app): State<App>, Params(()): Params<()>) -> Result<Json<AssetList>, Problem> {
    let assets = settlement::all_assets(&app.store).await?;
    Ok(Json(AssetList { items: assets.into_iter().map(AssetInfo::from).collect(), next_cursor: None }))
}
