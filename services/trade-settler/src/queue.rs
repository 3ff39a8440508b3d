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
        match (self, side) {
            (Self::Limit(limit), Side::Buy) | (Self::Stop(limit), Side::Sell) => price <= limit,
            (Self::Limit(limit), Side::Sell) | (Self::Stop(limit), Side::Buy) => price >= limit,
        }
    }
}

/// Orders with the place at which each became open: at one price the first comes first.
#[derive(Debug, Default)]
pub struct Queue {
    /// Reached by a price at or below theirs; the highest first.
    falling: [BTreeSet<(Reverse<Price>, i64, Uuid)>; 2],
    /// Reached by a price at or above theirs; the lowest first.
    rising: [BTreeSet<(Price, i64, Uuid)>; 2],
}

/// Limit orders are served before the stop orders that the same tick reaches.
const LIMITS: usize = 0;
const STOPS: usize = 1;

impl Queue {
    /// Lets an order wait.
    pub fn insert(&mut self, side: Side, trigger: Trigger, place: i64, order: Uuid) {
        match (trigger, side) {
            (Trigger::Limit(price), Side::Buy) => self.falling[LIMITS].insert((Reverse(price), place, order)),
            (Trigger::Stop(price), Side::Sell) => self.falling[STOPS].insert((Reverse(price), place, order)),
            (Trigger::Limit(price), Side::Sell) => self.rising[LIMITS].insert((price, place, order)),
            (Trigger::Stop(price), Side::Buy) => self.rising[STOPS].insert((price, place, order)),
        };
    }

    /// Lets it wait no longer.
    pub fn remove(&mut self, side: Side, trigger: Trigger, place: i64, order: Uuid) {
        match (trigger, side) {
            (Trigger::Limit(price), Side::Buy) => self.falling[LIMITS].remove(&(Reverse(price), place, order)),
            (Trigger::Stop(price), Side::Sell) => self.falling[STOPS].remove(&(Reverse(price), place, order)),
            (Trigger::Limit(price), Side::Sell) => self.rising[LIMITS].remove(&(price, place, order)),
            (Trigger::Stop(price), Side::Buy) => self.rising[STOPS].remove(&(price, place, order)),
        };
    }

    /// Takes out the orders that a price reaches, in the order in which they are served.
    pub fn reached(&mut self, price: Price) -> Vec<Uuid> {
        let mut reached = Vec::new();
        for kind in [LIMITS, STOPS] {
            let falling = &mut self.falling[kind];
            while falling.first().is_some_and(|(Reverse(theirs), ..)| *theirs >= price) {
                reached.extend(falling.pop_first().map(|(.., order)| order));
            }
            let rising = &mut self.rising[kind];
            while rising.first().is_some_and(|(theirs, ..)| *theirs <= price) {
                reached.extend(rising.pop_first().map(|(.., order)| order));
            }
        }
        reached
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
        ] {
            queue.insert(side, trigger, number as i64, id(number));
        }
        queue.remove(Side::Buy, limit("99"), 1, id(1));
        assert_eq!(queue.reached(price("99.2")), [2, 3, 5, 8].map(id));
        assert!(queue.reached(price("99.2")).is_empty());
        assert_eq!(queue.reached(price("100")), [7, 6, 9].map(id));
        assert_eq!(queue.reached(price("98")), [4].map(id));
    }
}
