//! Re-computes the ledger from its rows and names the rows that are wrong. Rows go in one by one, in their order.

mod order;
mod posting;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use events::{Asset, OrderStatus, RejectReason, Side, asset::is_within};
use rust_decimal::Decimal;
use uuid::Uuid;

use self::posting::{AssetAmount, BalanceChanges};
use crate::{
    amounts::Scales,
    hash_chain,
    rows::{AccountRow, AssetRow, DepositRow, OrderRow, OrderStateRow, PostingRow, TradeRow, TransferRow},
};

/// The number of wrong rows that are named; further ones are counted.
const MAX_NAMED: usize = 10_000;

/// A row that does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The table and the key of the row, like `posting 12`.
    pub row: String,
    /// The sentence that says what is wrong.
    pub wrong: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.row, self.wrong)
    }
}

/// The audit of the rows seen so far. Its memory grows with accounts and open orders, not with postings.
#[derive(Debug, Default)]
pub struct Audit {
    accounts: HashMap<i64, AccountRow>,
    places: HashMap<String, u32>,
    /// The assets that are found to be wrong; each is named once.
    mismatched_assets: HashSet<String>,
    balances: HashMap<i64, Decimal>,
    last_posting: i64,
    last_hash: Vec<u8>,
    /// A hash that the last posting had at some time, until a posting with it is seen.
    expected_hash: Option<Vec<u8>>,
    /// The holds that postings have made and not released, by the order.
    held: HashMap<Uuid, AssetAmount>,
    findings: Findings,
}

/// The findings of an audit, in the order in which they were made.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The first findings, at most 10,000.
    pub named: Vec<Finding>,
    /// The number of further findings.
    pub more: u64,
}

impl Findings {
    /// Returns the number of all findings.
    pub fn count(&self) -> u64 {
        self.named.len() as u64 + self.more
    }
}

/// A posting with the rows that belong to it.
#[derive(Debug)]
pub struct PostingRecord {
    /// The row of the posting.
    pub posting: PostingRow,
    /// The transfers of the posting, by number.
    pub transfers: Vec<TransferRow>,
    /// The order that caused the posting, if there is one.
    pub order: Option<OrderRow>,
    /// The trade of that order, if there is one.
    pub trade: Option<TradeRow>,
    /// The deposit that caused the posting, if there is one.
    pub deposit: Option<DepositRow>,
}

impl Audit {
    /// Starts an audit with every account and every asset.
    pub fn new(accounts: &[(AccountRow, Decimal)], assets: Vec<AssetRow>) -> Self {
        let places = assets.into_iter().map(|(asset, places)| (asset.to_string(), places));
        let mut audit = Self { places: places.collect(), ..Self::default() };
        for (row, _) in accounts {
            if row.hash != hash_chain::account(row) {
                audit.find(format!("account {}", row.id), "its fields are not those that it was opened with");
            }
            audit.accounts.insert(row.id, row.clone());
        }
        audit
    }

    fn find(&mut self, row: String, wrong: impl Into<String>) {
        if self.findings.named.len() < MAX_NAMED {
            self.findings.named.push(Finding { row, wrong: wrong.into() });
        } else {
            self.findings.more += 1;
        }
    }

    /// Expects a posting with this hash, which the last posting had when somebody expected it.
    pub fn expect_hash(&mut self, hash: Vec<u8>) {
        self.expected_hash = Some(hash);
    }

    /// Checks the next posting.
    pub fn check_posting(&mut self, posted: &PostingRecord) {
        let PostingRecord { posting, transfers, .. } = posted;
        self.require_up_to(posting.id.saturating_sub(1));
        let row = format!("posting {}", posting.id);
        let mut hashes = Vec::with_capacity(transfers.len());
        for (transfer, number) in transfers.iter().zip(1..) {
            self.check_transfer(posting, transfer, number);
            // The saved hash is used, so that a transfer that was changed is named itself, and its posting is not.
            hashes.extend(hash_chain::Hash::try_from(transfer.hash.as_slice()).ok());
        }
        if transfers.is_empty() {
            self.find(row.clone(), "it moves nothing");
        }
        if posting.hash != hash_chain::posting(posting, hashes) {
            self.find(row.clone(), "it, or the number of its transfers, is not what was posted");
        } else if posting.id == self.last_posting + 1 && posting.previous_hash != self.last_hash {
            self.find(row, "it does not follow the posting before it");
        }
        self.check_cause(posted);
        self.expected_hash.take_if(|expected| *expected == posting.hash);
        self.last_posting = posting.id;
        self.last_hash.clone_from(&posting.hash);
    }

