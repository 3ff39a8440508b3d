//! Deposits that operators ask for. One is done when the settler has posted it.

use events::{Amount, Asset, DepositRequested, Timestamp};
use rust_decimal::Decimal;
use sqlx::{Row, postgres::PgRow};
use uuid::Uuid;

use crate::{Error, Store, outbox, pg::row};

/// A deposit that is to be saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDeposit {
    /// Drawn for it.
    pub id: Uuid,
    /// Whose account.
    pub user_id: Uuid,
    /// Of what; one that is known.
    pub asset: Asset,
    /// How much; above zero and within the asset's scale.
    pub amount: Amount,
    /// The operator's name for it: the same name is the same deposit.
    pub reference: Option<String>,
    /// Which operator.
    pub requested_by: String,
    /// When.
    pub requested_at: Timestamp,
}

/// A deposit and whether it is posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deposit {
    /// Names it.
    pub id: Uuid,
    /// Whose account.
    pub user_id: Uuid,
    /// Of what.
    pub asset: Asset,
    /// How much.
    pub amount: Amount,
    /// The operator's name for it.
    pub reference: Option<String>,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// The ledger's posting, once it is there.
    pub posting_id: Option<i64>,
}

/// What a request for a deposit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Requested {
    /// It is saved.
    New(Deposit),
    /// It was saved before, by the same reference and to the same end.
    Known(Deposit),
    /// A deposit of the same reference has another account, asset or amount.
    Conflict,
    /// The account is gone.
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

/// What names an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountOwner {
    /// Its address, in any letters.
    Email(String),
    /// Its id.
    Id(Uuid),
}

/// The account that is named so.
pub async fn find_account(store: &Store, holder: &AccountOwner) -> Result<Option<Uuid>, Error> {
    let query = match holder {
        AccountOwner::Email(email) => {
            sqlx::query_scalar("SELECT id FROM users WHERE lower(email) = lower($1)").bind(email)
        }
        AccountOwner::Id(id) => sqlx::query_scalar("SELECT id FROM users WHERE id = $1").bind(id),
    };
    Ok(query.fetch_optional(store.pool()).await?)
}

/// Saves a deposit with the fact that asks for it, which `service` publishes.
pub async fn request(store: &Store, service: &'static str, deposit: NewDeposit) -> Result<Requested, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                let NewDeposit { id, user_id, asset, amount, reference, requested_by, requested_at } = deposit;
                // The account is held: it must not be erased while money is on its way to it.
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
                let fact = DepositRequested { deposit_id: id, user_id, asset: asset.clone(), amount, requested_at };
                outbox::add(tx, service, &[fact.to_message()]).await?;
                let posting_id = None;
                Ok(Requested::New(Deposit { id, user_id, asset, amount, reference, requested_at, posting_id }))
            })
        })
        .await
}

/// Those of these deposits that are posted, each with the number of its posting.
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
