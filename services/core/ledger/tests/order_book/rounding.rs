//! Nobody gains by cutting an order into pieces.

use std::collections::HashMap;

use events::{
    Amount, OrderPlaced, OrderStatus, Price, Side, Size, Symbol,
    order_request::{OrderKind, OrderRequest, OrderSize, TimeInForce},
};
use ledger::{
    amounts::Rates,
    order_book::{OrderBook, Policy},
    rows::TradeRow,
};
use market_data::StoredTick;
use proptest::prelude::*;
use rust_decimal::{Decimal, RoundingStrategy};
use uuid::Uuid;

use crate::{
    harness::{ADA, POLICY, deposit, second, tick},
    memory_store::MemoryStore,
};

/// The kinds of orders that can be cut.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Market,
    Funds,
    Limit,
    Stop,
}

/// A market that stands still.
#[derive(Debug, Clone, Copy)]
struct Market {
    price: Price,
    rates: Rates,
}

/// A user's book in such a market, with 1,000,000,000 USD and BTC.
struct Trader {
    book: OrderBook,
    store: MemoryStore,
    orders: u128,
}

impl Trader {
    fn new(Market { price, rates }: Market) -> Self {
        let policy = Policy { rates, max_open_orders: 1_000, ..POLICY };
        let mut store = MemoryStore::default();
        let mut book = OrderBook::restore(store.load(&HashMap::new()), policy, 0).expect("a book");
        for (number, asset) in [(1, "USD"), (2, "BTC")] {
            book.apply_deposit(&deposit(number, ADA, asset, "1000000000")).expect("posted");
        }
        let tick = tick("BTC-USD", &price.to_string(), 0);
        book.apply_tick(&StoredTick::of(&tick, "1", 1, 0), second(0));
        store.save(book.take_changes());
        Self { book, store, orders: 0 }
    }

    /// Places an order, which fills at once or is rejected, and returns its trade.
    fn trade(&mut self, side: Side, kind: Kind, units: i64, price: Price) -> Option<TradeRow> {
        self.orders += 1;
        let size = Size::new(Decimal::new(units, 8)).expect("a size");
        let execution = match kind {
            Kind::Funds => OrderKind::Market(OrderSize::Funds(Amount::new(Decimal::new(units, 2)).expect("an amount"))),
            Kind::Market => OrderKind::Market(OrderSize::Size(size)),
            Kind::Limit => OrderKind::Limit { size, price, time_in_force: TimeInForce::Ioc },
            Kind::Stop => OrderKind::Stop { size, stop_price: price },
        };
        let symbol = Symbol::parse("BTC-USD").expect("a symbol");
        let terms = OrderRequest { symbol, venue: None, side, execution, client_order_id: None };
        let order_id = Uuid::from_u128(self.orders);
        self.book
            .place(OrderPlaced { order_id, user_id: ADA, terms, after_alert: None, placed_at: second(0) }, second(0));
        self.store.save(self.book.take_changes());
        self.book.take_events();
        assert_ne!(self.store.orders[&order_id].status, OrderStatus::Open);
        self.store.trades.values().find(|trade| trade.order_id == order_id).cloned()
    }

    /// Returns the available USD and BTC.
    fn wealth(&self) -> [Decimal; 2] {
        ["USD", "BTC"].map(|asset| self.store.balance("available", Some(ADA), asset))
    }

    /// Returns true when the sum of each asset over all accounts is zero.
    fn is_balanced(&self) -> bool {
        ["USD", "BTC"].into_iter().all(|asset| {
            let all = self.store.accounts.values().filter(|(row, _)| row.asset == asset);
            all.map(|(_, balance)| balance).sum::<Decimal>().is_zero()
        })
    }
}

/// Returns true when the trade's value is its price times its size, rounded against the customer.
fn is_explained(trade: &TradeRow) -> bool {
    let strategy = if trade.side == "buy" { RoundingStrategy::AwayFromZero } else { RoundingStrategy::ToZero };
    (trade.price * trade.size).round_dp_with_strategy(2, strategy) == trade.quote_amount
}

fn market() -> impl Strategy<Value = Market> {
    // From 10^-12 to 100,000 USD, with few digits or many.
    let price = (1_i64..10_000, 0_u32..=12).prop_map(|(digits, places)| Decimal::new(digits, places));
    let price = prop_oneof![price, (1_i64..10_i64.pow(10)).prop_map(|digits| Decimal::new(digits, 5))];
    let rates = (0_u32..=1_000, 0_u32..=2_000);
    (price, rates).prop_map(|(price, (fee_bp, spread_bp))| Market {
        price: Price::new(price).expect("a price"),
        rates: Rates { fee_bp, spread_bp, slippage_bp: 5_000 },
    })
}

