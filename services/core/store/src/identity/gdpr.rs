//! The export and the erasure of a person's data (GDPR articles 15 and 17).

use events::{Rule, RuleChanged, RuleStatus, Timestamp, rule::RuleChange};
use sqlx::{Row, types::Json};
use uuid::Uuid;

use crate::{Error, Store, Tx, identity::login_throttle, outbox, trading::orders};

/// The text that replaces an erased address. RFC 2606 reserves its domain, so that it never receives mail.
pub const ERASED: &str = "erased@erased.invalid";

/// The extent of an erasure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// The number of rules that were deleted or whose address was erased.
    pub rules: u64,
    /// The number of messages to the address, sent or not.
    pub deliveries: u64,
    /// The id of the deleted account, which stays in the ledger; none where the address had no account.
    pub account: Option<Uuid>,
}

/// Returns all stored data about the person behind an address as one JSON document: the account with its sessions,
/// keys, orders and balances, the rules with their firings, and the messages with each delivery attempt. Secrets are
/// left out.
pub async fn export(store: &Store, address: &str) -> Result<serde_json::Value, Error> {
    let Json(found) = sqlx::query_scalar("SELECT export_user_data($1)").bind(address).fetch_one(store.pool()).await?;
    Ok(found)
}

/// Deletes the rules and the account, and replaces the address with [`ERASED`]. The ledger's postings stay under the
/// account's id, which no longer leads to a person. References that users wrote into the ledger are erased, except the
/// `client_order_id` of an order, because the order's hash covers it.
pub async fn erase(store: &Store, address: String, now: Timestamp) -> Result<Erased, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // `notifications::recipients` takes this lock in shared mode, so that it copies no address meanwhile.
                sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('tickbell/gdpr', 0))")
                    .execute(&mut **tx)
                    .await?;
                // The account is locked first, so that no rule, order or session is added while it is erased.
                let account: Option<Uuid> =
                    sqlx::query_scalar("SELECT id FROM users WHERE lower(email) = lower($1) FOR UPDATE")
                        .bind(&address)
                        .fetch_optional(&mut **tx)
                        .await?;
                let rules = end_rules(tx, &address, account, now).await?;
                delete_account(tx, &address, account).await?;
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

/// Deletes the rules and requests the cancellation of their open orders. Every rule is published again, also those that
/// were deleted before, so that its last event in the stream has no address either. Firings hold no personal data and
/// stay.
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
    let (mut ended, mut events) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
    for row in &rows {
        let Json(rule) = row.try_get::<Json<Rule>, _>("rule")?;
        ended.push(rule.id);
        let (revision, status) = (row.try_get("revision")?, RuleStatus::Deleted);
        events.push(RuleChanged { rule, revision, happened: RuleChange::Deleted, status, at: now }.to_message());
    }
    outbox::add(tx, outbox::GATEWAY, &events).await?;
    orders::cancel_with(tx, &ended, account, now).await?;
    Ok(rows.len() as u64)
}

/// Deletes the account with its sessions and keys, which reference its row, and the rows that only hold the address.
async fn delete_account(tx: &mut Tx, address: &str, account: Option<Uuid>) -> Result<(), Error> {
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
