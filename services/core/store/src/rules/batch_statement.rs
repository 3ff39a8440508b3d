//! A batch of the alert-engine is written as one statement.

use std::collections::HashMap;

use events::{OutboundMessage, Timestamp, Venue};
use rules::{Changes, Firing, GapStage, MarketGap, MarketState, RuleState, Sample, Suppression};
use sqlx::types::Json;

use crate::{
    Error, bigint,
    consumer::{
        batch::{BatchStatement, column},
        position::Advance,
    },
    smallint,
};

/// Writes the statement of a batch: positions, what the engine has changed, and the events that follow.
pub(super) fn statement(
    service: &'static str,
    advances: Vec<Advance>,
    changes: &Changes,
    events: &[OutboundMessage],
) -> Result<BatchStatement, Error> {
    let mut statement = BatchStatement::new(advances);
    if !changes.markets.is_empty() {
        add_markets(&mut statement, &changes.markets);
    }
    let samples = unexpired(changes);
    if !samples.is_empty() {
        add_samples(&mut statement, &samples);
    }
    if !changes.expired_samples.is_empty() {
        expire_samples(&mut statement, changes);
    }
    if !changes.rules.is_empty() {
        add_rules(&mut statement, &changes.rules);
    }
    if !changes.firings.is_empty() {
        add_firings(&mut statement, &changes.firings);
    }
    if !changes.gaps.is_empty() {
        add_gaps(&mut statement, &changes.gaps);
    }
    statement.add_events(service, events)?;
    statement.fence(|_| {});
    Ok(statement)
}

fn add_markets(statement: &mut BatchStatement, markets: &[MarketState]) {
    let newer =
        "ON CONFLICT (symbol, venue) DO UPDATE SET last_sequence = EXCLUDED.last_sequence, last_at = EXCLUDED.last_at,
        last_price = EXCLUDED.last_price, newest_ids = EXCLUDED.newest_ids, evaluated_at = now()";
    let into = "market_states (symbol, venue, is_primary, last_sequence, last_at, last_price, newest_ids)";
    statement.insert("ticked", into, newer, |columns| {
        columns
            .push_bind(column(markets, |market| market.symbol.as_str()))
            .push_bind(column(markets, |market| market.venue.as_str()))
            .push_bind(column(markets, |market| market.is_primary))
            .push_bind(column(markets, |market| bigint(market.last_sequence)))
            .push_bind(column(markets, |market| market.last_at.datetime()))
            .push_bind(column(markets, |market| market.last_price.decimal()))
            .push_bind(column(markets, |market| Json(&market.newest_ids)));
    });
}

/// Returns the samples without those that the same batch expires: a statement cannot delete what it adds.
fn unexpired(changes: &Changes) -> Vec<&Sample> {
    let expired = changes.expired_samples.iter();
    let expired: HashMap<_, _> =
        expired.map(|old| ((&old.symbol, &old.venue, old.grain_seconds), old.before_slot)).collect();
    let is_current = |sample: &&Sample| {
        let before = expired.get(&(&sample.symbol, &sample.venue, sample.grain_seconds));
        before.is_none_or(|before| sample.slot >= *before)
    };
    changes.samples.iter().filter(is_current).collect()
}

fn add_samples(statement: &mut BatchStatement, samples: &[&Sample]) {
    let newer =
        "ON CONFLICT (symbol, venue, grain_seconds, slot) DO UPDATE SET at = EXCLUDED.at, price = EXCLUDED.price";
    statement.insert("sampled", "market_samples (symbol, venue, grain_seconds, slot, at, price)", newer, |columns| {
        columns
            .push_bind(column(samples, |sample| sample.symbol.as_str()))
            .push_bind(column(samples, |sample| sample.venue.as_str()))
            .push_bind(column(samples, |sample| sample.grain_seconds))
            .push_bind(column(samples, |sample| sample.slot))
            .push_bind(column(samples, |sample| sample.at.datetime()))
            .push_bind(column(samples, |sample| sample.price.decimal()));
    });
}

fn expire_samples(statement: &mut BatchStatement, changes: &Changes) {
    let expired = &changes.expired_samples;
    let behind =
        ") AS old (symbol, venue, grain_seconds, before_slot) WHERE s.symbol = old.symbol AND s.venue = old.venue
        AND s.grain_seconds = old.grain_seconds AND s.slot < old.before_slot)";
    statement.add("expired", "DELETE FROM market_samples s USING", behind, |columns| {
        columns
            .push_bind(column(expired, |old| old.symbol.as_str()))
            .push_bind(column(expired, |old| old.venue.as_str()))
            .push_bind(column(expired, |old| old.grain_seconds))
            .push_bind(column(expired, |old| old.before_slot));
    });
}