    /// Requires that all postings up to this number, which are known to have been added, have been seen.
    pub fn require_up_to(&mut self, posting: i64) {
        let next = self.last_posting.saturating_add(1);
        match posting - self.last_posting {
            ..=0 => {}
            1 => self.find(format!("posting {next}"), "it is missing"),
            _ => self.find(format!("postings {next} to {posting}"), "they are missing"),
        }
    }

    fn check_transfer(&mut self, posting: &PostingRow, transfer: &TransferRow, number: i16) {
        let row = format!("transfer {} of posting {}", transfer.number, posting.id);
        if transfer.number != number {
            self.find(format!("transfer {number} of posting {}", posting.id), "it is missing");
        }
        if transfer.hash != hash_chain::transfer(transfer) {
            self.find(row.clone(), "it is not what was posted");
        }
        self.check_places(transfer, &row);
        for (account, amount) in [(transfer.from_account, -transfer.amount), (transfer.to_account, transfer.amount)] {
            posting::add(self.balances.entry(account).or_default(), amount);
            let fits = |account: &AccountRow| {
                account.asset == transfer.asset && account.user_id.is_none_or(|user| user == posting.user_id)
            };
            if !self.accounts.get(&account).is_some_and(fits) {
                self.find(
                    row.clone(),
                    format!("account {account} is missing, or has another asset or another user than its posting"),
                );
            }
        }
    }

    /// Checks the decimal places of a transfer's amount. They were right when it was posted, so the asset has been changed.
    fn check_places(&mut self, transfer: &TransferRow, row: &str) {
        let wrong = match self.places.get(&transfer.asset) {
            _ if self.mismatched_assets.contains(&transfer.asset) => return,
            None => format!("it is missing, and {row} moves it"),
            Some(places) if !is_within(transfer.amount, *places) => format!("{row} has more decimal places than it"),
            Some(_) => return,
        };
        self.find(format!("asset {}", transfer.asset), wrong);
        self.mismatched_assets.insert(transfer.asset.clone());
    }

    /// Checks that a posting moves what its order or its deposit asks for, and nothing else.
    fn check_cause(&mut self, posted: &PostingRecord) {
        let posting = &posted.posting;
        let moves = BalanceChanges::of(&posted.transfers, &self.accounts);
        match &*posting.kind {
            "deposit" => self.check_deposit(posted, &moves),
            "hold" => {
                let held = moves.held();
                let of_its_own = held.as_ref().is_some_and(|held| moves == BalanceChanges::of_hold(held));
                let before = held.and_then(|held| self.held.insert(posting.cause, held));
                self.check_order_of(
                    posted,
                    of_its_own && before.is_none(),
                    "it does not hold its user's own funds exactly once",
                );
            }
            "release" => {
                let held = self.held.remove(&posting.cause);
                let held_before =
                    held.is_some_and(|(asset, amount)| moves == BalanceChanges::of_hold(&(asset, -amount)));
                self.check_order_of(posted, held_before, "it does not release what was held");
            }
            _ => {
                let held = self.held.remove(&posting.cause);
                self.check_order_of(posted, true, "");
                self.check_fill(posted, &moves, held.as_ref());
            }
        }
    }

