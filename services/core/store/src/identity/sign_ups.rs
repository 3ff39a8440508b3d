//! People who ask for an account, and the links that make it.

use events::{Timestamp, UserChange, UserNoticed};
use sqlx::Row;
use uuid::Uuid;

use crate::{Error, Store, Tx, identity::login_throttle, outbox};

/// How long the link in the mail leads anywhere.
const GOOD_FOR_HOURS: i64 = 48;
/// How many mails of one kind an address gets in an hour because somebody has typed it.
pub(crate) const MAILS_PER_HOUR: i64 = 5;

/// When somebody who signs up is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUpMode {
    /// When the link in the mail is followed.
    ByMail,
    /// At once.
    AtOnce,
}

/// Where a sign-up stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignUp {
    /// It waits for its address to say yes.
    Waiting {
        /// Which.
        email: String,
        /// Where others have asked with the same address: the hash that a password must fit. Whoever has a link need not
        /// be who chose its password.
        challenge: Option<String>,
    },
    /// It has become an account.
    Joined,
    /// Another one of the same address has.
    Taken,
    /// It has waited too long, or there is none.
    Over,
}

/// Takes a sign-up. The same work is done whether the address has an account or not; its owner is told either way.
pub async fn start(
    store: &Store,
    email: String,
    password_hash: String,
    admission: SignUpMode,
    now: Timestamp,
) -> Result<(), Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // One at a time for an address: the count below would be blind to those in flight.
                sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('tickbell/sign-up/' || lower($1), 0))")
                    .bind(&email)
                    .execute(&mut **tx)
                    .await?;
                let row = sqlx::query(
                    "SELECT (SELECT count(*) FROM sign_ups
                         WHERE lower(email) = lower($1) AND created_at > $2 - interval '1 hour') AS asked,
                        (SELECT id FROM users WHERE lower(email) = lower($1)) AS holder",
                )
                .bind(&email)
                .bind(now.datetime())
                .fetch_one(&mut **tx)
                .await?;
                // Also by one that is dropped below: it may be the owner's.
                let contested = contest(tx, &email, now).await?;
                if row.try_get::<i64, _>("asked")? >= MAILS_PER_HOUR {
                    return Ok(());
                }
                let holder: Option<Uuid> = row.try_get("holder")?;
                let id = Uuid::now_v7();
                let joins = holder.is_none() && admission == SignUpMode::AtOnce;
                sqlx::query(
                    "INSERT INTO sign_ups (id, email, password_hash, created_at, expires_at, used_at, contested)
                 VALUES ($1, $2, $3, $4, $4 + make_interval(hours => $5), CASE WHEN $6 THEN $4 END, $7)",
                )
                .bind(id)
                .bind(&email)
                .bind(&password_hash)
                .bind(now.datetime())
                .bind(GOOD_FOR_HOURS as i32)
                .bind(joins)
                .bind(contested)
                .execute(&mut **tx)
                .await?;
                match holder {
                    Some(holder) => notice(tx, UserChange::SignedUpAgain, holder, now).await,
                    None if joins => make_user(tx, &email, &password_hash, now).await.map(|_| ()),
                    None => notice(tx, UserChange::SignedUp, id, now).await,
                }
            })
        })
        .await
}

/// Where a sign-up stands.
pub async fn state(store: &Store, id: Uuid, now: Timestamp) -> Result<SignUp, Error> {
    store.transaction(move |tx| Box::pin(async move { Ok(lock(tx, id, now).await?.0) })).await
}

/// Makes the account that a sign-up asks for; doing so twice is doing so once. It waits on when others have asked with
/// its address and `verified` is not the hash that it was held to.
pub async fn complete(store: &Store, id: Uuid, verified: Option<String>, now: Timestamp) -> Result<SignUp, Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                let (email, password_hash) = match lock(tx, id, now).await? {
                    (SignUp::Waiting { email, challenge }, password_hash)
                        if challenge.is_none() || challenge == verified =>
                    {
                        (email, password_hash)
                    }
                    (stands, _) => return Ok(stands),
                };
                if make_user(tx, &email, &password_hash, now).await? == 0 {
                    return Ok(SignUp::Taken);
                }
                sqlx::query("UPDATE sign_ups SET used_at = $2 WHERE id = $1")
                    .bind(id)
                    .bind(now.datetime())
                    .execute(&mut **tx)
                    .await?;
                login_throttle::forget(tx, &id.to_string()).await?;
                Ok(SignUp::Joined)
            })
        })
        .await
}

/// Where it stands, locked, and its password's hash.
async fn lock(tx: &mut Tx, id: Uuid, now: Timestamp) -> Result<(SignUp, String), Error> {
    let row = sqlx::query(
        "SELECT email, password_hash, contested, used_at IS NOT NULL AS used, expires_at <= $2 AS over,
                EXISTS (SELECT FROM users WHERE lower(users.email) = lower(sign_ups.email)) AS taken
         FROM sign_ups WHERE id = $1 FOR UPDATE",
    )
    .bind(id)
    .bind(now.datetime())
    .fetch_optional(&mut **tx)
    .await?;
    let Some(row) = row else { return Ok((SignUp::Over, String::new())) };
    let password_hash: String = row.try_get("password_hash")?;
    let challenge = row.try_get::<bool, _>("contested")?.then(|| password_hash.clone());
    let state = match (row.try_get("used")?, row.try_get("over")?, row.try_get("taken")?) {
        (true, _, _) => SignUp::Joined,
        (false, true, _) => SignUp::Over,
        (false, false, true) => SignUp::Taken,
        (false, false, false) => SignUp::Waiting { email: row.try_get("email")?, challenge },
    };
    Ok((state, password_hash))
}

/// Notes on those that wait that they are not alone; whether there are any.
async fn contest(tx: &mut Tx, email: &str, now: Timestamp) -> Result<bool, Error> {
    let waiting = sqlx::query(
        "UPDATE sign_ups SET contested = true WHERE lower(email) = lower($1) AND used_at IS NULL AND expires_at > $2",
    )
    .bind(email)
    .bind(now.datetime())
    .execute(&mut **tx)
    .await?;
    Ok(waiting.rows_affected() > 0)
}

async fn make_user(tx: &mut Tx, email: &str, password_hash: &str, now: Timestamp) -> Result<u64, Error> {
    let made = sqlx::query(
        "INSERT INTO users (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(Uuid::now_v7())
    .bind(email)
    .bind(password_hash)
    .bind(now.datetime())
    .execute(&mut **tx)
    .await?;
    Ok(made.rows_affected())
}

/// Says that something happened that somebody is told about by mail.
pub(crate) async fn notice(tx: &mut Tx, happened: UserChange, subject_id: Uuid, at: Timestamp) -> Result<(), Error> {
    let notice = UserNoticed { notice_id: Uuid::now_v7(), happened, subject_id, at };
    outbox::add(tx, outbox::GATEWAY, &[notice.to_message()]).await
}
