//! The book of rules: takes ticks and changes of rules one at a time, in order, and says which rules fire.
//!
//! No clock, no I/O: the same ticks and changes in the same order give the same firings, also when the book is saved
//! and recalled between any two of them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use events::{
    Baseline, Condition, Repeat, Rule, RuleChanged, RuleStatus, Symbol, Tick, Venue, money::change_percent,
    rule::Change,
};
use store::rules::engine_state::{Changes, EngineState, Firing, RuleState, Suppression};
use uuid::Uuid;

use crate::{
    index::Index,
    market::{Market, Reference},
};

/// A rule that fired, with what its owner is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fired {
    /// The rule.
    pub rule: Arc<Rule>,
    /// The firing, perhaps suppressed.
    pub firing: Firing,
}

/// All rules and markets.
#[derive(Debug, Default)]
pub struct Book {
    symbols: HashMap<Symbol, Markets>,
    rules: HashMap<Uuid, Entry>,
    dirty_markets: BTreeSet<(Symbol, Venue)>,
    dirty_rules: BTreeSet<Uuid>,
    firings: Vec<Firing>,
}

/// The venues of one symbol.
#[derive(Debug, Default)]
struct Markets {
    /// The first venue that quoted the symbol.
    primary: Option<Venue>,
    venues: BTreeMap<Venue, (Market, Index)>,
    /// Active rules whose market has not ticked yet.
    waiting: BTreeSet<Uuid>,
}

#[derive(Debug)]
struct Entry {
    rule: Arc<Rule>,
    state: RuleState,
}

impl Book {
    /// The book as it was saved.
    pub fn recall(memory: EngineState) -> Self {
        let mut book = Self::default();
        for state in memory.markets {
            let markets = book.symbols.entry(state.symbol.clone()).or_default();
            // Markets come in the order of their first tick.
            markets.primary.get_or_insert(state.venue.clone());
            markets.venues.insert(state.venue.clone(), (Market::recalled(state), Index::default()));
        }
        for sample in memory.samples {
            let markets = book.symbols.get_mut(&sample.symbol);
            if let Some((market, _)) = markets.and_then(|markets| markets.venues.get_mut(&sample.venue)) {
                market.recall(&sample);
            }
        }
        for (rule, state) in memory.rules {
            let id = rule.id;
            book.rules.insert(id, Entry { rule: Arc::new(rule), state });
            book.index_recalled(id);
        }
        book
    }

    /// How many rules judge ticks.
    pub fn active_rules(&self) -> usize {
        self.rules.values().filter(|entry| entry.state.status == RuleStatus::Active).count()
    }

    /// Follows a change of a rule. A rule that becomes active judges ticks of sequences above `after`.
    pub fn follow(&mut self, change: RuleChanged, after: u64) {
        let RuleChanged { rule, revision, status, .. } = change;
        let id = rule.id;
        match self.rules.get_mut(&id) {
            Some(entry) if entry.state.revision >= revision => return,
            Some(entry) => {
                let finished = matches!(entry.state.status, RuleStatus::Done | RuleStatus::Expired);
                entry.state.revision = revision;
                self.dirty_rules.insert(id);
                if finished && status != RuleStatus::Deleted {
                    return;
                }
                self.unindex(id);
            }
            // It was made and deleted before we heard of it.
            None if status == RuleStatus::Deleted => return,
            None => {
                let state = RuleState {
                    rule_id: id,
                    revision,
                    status,
                    active_after: after,
                    reference: None,
                    firings: 0,
                    last_fired_at: None,
                };
                self.rules.insert(id, Entry { rule: Arc::new(rule), state });
                self.dirty_rules.insert(id);
            }
        }
        self.set_status(id, status);
        if status == RuleStatus::Active {
            self.activate(id, after);
        }
    }

