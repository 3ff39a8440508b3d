//! Accounts, and postings that move assets between them. The database moves the same balances by the same transfers, and
//! its constraints refuse a balance that must never be.

use std::{borrow::Cow, collections::HashMap};

use events::{Asset, Timestamp};
use rust_decimal::Decimal;
use thiserror::Error;
use uuid::Uuid;

use crate::{
    amounts::{self, MinorUnits, Scale},
    hash_chain,
    rows::{AccountRow, AssetRow, PostingRow, TransferRow},
};

/// An account row that this version cannot have written; somebody has changed it by hand.
#[derive(Debug, Error)]
#[error("account {0} has an owner, an asset or a balance that this version does not know")]
pub struct UnknownAccount(i64);

/// The owner of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccountOwner {
    /// A user; the balance is free for new orders.
    Available(Uuid),
    /// A user; the balance is held by open orders.
    Held(Uuid),
    /// The house, which is the other side of every trade.
    House,
    /// The house; the balance is the fees of trades.
    Fees,
    /// The source of deposits; its balance is below zero by the sum of all other accounts.
    Issued,
}

impl AccountOwner {
    fn parse(kind: &str, user_id: Option<Uuid>) -> Option<Self> {
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

/// The kind of a posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PostingKind {
    /// An operator funds an account.
    Deposit,
    /// An order becomes open and holds what it needs.
    Hold,
    /// An order ends without a trade and releases what it held.
    Release,
    /// An order trades.
    Fill,
}

impl PostingKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Deposit => "deposit",
            Self::Hold => "hold",
            Self::Release => "release",
            Self::Fill => "fill",
        }
    }
}

/// The cause of a posting.
#[derive(Debug, Clone, Copy)]
pub struct PostingCause {
    /// The kind of the posting.
    pub kind: PostingKind,
    /// The user whose accounts are moved.
    pub user_id: Uuid,
    /// The id of the order or the deposit.
    pub cause: Uuid,
    /// The time of the event that causes the posting.
    pub at: Timestamp,
}

/// One transfer of a posting. A transfer of zero is left out.
#[derive(Debug, Clone, Copy)]
pub struct Transfer<'a> {
    /// The asset that moves.
    pub asset: &'a Asset,
    /// The owner that is debited.
    pub from: AccountOwner,
    /// The owner that is credited.
    pub to: AccountOwner,
    /// The amount, zero or above.
    pub amount: MinorUnits,
}

/// The rows that were added since the last save.
#[derive(Debug, Default)]
pub struct NewPostings {
    /// The accounts that were opened.
    pub accounts: Vec<AccountRow>,
    /// The postings, in order.
    pub postings: Vec<PostingRow>,
    /// The transfers of the postings.
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
    unsaved: NewPostings,
}

#[derive(Debug)]
struct Account {
    id: i64,
    balance: MinorUnits,
}

impl Ledger {
    /// Restores the ledger from its saved rows.
    pub fn restore(
        assets: Vec<AssetRow>,
        accounts: Vec<(AccountRow, Decimal)>,
        last_posting: Option<(i64, Vec<u8>)>,
    ) -> Result<Self, UnknownAccount> {
        let (last_posting, last_hash) = last_posting.unwrap_or_default();
        let mut ledger = Self { scales: assets.into_iter().collect(), last_posting, last_hash, ..Self::default() };
        for (row, balance) in accounts {
            let unknown = || UnknownAccount(row.id);
            let owner = AccountOwner::parse(&row.kind, row.user_id).ok_or_else(unknown)?;
            let asset = Asset::parse(&row.asset).map_err(|_| unknown())?;
            let scale = ledger.scale(&asset).ok_or_else(unknown)?;
            let balance = amounts::to_minor_units(balance, scale).ok_or_else(unknown)?;
            ledger.last_account = ledger.last_account.max(row.id);
            ledger.accounts.insert((owner, asset), Account { id: row.id, balance });
        }
        Ok(ledger)
    }

