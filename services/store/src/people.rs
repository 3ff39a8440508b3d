//! What is kept about whoever reads mail at an address: told, and erased, when that person asks.

use events::{Rule, RuleStatus, Timestamp, rule::RuleHappening};
use sqlx::{Row, types::Json};

use crate::{Error, Store, orders, rules};

/// Stands where an address was; RFC 2606 keeps it from ever being one.
pub const ERASED: &str = "erased@erased.invalid";

/// How much was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Rules that were ended, or that had ended before.
    pub rules: u64,
    /// Messages to the address, sent or not.
    pub deliveries: u64,
}

impl Store {
    /// All that is kept, as one document: rules with their firings, and the messages with each attempt to send them.
    pub async fn export_person(&self, address: &str) -> Result<serde_json::Value, Error> {
        let Json(found) = sqlx::query_scalar(
            "SELECT jsonb_build_object(
                'address', $1,
                'rules', (SELECT coalesce(jsonb_agg(r.rule || jsonb_build_object(
                    'status', r.status, 'created_at', r.created_at, 'updated_at', r.updated_at,
                    'firings', (SELECT coalesce(jsonb_agg(to_jsonb(f) - 'rule_id' ORDER BY f.number), '[]')
                                FROM firings f WHERE f.rule_id = r.id)) ORDER BY r.created_at), '[]')
                    FROM rules r WHERE lower(r.rule #>> '{notify,email}') = lower($1)),
                'messages', (SELECT coalesce(jsonb_agg(to_jsonb(d) || jsonb_build_object(
                    'attempts', (SELECT coalesce(jsonb_agg(to_jsonb(a) - 'delivery_id' ORDER BY a.attempt), '[]')
                                 FROM delivery_attempts a WHERE a.delivery_id = d.id)) ORDER BY d.created_at), '[]')
                    FROM deliveries d WHERE lower(d.address) = lower($1)))",
        )
        .bind(address)
        .fetch_one(self.pool())
        .await?;
        Ok(found)
    }

    /// Ends the rules and puts [`ERASED`] where the address was. Rules are told anew, so that their last word in the
    /// stream is without it too; firings say nothing about anybody and stay.
    pub async fn erase_person(&self, address: String, now: Timestamp) -> Result<Erased, Error> {
        self.transaction(move |tx| {
            Box::pin(async move {
                let rows = sqlx::query(
                    "UPDATE rules SET status = 'deleted', revision = revision + 1, updated_at = $3,
                        rule = jsonb_set(rule, '{notify,email}', to_jsonb($2::text))
                     WHERE lower(rule #>> '{notify,email}') = lower($1) RETURNING rule, revision",
                )
                .bind(&address)
                .bind(ERASED)
                .bind(now.datetime())
                .fetch_all(&mut **tx)
                .await?;
                let mut ended = Vec::with_capacity(rows.len());
                for row in &rows {
                    let Json(rule) = row.try_get::<Json<Rule>, _>("rule")?;
                    ended.push(rule.id);
                    let revision = row.try_get("revision")?;
                    rules::tell(tx, rule, revision, RuleHappening::Deleted, RuleStatus::Deleted, now).await?;
                }
                orders::cancel_with(tx, &ended, None, now).await?;
                sqlx::query(
                    "UPDATE delivery_attempts SET detail = ''
                     WHERE delivery_id IN (SELECT id FROM deliveries WHERE lower(address) = lower($1))",
                )
                .bind(&address)
                .execute(&mut **tx)
                .await?;
                let deliveries = sqlx::query(
                    "UPDATE deliveries SET address = $2, content = '{}',
                        status = CASE status WHEN 'waiting' THEN 'failed' ELSE status END
                     WHERE lower(address) = lower($1)",
                )
                .bind(&address)
                .bind(ERASED)
                .execute(&mut **tx)
                .await?;
                Ok(Erased { rules: rows.len() as u64, deliveries: deliveries.rows_affected() })
            })
        })
        .await
    }
}
