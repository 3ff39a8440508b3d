//! The rule engine: takes ticks and changes of rules one at a time, in order, and returns the firings.
//!
//! The same ticks and changes in the same order give the same firings, also when the engine is saved and restored
//! between any two of them. That makes a restart and a replay harmless.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use events::{
    Baseline, Condition, FeedGap, Repeat, Rule, RuleChanged, RuleStatus, Symbol, Timestamp, Venue,
    money::change_percent,
    rule::{Change, RuleChange},
};
use foldhash::fast::RandomState;
use market_data::{Admission, SkippedTicks, StoredTick};
use uuid::Uuid;

use crate::{
    firing::RuleFiring,
    gaps::{Gaps, MarketGap},
    index::{Index, Matches},
    market::Market,
    state::{Changes, EngineState, Firing, Reference, RuleState, Suppression},
};

/// All rules and markets.
#[derive(Debug, Default)]
pub struct Engine {
    symbols: HashMap<Symbol, Markets, RandomState>,
    rules: HashMap<Uuid, RuleEntry>,
    /// The markets that have changed since they were taken, each once.
    dirty_markets: Vec<(Symbol, Venue)>,
    dirty_rules: BTreeSet<Uuid>,
    firings: Vec<Firing>,
    skipped: SkippedTicks,
    gaps: Gaps,
}

/// The markets of one symbol, by venue.
#[derive(Debug, Default)]
struct Markets {
    /// The first venue that quoted the symbol; rules without a venue watch it.
    primary: Option<Venue>,
    venues: BTreeMap<Venue, (Market, Index)>,
    /// The rules of the symbol, whatever their state.
    rules: BTreeSet<Uuid>,
    /// The active rules whose market has not ticked yet.
    awaiting_first_tick: BTreeSet<Uuid>,
}

#[derive(Debug)]
pub(crate) struct RuleEntry {
    pub(crate) rule: Arc<Rule>,
    pub(crate) state: RuleState,
}

impl Engine {
    /// Restores the engine from its saved state.
    pub fn restore(saved: EngineState) -> Self {
        let mut engine = Self { gaps: Gaps::restore(saved.gaps), ..Self::default() };
        for state in saved.markets {
            let markets = engine.symbols.entry(state.symbol.clone()).or_default();
            if state.is_primary {
                markets.primary = Some(state.venue.clone());
            }
            markets.venues.insert(state.venue.clone(), (Market::restore(state), Index::default()));
        }
        for sample in saved.samples {
            let markets = engine.symbols.get_mut(&sample.symbol);
            if let Some((market, _)) = markets.and_then(|markets| markets.venues.get_mut(&sample.venue)) {
                market.restore_sample(&sample);
            }
        }
        for (mut rule, state) in saved.rules {
            let id = rule.id;
            // A change of the venue that the engine has not applied yet must not be ahead of the ticks before it.
            rule.venue.clone_from(&state.venue);
            engine.insert(Arc::new(rule), state);
            engine.index_restored(id);
        }
        engine
    }

    /// Returns whether the engine has a rule that is not deleted.
    pub fn has_rule(&self, id: Uuid) -> bool {
        self.rules.contains_key(&id)
    }