fn order() -> impl Strategy<Value = (Side, Kind)> {
    let (buy, sell) = (Just(Side::Buy), Just(Side::Sell));
    let kind = prop_oneof![Just(Kind::Market), Just(Kind::Limit), Just(Kind::Stop)];
    prop_oneof![(prop_oneof![buy, sell], kind), Just((Side::Buy, Kind::Funds))]
}

/// Pieces of a few minor units or of many.
fn pieces() -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(prop_oneof![1_i64..100, 1_i64..100_000, 1_i64..10_i64.pow(10)], 1..12)
}

proptest! {
    #[test]
    fn pieces_never_give_more_than_the_whole(market in market(), (side, kind) in order(), pieces in pieces()) {
        let (mut in_pieces, mut as_whole) = (Trader::new(market), Trader::new(market));
        let mut filled = 0;
        for units in pieces {
            if let Some(trade) = in_pieces.trade(side, kind, units, market.price) {
                prop_assert!(is_explained(&trade), "{trade:?}");
                prop_assert!(market.rates.fee_bp == 0 || !trade.fee.is_zero(), "{trade:?}");
                filled += units;
            }
        }
        prop_assume!(filled > 0);
        // The whole may be beyond a limit that its pieces keep.
        if let Some(whole) = as_whole.trade(side, kind, filled, market.price) {
            let ([money, base], [whole_money, whole_base]) = (in_pieces.wealth(), as_whole.wealth());
            prop_assert!(base <= whole_base, "{base} BTC in pieces, {whole_base} as a whole");
            prop_assert!(money <= whole_money || base < whole_base, "{money} USD and {base} BTC, {whole:?}");
        }
        prop_assert!(in_pieces.is_balanced() && as_whole.is_balanced());
    }

    #[test]
    fn nobody_ends_richer_than_he_began_in_a_market_that_stands_still(
        market in market(), buys in pieces(), sells in pieces(),
    ) {
        let mut trader = Trader::new(market);
        let [money, base] = trader.wealth();
        buys.into_iter().for_each(|units| _ = trader.trade(Side::Buy, Kind::Limit, units, market.price));
        for units in sells {
            let bought = trader.wealth()[1] - base;
            if Decimal::new(units, 8) <= bought {
                trader.trade(Side::Sell, Kind::Limit, units, market.price);
            }
        }
        let [money_now, base_now] = trader.wealth();
        let gained = (money_now - money) + (base_now - base) * market.price.decimal();
        prop_assert!(base_now >= base && gained <= Decimal::ZERO, "{gained} USD");
    }
}

#[test]
fn the_salami_of_a_dollar_makes_nothing() {
    let price = Price::new(68_000.into()).expect("a price");
    let mut trader = Trader::new(Market { price, rates: POLICY.rates });
    let [money, base] = trader.wealth();
    for _ in 0..99 {
        trader.trade(Side::Buy, Kind::Market, 22, price).expect("filled");
    }
    // Each of them is worth 0.01497 USD, and costs 2 cents and a cent of fee.
    assert_eq!(trader.wealth(), [money - Decimal::new(297, 2), base + Decimal::new(99 * 22, 8)]);
    for _ in 0..272 {
        assert_eq!(trader.trade(Side::Sell, Kind::Market, 8, price), None);
    }
}

#[test]
fn the_price_of_a_cheap_coin_gives_its_value() {
    for (price, rates) in
        [("0.000000001", POLICY.rates), ("0.0000000012345", POLICY.rates), ("0.00000048", POLICY.rates)]
    {
        // A price beyond the places that prices have is another matter.
        let Ok(price) = price.parse::<Price>() else { continue };
        let mut trader = Trader::new(Market { price, rates });
        for (side, kind, units) in [
            (Side::Buy, Kind::Market, 10_i64.pow(16)),
            (Side::Sell, Kind::Market, 10_i64.pow(16)),
            (Side::Buy, Kind::Funds, 12),
        ] {
            let trade = trader.trade(side, kind, units, price).expect("filled");
            assert!(is_explained(&trade), "{trade:?}");
        }
    }
}
