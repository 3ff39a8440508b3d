//! Accounts, and postings that move assets between them. Pure: the database moves the same balances by the same transfers,
//! and refuses what must never be.

use std::{borrow::Cow, collections::HashMap};

use events::{Asset, Timestamp};
use rust_decimal::Decimal;
use store::trading::settlement::{AccountRow, AssetRow, PostingRow, TransferRow};
use thiserror::Error;
use uuid::Uuid;

use crate::{
    amounts::{self, Minor, Scale},
    seal,
};

/// What is kept makes no sense; somebody has changed it by hand.
#[derive(Debug, Error)]
#[error("account {0} is none that this version knows")]
pub struct UnknownAccount(i64);

/// Who holds an asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountOwner {
    /// A user, free to use.
    Available(Uuid),
    /// A user, bound by open orders.
    Held(Uuid),
    /// The other side of every trade.
    House,
    /// What trades are charged.
    Fees,
    /// Where deposits come from; below zero by all that is in the other accounts.
    Issued,
}

impl AccountOwner {
    fn new(kind: &str, user_id: Option<Uuid>) -> Option<Self> {
        match (kind, user_id) {
            ("available", Some(user)) => Some(Self::Available(user)),
            ("held", Some(user)) => Some(Self::Held(user)),
            ("house", None) => Some(Self::House),
            ("fees", None) => Some(Self::Fees),
            ("issued", None) => Some(Self::Issued),
            _ => None,
        }
    }

    fn kind(self) -> &'static str {
        match self {
            Self::Available(_) => "available",
            Self::Held(_) => "held",
            Self::House => "house",
            Self::Fees => "fees",
            Self::Issued => "issued",
        }
    }

    fn user_id(self) -> Option<Uuid> {
        match self {
            Self::Available(user) | Self::Held(user) => Some(user),
            Self::House | Self::Fees | Self::Issued => None,
        }
    }
}

/// Why assets move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An operator has funded an account.
    Deposit,
    /// An order waits.
    Hold,
    /// An order waits no longer.
    Release,
    /// An order has traded.
    Fill,
}

impl Reason {
    fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Fill => "fill",
        }
    }
}

/// What a posting is about.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// Why.
    pub reason: Reason,
    /// Whose account.
    pub user_id: Uuid,
    /// The order or the deposit.
    pub cause: Uuid,
    /// The time of what caused it.
    pub at: Timestamp,
}

/// One transfer of a posting. One of nothing is left out.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// Of what.
    pub asset: &'a Asset,
    /// Who has it before.
    pub from: AccountOwner,
    /// Who has it then.
    pub to: AccountOwner,
    /// How much, not negative.
    pub amount: Minor,
}

/// What was posted since it was last saved.
#[derive(Debug, Default)]
pub struct Posted {
    /// Accounts that were opened.
    pub accounts: Vec<AccountRow>,
    /// Postings in their order.
    pub postings: Vec<PostingRow>,
    /// Their transfers.
    pub transfers: Vec<TransferRow>,
}

/// Every account, and the end of the chain of postings.
#[derive(Debug, Default)]
pub struct Ledger {
    scales: HashMap<Asset, Scale>,
    accounts: HashMap<(AccountOwner, Asset), Account>,
    last_account: i64,
    last_posting: i64,
    last_hash: Vec<u8>,
    posted: Posted,
}

#[derive(Debug)]
struct Account {
    id: i64,
    balance: Minor,
}

impl Ledger {
    /// The ledger as it was saved.
    pub fn recall(
        assets: Vec<AssetRow>,
        accounts: Vec<(AccountRow, Decimal)>,
        last_posting: Option<(i64, Vec<u8>)>,
    ) -> Result<Self, UnknownAccount> {
        let (last_posting, last_hash) = last_posting.unwrap_or_default();
        let mut ledger = Self { scales: assets.into_iter().collect(), last_posting, last_hash, ..Self::default() };
        for (row, balance) in accounts {
            let unknown = || UnknownAccount(row.id);
            let holder = AccountOwner::new(&row.kind, row.user_id).ok_or_else(unknown)?;
            let asset = Asset::parse(&row.asset).map_err(|_| unknown())?;
            let scale = ledger.scale(&asset).ok_or_else(unknown)?;
            let balance = amounts::of_amount(balance, scale).ok_or_else(unknown)?;
            ledger.last_account = ledger.last_account.max(row.id);
            ledger.accounts.insert((holder, asset), Account { id: row.id, balance });
        }
        Ok(ledger)
    }

