//! Re-computes the ledger from its rows, and says which of them are wrong. Pure: rows go in, in their order.

mod deal;
mod moves;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
};

use events::{OrderStatus, RejectReason, Side, asset::is_within};
use rust_decimal::Decimal;
use store::trading::{
    ledger_snapshot::{DepositRow, OrderRow, StateRow},
    orders::fingerprint,
    settlement::{AccountRow, AssetRow, PostingRow, TradeRow, TransferRow},
};
use uuid::Uuid;

use self::moves::{Moves, Sum};
use crate::seal;

/// So many wrong rows are named; more are counted.
const NAMED: usize = 10_000;

/// A row that does not fit the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its table and its key, like `posting 12`.
    pub row: String,
    /// What is wrong with it.
    pub wrong: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.row, self.wrong)
    }
}

/// What has been seen so far. It grows with accounts and open orders, not with what was ever posted.
#[derive(Debug, Default)]
pub struct Audit {
    accounts: HashMap<i64, AccountRow>,
    places: HashMap<String, u32>,
    /// Assets that are found to be wrong; each is named once.
    amiss: HashSet<String>,
    balances: HashMap<i64, Decimal>,
    last_posting: i64,
    last_hash: Vec<u8>,
    /// A hash that somebody has noted as that of the last posting, until it is seen.
    noted: Option<Vec<u8>>,
    /// What postings have bound and not released, by the order.
    held: HashMap<Uuid, Sum>,
    findings: Findings,
}

/// What was found, in the order in which it was.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// The first of them.
    pub named: Vec<Finding>,
    /// How many more there are.
    pub more: u64,
}

impl Findings {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.named.len() as u64 + self.more
    }
}

/// A posting with everything that belongs to it.
#[derive(Debug)]
pub struct Posted {
    /// The posting.
    pub posting: PostingRow,
    /// Its transfers, by number.
    pub transfers: Vec<TransferRow>,
    /// The order that caused it, if there is one.
    pub order: Option<OrderRow>,
    /// The trade of its order, if there is one.
    pub trade: Option<TradeRow>,
    /// The deposit that caused it, if there is one.
    pub deposit: Option<DepositRow>,
}

impl Audit {
    /// Begins with every account as it is, and every asset.
    pub fn new(accounts: &[(AccountRow, Decimal)], assets: Vec<AssetRow>) -> Self {
        let places = assets.into_iter().map(|(asset, places)| (asset.to_string(), places));
        let mut audit = Self { places: places.collect(), ..Self::default() };
        for (row, _) in accounts {
            if row.hash != seal::account(row) {
                audit.find(format!("account {}", row.id), "it is not what it was opened as");
            }
            audit.accounts.insert(row.id, row.clone());
        }
        audit
    }

    fn find(&mut self, row: String, wrong: impl Into<String>) {
        if self.findings.named.len() < NAMED {
            self.findings.named.push(Finding { row, wrong: wrong.into() });
        } else {
            self.findings.more += 1;
        }
    }

    /// Looks for a posting with this hash: it was the last one when the hash was noted.
    pub fn look_for(&mut self, noted: Vec<u8>) {
        self.noted = Some(noted);
    }

    /// The next posting.
    pub fn posting(&mut self, posted: &Posted) {
        let Posted { posting, transfers, .. } = posted;
        self.is_there(posting.id.saturating_sub(1));
        let row = format!("posting {}", posting.id);
        let mut hashes = Vec::with_capacity(transfers.len());
        for (transfer, number) in transfers.iter().zip(1..) {
            self.transfer(posting, transfer, number);
            // As it was posted: a transfer that was changed is named itself, and not its posting too.
            hashes.extend(seal::Hash::try_from(transfer.hash.as_slice()).ok());
        }
        if transfers.is_empty() {
            self.find(row.clone(), "it moves nothing");
        }
        if posting.hash != seal::posting(posting, hashes) {
            self.find(row.clone(), "it, or the number of its transfers, is not what was posted");
        } else if posting.id == self.last_posting + 1 && posting.previous_hash != self.last_hash {
            self.find(row, "it does not follow the posting before it");
        }
        self.cause(posted);
        self.noted.take_if(|noted| *noted == posting.hash);
        self.last_posting = posting.id;
        self.last_hash.clone_from(&posting.hash);
    }

