//! The active rules of one market, sorted by threshold so that a tick touches only the rules that it fires.
//!
//! A rule is a point in a sorted set and a tick is a range of it. Price thresholds are met between the last price and
//! this one. Anchored rules are met at or beyond their own thresholds. All rules that share a reference (the previous
//! tick, or the price one window ago) are met at or below the one change that the tick makes from it. Whether a rule
//! was met at the last tick is not stored per rule, because it follows from the last price or from the last change.
//! All comparisons are of integers, and exact: prices fit an `i128`, and their products with percentages are compared in 256
//! bits where 128 are too few.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Included, Unbounded},
};

use events::{
    Baseline, Condition, Direction, Percent, Period, Price, Timestamp,
    money::PERCENT_UNIT,
    rule::{Change, PriceThreshold},
};
use ruint::aliases::U256;
use uuid::Uuid;

use crate::{market::Market, state::Reference};

/// Rules sorted by their threshold.
type ThresholdSet = BTreeSet<(i128, Uuid)>;

/// Anchored rules sorted by the `price × HUNDRED_PERCENT` at which they fire: a price is below 10³² units, and the product needs
/// more than 128 bits.
type AnchorSet = BTreeSet<(U256, Uuid)>;

/// A hundred percent, in units of a percentage.
const HUNDRED_PERCENT: i128 = 100 * PERCENT_UNIT;

/// All active rules of one market.
#[derive(Debug, Default)]
pub(crate) struct Index {
    above: ThresholdSet,
    below: ThresholdSet,
    anchor_up: AnchorSet,
    anchor_down: AnchorSet,
    previous: DirectionSets,
    windows: BTreeMap<Period, Window>,
    /// Price thresholds and anchored rules that no tick was evaluated against yet. The next tick fires a threshold that
    /// it meets even without crossing it, becomes the reference of an anchored rule, and empties the map.
    unevaluated: BTreeMap<Uuid, Condition>,
    expiries: BTreeSet<(Timestamp, Uuid)>,
}

/// Rules sorted by the percentage they wait for, by direction.
#[derive(Debug, Default)]
struct DirectionSets {
    up: ThresholdSet,
    down: ThresholdSet,
    any: ThresholdSet,
}

/// The rules whose windows have the same length.
#[derive(Debug, Default)]
struct Window {
    sets: DirectionSets,
    /// The change at the last evaluated tick that had a reference.
    last: Option<MaxPercent>,
    /// The start of the window at the last evaluated tick, and the reference there.
    reference: Option<(Timestamp, Option<Reference>)>,
    /// Rules that no tick with a reference was evaluated against yet.
    unevaluated: BTreeMap<Uuid, (Percent, Direction)>,
}

/// The largest percentages, in units, that a price meets from a reference; -1 in the direction that it did not go.
#[derive(Debug, Clone, Copy)]
struct MaxPercent {
    up: i128,
    down: i128,
    any: i128,
}

/// What a tick does to the rules of its market.
#[derive(Debug, Default)]
pub(crate) struct Matches {
    /// Rules that fire, with the reference of the change; none for thresholds, and for anchored rules, which have their own.
    pub(crate) fired: Vec<(Uuid, Option<Reference>)>,
    /// Anchored rules whose reference this tick becomes.
    pub(crate) newly_anchored: Vec<Uuid>,
}

impl Index {
    /// Adds a rule that no tick was evaluated against, or an anchored rule with its reference.
    pub(crate) fn add(&mut self, id: Uuid, condition: Condition, reference: Option<Price>) {
        match (condition, reference) {
            (Condition::Change(change @ Change { since: Baseline::Anchor, .. }), Some(reference)) => {
                self.add_anchored(id, change, reference);
            }
            (Condition::Change(change @ Change { since: Baseline::Previous, .. }), _) => {
                self.previous.set_mut(change.direction).insert((change.percent.units(), id));
            }
            (Condition::Change(Change { since: Baseline::Window(length), percent, direction }), _) => {
                self.windows.entry(length).or_default().unevaluated.insert(id, (percent, direction));
            }
            _ => _ = self.unevaluated.insert(id, condition),
        }
    }

    /// Adds a rule that the market's last tick was evaluated against: it fires only when its condition becomes met anew.
    pub(crate) fn add_evaluated(&mut self, id: Uuid, condition: Condition, market: &Market) {
        match condition {
            Condition::Price(PriceThreshold::Above(threshold)) => _ = self.above.insert((threshold.units(), id)),
            Condition::Price(PriceThreshold::Below(threshold)) => _ = self.below.insert((threshold.units(), id)),
            Condition::Change(Change { since: Baseline::Window(length), percent, direction }) => {
                let (price, at) = market.last();
                match market.window_ago(length, at) {
                    Some((reference, _)) => {
                        let window = self.windows.entry(length).or_default();
                        window.last.get_or_insert(MaxPercent::of(price, reference));
                        window.sets.set_mut(direction).insert((percent.units(), id));
                    }
                    None => self.add(id, condition, None),
                }
            }
            Condition::Change(_) => self.add(id, condition, None),
        }
    }

