//! A store in memory with the constraints of the database: it panics where PostgreSQL would refuse.

use std::collections::{BTreeMap, HashMap};

use events::{Asset, OrderRequest, OrderStatus, Symbol, Venue};
use ledger::hash_chain;
use ledger::rows::{AccountRow, Changes, LedgerState, OrderState, PostingRow, PriceRow, TradeRow, TransferRow};
use rust_decimal::Decimal;
use uuid::Uuid;

/// The tables that the settler writes.
#[derive(Debug, Clone, Default)]
pub(crate) struct MemoryStore {
    pub(crate) accounts: BTreeMap<i64, (AccountRow, Decimal)>,
    pub(crate) postings: Vec<PostingRow>,
    pub(crate) transfers: Vec<TransferRow>,
    pub(crate) orders: HashMap<Uuid, OrderState>,
    pub(crate) trades: BTreeMap<i64, TradeRow>,
    prices: HashMap<(Symbol, Venue), PriceRow>,
}

/// Returns the assets that these tests trade.
pub(crate) fn assets() -> Vec<(Asset, u32)> {
    [("USD", 2), ("BTC", 8), ("ETH", 8), ("SPY", 0)]
        .map(|(code, scale)| (Asset::parse(code).expect("an asset"), scale))
        .into()
}

impl MemoryStore {
    /// Saves the changes of a batch.
    pub(crate) fn save(&mut self, changes: Changes) {
        let Changes { accounts, postings, transfers, orders, trades, prices, markets } = changes;
        assert!(markets.is_empty(), "the book says nothing about repeats");
        for account in accounts {
            let twin = self.accounts.values().any(|(other, _)| {
                (&other.kind, other.user_id, &other.asset) == (&account.kind, account.user_id, &account.asset)
            });
            assert!(!twin, "a second account: {account:?}");
            assert_eq!(account.hash, hash_chain::account(&account));
            assert!(self.accounts.insert(account.id, (account, Decimal::ZERO)).is_none());
        }
        self.post(postings, transfers);
        for state in orders {
            assert_eq!(state.status == OrderStatus::Open, state.held.is_some(), "{state:?}");
            let before = self.orders.insert(state.order_id, state.clone());
            assert!(before.as_ref().is_none_or(|before| !before.status.is_final()), "{before:?} became {state:?}");
        }
        for trade in trades {
            assert_eq!(trade.hash, hash_chain::trade(&trade));
            assert!(self.trades.values().all(|other| other.order_id != trade.order_id), "two trades: {trade:?}");
            assert!(self.trades.insert(trade.posting_id, trade).is_none());
        }
        self.prices.extend(prices.into_iter().map(|price| ((price.symbol.clone(), price.venue.clone()), price)));
    }

    fn post(&mut self, postings: Vec<PostingRow>, transfers: Vec<TransferRow>) {
        for posting in postings {
            let before = self.postings.last().map(|last| last.hash.clone()).unwrap_or_default();
            assert_eq!((posting.id, &posting.previous_hash), (self.postings.len() as i64 + 1, &before));
            let own: Vec<_> = transfers.iter().filter(|transfer| transfer.posting_id == posting.id).collect();
            assert!(!own.is_empty(), "{posting:?} moves nothing");
            assert_eq!(posting.hash, hash_chain::posting(&posting, own.into_iter().map(hash_chain::transfer)));
            self.postings.push(posting);
        }
        for transfer in transfers {
            assert!(transfer.amount > Decimal::ZERO, "{transfer:?}");
            assert_eq!(transfer.hash, hash_chain::transfer(&transfer));
            for (account, amount) in [(transfer.from_account, -transfer.amount), (transfer.to_account, transfer.amount)]
            {
                let (row, balance) = self.accounts.get_mut(&account).expect("an account");
                assert_eq!(row.asset, transfer.asset);
                *balance += amount;
            }
            self.transfers.push(transfer);
        }
        for (row, balance) in self.accounts.values() {
            assert!(!balance.is_sign_negative() || ["house", "issued"].contains(&&*row.kind), "{balance} in {row:?}");
        }
    }

    /// Loads the state for a restart; `terms` are the requests of the orders.
    pub(crate) fn load(&self, terms: &HashMap<Uuid, OrderRequest>) -> LedgerState {
        let mut open: Vec<_> =
            self.orders.values().filter(|state| state.status == OrderStatus::Open).cloned().collect();
        open.sort_by_key(|state| state.queue_rank);
        LedgerState {
            assets: assets(),
            accounts: self.accounts.values().cloned().collect(),
            last_posting: self.postings.last().map(|posting| (posting.id, posting.hash.clone())),
            open: open.into_iter().map(|state| (state.clone(), terms.get(&state.order_id).cloned())).collect(),
            prices: self.prices.values().cloned().collect(),
            markets: Vec::new(),
        }
    }

    /// Returns the balance of a user's account of a kind and an asset.
    pub(crate) fn balance(&self, kind: &str, user: Option<Uuid>, asset: &str) -> Decimal {
        let found =
            self.accounts.values().find(|(row, _)| (&*row.kind, row.user_id, &*row.asset) == (kind, user, asset));
        found.map_or(Decimal::ZERO, |(_, balance)| balance.normalize())
    }
}