fn add_rules(statement: &mut BatchStatement, rules: &[RuleState]) {
    let into = "rule_states (rule_id, revision, status, active_after, reference_price, reference_at, firing_count,
                             last_fired_at, venue, active_since)";
    let newer = "ON CONFLICT (rule_id) DO UPDATE SET revision = EXCLUDED.revision, status = EXCLUDED.status, venue = EXCLUDED.venue,
        active_after = EXCLUDED.active_after, active_since = EXCLUDED.active_since, reference_price = EXCLUDED.reference_price,
        reference_at = EXCLUDED.reference_at, firing_count = EXCLUDED.firing_count, last_fired_at = EXCLUDED.last_fired_at";
    statement.insert("changed", into, newer, |columns| {
        columns
            .push_bind(column(rules, |rule| rule.rule_id))
            .push_bind(column(rules, |rule| rule.revision))
            .push_bind(column(rules, |rule| rule.status.as_str()))
            .push_bind(column(rules, |rule| bigint(rule.active_after)))
            .push_bind(column(rules, |rule| rule.reference.map(|(price, _)| price.decimal())))
            .push_bind(column(rules, |rule| rule.reference.map(|(_, at)| at.datetime())))
            .push_bind(column(rules, |rule| rule.firings))
            .push_bind(column(rules, |rule| rule.last_fired_at.map(Timestamp::datetime)))
            .push_bind(column(rules, |rule| rule.venue.as_ref().map(Venue::as_str)))
            .push_bind(column(rules, |rule| rule.active_since.datetime()));
    });
}

fn add_firings(statement: &mut BatchStatement, firings: &[Firing]) {
    let into = "firings (rule_id, number, symbol, venue, fired_at, price, reference_price, reference_at,
                         change_percent, trade_id, sequence, index, suppressed, incomplete_since)";
    statement.insert("fired", into, "", |columns| {
        columns
            .push_bind(column(firings, |firing| firing.rule_id))
            .push_bind(column(firings, |firing| firing.number))
            .push_bind(column(firings, |firing| firing.symbol.as_str()))
            .push_bind(column(firings, |firing| firing.venue.as_str()))
            .push_bind(column(firings, |firing| firing.fired_at.datetime()))
            .push_bind(column(firings, |firing| firing.price.decimal()))
            .push_bind(column(firings, |firing| firing.reference.map(|(price, _)| price.decimal())))
            .push_bind(column(firings, |firing| firing.reference.map(|(_, at)| at.datetime())))
            .push_bind(column(firings, |firing| firing.change_percent))
            .push_bind(column(firings, |firing| firing.trade_id.as_str()))
            .push_bind(column(firings, |firing| bigint(firing.position.sequence)))
            .push_bind(column(firings, |firing| smallint(firing.position.index)))
            .push_bind(column(firings, |firing| firing.suppressed.map(Suppression::as_str)))
            .push_bind(column(firings, |firing| firing.incomplete_since.map(Timestamp::datetime)));
    });
}

/// Adds gaps as they are now. One that is judged stays so, until a later report about it comes.
fn add_gaps(statement: &mut BatchStatement, gaps: &[MarketGap]) {
    let stage = |gap: &MarketGap| match gap.stage {
        GapStage::Missing => ("missing", 0, false),
        GapStage::Known { until, is_complete } => ("known", bigint(until), is_complete),
        GapStage::Judged => ("judged", 0, false),
    };
    let into =
        "market_gaps AS there (gap_id, symbol, venue, revision, gap_from, gap_to, stage, known_until, is_complete)";
    let newer = "ON CONFLICT (gap_id) DO UPDATE SET revision = EXCLUDED.revision, gap_from = EXCLUDED.gap_from,
        gap_to = EXCLUDED.gap_to, stage = EXCLUDED.stage, known_until = EXCLUDED.known_until,
        is_complete = EXCLUDED.is_complete, saved_at = now()
        WHERE there.stage <> 'judged' OR there.revision < EXCLUDED.revision";
    statement.insert("missing", into, newer, |columns| {
        columns
            .push_bind(column(gaps, |gap| gap.gap_id.as_str()))
            .push_bind(column(gaps, |gap| gap.symbol.as_str()))
            .push_bind(column(gaps, |gap| gap.venue.as_str()))
            .push_bind(column(gaps, |gap| gap.revision.cast_signed()))
            .push_bind(column(gaps, |gap| gap.from.datetime()))
            .push_bind(column(gaps, |gap| gap.to.map(Timestamp::datetime)))
            .push_bind(column(gaps, |gap| stage(gap).0))
            .push_bind(column(gaps, |gap| stage(gap).1))
            .push_bind(column(gaps, |gap| stage(gap).2));
    });
}
