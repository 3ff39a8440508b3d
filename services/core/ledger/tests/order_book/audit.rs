//! The findings of an audit in rows that somebody has changed and hashed anew, which is possible because hashes have no key.

use std::collections::HashMap;

use events::Timestamp;
use ledger::{
    audit::{Audit, Findings, PostingRecord},
    hash_chain,
    rows::{AccountRow, DepositRow, OrderRow, OrderStateRow, PostingRow, TradeRow, TransferRow},
};
use rust_decimal::Decimal;
use serde_json::json;
use uuid::Uuid;

use crate::{
    harness::{ADA, Harness},
    memory_store,
};

/// The rows of all tables.
struct Rows {
    accounts: Vec<(AccountRow, Decimal)>,
    postings: Vec<PostingRow>,
    transfers: Vec<TransferRow>,
    orders: HashMap<Uuid, OrderRow>,
    states: Vec<OrderStateRow>,
    trades: Vec<TradeRow>,
    deposits: Vec<DepositRow>,
    last_of_batches: i64,
}

/// The ids of orders in each final or open state.
struct Orders {
    open: Uuid,
    filled: Uuid,
    cancelled: Uuid,
}

fn traded() -> (Rows, Orders) {
    let mut harness = Harness::funded();
    let filled = harness.place(json!({ "side": "buy", "type": "limit", "size": "0.1", "price": "4900" }));
    harness.place(json!({ "side": "sell", "type": "stop", "size": "0.2", "stop_price": "4850" }));
    let cancelled = harness.place(json!({ "side": "buy", "type": "limit", "size": "0.1", "price": "10" }));
    harness.tick("4800", 1);
    harness.cancel(cancelled, ADA);
    harness.place(json!({ "side": "sell", "type": "market", "size": "0.01" }));
    harness.place(json!({ "side": "buy", "type": "market", "funds": "100" }));
    harness.place(json!({ "side": "buy", "type": "market", "size": "100" }));
    let open = harness.place(json!({ "side": "buy", "type": "limit", "size": "0.1", "price": "4000" }));
    (Rows::of(&harness), Orders { open, filled, cancelled })
}

impl Rows {
    fn of(harness: &Harness) -> Self {
        let order = |terms: &events::OrderRequest| OrderRow {
            user_id: ADA,
            terms: serde_json::to_string(terms).expect("JSON"),
            fingerprint: hash_chain::fingerprint(terms).expect("a hash").into(),
        };
        let orders: HashMap<_, _> = harness.terms.iter().map(|(id, terms)| (*id, order(terms))).collect();
        let state = |state: &ledger::rows::OrderState| OrderStateRow {
            order_id: state.order_id,
            user_id: state.user_id,
            status: state.status.as_str().into(),
            reason: state.reason.map(|reason| reason.as_str().into()),
            held_asset: state.held.as_ref().map(|(asset, _)| asset.to_string()),
            held: state.held.as_ref().map_or(Decimal::ZERO, |(_, held)| *held),
            is_traded: harness.store.trades.values().any(|trade| trade.order_id == state.order_id),
            order: orders.get(&state.order_id).cloned(),
        };
        let deposit = |(number, asset, amount): (u128, &str, i64)| DepositRow {
            id: Uuid::from_u128(number),
            user_id: ADA,
            asset: asset.into(),
            amount: amount.into(),
        };
        Self {
            accounts: harness.store.accounts.values().cloned().collect(),
            postings: harness.store.postings.clone(),
            transfers: harness.store.transfers.clone(),
            states: harness.store.orders.values().map(state).collect(),
            orders,
            trades: harness.store.trades.values().cloned().collect(),
            deposits: [(1, "USD", 10_000), (2, "BTC", 2)].map(deposit).into(),
            last_of_batches: harness.store.postings.len() as i64,
        }
    }

    /// Corrects all hashes and balances, as somebody would who wants to hide a change.
    fn rehash(&mut self) {
        self.transfers.iter_mut().for_each(|transfer| transfer.hash = hash_chain::transfer(transfer).into());
        self.trades.iter_mut().for_each(|trade| trade.hash = hash_chain::trade(trade).into());
        let mut previous = Vec::new();
        for posting in &mut self.postings {
            posting.previous_hash = previous;
            let own = self.transfers.iter().filter(|transfer| transfer.posting_id == posting.id);
            posting.hash = hash_chain::posting(posting, own.map(hash_chain::transfer)).into();
            previous = posting.hash.clone();
        }
        for (account, balance) in &mut self.accounts {
            let moved = |side: fn(&TransferRow) -> i64| -> Decimal {
                self.transfers.iter().filter(|row| side(row) == account.id).map(|row| row.amount).sum()
            };
            *balance = moved(|row| row.to_account) - moved(|row| row.from_account);
        }
    }

