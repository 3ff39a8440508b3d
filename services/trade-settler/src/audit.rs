//! Re-computes the ledger from its rows, and says which of them are wrong. Pure: rows go in, in their order.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use events::{OrderStatus, Side};
use rust_decimal::Decimal;
use store::{
    audit::{DepositRow, StateRow},
    settlement::{AccountRow, PostingRow, TradeRow, TransferRow},
};
use uuid::Uuid;

use crate::seal;

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

/// What has been seen so far.
#[derive(Debug, Default)]
pub struct Audit {
    accounts: HashMap<i64, AccountRow>,
    balances: HashMap<i64, Decimal>,
    last_posting: i64,
    last_hash: Vec<u8>,
    /// The posting of each trade, to be found at its order.
    filled: HashMap<Uuid, i64>,
    /// What open orders hold, by user and asset.
    holds: BTreeMap<(Uuid, String), Decimal>,
    findings: Vec<Finding>,
}

/// A posting with everything that belongs to it.
#[derive(Debug)]
pub struct Posted {
    /// The posting.
    pub posting: PostingRow,
    /// Its transfers, by number.
    pub transfers: Vec<TransferRow>,
    /// The trade of its order, if there is one.
    pub trade: Option<TradeRow>,
    /// The deposit that caused it, if there is one.
    pub deposit: Option<DepositRow>,
}

impl Audit {
    /// Begins with every account as it is.
    pub fn new(accounts: &[(AccountRow, Decimal)]) -> Self {
        let mut audit = Self::default();
        for (row, _) in accounts {
            if row.hash != seal::account(row) {
                audit.find(format!("account {}", row.id), "it is not what it was opened as");
            }
            audit.accounts.insert(row.id, row.clone());
        }
        audit
    }

    fn find(&mut self, row: String, wrong: impl Into<String>) {
        self.findings.push(Finding { row, wrong: wrong.into() });
    }

