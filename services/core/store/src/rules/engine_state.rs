//! The alert-engine's memory: what it knows of each market and each rule, saved in the transaction that moves its
//! positions.

use events::{Price, Rule, RuleStatus, Symbol, Timestamp, Venue};
use rust_decimal::Decimal;
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use crate::{Error, Store, Tx, bigint, optional_price, pg::row};

/// The last judged tick of one symbol at one venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarketState {
    /// What.
    pub symbol: Symbol,
    /// Where.
    pub venue: Venue,
    /// The sequence of its first tick; the smallest of a symbol is its primary venue's.
    pub first_sequence: u64,
    /// The sequence of the last judged tick.
    pub last_sequence: u64,
    /// Its time.
    pub last_at: Timestamp,
    /// Its price.
    pub last_price: Price,
}

/// The last judged price at or before `slot * grain_seconds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What.
    pub symbol: Symbol,
    /// Where.
    pub venue: Venue,
    /// 1 for windows up to an hour, 60 for longer ones.
    pub grain_seconds: i32,
    /// Unix time divided by the grain, rounded up.
    pub slot: i64,
    /// When the price was made.
    pub at: Timestamp,
    /// The price.
    pub price: Price,
}

/// Samples of one market and grain below a slot, which no window looks back to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiredSamples {
    /// What.
    pub symbol: Symbol,
    /// Where.
    pub venue: Venue,
    /// Which samples.
    pub grain_seconds: i32,
    /// Samples of smaller slots go.
    pub before_slot: i64,
}

/// What the engine remembers of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleState {
    /// The rule.
    pub rule_id: Uuid,
    /// The last change of the rule that was followed.
    pub revision: i64,
    /// Where the rule stands.
    pub status: RuleStatus,
    /// Ticks of stream `TICKS` up to this sequence are not judged.
    pub active_after: u64,
    /// The anchor.
    pub reference: Option<(Price, Timestamp)>,
    /// How often it has fired, suppressed firings included.
    pub firings: i64,
    /// The time of the last firing that was not suppressed.
    pub last_fired_at: Option<Timestamp>,
}

/// One firing as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firing {
    /// Whose.
    pub rule_id: Uuid,
    /// Counts from 1.
    pub number: i64,
    /// What was watched.
    pub symbol: Symbol,
    /// Whose price fired.
    pub venue: Venue,
    /// The tick's time.
    pub fired_at: Timestamp,
    /// The tick's price.
    pub price: Price,
    /// What it was measured against.
    pub reference: Option<(Price, Timestamp)>,
    /// The change, to 4 places.
    pub change_percent: Option<Decimal>,
    /// The tick's place in stream `TICKS`.
    pub sequence: u64,
    /// Why nobody is told, if nobody is.
    pub suppressed: Option<Suppression>,
}

/// Why a firing is recorded and not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suppression {
    /// It came too soon after the last one.
    Cooldown,
}

impl Suppression {
    /// As it is stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cooldown => "cooldown",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        (text == "cooldown").then_some(Self::Cooldown)
    }
}

/// All that the engine remembers, read at the beginning of a session.
#[derive(Debug, Default)]
pub struct EngineState {
    /// Every market that has ticked.
    pub markets: Vec<MarketState>,
    /// In order of slot.
    pub samples: Vec<Sample>,
    /// Every rule that is not deleted, with what is remembered of it; those that are done too, so that a change that
    /// crosses with the last firing does not begin them anew.
    pub rules: Vec<(Rule, RuleState)>,
}

/// What a batch has changed.
#[derive(Debug, Default, Clone)]
pub struct Changes {
    /// Markets that ticked.
    pub markets: Vec<MarketState>,
    /// Samples that were taken or replaced.
    pub samples: Vec<Sample>,
    /// Samples that are too old.
    pub forgotten: Vec<ExpiredSamples>,
    /// Rules whose state changed.
    pub rules: Vec<RuleState>,
    /// Firings, suppressed ones too.
    pub firings: Vec<Firing>,
}

