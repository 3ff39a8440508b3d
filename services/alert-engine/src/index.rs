//! The active rules of one market, arranged so that a tick touches only the rules that it rings.
//!
//! A rule is a point on a line and a tick is a range: limits are met between the last price and this one, anchored
//! rules at or beyond their own thresholds, and all rules that share a reference (the previous tick, the price one
//! window ago) at or below the one change that the tick makes against it. What was met at the last tick is not kept
//! per rule: it follows from the last price, or from the last change. All comparisons are of integers in `i128`; see
//! [`events::money`] for why they cannot overflow.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound::{Excluded, Included, Unbounded},
};

use events::{
    Baseline, Condition, Direction, Percent, Period, Price, Timestamp,
    money::PERCENT_UNIT,
    rule::{Change, PriceThreshold},
};
use uuid::Uuid;

use crate::market::{Market, Reference};

/// Rules at points of a line, in order.
type Line = BTreeSet<(i128, Uuid)>;

/// A hundred percent in units of a percentage.
const WHOLE: i128 = 100 * PERCENT_UNIT;

/// All active rules of one market.
#[derive(Debug, Default)]
pub struct Index {
    above: Line,
    below: Line,
    anchor_up: Line,
    anchor_down: Line,
    previous: Ladder,
    windows: BTreeMap<Period, Window>,
    /// Limits and anchors that no tick has been judged by yet: an edge is met without one before, an anchor is to be
    /// set. The next tick empties it.
    fresh: BTreeMap<Uuid, Condition>,
    expiries: BTreeSet<(Timestamp, Uuid)>,
}

/// Rules by the change they wait for.
#[derive(Debug, Default)]
struct Ladder {
    up: Line,
    down: Line,
    any: Line,
}

/// Rules that look back equally far.
#[derive(Debug, Default)]
struct Window {
    ladder: Ladder,
    /// The change at the last judged tick that had a reference.
    last: Option<Levels>,
    /// Rules that no tick with a reference has been judged by yet.
    fresh: BTreeMap<Uuid, (Percent, Direction)>,
}

/// The largest percentages, in units, that a price meets against a reference; -1 where it goes the other way.
#[derive(Debug, Clone, Copy)]
struct Levels {
    up: i128,
    down: i128,
    any: i128,
}

/// What a tick does to the rules of its market.
#[derive(Debug, Default)]
pub struct Hits {
    /// Rules whose condition is met, with what the price was measured against. Anchored rules know their own.
    pub met: Vec<(Uuid, Option<Reference>)>,
    /// Anchored rules whose reference this tick becomes.
    pub anchored: Vec<Uuid>,
}

impl Index {
    /// Adds a rule that no tick has been judged by, or an anchored rule with its reference.
    pub fn add(&mut self, id: Uuid, condition: Condition, reference: Option<Price>) {
        match (condition, reference) {
            (Condition::Change(change @ Change { since: Baseline::Anchor, .. }), Some(reference)) => {
                self.add_anchored(id, change, reference);
            }
            (Condition::Change(change @ Change { since: Baseline::Previous, .. }), _) => {
                self.previous.line(change.direction).insert((change.percent.units(), id));
            }
            (Condition::Change(Change { since: Baseline::Window(span), percent, direction }), _) => {
                self.windows.entry(span).or_default().fresh.insert(id, (percent, direction));
            }
            _ => _ = self.fresh.insert(id, condition),
        }
    }

    /// Adds a rule that has been judged at the market's last tick: it has an edge behind it.
    pub fn add_judged(&mut self, id: Uuid, condition: Condition, market: &Market) {
        match condition {
            Condition::Price(PriceThreshold::Above(limit)) => _ = self.above.insert((limit.units(), id)),
            Condition::Price(PriceThreshold::Below(limit)) => _ = self.below.insert((limit.units(), id)),
            Condition::Change(Change { since: Baseline::Window(span), percent, direction }) => {
                let (price, at) = market.last();
                match market.window_ago(span, at) {
                    Some((reference, _)) => {
                        let window = self.windows.entry(span).or_default();
                        window.last.get_or_insert(Levels::of(price, reference));
                        window.ladder.line(direction).insert((percent.units(), id));
                    }
                    None => self.add(id, condition, None),
                }
            }
            Condition::Change(_) => self.add(id, condition, None),
        }
    }

    /// Removes a rule; `reference` is the anchor it was added with.
    pub fn remove(&mut self, id: Uuid, condition: Condition, reference: Option<Price>) {
        self.fresh.remove(&id);
        match condition {
            Condition::Price(PriceThreshold::Above(limit)) => _ = self.above.remove(&(limit.units(), id)),
            Condition::Price(PriceThreshold::Below(limit)) => _ = self.below.remove(&(limit.units(), id)),
            Condition::Change(Change { since: Baseline::Previous, percent, direction }) => {
                self.previous.line(direction).remove(&(percent.units(), id));
            }
            Condition::Change(Change { since: Baseline::Anchor, percent, .. }) => {
                if let Some(reference) = reference {
                    self.anchor_up.remove(&(threshold_up(reference, percent), id));
                    self.anchor_down.remove(&(threshold_down(reference, percent), id));
                }
            }
            Condition::Change(Change { since: Baseline::Window(span), percent, direction }) => {
                if let Some(window) = self.windows.get_mut(&span) {
                    window.fresh.remove(&id);
                    window.ladder.line(direction).remove(&(percent.units(), id));
                    if window.is_empty() {
                        self.windows.remove(&span);
                    }
                }
            }
        }
    }