    fn findings(&self) -> Findings {
        let mut audit = Audit::new(&self.accounts, memory_store::assets());
        for posting in &self.postings {
            let own = self.transfers.iter().filter(|transfer| transfer.posting_id == posting.id);
            let trade = self.trades.iter().find(|trade| posting.kind == "fill" && trade.order_id == posting.cause);
            audit.check_posting(&PostingRecord {
                posting: posting.clone(),
                transfers: own.cloned().collect(),
                order: self.orders.get(&posting.cause).cloned(),
                trade: trade.cloned(),
                deposit: self.deposits.iter().find(|deposit| deposit.id == posting.cause).cloned(),
            });
        }
        audit.require_up_to(self.last_of_batches);
        self.states.iter().for_each(|state| audit.check_order(state));
        audit.finish(&self.accounts)
    }

    /// Returns the findings as text.
    fn wrong(&self) -> Vec<String> {
        self.findings().named.iter().map(ToString::to_string).collect()
    }

    fn account(&self, kind: &str, asset: &str) -> i64 {
        let found = self.accounts.iter().find(|(row, _)| (&*row.kind, &*row.asset) == (kind, asset));
        found.expect("an account").0.id
    }

    /// Adds a posting of Ada's with one transfer, and corrects all hashes.
    fn post(&mut self, kind: &'static str, cause: Uuid, [from, to]: [&str; 2], amount: i64) {
        let id = self.postings.len() as i64 + 1;
        let [from_account, to_account] = [from, to].map(|kind| self.account(kind, "USD"));
        let amount = amount.into();
        let row = TransferRow {
            posting_id: id,
            number: 1,
            asset: "USD".into(),
            from_account,
            to_account,
            amount,
            hash: vec![],
        };
        self.transfers.push(row);
        let (at, hash) = (Timestamp::EPOCH, Vec::new());
        let row = PostingRow { id, kind: kind.into(), user_id: ADA, cause, at, previous_hash: vec![], hash };
        self.postings.push(row);
        self.last_of_batches = id;
        self.rehash();
    }

    fn trade(&mut self, order: Uuid) -> &mut TradeRow {
        self.trades.iter_mut().find(|trade| trade.order_id == order).expect("a trade")
    }

    fn state(&mut self, order: Uuid) -> &mut OrderStateRow {
        self.states.iter_mut().find(|state| state.order_id == order).expect("a state")
    }
}

#[test]
fn untouched_rows_have_no_findings() {
    let (mut rows, _) = traded();
    assert_eq!(rows.wrong(), [""; 0]);
    rows.rehash();
    assert_eq!(rows.wrong(), [""; 0]);
}

#[test]
fn money_from_nowhere_is_found_whatever_kind_its_posting_has() {
    for (kind, way) in [
        ("release", ["house", "available"]),
        ("release", ["fees", "available"]),
        ("release", ["held", "available"]),
        ("hold", ["house", "held"]),
        ("hold", ["available", "house"]),
        ("hold", ["held", "available"]),
    ] {
        let (mut rows, orders) = traded();
        rows.post(kind, orders.cancelled, way, 5);
        let last = format!("posting {}", rows.postings.len());
        assert!(rows.wrong().iter().any(|wrong| wrong.starts_with(&last)), "{kind} {way:?}: {:?}", rows.wrong());
    }
}

#[test]
fn every_hold_belongs_to_one_open_order() {
    let (mut rows, orders) = traded();
    rows.post("hold", orders.cancelled, ["available", "held"], 5);
    let state = format!("state of order {}", orders.cancelled);
    assert_eq!(rows.wrong(), [format!("{state}: it holds nothing, and its postings hold 5 USD")]);

    let (mut rows, _) = traded();
    let unknown = Uuid::from_u128(77);
    rows.post("hold", unknown, ["available", "held"], 5);
    assert_eq!(rows.wrong().len(), 2, "no such order, and no state of it: {:?}", rows.wrong());

    // The hold of an order differs from its postings, while all sums stay right.
    let (mut rows, orders) = traded();
    rows.state(orders.open).held -= Decimal::ONE;
    assert!(rows.wrong()[0].contains("it holds 399.4 USD, and its postings hold 400.4 USD"), "{:?}", rows.wrong());

    let (mut rows, orders) = traded();
    rows.states.retain(|state| state.order_id != orders.open);
    assert_eq!(
        rows.wrong(),
        [format!("state of order {}: postings hold 400.4 USD for it, and it is missing", orders.open)]
    );

    let (mut rows, orders) = traded();
    rows.orders.get_mut(&orders.open).expect("an order").user_id = Uuid::from_u128(5);
    assert!(
        rows.wrong()[0].starts_with(&format!("order {}: it belongs to another user", orders.open)),
        "{:?}",
        rows.wrong()
    );
}

