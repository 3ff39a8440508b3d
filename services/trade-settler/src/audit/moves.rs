//! What a posting has moved, and what its cause would have it move.

use std::collections::{BTreeMap, HashMap};

use events::{Side, Symbol};
use rust_decimal::Decimal;
use store::trading::{
    ledger_snapshot::DepositRow,
    settlement::{AccountRow, TradeRow, TransferRow},
};

/// So much of an asset.
pub(super) type Sum = (String, Decimal);

/// By how much accounts have changed, by their kind and their asset; what has not changed is not in it. A posting moves one
/// user's accounts, and those without a user.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Moves(BTreeMap<(String, String), Decimal>);

impl Moves {
    /// By the rows. A transfer whose accounts are not there moves nothing.
    pub(super) fn of(transfers: &[TransferRow], accounts: &HashMap<i64, AccountRow>) -> Self {
        let sides = transfers
            .iter()
            .flat_map(|transfer| [(transfer.from_account, -transfer.amount), (transfer.to_account, transfer.amount)]);
        let known = sides.filter_map(|(account, amount)| accounts.get(&account).zip(Some(amount)));
        Self::new(known.map(|(account, amount)| (&*account.kind, &*account.asset, amount)))
    }

    pub(super) fn of_deposit(deposit: &DepositRow) -> Self {
        let DepositRow { asset, amount, .. } = deposit;
        Self::new([("issued", &**asset, -amount), ("available", asset, *amount)])
    }

    /// A user's own money is bound; by a negative sum it is released.
    pub(super) fn of_hold((asset, amount): &Sum) -> Self {
        Self::new([("available", &**asset, -amount), ("held", asset, *amount)])
    }

    /// A trade, paid with what was held for it before anything else. None when its words make no sense.
    pub(super) fn of_trade(trade: &TradeRow, held: Option<&Sum>) -> Option<Self> {
        let symbol = Symbol::parse(&trade.symbol).ok()?;
        let (base, quote) = (symbol.base(), symbol.quote());
        let (base, quote) = (base.as_str(), quote.as_str());
        let (size, money) = match Side::parse(&trade.side)? {
            Side::Buy => (trade.size, -trade.quote_amount),
            Side::Sell => (-trade.size, trade.quote_amount),
        };
        let deal = [
            ("available", base, size),
            ("house", base, -size),
            ("available", quote, money),
            ("house", quote, -money),
            ("available", quote, -trade.fee),
            ("fees", quote, trade.fee),
        ];
        let freed = held.map(|(asset, amount)| [("held", &**asset, -amount), ("available", &**asset, *amount)]);
        Some(Self::new(deal.into_iter().chain(freed.into_iter().flatten())))
    }

    /// What came to the held account, where it is one asset.
    pub(super) fn held(&self) -> Option<Sum> {
        let mut held = self.0.iter().filter(|((kind, _), _)| kind == "held");
        let ((_, asset), amount) = held.next().filter(|(_, amount)| amount.is_sign_positive())?;
        held.next().is_none().then(|| (asset.clone(), *amount))
    }

    fn new<'a>(changes: impl IntoIterator<Item = (&'a str, &'a str, Decimal)>) -> Self {
        let mut moves = BTreeMap::new();
        for (kind, asset, amount) in changes {
            add(moves.entry((kind.to_owned(), asset.to_owned())).or_default(), amount);
        }
        moves.retain(|_, amount| !amount.is_zero());
        Self(moves)
    }
}

/// Adds to a sum; one that is beyond counting stays at the end and is right about nothing.
pub(super) fn add(sum: &mut Decimal, amount: Decimal) {
    *sum = sum.checked_add(amount).unwrap_or(Decimal::MAX);
}