    /// Whether everything up to a posting has been seen, which is known to have been added.
    pub fn is_there(&mut self, posting: i64) {
        let next = self.last_posting.saturating_add(1);
        match posting - self.last_posting {
            ..=0 => {}
            1 => self.find(format!("posting {next}"), "it is missing"),
            _ => self.find(format!("postings {next} to {posting}"), "they are missing"),
        }
    }

    fn transfer(&mut self, posting: &PostingRow, transfer: &TransferRow, number: i16) {
        let row = format!("transfer {} of posting {}", transfer.number, posting.id);
        if transfer.number != number {
            self.find(format!("transfer {number} of posting {}", posting.id), "it is missing");
        }
        if transfer.hash != seal::transfer(transfer) {
            self.find(row.clone(), "it is not what was posted");
        }
        self.places(transfer, &row);
        for (account, amount) in [(transfer.from_account, -transfer.amount), (transfer.to_account, transfer.amount)] {
            moves::add(self.balances.entry(account).or_default(), amount);
            let fits = |account: &AccountRow| {
                account.asset == transfer.asset && account.user_id.is_none_or(|user| user == posting.user_id)
            };
            if !self.accounts.get(&account).is_some_and(fits) {
                self.find(
                    row.clone(),
                    format!("account {account} is not there, or not of its asset or its posting's user"),
                );
            }
        }
    }

    /// What was moved was checked by its asset's places when it was posted: now it is the asset that has others.
    fn places(&mut self, transfer: &TransferRow, row: &str) {
        let wrong = match self.places.get(&transfer.asset) {
            _ if self.amiss.contains(&transfer.asset) => return,
            None => format!("{row} is of it, and it is missing"),
            Some(places) if !is_within(transfer.amount, *places) => format!("{row} has more decimal places than it"),
            Some(_) => return,
        };
        self.find(format!("asset {}", transfer.asset), wrong);
        self.amiss.insert(transfer.asset.clone());
    }

    /// A posting moves what its order or its deposit says, and nothing else.
    fn cause(&mut self, posted: &Posted) {
        let posting = &posted.posting;
        let moves = Moves::of(&posted.transfers, &self.accounts);
        match &*posting.kind {
            "deposit" => self.deposit(posted, &moves),
            "hold" => {
                let held = moves.held();
                let of_its_own = held.as_ref().is_some_and(|held| moves == Moves::of_hold(held));
                let before = held.and_then(|held| self.held.insert(posting.cause, held));
                self.of_order(posted, of_its_own && before.is_none(), "it does not hold, once, what is its user's own");
            }
            "release" => {
                let held = self.held.remove(&posting.cause);
                let held_before = held.is_some_and(|(asset, amount)| moves == Moves::of_hold(&(asset, -amount)));
                self.of_order(posted, held_before, "it does not release what was held");
            }
            _ => {
                let held = self.held.remove(&posting.cause);
                self.of_order(posted, true, "");
                self.fill(posted, &moves, held.as_ref());
            }
        }
    }

    fn deposit(&mut self, Posted { posting, deposit, .. }: &Posted, moves: &Moves) {
        let (at, row) = (format!("deposit {}", posting.cause), format!("posting {}", posting.id));
        match deposit {
            Some(deposit) if deposit.user_id == posting.user_id && *moves == Moves::of_deposit(deposit) => {}
            Some(_) => self.find(at, format!("{row} is not what it says")),
            // Whoever can write to the stream could ask for money that no operator has given.
            None => self.find(at, format!("{row} has none")),
        }
    }

    /// Every posting but a deposit is of an order of its user.
    fn of_order(&mut self, Posted { posting, order, .. }: &Posted, is_right: bool, wrong: &str) {
        let row = format!("posting {}", posting.id);
        match order {
            None => {
                self.find(format!("order {}", posting.cause), format!("there is no such order, and {row} is of it"))
            }
            Some(order) if order.user_id != posting.user_id => {
                self.find(format!("order {}", posting.cause), format!("it is somebody else's than {row}"));
            }
            Some(_) => {}
        }
        if !is_right {
            self.find(row, format!("{wrong} for order {}", posting.cause));
        }
    }