    /// Removes a rule; `reference` is the anchor that it was added with.
    pub(crate) fn remove(&mut self, id: Uuid, condition: Condition, reference: Option<Price>) {
        self.unevaluated.remove(&id);
        match condition {
            Condition::Price(PriceThreshold::Above(threshold)) => _ = self.above.remove(&(threshold.units(), id)),
            Condition::Price(PriceThreshold::Below(threshold)) => _ = self.below.remove(&(threshold.units(), id)),
            Condition::Change(Change { since: Baseline::Previous, percent, direction }) => {
                self.previous.set_mut(direction).remove(&(percent.units(), id));
            }
            Condition::Change(Change { since: Baseline::Anchor, percent, .. }) => {
                if let Some(reference) = reference {
                    self.anchor_up.remove(&(threshold_up(reference, percent), id));
                    self.anchor_down.remove(&(threshold_down(reference, percent), id));
                }
            }
            Condition::Change(Change { since: Baseline::Window(length), percent, direction }) => {
                if let Some(window) = self.windows.get_mut(&length) {
                    window.unevaluated.remove(&id);
                    window.sets.set_mut(direction).remove(&(percent.units(), id));
                    if window.is_empty() {
                        self.windows.remove(&length);
                    }
                }
            }
        }
    }

    /// Remembers the time from which a rule is not evaluated any more.
    pub(crate) fn add_expiry(&mut self, id: Uuid, at: Timestamp) {
        self.expiries.insert((at, id));
    }

    /// Forgets the expiry of a rule.
    pub(crate) fn remove_expiry(&mut self, id: Uuid, at: Timestamp) {
        self.expiries.remove(&(at, id));
    }

    /// Returns a rule that has expired at `now`, if there is one.
    pub(crate) fn next_expired(&self, now: Timestamp) -> Option<Uuid> {
        self.expiries.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// Finds the rules that a tick fires. `market` is as it was before the tick, or `None` at the market's first tick.
    pub(crate) fn evaluate(&mut self, market: Option<&Market>, price: Price, at: Timestamp) -> Matches {
        let mut matches = Matches::default();
        if let Some(market) = market {
            let last = market.last();
            self.match_anchored(price, &mut matches);
            if price != last.0 {
                self.match_thresholds(last.0, price, &mut matches);
                self.previous.match_up_to(MaxPercent::of(price, last.0), last, &mut matches);
            }
            for (length, window) in &mut self.windows {
                window.evaluate(*length, market, price, at, &mut matches);
            }
        }
        self.match_unevaluated(price, &mut matches);
        matches
    }

    fn match_thresholds(&self, last: Price, price: Price, matches: &mut Matches) {
        let (last, now) = (last.units(), price.units());
        if now > last {
            let crossed = self.above.range((Excluded((last, Uuid::max())), Included((now, Uuid::max()))));
            matches.fired.extend(crossed.map(|(_, id)| (*id, None)));
        } else if now < last {
            let crossed = self.below.range((Included((now, Uuid::nil())), Excluded((last, Uuid::nil()))));
            matches.fired.extend(crossed.map(|(_, id)| (*id, None)));
        }
    }

    fn match_anchored(&self, price: Price, matches: &mut Matches) {
        let price = wide_product(price.units(), HUNDRED_PERCENT);
        let risen = self.anchor_up.range((Unbounded, Included((price, Uuid::max()))));
        let fallen = self.anchor_down.range((Included((price, Uuid::nil())), Unbounded));
        matches.fired.extend(risen.chain(fallen).map(|(_, id)| (*id, None)));
    }

    /// Evaluates each new rule by its own condition and sorts it into the set where later ticks find it.
    fn match_unevaluated(&mut self, price: Price, matches: &mut Matches) {
        for (id, condition) in std::mem::take(&mut self.unevaluated) {
            match condition {
                Condition::Price(threshold) => {
                    let (set, point, met) = match threshold {
                        PriceThreshold::Above(threshold) => (&mut self.above, threshold.units(), price >= threshold),
                        PriceThreshold::Below(threshold) => (&mut self.below, threshold.units(), price <= threshold),
                    };
                    set.insert((point, id));
                    if met {
                        matches.fired.push((id, None));
                    }
                }
                Condition::Change(change) => {
                    self.add_anchored(id, change, price);
                    matches.newly_anchored.push(id);
                }
            }
        }
    }

    fn add_anchored(&mut self, id: Uuid, change: Change, reference: Price) {
        if change.direction != Direction::Down {
            self.anchor_up.insert((threshold_up(reference, change.percent), id));
        }
        if change.direction != Direction::Up {
            self.anchor_down.insert((threshold_down(reference, change.percent), id));
        }
    }
}

/// Returns the `price × HUNDRED_PERCENT` at or above which the rule is met.
fn threshold_up(reference: Price, percent: Percent) -> U256 {
    wide_product(reference.units(), HUNDRED_PERCENT + percent.units())
}

/// Returns the `price × HUNDRED_PERCENT` at or below which the rule is met. No price falls by more than a hundred percent,
/// so a larger percentage gives the threshold zero, which is below every price.
fn threshold_down(reference: Price, percent: Percent) -> U256 {
    wide_product(reference.units(), (HUNDRED_PERCENT - percent.units()).max(0))
}

/// Returns the product of two numbers that are not negative.
fn wide_product(a: i128, b: i128) -> U256 {
    U256::from(a.unsigned_abs()) * U256::from(b.unsigned_abs())
}

impl Window {
    /// Finds the rules of the windows of one length that a tick fires.
    fn evaluate(&mut self, length: Period, market: &Market, price: Price, at: Timestamp, matches: &mut Matches) {
        let Some(start) = market.window_start(length, at) else { return };
        // Many ticks share the start of their window, and so its price, which no tick at its end changes.
        let before = self.reference.filter(|(at, _)| *at == start);
        let (_, reference) =
            *self.reference.insert(before.unwrap_or_else(|| (start, market.at_or_before(length, start))));
        let Some(reference) = reference else { return };
        if before.is_some() && price == market.last().0 && self.unevaluated.is_empty() {
            // The change is that of the last tick.
            return;
        }
        self.match_change(MaxPercent::of(price, reference.0), reference, matches);
    }

