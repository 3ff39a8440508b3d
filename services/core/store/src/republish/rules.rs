//! Changes of rules, and firings.

use std::sync::Arc;

use ::rules::RuleFiring;
use events::{OutboundMessage, Rule};
use sqlx::{Row, postgres::PgRow, types::Json};

use crate::{
    Error, Tx,
    identity::{gdpr::ERASED, sign_ups::MAILS_PER_HOUR},
    rules::engine_state::{firing, last_change},
};

/// Returns the last changes of rules that the engine has not applied. A finished rule is only deleted, and a deleted one never
/// changes.
pub(super) async fn unapplied(tx: &mut Tx, limit: i64) -> Result<Vec<OutboundMessage>, Error> {
    let rows = sqlx::query(
        "SELECT r.rule, r.revision, r.status, r.updated_at FROM rules r LEFT JOIN rule_states s ON s.rule_id = r.id
         WHERE r.updated_at < now() - interval '3 minutes' AND CASE
             WHEN s.rule_id IS NULL THEN r.status <> 'deleted'
             WHEN s.status IN ('done', 'expired') THEN s.revision < r.revision AND r.status = 'deleted'
             ELSE s.revision < r.revision AND s.status <> 'deleted' END
         ORDER BY r.updated_at LIMIT $1",
    );
    changes(&rows.bind(limit).fetch_all(&mut **tx).await?)
}

/// Returns the new rules that wait for a confirmation which nobody was asked for. Above the limit of mails in an hour nobody
/// is, and that is no loss.
pub(super) async fn unconfirmed(tx: &mut Tx, limit: i64) -> Result<Vec<OutboundMessage>, Error> {
    let rows = sqlx::query(
        "SELECT r.rule, r.revision, r.status, r.updated_at FROM rules r
         WHERE r.status = 'pending' AND r.updated_at < now() - interval '3 minutes'
             AND NOT EXISTS (SELECT FROM deliveries d WHERE d.source_id = r.id::text)
             AND (SELECT count(*) FROM deliveries d
                  WHERE lower(d.address) = lower(r.rule #>> '{notify,email}') AND d.kind = 'confirmation'
                      AND d.created_at BETWEEN r.created_at - interval '1 hour' AND r.created_at + interval '1 hour') < $2
         ORDER BY r.updated_at LIMIT $1",
    );
    changes(&rows.bind(limit).bind(MAILS_PER_HOUR).fetch_all(&mut **tx).await?)
}

/// Returns the first firings of rules whose order still waits for it, also where the order itself was lost.
pub(super) async fn awaited_firings(tx: &mut Tx, limit: i64) -> Result<Vec<OutboundMessage>, Error> {
    let rows = sqlx::query(
        "SELECT * FROM (
             SELECT DISTINCT ON (f.rule_id) f.*, r.rule FROM orders o
             JOIN firings f ON f.rule_id = o.rule_id AND f.suppressed IS NULL
             JOIN rules r ON r.id = o.rule_id JOIN users u ON u.id = o.user_id
             LEFT JOIN order_states s ON s.order_id = o.id
             WHERE s.order_id IS NULL OR (s.status = 'open' AND s.awaiting_alert_rule_id IS NOT NULL)
             ORDER BY f.rule_id, f.number) AS first
         WHERE saved_at < now() - interval '3 minutes' ORDER BY saved_at, rule_id LIMIT $1",
    );
    firings(&rows.bind(limit).fetch_all(&mut **tx).await?)
}

/// Returns the firings of the last 30 days, for which stream `ALERTS` holds them, that nobody was notified of.
pub(super) async fn unnotified_firings(tx: &mut Tx, limit: i64) -> Result<Vec<OutboundMessage>, Error> {
    let rows = sqlx::query(
        "SELECT f.*, r.rule FROM firings f JOIN rules r ON r.id = f.rule_id
         WHERE f.suppressed IS NULL AND r.rule #>> '{notify,email}' <> $2
             AND f.saved_at BETWEEN now() - interval '30 days' AND now() - interval '3 minutes'
             AND NOT EXISTS (SELECT FROM deliveries d WHERE d.source_id = f.rule_id::text || '-' || f.number)
         ORDER BY f.saved_at, f.rule_id, f.number LIMIT $1",
    );
    firings(&rows.bind(limit).bind(ERASED).fetch_all(&mut **tx).await?)
}

fn changes(rows: &[PgRow]) -> Result<Vec<OutboundMessage>, Error> {
    rows.iter().map(|row| Ok(last_change(row)?.to_message())).collect()
}

fn firings(rows: &[PgRow]) -> Result<Vec<OutboundMessage>, Error> {
    let event = |row: &PgRow| {
        let Json(rule) = row.try_get::<Json<Rule>, _>("rule")?;
        let firing = RuleFiring { rule: Arc::new(rule), firing: firing(row)? };
        Ok(firing.event().map(|alert| alert.to_message()))
    };
    rows.iter().filter_map(|row| event(row).transpose()).collect()
}