    /// What was traded is what the order asks for, and what was moved is what the trade says.
    fn fill(&mut self, Posted { posting, order, trade, .. }: &Posted, moves: &Moves, held: Option<&Sum>) {
        let at = format!("trade of order {}", posting.cause);
        let Some(trade) = trade else { return self.find(at, format!("posting {} has none", posting.id)) };
        if trade.hash != seal::trade(trade) {
            return self.find(at, "it is not what was settled");
        }
        let same = (trade.posting_id, trade.user_id, trade.at) == (posting.id, posting.user_id, posting.at);
        if !same || Moves::of_trade(trade, held).as_ref() != Some(moves) {
            self.find(at.clone(), format!("posting {} is not what it says", posting.id));
        }
        // An order that is missing or cannot be read is named itself.
        let Some(terms) = order.as_ref().and_then(OrderRow::terms) else { return };
        if !deal::is_asked_for(trade, &terms) {
            self.find(at.clone(), "it is not what its order asks for");
        }
        let places = self.places.get(terms.symbol.quote().as_str());
        if places.is_some_and(|places| !deal::is_its_worth(trade, *places)) {
            self.find(at, "what was paid is not size × price");
        }
    }

    /// A transfer behind the last posting.
    pub fn stray_transfer(&mut self, transfer: &TransferRow) {
        let row = format!("transfer {} of posting {}", transfer.number, transfer.posting_id);
        self.find(row, "there is no such posting");
    }

    /// A trade that no posting is of.
    pub fn strayed_trade(&mut self, order: Uuid) {
        self.find(format!("trade of order {order}"), "its posting is not a fill of its order");
    }

    /// A trade of an order that nothing has become of.
    pub fn trade_without_state(&mut self, order: Uuid) {
        self.find(format!("state of order {order}"), "there is a trade of it, and it is missing");
    }

    /// An order's state.
    pub fn order(&mut self, state: &StateRow) {
        let row = format!("state of order {}", state.order_id);
        let status = OrderStatus::parse(&state.status);
        if status.is_none() || state.reason.as_deref().is_some_and(|reason| RejectReason::parse(reason).is_none()) {
            self.find(row.clone(), "its status or its reason is no word that this version knows");
        }
        match &state.order {
            None => self.find(row.clone(), "there is no such order"),
            Some(order) if order.user_id != state.user_id => self.find(row.clone(), "the order is somebody else's"),
            Some(order) => self.terms(state, order),
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
            self.find(row, format!("it holds {}, and its postings hold {}", in_words(&said), in_words(&held)));
        }
    }

    /// What an order is to do stays what it was.
    fn terms(&mut self, state: &StateRow, order: &OrderRow) {
        let row = format!("order {}", state.order_id);
        let Some(terms) = order.terms() else {
            return self.find(row, "its terms cannot be read");
        };
        if !fingerprint(&terms).is_ok_and(|hash| hash == *order.fingerprint) {
            self.find(row, "its terms are not those that it was placed with");
        }
        let pays = if terms.side == Side::Buy { terms.symbol.quote() } else { terms.symbol.base() };
        if state.held_asset.as_ref().is_some_and(|asset| asset != pays.as_str()) {
            self.find(format!("state of order {}", state.order_id), "it holds another asset than its order pays with");
        }
    }

    /// An order of the stream that the tables lack, or have otherwise.
    pub fn order_amiss(&mut self, order: Uuid) {
        self.find(
            format!("order {order}"),
            "the stream has it, and the tables do not, or as another's or with other terms",
        );
    }

    /// A deposit of the stream that the tables lack, or have otherwise, or that was applied and is not posted.
    pub fn deposit_amiss(&mut self, deposit: Uuid) {
        self.find(
            format!("deposit {deposit}"),
            "the stream has it, and the tables do not, or otherwise, or not posted",
        );
    }

    /// Everything was seen: what is in the accounts, by their rows, must be what was moved, and nothing is held any more that
    /// no order holds.
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
            let held = in_words(&Some(held));
            self.find(format!("state of order {order}"), format!("postings hold {held} for it, and it is missing"));
        }
        if let Some(noted) = self.noted.take() {
            let wrong = "no posting has this hash: what was posted up to it is cut off, or was written anew";
            self.find(format!("head {}", seal::hex(&noted)), wrong);
        }
        self.findings
    }
}

fn in_words(sum: &Option<Sum>) -> String {
    sum.as_ref().map_or_else(|| "nothing".to_owned(), |(asset, amount)| format!("{} {asset}", amount.normalize()))
}