    fn check_deposit(&mut self, PostingRecord { posting, deposit, .. }: &PostingRecord, moves: &BalanceChanges) {
        let (at, row) = (format!("deposit {}", posting.cause), format!("posting {}", posting.id));
        match deposit {
            Some(deposit) if deposit.user_id == posting.user_id && *moves == BalanceChanges::of_deposit(deposit) => {}
            Some(_) => self.find(at, format!("{row} does not post what it requests")),
            // Whoever can write to the stream could request a deposit that no operator has made.
            None => self.find(at, format!("it is missing, and {row} posts it")),
        }
    }

    /// Checks that a posting that is no deposit belongs to an order of its user.
    fn check_order_of(&mut self, PostingRecord { posting, order, .. }: &PostingRecord, is_right: bool, wrong: &str) {
        let row = format!("posting {}", posting.id);
        match order {
            None => self.find(format!("order {}", posting.cause), format!("it is missing, and {row} belongs to it")),
            Some(order) if order.user_id != posting.user_id => {
                self.find(format!("order {}", posting.cause), format!("it belongs to another user than {row}"));
            }
            Some(_) => {}
        }
        if !is_right {
            self.find(row, format!("{wrong} for order {}", posting.cause));
        }
    }

    /// Checks that the trade is what the order asks for, and that the posting moves what the trade says.
    fn check_fill(
        &mut self,
        PostingRecord { posting, order: order_row, trade, .. }: &PostingRecord,
        moves: &BalanceChanges,
        held: Option<&AssetAmount>,
    ) {
        let at = format!("trade of order {}", posting.cause);
        let Some(trade) = trade else {
            return self.find(at, format!("it is missing, and posting {} fills its order", posting.id));
        };
        if trade.hash != hash_chain::trade(trade) {
            return self.find(at, "it is not what was settled");
        }
        let same = (trade.posting_id, trade.user_id, trade.at) == (posting.id, posting.user_id, posting.at);
        if !same || BalanceChanges::of_trade(trade, held).as_ref() != Some(moves) {
            self.find(at.clone(), format!("posting {} does not move what it says", posting.id));
        }
        // An order that is missing or cannot be read is named by `check_order_of` and `check_order`.
        let Some(terms) = order_row.as_ref().and_then(OrderRow::request) else { return };
        if !order::matches_request(trade, &terms) {
            self.find(at.clone(), "it is not what its order asks for");
        }
        let places = |asset: Asset| self.places.get(asset.as_str()).copied();
        if let Some((base, quote)) = places(terms.symbol.base()).zip(places(terms.symbol.quote()))
            && !order::is_rounded_right(trade, terms.side, Scales { base, quote })
        {
            let wrong = "breaks the rounding rule: its quote amount must be size × price, and its fee its rate of that, rounded \
                         against the customer";
            self.find(format!("posting {}", posting.id), format!("the {at} {wrong}"));
        }
    }

    /// Reports a transfer behind the last posting.
    pub fn orphaned_transfer(&mut self, transfer: &TransferRow) {
        let row = format!("transfer {} of posting {}", transfer.number, transfer.posting_id);
        self.find(row, "there is no such posting");
    }

    /// Reports a trade whose tick the history does not hold.
    pub fn trade_without_tick(&mut self, trade: &TradeRow) {
        let TradeRow { order_id, posting_id, symbol, tick_id, tick_sequence, tick_index, tick_price, tick_at, .. } =
            trade;
        let position = format!("{tick_sequence}:{tick_index}");
        let tick = format!("tick {tick_id} ({position}) of {symbol}, {} at {tick_at}", tick_price.normalize());
        let wrong = format!("the trade of order {order_id} cites {tick}, which the history does not hold");
        self.find(format!("posting {posting_id}"), wrong);
    }

    /// Reports a trade whose posting is missing or belongs to another order.
    pub fn orphaned_trade(&mut self, order: Uuid) {
        self.find(format!("trade of order {order}"), "its posting is not a fill of its order");
    }

    /// Reports a trade of an order that has no state.
    pub fn trade_without_state(&mut self, order: Uuid) {
        self.find(format!("state of order {order}"), "it is missing, and its order has traded");
    }