    /// Judges a tick. Rules that fire come in the order of their ids.
    pub fn judge(&mut self, tick: &Tick, sequence: u64) -> Vec<Fired> {
        let markets = self.symbols.entry(tick.symbol.clone()).or_default();
        if !markets.venues.contains_key(&tick.venue) {
            self.open_market(tick, sequence)
        } else if markets.venues.get(&tick.venue).is_some_and(|(market, _)| tick.at < market.last().1) {
            Vec::new() // Late: kept in history, not judged.
        } else {
            self.judge_in_market(tick, sequence)
        }
    }

    /// What has changed since the last call, to be saved.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes { firings: std::mem::take(&mut self.firings), ..Changes::default() };
        for (symbol, venue) in std::mem::take(&mut self.dirty_markets) {
            let markets = self.symbols.get_mut(&symbol);
            if let Some((market, _)) = markets.and_then(|markets| markets.venues.get_mut(&venue)) {
                changes.markets.push(market.state().clone());
                changes.samples.extend(market.take_samples());
                changes.forgotten.extend(market.forget());
            }
        }
        for id in std::mem::take(&mut self.dirty_rules) {
            let Some(entry) = self.rules.get(&id) else { continue };
            changes.rules.push(entry.state.clone());
            if entry.state.status == RuleStatus::Deleted {
                self.rules.remove(&id);
            }
        }
        changes
    }

    fn open_market(&mut self, tick: &Tick, sequence: u64) -> Vec<Fired> {
        let (symbol, venue) = (&tick.symbol, &tick.venue);
        let market = Market::opened(symbol.clone(), venue.clone(), sequence, tick.price, tick.at);
        let markets = self.symbols.entry(symbol.clone()).or_default();
        markets.primary.get_or_insert(venue.clone());
        markets.venues.insert(venue.clone(), (market, Index::default()));
        self.dirty_markets.insert((symbol.clone(), venue.clone()));
        for id in std::mem::take(&mut markets.waiting) {
            self.index_fresh(id);
        }
        self.expire(tick);
        let Some((_, index)) = self.market_mut(symbol, venue) else { return Vec::new() };
        let hits = index.judge(None, tick.price, tick.at);
        self.settle(tick, sequence, hits)
    }

    fn judge_in_market(&mut self, tick: &Tick, sequence: u64) -> Vec<Fired> {
        self.expire(tick);
        let Some((market, index)) = self.market_mut(&tick.symbol, &tick.venue) else { return Vec::new() };
        let hits = index.judge(Some(market), tick.price, tick.at);
        market.tick(sequence, tick.price, tick.at);
        self.dirty_markets.insert((tick.symbol.clone(), tick.venue.clone()));
        self.settle(tick, sequence, hits)
    }

    fn settle(&mut self, tick: &Tick, sequence: u64, mut hits: crate::index::Hits) -> Vec<Fired> {
        for id in hits.anchored {
            self.set_reference(id, Some((tick.price, tick.at)));
        }
        hits.met.sort_unstable_by_key(|(id, _)| *id);
        hits.met.into_iter().filter_map(|(id, reference)| self.fire(id, reference, tick, sequence)).collect()
    }

    fn fire(&mut self, id: Uuid, reference: Option<Reference>, tick: &Tick, sequence: u64) -> Option<Fired> {
        let entry = self.rules.get_mut(&id)?;
        let (rule, state) = (entry.rule.clone(), &mut entry.state);
        let reference = reference.or(if is_anchored(rule.condition) { state.reference } else { None });
        let quiet = state.last_fired_at.is_some_and(|last| tick.at < last.after(rule.cooldown));
        state.firings += 1;
        let firing = Firing {
            rule_id: id,
            number: state.firings,
            symbol: tick.symbol.clone(),
            venue: tick.venue.clone(),
            fired_at: tick.at,
            price: tick.price,
            reference,
            change_percent: reference.map(|(reference, _)| change_percent(tick.price, reference)),
            sequence,
            suppressed: quiet.then_some(Suppression::Cooldown),
        };
        self.dirty_rules.insert(id);
        self.firings.push(firing.clone());
        if !quiet {
            state.last_fired_at = Some(tick.at);
            if rule.repeat == Repeat::Once {
                self.unindex(id);
                self.set_status(id, RuleStatus::Done);
            } else if is_anchored(rule.condition) {
                self.unindex(id);
                self.set_reference(id, Some((tick.price, tick.at)));
                self.index_fresh(id);
            }
        }
        Some(Fired { rule, firing })
    }

    fn expire(&mut self, tick: &Tick) {
        while let Some((_, index)) = self.market_mut(&tick.symbol, &tick.venue)
            && let Some(id) = index.expired(tick.at)
        {
            self.unindex(id);
            self.set_status(id, RuleStatus::Expired);
        }
    }

    fn activate(&mut self, id: Uuid, after: u64) {
        let Some(entry) = self.rules.get_mut(&id) else { return };
        entry.state.active_after = after;
        let rule = entry.rule.clone();
        let last = self.market_of(&rule).map(|(market, _)| market.last());
        self.set_reference(id, if is_anchored(rule.condition) { last } else { None });
        self.index_fresh(id);
    }

    /// Puts an active rule where its next tick finds it, as one that has not been judged since it became active.
    fn index_fresh(&mut self, id: Uuid) {
        let Some(entry) = self.rules.get(&id) else { return };
        let (rule, reference) = (entry.rule.clone(), entry.state.reference.map(|(price, _)| price));
        match self.market_of(&rule) {
            Some((_, index)) => {
                index.add(id, rule.condition, reference);
                if let Some(at) = rule.expires_at {
                    index.expires(id, at);
                }
            }
            None => _ = self.symbols.entry(rule.symbol.clone()).or_default().waiting.insert(id),
        }
    }

    /// Puts a recalled rule back where it was. Whether it has been judged follows from the market's last sequence.
    fn index_recalled(&mut self, id: Uuid) {
        let Some(entry) = self.rules.get(&id) else { return };
        if entry.state.status != RuleStatus::Active {
            return;
        }
        let (rule, active_after, reference) = (entry.rule.clone(), entry.state.active_after, entry.state.reference);
        match self.market_of(&rule) {
            Some((market, index)) if reference.is_none() && market.state().last_sequence > active_after => {
                index.add_judged(id, rule.condition, market);
                if let Some(at) = rule.expires_at {
                    index.expires(id, at);
                }
            }
            _ => self.index_fresh(id),
        }
    }

    fn unindex(&mut self, id: Uuid) {
        let Some(entry) = self.rules.get(&id) else { return };
        let (rule, reference) = (entry.rule.clone(), entry.state.reference.map(|(price, _)| price));
        if let Some((_, index)) = self.market_of(&rule) {
            index.remove(id, rule.condition, reference);
            if let Some(at) = rule.expires_at {
                index.forget_expiry(id, at);
            }
        }
        if let Some(markets) = self.symbols.get_mut(&rule.symbol) {
            markets.waiting.remove(&id);
        }
    }

    fn set_status(&mut self, id: Uuid, status: RuleStatus) {
        if let Some(entry) = self.rules.get_mut(&id) {
            entry.state.status = status;
            self.dirty_rules.insert(id);
        }
    }

    fn set_reference(&mut self, id: Uuid, reference: Option<Reference>) {
        if let Some(entry) = self.rules.get_mut(&id) {
            entry.state.reference = reference;
            self.dirty_rules.insert(id);
        }
    }

    /// The market whose ticks a rule judges, once it has ticked.
    fn market_of(&mut self, rule: &Rule) -> Option<(&mut Market, &mut Index)> {
        let markets = self.symbols.get_mut(&rule.symbol)?;
        let venue = rule.venue.as_ref().or(markets.primary.as_ref())?.clone();
        markets.venues.get_mut(&venue).map(|(market, index)| (market, index))
    }

    fn market_mut(&mut self, symbol: &Symbol, venue: &Venue) -> Option<(&mut Market, &mut Index)> {
        self.symbols.get_mut(symbol)?.venues.get_mut(venue).map(|(market, index)| (market, index))
    }
}

fn is_anchored(condition: Condition) -> bool {
    matches!(condition, Condition::Change(Change { since: Baseline::Anchor, .. }))
}
