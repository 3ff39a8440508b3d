//! The balance changes of a posting, and those that its cause asks for.

use std::collections::{BTreeMap, HashMap};

use events::{Side, Symbol};
use rust_decimal::Decimal;

use crate::rows::{AccountRow, DepositRow, TradeRow, TransferRow};

/// An asset and an amount of it.
pub(super) type AssetAmount = (String, Decimal);

/// The changes of balances, by kind and asset of the account, without changes of zero. A posting moves the accounts of one
/// user and those of the house, so the kind names the account.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct BalanceChanges(BTreeMap<(String, String), Decimal>);

impl BalanceChanges {
    /// Adds up transfers. A transfer side whose account is missing is left out.
    pub(super) fn of(transfers: &[TransferRow], accounts: &HashMap<i64, AccountRow>) -> Self {
        let sides = transfers
            .iter()
            .flat_map(|transfer| [(transfer.from_account, -transfer.amount), (transfer.to_account, transfer.amount)]);
        let known = sides.filter_map(|(account, amount)| accounts.get(&account).zip(Some(amount)));
        Self::new(known.map(|(account, amount)| (&*account.kind, &*account.asset, amount)))
    }

    /// Returns the changes that a deposit asks for.
    pub(super) fn of_deposit(deposit: &DepositRow) -> Self {
        let DepositRow { asset, amount, .. } = deposit;
        Self::new([("issued", &**asset, -amount), ("available", asset, *amount)])
    }

    /// Returns the changes of a hold of a user's own funds; a negative amount is a release.
    pub(super) fn of_hold((asset, amount): &AssetAmount) -> Self {
        Self::new([("available", &**asset, -amount), ("held", asset, *amount)])
    }

    /// Returns the changes of a trade that uses up its hold first; none when its symbol or side cannot be read.
    pub(super) fn of_trade(trade: &TradeRow, held: Option<&AssetAmount>) -> Option<Self> {
        let symbol = Symbol::parse(&trade.symbol).ok()?;
        let (base, quote) = (symbol.base(), symbol.quote());
        let (base, quote) = (base.as_str(), quote.as_str());
        let (size, money) = match Side::parse(&trade.side)? {
            Side::Buy => (trade.size, -trade.quote_amount),
            Side::Sell => (-trade.size, trade.quote_amount),
        };
        let trade_changes = [
            ("available", base, size),
            ("house", base, -size),
            ("available", quote, money),
            ("house", quote, -money),
            ("available", quote, -trade.fee),
            ("fees", quote, trade.fee),
        ];
        let released = held.map(|(asset, amount)| [("held", &**asset, -amount), ("available", &**asset, *amount)]);
        Some(Self::new(trade_changes.into_iter().chain(released.into_iter().flatten())))
    }

    /// Returns the amount that the held account gained, where it is of one asset.
    pub(super) fn held(&self) -> Option<AssetAmount> {
        let mut held = self.0.iter().filter(|((kind, _), _)| kind == "held");
        let ((_, asset), amount) = held.next().filter(|(_, amount)| amount.is_sign_positive())?;
        held.next().is_none().then(|| (asset.clone(), *amount))
    }

    fn new<'a>(parts: impl IntoIterator<Item = (&'a str, &'a str, Decimal)>) -> Self {
        let mut changes = BTreeMap::new();
        for (kind, asset, amount) in parts {
            add(changes.entry((kind.to_owned(), asset.to_owned())).or_default(), amount);
        }
        changes.retain(|_, amount| !amount.is_zero());
        Self(changes)
    }
}

/// Adds to a sum. A sum beyond the range of `Decimal` stays at its maximum, which equals no balance.
pub(super) fn add(sum: &mut Decimal, amount: Decimal) {
    *sum = sum.checked_add(amount).unwrap_or(Decimal::MAX);
}