    /// Checks the state of an order.
    pub fn check_order(&mut self, state: &OrderStateRow) {
        let row = format!("state of order {}", state.order_id);
        let status = OrderStatus::parse(&state.status);
        if status.is_none() || state.reason.as_deref().is_some_and(|reason| RejectReason::parse(reason).is_none()) {
            self.find(row.clone(), "its status or its reason is unknown to this version");
        }
        match &state.order {
            None => self.find(row.clone(), "its order is missing"),
            Some(order) if order.user_id != state.user_id => {
                self.find(row.clone(), "its order belongs to another user")
            }
            Some(order) => self.check_request(state, order),
        }
        match (status == Some(OrderStatus::Filled), state.is_traded) {
            (false, true) => self.find(row.clone(), "it has traded, and is not filled"),
            (true, false) => self.find(row.clone(), "it is filled, and has no trade"),
            _ => {}
        }
        let held = self.held.remove(&state.order_id);
        let said = (!state.held.is_zero() || state.held_asset.is_some())
            .then(|| (state.held_asset.clone().unwrap_or_default(), state.held));
        if held != said {
            self.find(row, format!("it holds {}, and its postings hold {}", describe(&said), describe(&held)));
        }
    }

    /// Checks that the request of an order is the one that it was placed with.
    fn check_request(&mut self, state: &OrderStateRow, order: &OrderRow) {
        let row = format!("order {}", state.order_id);
        let Some(terms) = order.request() else {
            return self.find(row, "its terms cannot be read");
        };
        if !hash_chain::fingerprint(&terms).is_ok_and(|hash| hash == *order.fingerprint) {
            self.find(row, "its terms are not those that it was placed with");
        }
        let pays = if terms.side == Side::Buy { terms.symbol.quote() } else { terms.symbol.base() };
        if state.held_asset.as_ref().is_some_and(|asset| asset != pays.as_str()) {
            self.find(format!("state of order {}", state.order_id), "it holds another asset than its order pays with");
        }
    }

    /// Reports an order of the stream that the tables lack or contradict.
    pub fn mismatched_order(&mut self, order: Uuid) {
        self.find(
            format!("order {order}"),
            "it is in the stream, and the tables lack it or have it with another user or other terms",
        );
    }

    /// Reports a deposit of the stream that the tables lack or contradict, or that was applied and is not posted.
    pub fn mismatched_deposit(&mut self, deposit: Uuid) {
        self.find(
            format!("deposit {deposit}"),
            "it is in the stream, and the tables lack it, have it with other fields, or do not post it",
        );
    }

    /// Ends the audit when every row was seen: each balance must be the sum of its transfers, and every hold must belong to an
    /// open order.
    pub fn finish(mut self, accounts: &[(AccountRow, Decimal)]) -> Findings {
        for (row, balance) in accounts {
            let at = format!("account {}", row.id);
            let moved = self.balances.remove(&row.id).unwrap_or_default();
            if *balance != moved {
                self.find(at.clone(), format!("its balance is {balance}, and its transfers make {moved}"));
            }
            if balance.is_sign_negative() && !balance.is_zero() && !["house", "issued"].contains(&&*row.kind) {
                self.find(at, format!("its balance is {balance}"));
            }
        }
        for (account, moved) in BTreeMap::from_iter(std::mem::take(&mut self.balances)) {
            self.find(format!("account {account}"), format!("it is missing, and its transfers make {moved}"));
        }
        for (order, held) in BTreeMap::from_iter(std::mem::take(&mut self.held)) {
            let held = describe(&Some(held));
            self.find(format!("state of order {order}"), format!("postings hold {held} for it, and it is missing"));
        }
        if let Some(expected) = self.expected_hash.take() {
            let wrong = "no posting has this hash: postings up to it were removed or rewritten";
            self.find(format!("head {}", hash_chain::hex(&expected)), wrong);
        }
        self.findings
    }
}

fn describe(sum: &Option<AssetAmount>) -> String {
    sum.as_ref().map_or_else(|| "nothing".to_owned(), |(asset, amount)| format!("{} {asset}", amount.normalize()))
}