/// Forgets sequences of a stream `TICKS` that is no more: every rule and market counts from the new one's start.
pub async fn reset_sequences(store: &Store) -> Result<(), Error> {
    sqlx::query("UPDATE rule_states SET active_after = 0").execute(store.pool()).await?;
    sqlx::query("UPDATE markets SET last_sequence = 1").execute(store.pool()).await?;
    Ok(())
}

/// Reads the engine's memory.
pub async fn load(store: &Store) -> Result<EngineState, Error> {
    let markets = sqlx::query(
        "SELECT symbol, venue, first_sequence, last_sequence, last_at, last_price FROM markets
         ORDER BY first_sequence",
    );
    let samples = sqlx::query(
        "SELECT symbol, venue, grain_seconds, slot, at, price FROM market_samples
         ORDER BY symbol, venue, grain_seconds, slot",
    );
    let rules = sqlx::query(
        "SELECT rule, s.* FROM rule_states s JOIN rules r ON r.id = s.rule_id
         WHERE s.status <> 'deleted'",
    );
    Ok(EngineState {
        markets: markets.fetch_all(store.pool()).await?.iter().map(market).collect::<Result<_, _>>()?,
        samples: samples.fetch_all(store.pool()).await?.iter().map(sample).collect::<Result<_, _>>()?,
        rules: rules.fetch_all(store.pool()).await?.iter().map(rule).collect::<Result<_, _>>()?,
    })
}

/// Saves what a batch has changed.
pub async fn save(tx: &mut Tx, changes: &Changes) -> Result<(), Error> {
    save_markets(tx, &changes.markets).await?;
    save_samples(tx, &changes.samples).await?;
    for forgotten in &changes.forgotten {
        sqlx::query("DELETE FROM market_samples WHERE symbol = $1 AND venue = $2 AND grain_seconds = $3 AND slot < $4")
            .bind(forgotten.symbol.as_str())
            .bind(forgotten.venue.as_str())
            .bind(forgotten.grain_seconds)
            .bind(forgotten.before_slot)
            .execute(&mut **tx)
            .await?;
    }
    save_rules(tx, &changes.rules).await?;
    save_firings(tx, &changes.firings).await
}

