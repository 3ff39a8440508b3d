//! Tests of the settler's batches: they are committed whole, fenced, and announced to those who wait.

use std::borrow::Cow;

use events::{Amount, Asset, OrderPlaced, OrderStatus, OutboundMessage, Price, Venue};
use ledger::rows::{AccountRow, Changes, OrderState, PostingRow, PriceRow, TradeRow, TransferRow};
use market_data::{MarketTicks, TickPosition};
use platform::StreamPosition;
use rust_decimal::Decimal;
use store::{
    Error, Store,
    consumer::{
        position::{self, Advance},
        service::Commit,
    },
    trading::{
        deposits::{self, NewDeposit},
        order_waiters::{OrderWaiters, Until},
        orders, settlement,
    },
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    database::{DEADLINE, Database},
    samples::{at, id, order, symbol, terms, user, venue},
};

pub(crate) const SETTLER: &str = "trade-settler";
pub(crate) const DEPOSIT: Uuid = Uuid::from_u128(50);
pub(crate) const ORDER: Uuid = Uuid::from_u128(1);

fn account(number: i64, kind: &'static str, user_id: Option<Uuid>, asset: &str) -> AccountRow {
    AccountRow { id: number, kind: Cow::Borrowed(kind), user_id, asset: asset.into(), hash: vec![1] }
}

fn posting(number: i64, kind: &'static str, user_id: Uuid, cause: Uuid) -> PostingRow {
    let previous_hash = if number == 1 { Vec::new() } else { vec![number as u8 - 1] };
    PostingRow {
        id: number,
        kind: Cow::Borrowed(kind),
        user_id,
        cause,
        at: at(0),
        previous_hash,
        hash: vec![number as u8],
    }
}

fn transfer(posting_id: i64, number: i16, asset: &str, from_account: i64, to_account: i64, amount: i64) -> TransferRow {
    let amount = Decimal::from(amount);
    TransferRow { posting_id, number, asset: asset.into(), from_account, to_account, amount, hash: vec![1] }
}

pub(crate) fn state(user_id: Uuid, revision: i32, status: OrderStatus, held: i64) -> OrderState {
    let usd = Asset::parse("USD").expect("an asset");
    OrderState {
        order_id: ORDER,
        user_id,
        revision,
        status,
        reason: None,
        queue_rank: 3,
        held: (held > 0).then(|| (usd, Decimal::from(held))),
        awaiting_alert: None,
        tick_sequence: 9,
        updated_at: at(1),
    }
}

/// Returns a market whose newest ticks have these ids.
pub(crate) fn market(ids: &[&str]) -> MarketTicks {
    let ids = ids.iter().map(|id| (*id).to_owned()).collect();
    MarketTicks { symbol: symbol("BTC-USD"), venue: venue("coinbase"), at: at(0), ids }
}

fn message(name: &str) -> OutboundMessage {
    OutboundMessage { subject: format!("trades.{name}"), id: name.into(), headers: Vec::new(), body: Vec::new() }
}

/// Returns the step of the settler's consumer by one message.
fn advance(from: u64) -> Vec<Advance> {
    let position = |sequence| StreamPosition { sequence, ..StreamPosition::beginning(at(0)) };
    vec![Advance { consumer: SETTLER.into(), from: position(from), to: position(from + 1), last_event_at: None }]
}

/// Returns a batch with a deposit of 1000 USD and an order that holds 400 of it.
pub(crate) fn opened(user: Uuid) -> Commit<Changes> {
    let changes = Changes {
        accounts: vec![
            account(1, "issued", None, "USD"),
            account(2, "available", Some(user), "USD"),
            account(3, "held", Some(user), "USD"),
        ],
        postings: vec![posting(1, "deposit", user, DEPOSIT), posting(2, "hold", user, ORDER)],
        transfers: vec![transfer(1, 1, "USD", 1, 2, 1000), transfer(2, 1, "USD", 2, 3, 400)],
        orders: vec![state(user, 1, OrderStatus::Open, 400)],
        trades: Vec::new(),
        prices: vec![PriceRow {
            symbol: symbol("BTC-USD"),
            venue: Venue::parse("test").expect("a venue"),
            is_primary: true,
            tick_id: "8".into(),
            price: Price::new(Decimal::from(4000)).expect("a price"),
            at: at(0),
            position: TickPosition { sequence: 9, index: 4 },
        }],
        markets: vec![market(&["7", "8"])],
    };
    Commit {
        service: SETTLER,
        advances: advance(0),
        effects: changes,
        events: vec![message("1"), message("2")],
        dead_letters: Vec::new(),
    }
}

