//! Sign-ups, and the links in mails that complete them.

use events::{Timestamp, UserChange, UserNoticed};
use sqlx::Row;
use uuid::Uuid;

use crate::{Error, Store, Tx, identity::login_throttle, outbox};

/// The validity of the link in the mail, in hours.
const LINK_VALID_HOURS: i64 = 48;
/// The largest number of mails of one kind per address and hour, because anyone can request them for any address.
pub(crate) const MAILS_PER_HOUR: i64 = 5;

/// The condition under which a sign-up becomes an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignUpMode {
    /// The account is created when the link in the mail is followed.
    ByMail,
    /// The account is created at once.
    AtOnce,
}

/// The state of a sign-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignUp {
    /// The sign-up waits for the confirmation by mail.
    Waiting {
        /// The address that must confirm the sign-up.
        email: String,
        /// The hash that a password must match, where there are other sign-ups of the same address: the person who
        /// follows the link may not be the one who chose the password.
        challenge: Option<String>,
    },
    /// The sign-up has become an account.
    Joined,
    /// The address belongs to an account that another sign-up created.
    AddressInUse,
    /// The sign-up has expired or does not exist.
    Expired,
}

/// Starts a sign-up. The work is the same whether the address has an account or not, so that the duration of a request
/// reveals nothing. The owner of the address gets a mail in both cases.
pub async fn start(
    store: &Store,
    email: String,
    password_hash: String,
    mode: SignUpMode,
    now: Timestamp,
) -> Result<(), Error> {
    store
        .transaction(move |tx| {
            Box::pin(async move {
                // The lock serialises sign-ups of one address: the count below must see concurrent ones.
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
                // A sign-up that is dropped below also contests the others, because it may be the owner's.
                let contested = mark_contested(tx, &email, now).await?;
                if row.try_get::<i64, _>("asked")? >= MAILS_PER_HOUR {
                    return Ok(());
                }
                let holder: Option<Uuid> = row.try_get("holder")?;
                let id = Uuid::now_v7();
                let creates_account = holder.is_none() && mode == SignUpMode::AtOnce;
                sqlx::query(
                    "INSERT INTO sign_ups (id, email, password_hash, created_at, expires_at, used_at, contested)
                 VALUES ($1, $2, $3, $4, $4 + make_interval(hours => $5), CASE WHEN $6 THEN $4 END, $7)",
                )
                .bind(id)
                .bind(&email)
                .bind(&password_hash)
                .bind(now.datetime())
                .bind(LINK_VALID_HOURS as i32)
                .bind(creates_account)
                .bind(contested)
                .execute(&mut **tx)
                .await?;
                match holder {
                    Some(holder) => notice(tx, UserChange::SignedUpAgain, holder, now).await,
                    None if creates_account => add_user(tx, &email, &password_hash, now).await.map(|_| ()),
                    None => notice(tx, UserChange::SignedUp, id, now).await,
                }
            })
        })
        .await
}

/// Returns the state of a sign-up.
pub async fn state(store: &Store, id: Uuid, now: Timestamp) -> Result<SignUp, Error> {
    store.transaction(move |tx| Box::pin(async move { Ok(lock(tx, id, now).await?.0) })).await
}

/// Creates the account of a sign-up and returns the state afterwards. The call is idempotent. A contested sign-up stays
/// waiting unless `verified` is the password hash of its challenge.
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
                    (state, _) => return Ok(state),
                };
                if add_user(tx, &email, &password_hash, now).await? == 0 {
                    return Ok(SignUp::AddressInUse);
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

/// Locks a sign-up and returns its state and its password hash.
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
    let Some(row) = row else { return Ok((SignUp::Expired, String::new())) };
    let password_hash: String = row.try_get("password_hash")?;
    let challenge = row.try_get::<bool, _>("contested")?.then(|| password_hash.clone());
    let state = match (row.try_get("used")?, row.try_get("over")?, row.try_get("taken")?) {
        (true, _, _) => SignUp::Joined,
        (false, true, _) => SignUp::Expired,
        (false, false, true) => SignUp::AddressInUse,
        (false, false, false) => SignUp::Waiting { email: row.try_get("email")?, challenge },
    };
    Ok((state, password_hash))
}

/// Marks the waiting sign-ups of an address as contested, and returns whether there are any.
async fn mark_contested(tx: &mut Tx, email: &str, now: Timestamp) -> Result<bool, Error> {
    let waiting = sqlx::query(
        "UPDATE sign_ups SET contested = true WHERE lower(email) = lower($1) AND used_at IS NULL AND expires_at > $2",
    )
    .bind(email)
    .bind(now.datetime())
    .execute(&mut **tx)
    .await?;
    Ok(waiting.rows_affected() > 0)
}

/// Adds a user and returns the number of added rows, which is 0 when the address belongs to an account.
async fn add_user(tx: &mut Tx, email: &str, password_hash: &str, now: Timestamp) -> Result<u64, Error> {
    let added = sqlx::query(
        "INSERT INTO users (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
    )
    .bind(Uuid::now_v7())
    .bind(email)
    .bind(password_hash)
    .bind(now.datetime())
    .execute(&mut **tx)
    .await?;
    Ok(added.rows_affected())
}

/// Publishes an event about which the user gets a mail.
pub(crate) async fn notice(tx: &mut Tx, happened: UserChange, subject_id: Uuid, at: Timestamp) -> Result<(), Error> {
    let notice = UserNoticed { notice_id: Uuid::now_v7(), happened, subject_id, at };
    outbox::add(tx, outbox::GATEWAY, &[notice.to_message()]).await
}