    /// Adds assets that accounts may hold from now on.
    pub fn add_assets(&mut self, assets: Vec<AssetRow>) {
        self.scales.extend(assets);
    }

    /// Returns the number of decimal places of an asset; none when no account may hold the asset.
    pub fn scale(&self, asset: &Asset) -> Option<Scale> {
        self.scales.get(asset).copied()
    }

    /// Returns an owner's balance of an asset, in minor units.
    pub fn balance(&self, owner: AccountOwner, asset: &Asset) -> MinorUnits {
        self.accounts.get(&(owner, asset.clone())).map_or(0, |account| account.balance)
    }

    /// Returns true when every balance stays within its bounds after these transfers. A user's available and held balances
    /// are added up for that, so that a hold can always be released.
    pub fn fits_bounds(&self, transfers: &[Transfer<'_>]) -> bool {
        let stays = |owner: AccountOwner, asset: &Asset, by: MinorUnits| {
            let balance = match owner {
                AccountOwner::Available(user) | AccountOwner::Held(user) => {
                    self.balance(AccountOwner::Available(user), asset) + self.balance(AccountOwner::Held(user), asset)
                }
                AccountOwner::House | AccountOwner::Fees | AccountOwner::Issued => self.balance(owner, asset),
            };
            self.scale(asset).is_some_and(|scale| amounts::is_within_bounds(balance + by, scale))
        };
        transfers
            .iter()
            .all(|Transfer { asset, from, to, amount }| stays(*from, asset, -amount) && stays(*to, asset, *amount))
    }

    /// Posts transfers that happen together and returns the posting's number. The caller has checked that the balances
    /// suffice and stay within their bounds, and that accounts may hold the assets.
    pub fn post(&mut self, cause: PostingCause, transfers: &[Transfer<'_>]) -> i64 {
        let id = self.last_posting + 1;
        let mut hashes = Vec::with_capacity(transfers.len());
        for transfer in transfers.iter().filter(|transfer| transfer.amount != 0) {
            let amount = self.scale(transfer.asset).and_then(|scale| amounts::to_decimal(transfer.amount, scale));
            let mut row = TransferRow {
                posting_id: id,
                number: hashes.len() as i16 + 1,
                asset: transfer.asset.to_string(),
                from_account: self.change(transfer.from, transfer.asset, -transfer.amount),
                to_account: self.change(transfer.to, transfer.asset, transfer.amount),
                amount: amount.expect("an amount of a known asset below the limit"),
                hash: Vec::new(),
            };
            let hash = hash_chain::transfer(&row);
            row.hash = hash.into();
            hashes.push(hash);
            self.unsaved.transfers.push(row);
        }
        let mut row = PostingRow {
            id,
            kind: Cow::Borrowed(cause.kind.as_str()),
            user_id: cause.user_id,
            cause: cause.cause,
            at: cause.at,
            previous_hash: std::mem::take(&mut self.last_hash),
            hash: Vec::new(),
        };
        row.hash = hash_chain::posting(&row, hashes).into();
        self.last_hash.clone_from(&row.hash);
        self.last_posting = id;
        self.unsaved.postings.push(row);
        id
    }

    /// Changes a balance and returns the account's number. An account that does not exist is opened.
    fn change(&mut self, owner: AccountOwner, asset: &Asset, by: MinorUnits) -> i64 {
        let account = self.accounts.entry((owner, asset.clone())).or_insert_with(|| {
            self.last_account += 1;
            let mut row = AccountRow {
                id: self.last_account,
                kind: Cow::Borrowed(owner.kind()),
                user_id: owner.user_id(),
                asset: asset.to_string(),
                hash: Vec::new(),
            };
            row.hash = hash_chain::account(&row).into();
            self.unsaved.accounts.push(row);
            Account { id: self.last_account, balance: 0 }
        });
        account.balance += by;
        account.id
    }

    /// Takes the rows that were added since the last call.
    pub fn take_new_postings(&mut self) -> NewPostings {
        std::mem::take(&mut self.unsaved)
    }
}
