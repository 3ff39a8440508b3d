//! What rules would have decided in gaps, and what is needed to find it out.

use std::collections::HashSet;

use events::{LateVerdict, Timestamp};
use rules::{Changes, Firing, LateDecision, MarketGap, PastTick};
use sqlx::{Row, postgres::PgRow, types::Json};
use uuid::Uuid;

use super::engine_state;
use crate::{Error, Store, Tx, bigint, consumer::lease, outbox, smallint};

/// The consumer that writes the history.
const HISTORY: &str = "history-writer";
/// The number of firings that are compared with crossings.
const MAX_COMPARED: i64 = 10_000;

/// Returns whether the history has all ticks of stream `TICKS` up to a sequence.
pub async fn history_has(store: &Store, until: u64) -> Result<bool, Error> {
    let position = sqlx::query_scalar("SELECT stream_position FROM consumer_positions WHERE consumer = $1");
    let position: Option<i64> = position.bind(HISTORY).fetch_optional(store.pool()).await?;
    Ok(position.unwrap_or_default() >= bigint(until))
}

/// Returns of each rule the last firing up to a tick that was not suppressed, and the first one after the tick.
pub async fn firings_around(store: &Store, rules: &[Uuid], tick: &PastTick) -> Result<Vec<Firing>, Error> {
    let rows = sqlx::query(
        "SELECT firing.* FROM unnest($1::uuid[]) AS asked (id) CROSS JOIN LATERAL (
             (SELECT * FROM firings WHERE rule_id = asked.id AND (fired_at, sequence, index) <= ($2, $3, $4)
                  AND suppressed IS NULL ORDER BY number DESC LIMIT 1)
             UNION ALL
             (SELECT * FROM firings WHERE rule_id = asked.id AND (fired_at, sequence, index) > ($2, $3, $4)
              ORDER BY number LIMIT 1)) AS firing",
    )
    .bind(rules)
    .bind(tick.at.datetime())
    .bind(bigint(tick.position.sequence))
    .bind(smallint(tick.position.index))
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(engine_state::firing).collect()
}

/// Returns the firings of rules behind a time up to another, in the order of their numbers.
pub async fn firings_between(
    store: &Store,
    rules: &[Uuid],
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<Firing>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM firings WHERE rule_id = ANY($1) AND fired_at >= $2 AND fired_at <= $3
         ORDER BY rule_id, number LIMIT $4",
    )
    .bind(rules)
    .bind(from.datetime())
    .bind(to.datetime())
    .bind(MAX_COMPARED)
    .fetch_all(store.pool())
    .await?;
    rows.iter().map(engine_state::firing).collect()
}

/// Saves that a gap is judged, with the late verdicts, their events and what they change of rules, in one transaction. A gap about
/// which a later report was saved meanwhile goes on, and a rule that has a verdict about the gap gets no second one: its owner gets one
/// mail for a gap. `service` is the service of the outbox and the lease: the result is [`Error::Fenced`] when another process leads
/// it, or has judged the gap.
pub async fn save_verdicts(
    store: &Store,
    service: &'static str,
    gap: &MarketGap,
    decisions: Vec<LateDecision>,
    changes: Changes,
) -> Result<(), Error> {
    let (inner, gap_id, revision) = (store.clone(), gap.gap_id.clone(), gap.revision.cast_signed());
    let save = store.transaction(move |tx| {
        Box::pin(async move {
            lease::fence(tx, &inner, service).await?;
            let judged = sqlx::query(
                "UPDATE market_gaps SET stage = CASE WHEN revision > $2 THEN stage ELSE 'judged' END, saved_at = now()
                 WHERE gap_id = $1 AND (stage <> 'judged' OR revision > $2)",
            );
            if judged.bind(&gap_id).bind(revision).execute(&mut **tx).await?.rows_affected() == 0 {
                return Err(Error::Fenced(gap_id));
            }
            let added = add(tx, &decisions).await?;
            engine_state::save(tx, &changes).await?;
            let verdicts = decisions.iter().map(|decision| &decision.verdict);
            let new = verdicts.filter(|verdict| added.contains(&verdict.rule_id));
            let events: Vec<_> = new.map(LateVerdict::to_message).collect();
            outbox::add(tx, service, &events).await?;
            // For longer than stream FEEDS may say them again.
            let old = "DELETE FROM market_gaps WHERE stage = 'judged' AND saved_at < now() - interval '40 days'";
            sqlx::query(old).execute(&mut **tx).await?;
            Ok(())
        })
    });
    save.await
}

/// Adds verdicts, and returns the rules that had none about the gap.
async fn add(tx: &mut Tx, decisions: &[LateDecision]) -> Result<HashSet<Uuid>, Error> {
    if decisions.is_empty() {
        return Ok(HashSet::new());
    }
    // An address is erased in one place, which is not here.
    let rows = decisions.iter().map(|decision| Json(LateVerdict { targets: Vec::new(), ..decision.verdict.clone() }));
    let added = sqlx::query_scalar(
        "INSERT INTO late_verdicts (rule_id, gap_id, verdict) SELECT * FROM unnest($1::uuid[], $2::text[], $3::jsonb[])
         ON CONFLICT (rule_id, gap_id) DO NOTHING RETURNING rule_id",
    )
    .bind(decisions.iter().map(|decision| decision.verdict.rule_id).collect::<Vec<_>>())
    .bind(decisions.iter().map(|decision| decision.verdict.gap_id.as_str()).collect::<Vec<_>>())
    .bind(rows.collect::<Vec<_>>())
    .fetch_all(&mut **tx)
    .await?;
    Ok(added.into_iter().collect())
}

/// Returns at most `limit` of the late verdicts about a gap whose rules notify an address, in the order of rules.
pub async fn list_of_address(tx: &mut Tx, gap_id: &str, address: &str, limit: i64) -> Result<Vec<LateVerdict>, Error> {
    let rows = sqlx::query(
        "SELECT verdict FROM late_verdicts JOIN rules ON rules.id = rule_id
         WHERE gap_id = $1 AND rule #>> '{notify,email}' = $2 AND rules.status <> 'deleted' ORDER BY rule_id LIMIT $3",
    );
    let rows = rows.bind(gap_id).bind(address).bind(limit).fetch_all(&mut **tx).await?;
    rows.iter().map(verdict).collect()
}

/// Returns at most `limit` of the late verdicts about a rule, newest first.
pub async fn list_of_rule(store: &Store, rule: Uuid, limit: i64) -> Result<Vec<LateVerdict>, Error> {
    let rows =
        sqlx::query("SELECT verdict FROM late_verdicts WHERE rule_id = $1 ORDER BY saved_at DESC, gap_id LIMIT $2");
    rows.bind(rule).bind(limit).fetch_all(store.pool()).await?.iter().map(verdict).collect()
}

fn verdict(row: &PgRow) -> Result<LateVerdict, Error> {
    Ok(row.try_get::<Json<_>, _>("verdict")?.0)
}