    /// Learns of assets that were added since.
    pub fn learn(&mut self, assets: Vec<AssetRow>) {
        self.scales.extend(assets);
    }

    /// How many places an asset's amounts have; none when it is not kept here.
    pub fn scale(&self, asset: &Asset) -> Option<Scale> {
        self.scales.get(asset).copied()
    }

    /// What a holder has of an asset.
    pub fn balance(&self, holder: AccountOwner, asset: &Asset) -> Minor {
        self.accounts.get(&(holder, asset.clone())).map_or(0, |account| account.balance)
    }

    /// Whether every balance stays countable when these are posted. What a user has bound and what is free count together,
    /// so that what is bound can always be released.
    pub fn counts(&self, transfers: &[Transfer<'_>]) -> bool {
        let stays = |holder: AccountOwner, asset: &Asset, by: Minor| {
            let balance = match holder {
                AccountOwner::Available(user) | AccountOwner::Held(user) => {
                    self.balance(AccountOwner::Available(user), asset) + self.balance(AccountOwner::Held(user), asset)
                }
                AccountOwner::House | AccountOwner::Fees | AccountOwner::Issued => self.balance(holder, asset),
            };
            self.scale(asset).is_some_and(|scale| amounts::is_countable(balance + by, scale))
        };
        transfers
            .iter()
            .all(|Transfer { asset, from, to, amount }| stays(*from, asset, -amount) && stays(*to, asset, *amount))
    }

    /// Posts transfers that happen together and returns the posting's number. Who posts has looked whether the balances
    /// suffice and stay countable, and whether the assets are kept here.
    pub fn post(&mut self, about: About, transfers: &[Transfer<'_>]) -> i64 {
        let id = self.last_posting + 1;
        let mut hashes = Vec::with_capacity(transfers.len());
        for transfer in transfers.iter().filter(|transfer| transfer.amount != 0) {
            let amount = self.scale(transfer.asset).and_then(|scale| amounts::decimal(transfer.amount, scale));
            let mut row = TransferRow {
                posting_id: id,
                number: hashes.len() as i16 + 1,
                asset: transfer.asset.to_string(),
                from_account: self.change(transfer.from, transfer.asset, -transfer.amount),
                to_account: self.change(transfer.to, transfer.asset, transfer.amount),
                amount: amount.expect("an amount of a known asset below the limit"),
                hash: Vec::new(),
            };
            let hash = seal::transfer(&row);
            row.hash = hash.into();
            hashes.push(hash);
            self.posted.transfers.push(row);
        }
        let mut row = PostingRow {
            id,
            kind: Cow::Borrowed(about.reason.as_str()),
            user_id: about.user_id,
            cause: about.cause,
            at: about.at,
            previous_hash: std::mem::take(&mut self.last_hash),
            hash: Vec::new(),
        };
        row.hash = seal::posting(&row, hashes).into();
        self.last_hash.clone_from(&row.hash);
        self.last_posting = id;
        self.posted.postings.push(row);
        id
    }

    /// Changes a balance, of an account that is opened where there is none, and returns its number.
    fn change(&mut self, holder: AccountOwner, asset: &Asset, by: Minor) -> i64 {
        let account = self.accounts.entry((holder, asset.clone())).or_insert_with(|| {
            self.last_account += 1;
            let mut row = AccountRow {
                id: self.last_account,
                kind: Cow::Borrowed(holder.kind()),
                user_id: holder.user_id(),
                asset: asset.to_string(),
                hash: Vec::new(),
            };
            row.hash = seal::account(&row).into();
            self.posted.accounts.push(row);
            Account { id: self.last_account, balance: 0 }
        });
        account.balance += by;
        account.id
    }

    /// What was posted since this was last asked.
    pub fn take_posted(&mut self) -> Posted {
        std::mem::take(&mut self.posted)
    }
}