/// Returns a batch that fills the order for 400 USD.
pub(crate) fn filled(user: Uuid) -> Commit<Changes> {
    let changes = Changes {
        accounts: vec![
            account(4, "house", None, "USD"),
            account(5, "house", None, "BTC"),
            account(6, "available", Some(user), "BTC"),
        ],
        postings: vec![posting(3, "fill", user, ORDER)],
        transfers: vec![transfer(3, 1, "USD", 3, 4, 400), transfer(3, 2, "BTC", 5, 6, 1)],
        orders: vec![state(user, 2, OrderStatus::Filled, 0)],
        trades: vec![TradeRow {
            order_id: ORDER,
            posting_id: 3,
            user_id: user,
            symbol: "BTC-USD".into(),
            side: Cow::Borrowed("buy"),
            size: Decimal::ONE,
            price: Decimal::from(400),
            quote_amount: Decimal::from(400),
            fee: Decimal::ZERO,
            fee_bp: 10,
            tick_id: "4000".into(),
            tick_sequence: 9,
            tick_index: 4,
            tick_price: Decimal::from(4000),
            tick_at: at(0),
            at: at(1),
            hash: vec![1],
        }],
        prices: Vec::new(),
        markets: vec![market(&["7", "8", "9"])],
    };
    Commit {
        service: SETTLER,
        advances: advance(1),
        effects: changes,
        events: vec![message("3")],
        dead_letters: Vec::new(),
    }
}

/// Creates a user with a placed order and a requested deposit, and reads the settler's position.
pub(crate) async fn ready() -> (Database, Uuid) {
    let database = Database::new().await;
    let ada = user(&database.store, "ada@example.com").await;
    orders::place(&database.store, order(1, ada)).await.expect("it is placed");
    let deposit = NewDeposit {
        id: DEPOSIT,
        user_id: ada,
        asset: Asset::parse("USD").expect("an asset"),
        amount: Amount::new(Decimal::from(1000)).expect("an amount"),
        reference: None,
        requested_by: "operator".into(),
        requested_at: at(0),
    };
    deposits::request(&database.store, "operator", deposit).await.expect("it is requested");
    let beginning = StreamPosition::beginning(at(0));
    position::begin(&database.store, SETTLER, None, beginning, None).await.expect("it begins");
    (database, ada)
}

