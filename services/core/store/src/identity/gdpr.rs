//! What is kept about a person: told, and erased, when that person asks.

use events::{Rule, RuleChanged, RuleStatus, Timestamp, rule::RuleChange};
use sqlx::{Row, types::Json};
use uuid::Uuid;

use crate::{Error, Store, Tx, identity::login_throttle, outbox, trading::orders};

/// Stands where an address was; RFC 2606 keeps it from ever being one.
pub const ERASED: &str = "erased@erased.invalid";

/// How much was erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// Rules that were ended, or that had ended before.
    pub rules: u64,
    /// Messages to the address, sent or not.
    pub deliveries: u64,
    /// The account, whose id stays in the ledger.
    pub account: Option<Uuid>,
}

/// All that is kept about whoever reads mail at an address, as one document: the account with its sessions, keys,
/// orders and money, rules with their firings, and the messages with each attempt to send them. No secrets.
pub async fn export(store: &Store, address: &str) -> Result<serde_json::Value, Error> {
    let Json(found) = sqlx::query_scalar("SELECT export_user_data($1)").bind(address).fetch_one(store.pool()).await?;
    Ok(found)
}

/// Ends the rules, deletes the account and puts [`ERASED`] where the address was. What the ledger says stays, under
/// an id that leads to nobody; what somebody has named there goes, but for an order's `client_order_id`, which is part
/// of the terms that were hashed.
pub async fn erase(store: &Store, address: String, now: Timestamp) -> Result<Erased, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // Nobody looks an address up meanwhile to write it down somewhere: [`crate::notifications::recipients`].
                sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('tickbell/gdpr', 0))")
                    .execute(&mut **tx)
                    .await?;
                // Locked first: nothing new begins for an account that is on its way out.
                let account: Option<Uuid> =
                    sqlx::query_scalar("SELECT id FROM users WHERE lower(email) = lower($1) FOR UPDATE")
                        .bind(&address)
                        .fetch_optional(&mut **tx)
                        .await?;
                let rules = end_rules(tx, &address, account, now).await?;
                forget_account(tx, &address, account).await?;
                let deliveries: i64 = sqlx::query_scalar("SELECT erase_deliveries($1, $2)")
                    .bind(&address)
                    .bind(ERASED)
                    .fetch_one(&mut **tx)
                    .await?;
                Ok(Erased { rules, deliveries: deliveries.unsigned_abs(), account })
            })
        })
        .await
}

/// Open orders are asked back. Rules are told anew, all at once, so that their last word in the stream is without the
/// address too; firings say nothing about anybody and stay.
async fn end_rules(tx: &mut Tx, address: &str, account: Option<Uuid>, now: Timestamp) -> Result<u64, Error> {
    let rows = sqlx::query(
        "UPDATE rules SET status = 'deleted', revision = revision + 1, updated_at = $3, user_id = NULL,
            rule = jsonb_set(rule - 'then', '{notify,email}', to_jsonb($2::text))
         WHERE lower(rule #>> '{notify,email}') = lower($1) OR user_id = $4 RETURNING rule, revision",
    )
    .bind(address)
    .bind(ERASED)
    .bind(now.datetime())
    .bind(account)
    .fetch_all(&mut **tx)
    .await?;
    let (mut ended, mut facts) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in &rows {
        let Json(rule) = row.try_get::<Json<Rule>, _>("rule")?;
        ended.push(rule.id);
        let (revision, status) = (row.try_get("revision")?, RuleStatus::Deleted);
        facts.push(RuleChanged { rule, revision, happened: RuleChange::Deleted, status, at: now }.to_message());
    }
    outbox::add(tx, outbox::GATEWAY, &facts).await?;
    orders::cancel_with(tx, &ended, account, now).await?;
    Ok(rows.len() as u64)
}

/// Sessions, keys and resets go with the account's row; what hangs on the address alone goes by it.
async fn forget_account(tx: &mut Tx, address: &str, account: Option<Uuid>) -> Result<(), Error> {
    sqlx::query("DELETE FROM users WHERE id = $1").bind(account).execute(&mut **tx).await?;
    sqlx::query("DELETE FROM sign_ups WHERE lower(email) = lower($1)").bind(address).execute(&mut **tx).await?;
    sqlx::query("DELETE FROM password_resets WHERE address_hash = sha256(convert_to(lower($1), 'UTF8'))")
        .bind(address)
        .execute(&mut **tx)
        .await?;
    login_throttle::forget(tx, address).await?;
    if let Some(account) = account {
        login_throttle::forget(tx, &account.to_string()).await?;
        sqlx::query("SELECT erase_references($1)").bind(account).execute(&mut **tx).await?;
    }
    Ok(())
}
