//! Orders of one symbol that wait for a price, sorted so that a tick finds those it reaches without a look at the others.

use std::{cmp::Reverse, collections::BTreeSet};

use events::{Price, Side};
use uuid::Uuid;

/// What an order waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trigger {
    /// This price or a better one.
    Limit(Price),
    /// This price or a worse one.
    Stop(Price),
}

impl Trigger {
    /// Whether a price is what an order of this side waits for.
    pub fn is_reached(self, side: Side, price: Price) -> bool {
        if self.falls(side) { price <= self.price() } else { price >= self.price() }
    }

    /// Whether it is reached from above, by a price at or below it.
    fn falls(self, side: Side) -> bool {
        matches!((self, side), (Self::Limit(_), Side::Buy) | (Self::Stop(_), Side::Sell))
    }

    fn price(self) -> Price {
        let (Self::Limit(price) | Self::Stop(price)) = self;
        price
    }
}

/// Orders with the place at which each became open: at one price the first comes first, whatever its kind.
#[derive(Debug, Default)]
pub struct Queue {
    /// Reached by a price at or below theirs; the highest first.
    falling: BTreeSet<(Reverse<Price>, i64, Uuid)>,
    /// Reached by a price at or above theirs; the lowest first.
    rising: BTreeSet<(Price, i64, Uuid)>,
}

impl Queue {
    /// Lets an order wait. Places count from 1.
    pub fn insert(&mut self, side: Side, trigger: Trigger, place: i64, order: Uuid) {
        if trigger.falls(side) {
            self.falling.insert((Reverse(trigger.price()), place, order));
        } else {
            self.rising.insert((trigger.price(), place, order));
        }
    }

    /// Lets it wait no longer.
    pub fn remove(&mut self, side: Side, trigger: Trigger, place: i64, order: Uuid) {
        if trigger.falls(side) {
            self.falling.remove(&(Reverse(trigger.price()), place, order));
        } else {
            self.rising.remove(&(trigger.price(), place, order));
        }
    }

    /// Takes out the orders that a price reaches, in the order in which they are served: those above it, from the highest;
    /// those below it, from the lowest; and those at it. At one price the first to wait is the first.
    pub fn reached(&mut self, price: Price) -> Vec<Uuid> {
        let mut reached = Vec::new();
        while self.falling.first().is_some_and(|(Reverse(theirs), ..)| *theirs >= price) {
            reached.extend(self.falling.pop_first().map(|(Reverse(theirs), place, order)| (theirs, place, order)));
        }
        while self.rising.first().is_some_and(|(theirs, ..)| *theirs <= price) {
            reached.extend(self.rising.pop_first());
        }
        // Stable: what is not at the price stays as it is, before what is.
        reached.sort_by_key(|(theirs, place, _)| if *theirs == price { *place } else { 0 });
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
    fn a_price_reaches_what_waits_for_it_the_best_first_and_the_oldest_of_those() {
        let mut queue = Queue::default();
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
            queue.insert(side, trigger, number as i64, id(number));
        }
        queue.remove(Side::Buy, limit("99"), 1, id(1));
        queue.remove(Side::Sell, limit("97"), 12, id(12));
        assert_eq!(queue.reached(price("99.2")), [2, 3, 5, 8].map(id));
        assert!(queue.reached(price("99.2")).is_empty());
        assert_eq!(queue.reached(price("100")), [7, 6, 9].map(id));
        queue.insert(Side::Sell, limit("97"), 12, id(12));
        assert_eq!(queue.reached(price("97")), [4, 10, 11, 12, 13].map(id), "of two kinds, at one price");
    }
}