pub(crate) async fn settle(store: &Store, batch: Commit<Changes>) -> Result<(), Error> {
    settlement::connect(store).await.expect("a connection").settle(batch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_restored_as_it_was_committed() {
    let (database, ada) = ready().await;
    let store = &database.store;
    settle(store, opened(ada)).await.expect("it is committed");
    let restored = settlement::load(store).await.expect("a state");
    assert_eq!(restored.last_posting, Some((2, vec![2])));
    let balances: Vec<_> = restored.accounts.iter().map(|(_, balance)| *balance).collect();
    assert_eq!(balances, [-1000, 600, 400].map(Decimal::from));
    assert_eq!(restored.open[0].0, state(ada, 1, OrderStatus::Open, 400));
    assert_eq!(restored.open[0].1, Some(order(1, ada).terms));
    assert_eq!((restored.prices.len(), restored.prices[0].position.sequence), (1, 9));
    assert_eq!(restored.markets, [market(&["7", "8"])]);
    assert!(!restored.assets.is_empty());
    let forget = database.transaction(|tx| Box::pin(async move { settlement::forget_sequences(tx).await }));
    forget.await.expect("they are forgotten");
    assert_eq!(settlement::load(store).await.expect("a state").prices[0].position, TickPosition::default());
    let requested = settlement::find_deposits(store, &[DEPOSIT, id(9)]).await.expect("deposits");
    assert_eq!(requested.iter().map(|deposit| (deposit.id, deposit.user_id)).collect::<Vec<_>>(), [(DEPOSIT, ada)]);
    let mut settled = settlement::find_settled(store, &[ORDER, id(8)], &[DEPOSIT, id(9)]).await.expect("ids");
    settled.sort();
    assert_eq!(settled, [ORDER, DEPOSIT]);
    let subjects = database.outbox_subjects().await;
    assert_eq!(subjects[subjects.len() - 2..], ["trades.1", "trades.2"], "many events in one row, in order");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_settler_is_fenced_and_leaves_nothing() {
    let (database, ada) = ready().await;
    settle(&database.store, opened(ada)).await.expect("the first instance commits");
    let mut stale = filled(ada);
    stale.advances = advance(0);
    let fenced = settle(&database.store, stale).await.expect_err("its position is old");
    assert!(matches!(fenced, Error::Fenced(_)), "{fenced:?}");
    let mut decided = filled(ada);
    decided.effects.orders = vec![state(ada, 1, OrderStatus::Filled, 0)];
    let fenced = settle(&database.store, decided).await.expect_err("the order was decided");
    assert!(matches!(fenced, Error::Fenced(_)), "{fenced:?}");
    assert_eq!(database.count("SELECT max(id) FROM postings").await, 2);
    settle(&database.store, filled(ada)).await.expect("a current batch is committed");
    assert_eq!(settlement::load(&database.store).await.expect("a state").markets, [market(&["7", "8", "9"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_a_row_of_its_user_is_not_decided() {
    let (database, ada) = ready().await;
    let eve = user(&database.store, "eve@example.com").await;
    let placed = |order_id: Uuid, user_id: Uuid, size: &str| OrderPlaced {
        order_id,
        user_id,
        terms: terms(None, size),
        after_alert: None,
        placed_at: at(0),
    };
    let good = OrderPlaced { terms: order(1, ada).terms, ..placed(ORDER, ada, "1") };
    let forged = [placed(ORDER, eve, "1"), placed(id(9), ada, "1"), placed(ORDER, ada, "7")];
    let asked = [&forged[0], &good, &forged[1], &forged[2]];
    let missing = settlement::find_without_row(&database.store, &asked).await.expect("orders");
    assert_eq!(missing.len(), 3, "{missing:?}");
    assert!(forged.iter().all(|order| missing.contains(order)));
    for (order_id, user_id) in [(ORDER, eve), (id(9), ada)] {
        let mut forged = opened(user_id);
        (forged.effects.orders[0].order_id, forged.effects.postings[1].cause) = (order_id, order_id);
        let fenced = settle(&database.store, forged).await.expect_err("no such order was placed");
        assert!(matches!(fenced, Error::Fenced(_)), "{fenced:?}");
    }
    assert_eq!(database.count("SELECT count(*) FROM postings").await, 0);
    settle(&database.store, opened(ada)).await.expect("an order that was placed is decided");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_refuses_a_posting_out_of_order() {
    let (database, ada) = ready().await;
    let mut broken = opened(ada);
    broken.effects.postings[1].previous_hash = vec![9];
    let refused = settle(&database.store, broken).await.expect_err("the hash chain is broken");
    assert!(!refused.is_transient(), "{refused:?}");
    assert_eq!(database.count("SELECT count(*) FROM postings").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_receives_the_decision() {
    let (database, ada) = ready().await;
    let gateway = database.store_as("tickbell_gateway").await;
    let waiters = OrderWaiters::default();
    let decided = waiters.order(ORDER, Until::Decided);
    let last = waiters.order(ORDER, Until::Final);
    let deposit = waiters.deposit(DEPOSIT);
    let listening = waiters.clone();
    let listener = tokio::spawn(async move { listening.run(&gateway).await });
    settle(&database.store, opened(ada)).await.expect("it is committed");
    let deadline = Instant::now() + DEADLINE;
    let decision = decided.until(deadline).await.expect("it is decided");
    assert_eq!(decision.state.status, OrderStatus::Open);
    assert_eq!(deposit.until(deadline).await, Some(1));
    settle(&database.store, filled(ada)).await.expect("it is committed");
    let decision = last.until(deadline).await.expect("it is final");
    assert_eq!(decision.trade.map(|trade| trade.posting_id), Some(3));
    let found = orders::find(&database.store, ada, ORDER).await.expect("an answer").expect("an order");
    assert!(Until::Final.is_met_by(&found));
    listener.abort();
}
