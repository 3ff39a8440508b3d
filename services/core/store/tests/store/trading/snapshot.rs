//! Tests of the ledger's snapshot, which an audit reads.

use events::{Amount, Asset, DepositRequested, OrderPlaced};
use rust_decimal::Decimal;
use store::trading::ledger_snapshot;
use uuid::Uuid;

use crate::{
    samples::{at, id, order},
    trading::settlement::{DEPOSIT, ORDER, SETTLER, filled, opened, ready, settle},
};

fn placed(order_id: Uuid, user_id: Uuid) -> OrderPlaced {
    OrderPlaced { order_id, user_id, terms: order(1, user_id).terms, after_alert: None, placed_at: at(0) }
}

fn requested(user_id: Uuid, amount: i64) -> DepositRequested {
    DepositRequested {
        deposit_id: DEPOSIT,
        user_id,
        asset: Asset::parse("USD").expect("an asset"),
        amount: Amount::new(Decimal::from(amount)).expect("an amount"),
        requested_at: at(0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_sees_one_moment() {
    let (database, ada) = ready().await;
    settle(&database.store, opened(ada)).await.expect("it is committed");
    let mut before = ledger_snapshot::begin(&database.store).await.expect("a snapshot");
    assert_eq!(before.last_posting().await.expect("a number"), 2);
    settle(&database.store, filled(ada)).await.expect("it is committed");
    assert_eq!(before.last_posting().await.expect("a number"), 2, "what is committed later is not seen");
    assert_eq!(before.position(SETTLER).await.expect("a position"), 1);

    let mut snapshot = ledger_snapshot::begin(&database.store).await.expect("a snapshot");
    assert_eq!(snapshot.last_posting().await.expect("a number"), 3);
    assert_eq!(snapshot.last_of_batches().await.expect("a number"), 3);
    assert_eq!(snapshot.accounts().await.expect("accounts").len(), 6);
    assert!(snapshot.assets().await.expect("assets").len() > 20);
    let postings = snapshot.postings(1, 9).await.expect("postings");
    assert_eq!(postings.iter().map(|posting| posting.id).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(snapshot.transfers(1, Some(2)).await.expect("transfers").len(), 2);
    assert_eq!(snapshot.transfers(3, None).await.expect("transfers").len(), 2);
    assert_eq!(snapshot.trades(1, 3).await.expect("trades").len(), 1);
    let orders = snapshot.orders(1, 3).await.expect("orders");
    assert_eq!(orders[0].1.request(), Some(order(1, ada).terms));
    assert_eq!(snapshot.deposits(1, 3).await.expect("deposits")[0].id, DEPOSIT);
    let states = snapshot.order_states(Uuid::nil(), 9).await.expect("states");
    assert!(states[0].is_traded && states[0].order.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn mismatched_rows_are_listed() {
    let (database, ada) = ready().await;
    settle(&database.store, opened(ada)).await.expect("it is committed");
    settle(&database.store, filled(ada)).await.expect("it is committed");
    let mut snapshot = ledger_snapshot::begin(&database.store).await.expect("a snapshot");
    assert!(snapshot.orphaned_trades().await.expect("trades").is_empty());
    assert!(snapshot.trades_without_state().await.expect("trades").is_empty());
    let orders = [(1, placed(ORDER, ada)), (2, placed(id(9), ada)), (3, placed(id(8), ada))];
    let given_up =
        "INSERT INTO dead_letters (stream, sequence, service, reason) VALUES ('ORDERS', 3, 'trade-settler', '')";
    database.run(given_up).await;
    let mut snapshot = ledger_snapshot::begin(&database.store).await.expect("a snapshot");
    assert_eq!(snapshot.mismatched_orders("ORDERS", &orders).await.expect("orders"), [id(9)]);
    let mismatched = snapshot.mismatched_deposits("ORDERS", &[(1, requested(ada, 1000))]).await.expect("deposits");
    assert!(mismatched.is_empty());
    let mismatched = snapshot.mismatched_deposits("ORDERS", &[(1, requested(ada, 999))]).await.expect("deposits");
    assert_eq!(mismatched, [DEPOSIT]);
    drop(snapshot);

    database
        .run(
            "SET session_replication_role = replica; DELETE FROM order_states; UPDATE trades SET posting_id = 2;
             SET session_replication_role = origin",
        )
        .await;
    let mut snapshot = ledger_snapshot::begin(&database.store).await.expect("a snapshot");
    assert_eq!(snapshot.orphaned_trades().await.expect("trades"), [ORDER]);
    assert_eq!(snapshot.trades_without_state().await.expect("trades"), [ORDER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_whose_tick_is_not_in_the_history_is_listed() {
    let (database, ada) = ready().await;
    settle(&database.store, opened(ada)).await.expect("it is committed");
    settle(&database.store, filled(ada)).await.expect("it is committed");
    let listed = async || {
        let mut snapshot = ledger_snapshot::begin(&database.store).await.expect("a snapshot");
        let trades = snapshot.trades_without_tick(1, 3).await.expect("trades");
        trades.iter().map(|trade| (trade.order_id, trade.tick_sequence)).collect::<Vec<_>>()
    };
    let day = at(0).to_string();
    let tick = |instrument: u8, price: u16, id: &str| {
        format!("INSERT INTO ticks VALUES ('{day}', now(), 9, {instrument}, 0, 't', 'f', {price}, NULL, '{id}')")
    };
    let cite = |id: &str| {
        format!(
            "SET session_replication_role = replica; UPDATE trades SET tick_id = '{id}'; RESET session_replication_role"
        )
    };
    for (change, expected) in [
        ("SELECT 1".to_owned(), 0), // There is no history.
        ("INSERT INTO consumer_positions VALUES ('history-writer', 8, NULL, now())".into(), 0),
        ("UPDATE consumer_positions SET stream_position = 9 WHERE consumer = 'history-writer'".into(), 1),
        (format!("SELECT create_ticks_partition(date_trunc('month', '{day}'::timestamptz)::date)"), 1),
        ("INSERT INTO instruments (symbol, venue, is_primary) VALUES ('ETH-USD', 'test', true), ('BTC-USD', 'test', true)".into(), 1),
        (tick(1, 4000, "4000"), 1),
        (tick(2, 3999, "4000"), 1),
        (tick(2, 4000, "4001"), 1),
        ("UPDATE ticks SET trade_id = '4000/0' WHERE trade_id = '4000'".into(), 1),
        (tick(2, 4000, "4000"), 0),
        (cite(&format!("{}/4000//0", at(0).micros())), 1),
        (tick(2, 4000, "/4000//0"), 0),
        (cite("7/4000//0"), 1),
        (cite("/4000//0"), 1),
        (tick(2, 4000, "//4000//0"), 0),
        ("DELETE FROM ticks".into(), 1),
        (format!("INSERT INTO dropped_tick_months VALUES (date_trunc('month', '{day}'::timestamptz)::date)"), 0),
    ] {
        database.run(&change).await;
        assert_eq!(listed().await, [(ORDER, 9)][..expected], "{change}");
    }
}
