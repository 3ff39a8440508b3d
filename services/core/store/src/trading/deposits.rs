//! Deposits that operators request. A deposit is complete when the settler has posted it.

use events::{Amount, Asset, DepositRequested, Timestamp};
use rust_decimal::Decimal;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store, outbox, pg::row};

/// A deposit that is not yet saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeposit {
    /// The new deposit's id.
    pub id: Uuid,
    /// The id of the account's owner.
    pub user_id: Uuid,
    /// The asset, which accounts must be allowed to hold.
    pub asset: Asset,
    /// The amount, above zero and within the asset's scale.
    pub amount: Amount,
    /// The operator's own reference: the same reference means the same deposit.
    pub reference: Option<String>,
    /// The name of the operator.
    pub requested_by: String,
    /// The time of the request.
    pub requested_at: Timestamp,
}

/// A deposit, posted or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// The deposit's id.
    pub id: Uuid,
    /// The id of the account's owner.
    pub user_id: Uuid,
    /// The asset of the amount.
    pub asset: Asset,
    /// The amount that is deposited.
    pub amount: Amount,
    /// The operator's own reference.
    pub reference: Option<String>,
    /// The time of the request.
    pub requested_at: Timestamp,
    /// The number of the ledger's posting, once the deposit is posted.
    pub posting_id: Option<i64>,
}

/// The result of a request for a deposit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// The deposit is saved.
    New(Deposit),
    /// A deposit of the same reference, account, asset and amount was saved before.
    Known(Deposit),
    /// A deposit of the same reference has another account, asset or amount.
    Conflict,
    /// The account does not exist.
    NoAccount,
}

macro_rules! records {
    ($which:literal) => {
        concat!(
            "SELECT d.*, p.id AS posting_id
             FROM deposits d LEFT JOIN postings p ON p.cause = d.id AND p.kind = 'deposit' WHERE ",
            $which
        )
    };
}

/// The key by which an account is looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountOwner {
    /// The email address of the owner, in any case.
    Email(String),
    /// The id of the owner.
    Id(Uuid),
}

/// Returns the id of an account, if it exists.
pub async fn find_account(store: &Store, owner: &AccountOwner) -> Result<Option<Uuid>, Error> {
    let query = match owner {
        AccountOwner::Email(email) => {
            sqlx::query_scalar("SELECT id FROM users WHERE lower(email) = lower($1)").bind(email)
        }
        AccountOwner::Id(id) => sqlx::query_scalar("SELECT id FROM users WHERE id = $1").bind(id),
    };
    Ok(query.fetch_optional(store.pool()).await?)
}

/// Saves a deposit with the event that requests it, which `service` publishes.
pub async fn request(store: &Store, service: &'static str, deposit: NewDeposit) -> Result<Requested, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                let NewDeposit { id, user_id, asset, amount, reference, requested_by, requested_at } = deposit;
                // The account is locked, because it must not be erased while a deposit to it is saved.
                let saved = sqlx::query(
                    "INSERT INTO deposits (id, user_id, asset, amount, reference, requested_by, requested_at)
                 SELECT $1, $2, $3, $4, $5, $6, $7 WHERE lock_account($2) ON CONFLICT DO NOTHING",
                )
                .bind(id)
                .bind(user_id)
                .bind(asset.as_str())
                .bind(amount.decimal())
                .bind(&reference)
                .bind(requested_by)
                .bind(requested_at.datetime())
                .execute(&mut **tx)
                .await?;
                if saved.rows_affected() == 0 {
                    let query = sqlx::query(records!("d.reference = $1"));
                    let Some(row) = query.bind(&reference).fetch_optional(&mut **tx).await? else {
                        return Ok(Requested::NoAccount);
                    };
                    let found = record(&row)?;
                    let same = (found.user_id, &found.asset, found.amount) == (user_id, &asset, amount);
                    return Ok(if same { Requested::Known(found) } else { Requested::Conflict });
                }
                let event = DepositRequested { deposit_id: id, user_id, asset: asset.clone(), amount, requested_at };
                outbox::add(tx, service, &[event.to_message()]).await?;
                let posting_id = None;
                Ok(Requested::New(Deposit { id, user_id, asset, amount, reference, requested_at, posting_id }))
            })
        })
        .await
}

/// Returns those of these deposits that are posted, each with the number of its posting.
pub(crate) async fn find_postings(store: &Store, ids: &[Uuid]) -> Result<Vec<(Uuid, i64)>, Error> {
    let query = sqlx::query("SELECT cause, id FROM postings WHERE kind = 'deposit' AND cause = ANY($1)");
    let rows = query.bind(ids).fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((row.try_get("cause")?, row.try_get("id")?))).collect()
}

fn record(row: &PgRow) -> Result<Deposit, Error> {
    Ok(Deposit {
        id: row.try_get("id")?,
        user_id: row.try_get("user_id")?,
        asset: row::asset(row, "asset")?,
        amount: Amount::new(row.try_get::<Decimal, _>("amount")?)?,
        reference: row.try_get("reference")?,
        requested_at: row::time(row, "requested_at")?,
        posting_id: row.try_get("posting_id")?,
    })
}