async fn save_markets(tx: &mut Tx, markets: &[MarketState]) -> Result<(), Error> {
    if markets.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO markets (symbol, venue, first_sequence, last_sequence, last_at, last_price)
         SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::numeric[])
         ON CONFLICT (symbol, venue) DO UPDATE SET last_sequence = EXCLUDED.last_sequence,
             last_at = EXCLUDED.last_at, last_price = EXCLUDED.last_price",
    )
    .bind(markets.iter().map(|market| market.symbol.as_str()).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| market.venue.as_str()).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| bigint(market.first_sequence)).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| bigint(market.last_sequence)).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| market.last_at.datetime()).collect::<Vec<_>>())
    .bind(markets.iter().map(|market| market.last_price.decimal()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn save_samples(tx: &mut Tx, samples: &[Sample]) -> Result<(), Error> {
    if samples.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO market_samples (symbol, venue, grain_seconds, slot, at, price)
         SELECT * FROM unnest($1::text[], $2::text[], $3::int[], $4::bigint[], $5::timestamptz[], $6::numeric[])
         ON CONFLICT (symbol, venue, grain_seconds, slot) DO UPDATE SET at = EXCLUDED.at, price = EXCLUDED.price",
    )
    .bind(samples.iter().map(|sample| sample.symbol.as_str()).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.venue.as_str()).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.grain_seconds).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.slot).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.at.datetime()).collect::<Vec<_>>())
    .bind(samples.iter().map(|sample| sample.price.decimal()).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn save_rules(tx: &mut Tx, rules: &[RuleState]) -> Result<(), Error> {
    if rules.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO rule_states (rule_id, revision, status, active_after, reference_price, reference_at, firings,
                                  last_fired_at)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bigint[], $5::numeric[], $6::timestamptz[],
                              $7::bigint[], $8::timestamptz[])
         ON CONFLICT (rule_id) DO UPDATE SET revision = EXCLUDED.revision, status = EXCLUDED.status,
             active_after = EXCLUDED.active_after, reference_price = EXCLUDED.reference_price,
             reference_at = EXCLUDED.reference_at, firings = EXCLUDED.firings, last_fired_at = EXCLUDED.last_fired_at",
    )
    .bind(rules.iter().map(|rule| rule.rule_id).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.revision).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.status.as_str()).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| bigint(rule.active_after)).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.reference.map(|(price, _)| price.decimal())).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.reference.map(|(_, at)| at.datetime())).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.firings).collect::<Vec<_>>())
    .bind(rules.iter().map(|rule| rule.last_fired_at.map(Timestamp::datetime)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn save_firings(tx: &mut Tx, firings: &[Firing]) -> Result<(), Error> {
    if firings.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO firings (rule_id, number, symbol, venue, fired_at, price, reference_price, reference_at,
                              change_percent, sequence, suppressed)
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::text[], $5::timestamptz[], $6::numeric[],
                              $7::numeric[], $8::timestamptz[], $9::numeric[], $10::bigint[], $11::text[])",
    )
    .bind(firings.iter().map(|firing| firing.rule_id).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.number).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.symbol.as_str()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.venue.as_str()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.fired_at.datetime()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.price.decimal()).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.reference.map(|(price, _)| price.decimal())).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.reference.map(|(_, at)| at.datetime())).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.change_percent).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| bigint(firing.sequence)).collect::<Vec<_>>())
    .bind(firings.iter().map(|firing| firing.suppressed.map(Suppression::as_str)).collect::<Vec<_>>())
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn market(row: &PgRow) -> Result<MarketState, Error> {
    let (symbol, venue) = (row::symbol(row)?, row::venue(row)?);
    Ok(MarketState {
        symbol,
        venue,
        first_sequence: row.try_get::<i64, _>("first_sequence")? as u64,
        last_sequence: row.try_get::<i64, _>("last_sequence")? as u64,
        last_at: row::time(row, "last_at")?,
        last_price: Price::new(row.try_get("last_price")?)?,
    })
}

fn sample(row: &PgRow) -> Result<Sample, Error> {
    let (symbol, venue) = (row::symbol(row)?, row::venue(row)?);
    Ok(Sample {
        symbol,
        venue,
        grain_seconds: row.try_get("grain_seconds")?,
        slot: row.try_get("slot")?,
        at: row::time(row, "at")?,
        price: Price::new(row.try_get("price")?)?,
    })
}

fn rule(row: &PgRow) -> Result<(Rule, RuleState), Error> {
    let rule: Json<Rule> = row.try_get("rule")?;
    let state = RuleState {
        rule_id: row.try_get("rule_id")?,
        revision: row.try_get("revision")?,
        status: row::word(row, "status", RuleStatus::parse)?,
        active_after: row.try_get::<i64, _>("active_after")? as u64,
        reference: reference(row)?,
        firings: row.try_get("firings")?,
        last_fired_at: row::optional_time(row, "last_fired_at")?,
    };
    Ok((rule.0, state))
}

pub(crate) fn firing(row: &PgRow) -> Result<Firing, Error> {
    let (symbol, venue) = (row::symbol(row)?, row::venue(row)?);
    Ok(Firing {
        rule_id: row.try_get("rule_id")?,
        number: row.try_get("number")?,
        symbol,
        venue,
        fired_at: row::time(row, "fired_at")?,
        price: Price::new(row.try_get("price")?)?,
        reference: reference(row)?,
        change_percent: row.try_get("change_percent")?,
        sequence: row.try_get::<i64, _>("sequence")? as u64,
        suppressed: row.try_get::<Option<&str>, _>("suppressed")?.and_then(Suppression::parse),
    })
}

fn reference(row: &PgRow) -> Result<Option<(Price, Timestamp)>, Error> {
    let price = optional_price(row.try_get("reference_price")?)?;
    Ok(price.zip(row::optional_time(row, "reference_at")?))
}