    /// Applies a change of a rule, unless a later one was applied before. A rule that becomes active, or whose venue changes,
    /// is evaluated against ticks of sequences above `after`.
    pub fn apply_change(&mut self, change: RuleChanged, after: u64) {
        let RuleChanged { rule, revision, happened, status, at } = change;
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
                let begins_anew = happened == RuleChange::VenueChanged || entry.rule.venue != rule.venue;
                self.unindex(id);
                if begins_anew {
                    self.set_venue(id, rule.venue);
                }
            }
            // The rule was created and deleted before its creation was read.
            None if status == RuleStatus::Deleted => return,
            None => {
                let state = RuleState {
                    rule_id: id,
                    revision,
                    status,
                    venue: rule.venue.clone(),
                    active_after: after,
                    active_since: at,
                    reference: None,
                    firings: 0,
                    last_fired_at: None,
                };
                self.insert(Arc::new(rule), state);
                self.dirty_rules.insert(id);
            }
        }
        self.set_status(id, status);
        if status == RuleStatus::Active {
            self.activate(id, after, at);
        }
    }

    /// Notes which gaps are judged, of those that the next reports are about: the revision of the last report that each was judged
    /// by. It is forgotten with [`Engine::take_changes`].
    pub fn note_judged_gaps(&mut self, judged: HashMap<String, u32>) {
        self.gaps.note_judged(judged);
    }

    /// Applies a report about a gap, of which all ticks have a sequence up to `known_after`. One that was applied or judged before, or
    /// is older than what was, changes nothing.
    pub fn apply_gap(&mut self, report: &FeedGap, known_after: u64) {
        self.gaps.apply(report, known_after);
    }

    /// Returns a gap whose missing ticks are known by now and that waits to be judged.
    pub fn gap_to_judge(&self) -> Option<&MarketGap> {
        self.gaps.next_known()
    }

    /// Forgets a gap, because it is judged. One about which a later report was applied meanwhile goes on.
    pub fn forget_gap(&mut self, gap: &MarketGap) {
        self.gaps.remove(gap);
    }

    /// Measures the changes of a rule from a price that would have fired while ticks were missing, unless the rule has a newer
    /// anchor.
    pub fn re_anchor(&mut self, id: Uuid, anchor: Reference) {
        let Some(entry) = self.rules.get(&id) else { return };
        let is_newer = entry.state.reference.is_none_or(|(_, at)| at < anchor.1);
        if entry.state.status == RuleStatus::Active && is_anchored(entry.rule.condition) && is_newer {
            self.unindex(id);
            self.set_reference(id, Some(anchor));
            self.index_unevaluated(id);
        }
    }

    /// Returns the rules that watch a market, with the market.
    pub(crate) fn watched(&self, symbol: &Symbol, venue: &Venue) -> Option<(&Market, Vec<&RuleEntry>)> {
        let markets = self.symbols.get(symbol)?;
        let (market, _) = markets.venues.get(venue)?;
        let entries = markets.rules.iter().filter_map(|id| self.rules.get(id));
        let watches = |entry: &&RuleEntry| entry.rule.venue.as_ref().or(markets.primary.as_ref()) == Some(venue);
        Some((market, entries.filter(watches).collect()))
    }

    /// Adds a rule as if a change made it active now.
    pub(crate) fn add_active(&mut self, rule: Arc<Rule>, state: RuleState) {
        let (id, after, since) = (rule.id, state.active_after, state.active_since);
        self.insert(rule, state);
        self.activate(id, after, since);
    }

    /// Evaluates the rules of a tick's market and returns the firings, in the order of the rules' ids. A tick that is late
    /// or a repeat evaluates nothing. Nothing is allocated for a tick that fires no rule.
    pub fn evaluate(&mut self, tick: &StoredTick<'_>) -> Vec<RuleFiring> {
        let market = self.symbols.get_mut(tick.symbol).and_then(|markets| markets.venues.get_mut(tick.venue));
        match market.map(|(market, _)| market.admit(tick.at, tick.id)) {
            None => self.open_market(tick),
            Some(Admission::New) => self.evaluate_in_market(tick),
            Some(skipped) => {
                self.skipped.count(skipped);
                Vec::new()
            }
        }
    }

    /// Takes the number of ticks that evaluated nothing since the last call.
    pub fn take_skipped(&mut self) -> SkippedTicks {
        std::mem::take(&mut self.skipped)
    }

    /// Takes what has changed since the last call, for the store to save.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes { firings: std::mem::take(&mut self.firings), ..Changes::default() };
        self.dirty_markets.sort_unstable();
        for (symbol, venue) in std::mem::take(&mut self.dirty_markets) {
            let markets = self.symbols.get_mut(&symbol);
            if let Some((market, _)) = markets.and_then(|markets| markets.venues.get_mut(&venue)) {
                market.is_dirty = false;
                changes.markets.push(market.state());
                changes.samples.extend(market.take_unsaved_samples());
                changes.expired_samples.extend(market.prune(self.gaps.needed_from(&symbol, &venue, market.last().1)));
            }
        }
        for id in std::mem::take(&mut self.dirty_rules) {
            let Some(entry) = self.rules.get(&id) else { continue };
            changes.rules.push(entry.state.clone());
            if entry.state.status == RuleStatus::Deleted {
                if let Some(markets) = self.symbols.get_mut(&entry.rule.symbol) {
                    markets.rules.remove(&id);
                }
                self.rules.remove(&id);
            }
        }
        changes.gaps = self.gaps.take_changes();
        changes
    }

    fn open_market(&mut self, tick: &StoredTick<'_>) -> Vec<RuleFiring> {
        let (symbol, venue) = (tick.symbol, tick.venue);
        let markets = self.symbols.entry(symbol.clone()).or_default();
        let is_primary = *markets.primary.get_or_insert(venue.clone()) == *venue;
        let mut market = Market::open(tick, is_primary);
        market.is_dirty = true;
        markets.venues.insert(venue.clone(), (market, Index::default()));
        self.dirty_markets.push((symbol.clone(), venue.clone()));
        for id in std::mem::take(&mut markets.awaiting_first_tick) {
            self.index_unevaluated(id);
        }
        self.expire_rules(tick);
        let Some((_, index)) = self.market_mut(symbol, venue) else { return Vec::new() };
        let matches = index.evaluate(None, tick.price, tick.at);
        self.apply_matches(tick, matches)
    }

    fn evaluate_in_market(&mut self, tick: &StoredTick<'_>) -> Vec<RuleFiring> {
        self.expire_rules(tick);
        let Some((market, index)) = self.market_mut(tick.symbol, tick.venue) else { return Vec::new() };
        let matches = index.evaluate(Some(market), tick.price, tick.at);
        market.record(tick);
        if !std::mem::replace(&mut market.is_dirty, true) {
            self.dirty_markets.push((tick.symbol.clone(), tick.venue.clone()));
        }
        self.apply_matches(tick, matches)
    }

    fn apply_matches(&mut self, tick: &StoredTick<'_>, mut matches: Matches) -> Vec<RuleFiring> {
        for id in matches.newly_anchored {
            self.set_reference(id, Some((tick.price, tick.at)));
        }
        matches.fired.sort_unstable_by_key(|(id, _)| *id);
        matches.fired.into_iter().filter_map(|(id, reference)| self.fire_rule(id, reference, tick)).collect()
    }

    fn fire_rule(&mut self, id: Uuid, reference: Option<Reference>, tick: &StoredTick<'_>) -> Option<RuleFiring> {
        let entry = self.rules.get_mut(&id)?;
        let (rule, state) = (entry.rule.clone(), &mut entry.state);
        let reference = reference.or(if is_anchored(rule.condition) { state.reference } else { None });
        let incomplete_since = self.gaps.missing_since(tick.symbol, tick.venue);
        let in_cooldown = state.last_fired_at.is_some_and(|last| tick.at < last.after(rule.cooldown));
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
            trade_id: tick.id.to_owned(),
            position: tick.position,
            suppressed: in_cooldown.then_some(Suppression::Cooldown),
            incomplete_since,
        };
        self.dirty_rules.insert(id);
        self.firings.push(firing.clone());
        if !in_cooldown {
            state.last_fired_at = Some(tick.at);
            if rule.repeat == Repeat::Once {
                self.unindex(id);
                self.set_status(id, RuleStatus::Done);
            } else if is_anchored(rule.condition) {
                self.unindex(id);
                self.set_reference(id, Some((tick.price, tick.at)));
                self.index_unevaluated(id);
            }
        }
        Some(RuleFiring { rule, firing })
    }

    fn expire_rules(&mut self, tick: &StoredTick<'_>) {
        while let Some((_, index)) = self.market_mut(tick.symbol, tick.venue)
            && let Some(id) = index.next_expired(tick.at)
        {
            self.unindex(id);
            self.set_status(id, RuleStatus::Expired);
        }
    }

    fn insert(&mut self, rule: Arc<Rule>, state: RuleState) {
        self.symbols.entry(rule.symbol.clone()).or_default().rules.insert(rule.id);
        self.rules.insert(rule.id, RuleEntry { rule, state });
    }

    fn activate(&mut self, id: Uuid, after: u64, since: Timestamp) {
        let Some(entry) = self.rules.get_mut(&id) else { return };
        (entry.state.active_after, entry.state.active_since) = (after, since);
        let rule = entry.rule.clone();
        let last = self.market_of(&rule).map(|(market, _)| market.last());
        self.set_reference(id, if is_anchored(rule.condition) { last } else { None });
        self.index_unevaluated(id);
    }

    /// Indexes an active rule that no tick was evaluated against since it became active.
    fn index_unevaluated(&mut self, id: Uuid) {
        let Some(entry) = self.rules.get(&id) else { return };
        let (rule, reference) = (entry.rule.clone(), entry.state.reference.map(|(price, _)| price));
        match self.market_of(&rule) {
            Some((_, index)) => {
                index.add(id, rule.condition, reference);
                if let Some(at) = rule.expires_at {
                    index.add_expiry(id, at);
                }
            }
            None => _ = self.symbols.entry(rule.symbol.clone()).or_default().awaiting_first_tick.insert(id),
        }
    }

    /// Indexes a restored rule. Whether a tick was evaluated against it follows from the market's last sequence.
    fn index_restored(&mut self, id: Uuid) {
        let Some(entry) = self.rules.get(&id) else { return };
        if entry.state.status != RuleStatus::Active {
            return;
        }
        let (rule, active_after, reference) = (entry.rule.clone(), entry.state.active_after, entry.state.reference);
        match self.market_of(&rule) {
            Some((market, index)) if reference.is_none() && market.last_sequence() > active_after => {
                index.add_evaluated(id, rule.condition, market);
                if let Some(at) = rule.expires_at {
                    index.add_expiry(id, at);
                }
            }
            _ => self.index_unevaluated(id),
        }
    }

    fn unindex(&mut self, id: Uuid) {
        let Some(entry) = self.rules.get(&id) else { return };
        let (rule, reference) = (entry.rule.clone(), entry.state.reference.map(|(price, _)| price));
        if let Some((_, index)) = self.market_of(&rule) {
            index.remove(id, rule.condition, reference);
            if let Some(at) = rule.expires_at {
                index.remove_expiry(id, at);
            }
        }
        if let Some(markets) = self.symbols.get_mut(&rule.symbol) {
            markets.awaiting_first_tick.remove(&id);
        }
    }

    fn set_status(&mut self, id: Uuid, status: RuleStatus) {
        if let Some(entry) = self.rules.get_mut(&id) {
            entry.state.status = status;
            self.dirty_rules.insert(id);
        }
    }

    /// Gives a rule that is not indexed another venue, and forgets what it remembers of the ticks so far. The number of
    /// firings stays, because it is in their ids.
    fn set_venue(&mut self, id: Uuid, venue: Option<Venue>) {
        let Some(entry) = self.rules.get_mut(&id) else { return };
        Arc::make_mut(&mut entry.rule).venue.clone_from(&venue);
        entry.state = RuleState { venue, reference: None, last_fired_at: None, ..entry.state.clone() };
        self.dirty_rules.insert(id);
    }

    fn set_reference(&mut self, id: Uuid, reference: Option<Reference>) {
        if let Some(entry) = self.rules.get_mut(&id) {
            entry.state.reference = reference;
            self.dirty_rules.insert(id);
        }
    }

    /// Returns the market that a rule watches, once it has ticked.
    fn market_of(&mut self, rule: &Rule) -> Option<(&mut Market, &mut Index)> {
        let markets = self.symbols.get_mut(&rule.symbol)?;
        let venue = rule.venue.as_ref().or(markets.primary.as_ref())?.clone();
        markets.venues.get_mut(&venue).map(|(market, index)| (market, index))
    }

    fn market_mut(&mut self, symbol: &Symbol, venue: &Venue) -> Option<(&mut Market, &mut Index)> {
        self.symbols.get_mut(symbol)?.venues.get_mut(venue).map(|(market, index)| (market, index))
    }
}

pub(crate) fn is_anchored(condition: Condition) -> bool {
    matches!(condition, Condition::Change(Change { since: Baseline::Anchor, .. }))
}