    /// Watches for the time from which a rule judges nothing.
    pub fn expires(&mut self, id: Uuid, at: Timestamp) {
        self.expiries.insert((at, id));
    }

    /// Stops watching for it.
    pub fn forget_expiry(&mut self, id: Uuid, at: Timestamp) {
        self.expiries.remove(&(at, id));
    }

    /// A rule whose time is over at `now`, if there is one.
    pub fn expired(&self, now: Timestamp) -> Option<Uuid> {
        self.expiries.first().filter(|(at, _)| *at <= now).map(|(_, id)| *id)
    }

    /// Finds what a tick meets. `market` is as it was before the tick, or `None` at the market's first.
    pub fn judge(&mut self, market: Option<&Market>, price: Price, at: Timestamp) -> Hits {
        let mut hits = Hits::default();
        if let Some(market) = market {
            self.judge_limits(market.last().0, price, &mut hits);
            self.judge_anchored(price, &mut hits);
            self.previous.at_most(Levels::of(price, market.last().0), market.last(), &mut hits);
            for (span, window) in &mut self.windows {
                if let Some(reference) = market.window_ago(*span, at) {
                    window.judge(Levels::of(price, reference.0), reference, &mut hits);
                }
            }
        }
        self.judge_fresh(price, &mut hits);
        hits
    }

    fn judge_limits(&self, last: Price, price: Price, hits: &mut Hits) {
        let (last, now) = (last.units(), price.units());
        if now > last {
            let crossed = self.above.range((Excluded((last, Uuid::max())), Included((now, Uuid::max()))));
            hits.met.extend(crossed.map(|(_, id)| (*id, None)));
        } else if now < last {
            let crossed = self.below.range((Included((now, Uuid::nil())), Excluded((last, Uuid::nil()))));
            hits.met.extend(crossed.map(|(_, id)| (*id, None)));
        }
    }

    fn judge_anchored(&self, price: Price, hits: &mut Hits) {
        let price = price.units() * WHOLE;
        let risen = self.anchor_up.range((Unbounded, Included((price, Uuid::max()))));
        let fallen = self.anchor_down.range((Included((price, Uuid::nil())), Unbounded));
        hits.met.extend(risen.chain(fallen).map(|(_, id)| (*id, None)));
    }

    /// The first tick of a limit or an anchor: judged by the rule's own words, and put where it is found from now on.
    fn judge_fresh(&mut self, price: Price, hits: &mut Hits) {
        for (id, condition) in std::mem::take(&mut self.fresh) {
            match condition {
                Condition::Price(limit) => {
                    let (line, point, met) = match limit {
                        PriceThreshold::Above(limit) => (&mut self.above, limit.units(), price >= limit),
                        PriceThreshold::Below(limit) => (&mut self.below, limit.units(), price <= limit),
                    };
                    line.insert((point, id));
                    if met {
                        hits.met.push((id, None));
                    }
                }
                Condition::Change(change) => {
                    self.add_anchored(id, change, price);
                    hits.anchored.push(id);
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

/// Met at `price × WHOLE` at or above.
fn threshold_up(reference: Price, percent: Percent) -> i128 {
    reference.units() * (WHOLE + percent.units())
}

/// Met at `price × WHOLE` at or below; nothing falls by more than all, so a larger percentage is below every price.
fn threshold_down(reference: Price, percent: Percent) -> i128 {
    reference.units() * (WHOLE - percent.units())
}

impl Window {
    fn judge(&mut self, now: Levels, reference: Reference, hits: &mut Hits) {
        if let Some(last) = self.last.replace(now) {
            self.ladder.between(last, now, reference, hits);
        }
        for (id, (percent, direction)) in std::mem::take(&mut self.fresh) {
            self.ladder.line(direction).insert((percent.units(), id));
            if percent.units() <= now.of_direction(direction) {
                hits.met.push((id, Some(reference)));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.ladder.up.is_empty() && self.ladder.down.is_empty() && self.ladder.any.is_empty()
    }
}

impl Ladder {
    fn line(&mut self, direction: Direction) -> &mut Line {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
            Direction::Any => &mut self.any,
        }
    }

    fn at_most(&self, now: Levels, reference: Reference, hits: &mut Hits) {
        self.between(Levels { up: -1, down: -1, any: -1 }, now, reference, hits);
    }

    /// Rules that `now` meets and `last` did not.
    fn between(&self, last: Levels, now: Levels, reference: Reference, hits: &mut Hits) {
        for (line, last, now) in
            [(&self.up, last.up, now.up), (&self.down, last.down, now.down), (&self.any, last.any, now.any)]
        {
            if now > last {
                let met = line.range((Excluded((last, Uuid::max())), Included((now, Uuid::max()))));
                hits.met.extend(met.map(|(_, id)| (*id, Some(reference))));
            }
        }
    }
}

impl Levels {
    /// *Up by P* is `(p - r) × 100 ≥ r × P`, so the largest P is `(p - r) × 100 / r`, rounded down.
    fn of(price: Price, reference: Price) -> Self {
        let change = (price.units() - reference.units()) * WHOLE;
        let any = change.abs() / reference.units();
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
