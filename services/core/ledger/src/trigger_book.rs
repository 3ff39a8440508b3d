//! The open orders of one symbol, sorted by trigger price, so that a tick touches only the orders that it reaches.

use std::{cmp::Reverse, collections::BTreeSet};

use events::{Price, Side};
use uuid::Uuid;

/// The price that an order waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// The order waits for this price or a better one.
    Limit(Price),
    /// The order waits for this price or a worse one.
    Stop(Price),
}

impl Trigger {
    /// Returns true when a price reaches the trigger of an order of this side.
    pub fn is_reached(self, side: Side, price: Price) -> bool {
        if self.falls(side) { price <= self.price() } else { price >= self.price() }
    }

    /// Returns true when the trigger is reached from above, by a price at or below it.
    fn falls(self, side: Side) -> bool {
        matches!((self, side), (Self::Limit(_), Side::Buy) | (Self::Stop(_), Side::Sell))
    }

    fn price(self) -> Price {
        let (Self::Limit(price) | Self::Stop(price)) = self;
        price
    }
}

/// Orders by trigger price and queue rank: at one price the first order to become open comes first, whatever its kind.
#[derive(Debug, Default)]
pub struct TriggerBook {
    /// The orders that a price at or below their trigger reaches, the highest trigger first.
    falling: BTreeSet<(Reverse<Price>, i64, Uuid)>,
    /// The orders that a price at or above their trigger reaches, the lowest trigger first.
    rising: BTreeSet<(Price, i64, Uuid)>,
}

impl TriggerBook {
    /// Adds an order. Queue ranks count from 1.
    pub fn insert(&mut self, side: Side, trigger: Trigger, queue_rank: i64, order: Uuid) {
        if trigger.falls(side) {
            self.falling.insert((Reverse(trigger.price()), queue_rank, order));
        } else {
            self.rising.insert((trigger.price(), queue_rank, order));
        }
    }

    /// Removes an order.
    pub fn remove(&mut self, side: Side, trigger: Trigger, queue_rank: i64, order: Uuid) {
        if trigger.falls(side) {
            self.falling.remove(&(Reverse(trigger.price()), queue_rank, order));
        } else {
            self.rising.remove(&(trigger.price(), queue_rank, order));
        }
    }

    /// Adds the orders of another book.
    pub fn append(&mut self, mut other: Self) {
        self.falling.append(&mut other.falling);
        self.rising.append(&mut other.rising);
    }

    /// Removes and returns the orders that a price reaches, in the order in which they fill: triggers above the price from
    /// the highest, then triggers below it from the lowest, then triggers at it. At one trigger price the lowest queue rank
    /// comes first.
    pub fn take_reached(&mut self, price: Price) -> Vec<Uuid> {
        let mut reached = Vec::new();
        while self.falling.first().is_some_and(|(Reverse(trigger), ..)| *trigger >= price) {
            reached.extend(
                self.falling.pop_first().map(|(Reverse(trigger), queue_rank, order)| (trigger, queue_rank, order)),
            );
        }
        while self.rising.first().is_some_and(|(trigger, ..)| *trigger <= price) {
            reached.extend(self.rising.pop_first());
        }
        // The sort is stable: triggers away from the price stay in their order, before those at the price.
        reached.sort_by_key(|(trigger, queue_rank, _)| if *trigger == price { *queue_rank } else { 0 });
        reached.into_iter().map(|(.., order)| order).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(text: &str) -> Price {
        text.parse().expect("a price")
    }

    #[test]
    fn a_price_reaches_the_best_triggers_first_and_the_oldest_of_equal_ones() {
        let mut book = TriggerBook::default();
        let id = Uuid::from_u128;
        let limit = |text| Trigger::Limit(price(text));
        let stop = |text| Trigger::Stop(price(text));
        for (number, side, trigger) in [
            (1, Side::Buy, limit("99")),
            (2, Side::Buy, limit("100")),
            (3, Side::Buy, limit("100")),
            (4, Side::Buy, limit("98")),
            (5, Side::Sell, stop("100")),
            (6, Side::Sell, limit("100")),
            (7, Side::Sell, limit("99.5")),
            (8, Side::Buy, stop("99")),
            (9, Side::Buy, stop("100")),
            (10, Side::Sell, stop("97")),
            (11, Side::Buy, limit("97")),
            (12, Side::Sell, limit("97")),
            (13, Side::Buy, limit("97")),
        ] {
            book.insert(side, trigger, number as i64, id(number));
        }
        book.remove(Side::Buy, limit("99"), 1, id(1));
        book.remove(Side::Sell, limit("97"), 12, id(12));
        assert_eq!(book.take_reached(price("99.2")), [2, 3, 5, 8].map(id));
        assert!(book.take_reached(price("99.2")).is_empty());
        assert_eq!(book.take_reached(price("100")), [7, 6, 9].map(id));
        book.insert(Side::Sell, limit("97"), 12, id(12));
        assert_eq!(book.take_reached(price("97")), [4, 10, 11, 12, 13].map(id), "limits and stops at one price");
    }
}