    /// The next posting.
    pub fn posting(&mut self, posted: &Posted) {
        let Posted { posting, transfers, .. } = posted;
        for missing in self.last_posting + 1..posting.id {
            self.find(format!("posting {missing}"), "it is missing");
        }
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
            self.find(row.clone(), "it does not follow the posting before it");
        }
        self.cause(posted, row);
        self.last_posting = posting.id;
        self.last_hash.clone_from(&posting.hash);
    }

    fn transfer(&mut self, posting: &PostingRow, transfer: &TransferRow, number: i16) {
        let row = format!("transfer {} of posting {}", transfer.number, posting.id);
        if transfer.number != number {
            self.find(format!("transfer {number} of posting {}", posting.id), "it is missing");
        }
        if transfer.hash != seal::transfer(transfer) {
            self.find(row.clone(), "it is not what was posted");
        }
        for (account, amount) in [(transfer.from_account, -transfer.amount), (transfer.to_account, transfer.amount)] {
            *self.balances.entry(account).or_default() += amount;
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

    /// A posting is what its order or its deposit says.
    fn cause(&mut self, posted: &Posted, row: String) {
        let Posted { posting, transfers, trade, deposit } = posted;
        match (&*posting.kind, trade, deposit) {
            ("fill", Some(trade), _) => {
                let at = format!("trade of order {}", trade.order_id);
                if trade.hash != seal::trade(trade) {
                    self.find(at, "it is not what was settled");
                } else if (trade.posting_id, trade.user_id, trade.at) != (posting.id, posting.user_id, posting.at)
                    || !self.is_explained(trade, transfers)
                {
                    self.find(at, format!("posting {} is not what it says", posting.id));
                }
                self.filled.insert(trade.order_id, posting.id);
            }
            ("fill", None, _) => self.find(format!("trade of order {}", posting.cause), format!("{row} has none")),
            ("deposit", _, Some(deposit)) => {
                let moved: Decimal = transfers.iter().map(|transfer| transfer.amount).sum();
                let same = deposit.user_id == posting.user_id
                    && deposit.amount == moved
                    && transfers.iter().all(|transfer| transfer.asset == deposit.asset);
                if !same {
                    self.find(format!("deposit {}", deposit.id), format!("{row} is not what it says"));
                }
            }
            // Whoever can write to the stream could ask for money that no operator has given.
            ("deposit", _, None) => self.find(format!("deposit {}", posting.cause), format!("{row} has none")),
            _ => {}
        }
    }

    /// Whether what left a user's accounts and came to them is what the trade says.
    fn is_explained(&self, trade: &TradeRow, transfers: &[TransferRow]) -> bool {
        let Ok(symbol) = events::Symbol::parse(&trade.symbol) else { return false };
        let change = |asset: &str| -> Decimal {
            let theirs = |account| self.accounts.get(&account).is_some_and(|row| row.user_id == Some(trade.user_id));
            let own = transfers.iter().filter(|transfer| transfer.asset == asset);
            own.map(|transfer| match (theirs(transfer.from_account), theirs(transfer.to_account)) {
                (false, true) => transfer.amount,
                (true, false) => -transfer.amount,
                _ => Decimal::ZERO,
            })
            .sum()
        };
        let (size, money) = match Side::parse(&trade.side) {
            Some(Side::Buy) => (trade.size, -trade.quote_amount - trade.fee),
            Some(Side::Sell) => (-trade.size, trade.quote_amount - trade.fee),
            None => return false,
        };
        change(symbol.base().as_str()) == size && change(symbol.quote().as_str()) == money
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

    /// An order's state.
    pub fn order(&mut self, (state, order): &StateRow) {
        let row = format!("state of order {}", state.order_id);
        match order {
            None => self.find(row.clone(), "there is no such order"),
            Some((owner, _)) if *owner != state.user_id => self.find(row.clone(), "the order is somebody else's"),
            Some((_, terms)) => {
                let pays = if terms.side == Side::Buy { terms.symbol.quote() } else { terms.symbol.base() };
                if state.held.as_ref().is_some_and(|(asset, _)| *asset != pays) {
                    self.find(row.clone(), "it holds another asset than its order pays with");
                }
            }
        }
        let is_filled = self.filled.remove(&state.order_id).is_some();
        if is_filled != (state.status == OrderStatus::Filled) {
            self.find(
                row,
                if is_filled { "it has traded, and is not filled" } else { "it is filled, and has no trade" },
            );
        }
        if let Some((asset, held)) = &state.held {
            *self.holds.entry((state.user_id, asset.to_string())).or_default() += held;
        }
    }

    /// An order of the stream that the tables lack, or have otherwise.
    pub fn order_amiss(&mut self, order: Uuid) {
        self.find(format!("order {order}"), "the stream has it, and the tables do not, or with other terms");
    }

    /// Everything was seen: what is in the accounts, by their rows, must be what was moved.
    pub fn finish(mut self, accounts: &[(AccountRow, Decimal)]) -> Vec<Finding> {
        for (order, posting) in std::mem::take(&mut self.filled) {
            self.find(format!("state of order {order}"), format!("posting {posting} has filled it, and it is missing"));
        }
        for (row, balance) in accounts {
            let at = format!("account {}", row.id);
            let moved = self.balances.remove(&row.id).unwrap_or_default();
            if *balance != moved {
                self.find(at.clone(), format!("its balance is {balance}, and its transfers make {moved}"));
            }
            if balance.is_sign_negative() && !balance.is_zero() && !["house", "issued"].contains(&&*row.kind) {
                self.find(at.clone(), format!("its balance is {balance}"));
            }
            if let ("held", Some(user)) = (&*row.kind, row.user_id) {
                let needed = self.holds.remove(&(user, row.asset.clone())).unwrap_or_default();
                if needed != *balance {
                    self.find(at, format!("it holds {balance} for orders that need {needed}"));
                }
            }
        }
        for ((user, asset), held) in std::mem::take(&mut self.holds) {
            self.find(
                format!("held account of user {user} in {asset}"),
                format!("it is missing, and orders need {held}"),
            );
        }
        for (account, moved) in std::mem::take(&mut self.balances) {
            self.find(format!("account {account}"), format!("it is missing, and its transfers make {moved}"));
        }
        self.findings
    }
}