    fn match_change(&mut self, now: MaxPercent, reference: Reference, matches: &mut Matches) {
        if let Some(last) = self.last.replace(now) {
            self.sets.match_between(last, now, reference, matches);
        }
        for (id, (percent, direction)) in std::mem::take(&mut self.unevaluated) {
            self.sets.set_mut(direction).insert((percent.units(), id));
            if percent.units() <= now.of_direction(direction) {
                matches.fired.push((id, Some(reference)));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.unevaluated.is_empty() && self.sets.up.is_empty() && self.sets.down.is_empty() && self.sets.any.is_empty()
    }
}

impl DirectionSets {
    fn set_mut(&mut self, direction: Direction) -> &mut ThresholdSet {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
            Direction::Any => &mut self.any,
        }
    }

    fn match_up_to(&self, now: MaxPercent, reference: Reference, matches: &mut Matches) {
        self.match_between(MaxPercent { up: -1, down: -1, any: -1 }, now, reference, matches);
    }

    /// Finds the rules that `now` meets and `last` did not.
    fn match_between(&self, last: MaxPercent, now: MaxPercent, reference: Reference, matches: &mut Matches) {
        for (set, last, now) in
            [(&self.up, last.up, now.up), (&self.down, last.down, now.down), (&self.any, last.any, now.any)]
        {
            if now > last {
                let met = set.range((Excluded((last, Uuid::max())), Included((now, Uuid::max()))));
                matches.fired.extend(met.map(|(_, id)| (*id, Some(reference))));
            }
        }
    }
}

impl MaxPercent {
    /// Returns the largest percentages that a price meets. *Up by P* is `(p - r) × 100 ≥ r × P`, so the largest P is
    /// `(p - r) × 100 / r`, rounded down.
    fn of(price: Price, reference: Price) -> Self {
        let (change, reference) = (price.units() - reference.units(), reference.units());
        let any = match change.abs().checked_mul(HUNDRED_PERCENT) {
            Some(product) => product / reference,
            // A change that does not fit is beyond the percentage of any rule.
            None => i128::try_from(wide_product(change, HUNDRED_PERCENT) / U256::from(reference.unsigned_abs()))
                .unwrap_or(i128::MAX),
        };
        Self { up: if change >= 0 { any } else { -1 }, down: if change <= 0 { any } else { -1 }, any }
    }

    fn of_direction(self, direction: Direction) -> i128 {
        match direction {
            Direction::Up => self.up,
            Direction::Down => self.down,
            Direction::Any => self.any,
        }
    }
}