#[test]
fn a_posting_moves_what_its_trade_says() {
    type Change = fn(&mut TradeRow);
    let changes: [Change; 8] = [
        |trade| trade.fee -= Decimal::new(1, 2),
        |trade| trade.quote_amount += Decimal::new(1, 2),
        |trade| trade.size += Decimal::new(1, 8),
        |trade| trade.price += Decimal::ONE,
        |trade| trade.tick_price += Decimal::ONE,
        |trade| trade.side = "sell".into(),
        |trade| trade.symbol = "ETH-USD".into(),
        |trade| trade.posting_id += 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let (mut rows, orders) = traded();
        change(rows.trade(orders.filled));
        rows.rehash();
        let named = format!("trade of order {}", orders.filled);
        assert!(rows.wrong().iter().any(|wrong| wrong.starts_with(&named)), "{number}: {:?}", rows.wrong());
    }
    // The fee goes to the account of the house.
    let (mut rows, orders) = traded();
    let (fees, house) = (rows.account("fees", "USD"), rows.account("house", "USD"));
    let posting = rows.trade(orders.filled).posting_id;
    let own = rows.transfers.iter_mut().filter(|row| row.posting_id == posting && row.to_account == fees);
    own.for_each(|row| row.to_account = house);
    rows.rehash();
    assert!(rows.wrong()[0].contains("does not move what it says"), "{:?}", rows.wrong());
}

#[test]
fn a_posting_that_is_a_cent_too_kind_to_its_customer_is_named() {
    for account in ["house", "fees"] {
        let (mut rows, orders) = traded();
        let cent = Decimal::new(1, 2);
        let (less, more) = (rows.account(account, "USD"), rows.account("available", "USD"));
        let trade = rows.trade(orders.filled);
        let posting = trade.posting_id;
        *(if account == "house" { &mut trade.quote_amount } else { &mut trade.fee }) -= cent;
        for row in rows.transfers.iter_mut().filter(|row| row.posting_id == posting && row.asset == "USD") {
            row.amount += match row.to_account {
                to if to == less => -cent,
                to if to == more => cent,
                _ => Decimal::ZERO,
            };
        }
        rows.rehash();
        let wrong = rows.wrong();
        let named = format!("posting {posting}: the trade of order {} breaks the rounding rule", orders.filled);
        assert!(wrong.len() == 1 && wrong[0].starts_with(&named), "{account}: {wrong:?}");
    }
}

#[test]
fn a_trade_matches_its_order_whose_request_never_changes() {
    let (mut rows, orders) = traded();
    let other = json!({ "symbol": "BTC-USD", "side": "buy", "type": "limit", "size": "0.1", "price": "4700" });
    let terms: events::OrderRequest = serde_json::from_value(other).expect("terms");
    let order = rows.orders.get_mut(&orders.filled).expect("an order");
    order.terms = serde_json::to_string(&terms).expect("JSON");
    rows.state(orders.filled).order = rows.orders.get(&orders.filled).cloned();
    let wrong = rows.wrong();
    assert!(wrong.iter().any(|wrong| wrong.contains("it is not what its order asks for")), "{wrong:?}");
    assert!(wrong.contains(&format!("order {}: its terms are not those that it was placed with", orders.filled)));
}

#[test]
fn a_row_that_cannot_be_read_is_named() {
    let (mut rows, orders) = traded();
    rows.state(orders.open).order.as_mut().expect("an order").terms = r#"{"symbol": "no"}"#.into();
    rows.state(orders.cancelled).reason = Some("mood".into());
    let mut wrong = rows.wrong();
    wrong.sort();
    assert!(wrong[0].starts_with(&format!("order {}: its terms cannot be read", orders.open)), "{wrong:?}");
    assert!(wrong[1].starts_with(&format!("state of order {}: its status or", orders.cancelled)), "{wrong:?}");
}

#[test]
fn removed_last_postings_are_found() {
    let (mut rows, _) = traded();
    let last = rows.postings.pop().expect("a posting").id;
    rows.transfers.retain(|transfer| transfer.posting_id != last);
    rows.rehash();
    assert!(rows.wrong().contains(&format!("posting {last}: it is missing")), "{:?}", rows.wrong());
}

#[test]
fn named_findings_are_bounded() {
    let (mut rows, _) = traded();
    rows.postings.last_mut().expect("a posting").id = 9_000_000_000_000_000;
    let wrong = rows.wrong();
    assert!(wrong.len() < 10 && wrong.iter().any(|wrong| wrong.starts_with("postings ")), "{wrong:?}");

    let (mut rows, orders) = traded();
    let state = rows.state(orders.cancelled).clone();
    rows.states.extend((0..20_000).map(|n| OrderStateRow {
        order_id: Uuid::from_u128(n << 64),
        order: None,
        ..state.clone()
    }));
    let findings = rows.findings();
    assert_eq!((findings.named.len(), findings.count()), (10_000, 20_000));
}
