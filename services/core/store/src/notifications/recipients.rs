//! Where people read their mail. An address is looked up, or looked at, when somebody is told: who is erased
//! by then is not.

use std::collections::HashSet;

use sqlx::Row;
use uuid::Uuid;

use crate::{Error, Tx, identity::gdpr::ERASED};

/// Somebody to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Person {
    /// Who asked for an account.
    SignUp(Uuid),
    /// Who has one.
    User(Uuid),
    /// Who asked for a new password.
    Reset(Uuid),
}

impl Person {
    fn parts(self) -> (&'static str, Uuid) {
        match self {
            Self::SignUp(id) => ("sign_up", id),
            Self::User(id) => ("user", id),
            Self::Reset(id) => ("reset", id),
        }
    }
}

/// Until the transaction ends nobody is erased, so that no address is written down again after that.
async fn keep_everybody(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared(hashtextextended('tickbell/gdpr', 0))").execute(&mut **tx).await?;
    Ok(())
}

/// Those of the rules whose address is erased. Events about them may be older than that and say it still.
pub async fn erased(tx: &mut Tx, rules: &[Uuid]) -> Result<HashSet<Uuid>, Error> {
    keep_everybody(tx).await?;
    let found = sqlx::query_scalar("SELECT id FROM rules WHERE id = ANY($1) AND rule #>> '{notify,email}' = $2")
        .bind(rules)
        .bind(ERASED)
        .fetch_all(&mut **tx)
        .await?;
    Ok(found.into_iter().collect())
}

/// The address of each, in order; none for whoever is gone, or never was.
pub async fn addresses(tx: &mut Tx, people: &[Person]) -> Result<Vec<Option<String>>, Error> {
    keep_everybody(tx).await?;
    let (kinds, ids): (Vec<_>, Vec<_>) = people.iter().map(|person| person.parts()).unzip();
    let rows = sqlx::query(
        "SELECT coalesce(s.email, u.email) AS email
         FROM unnest($1::text[], $2::uuid[]) WITH ORDINALITY AS asked (kind, id, number)
         LEFT JOIN sign_ups s ON asked.kind = 'sign_up' AND s.id = asked.id
         LEFT JOIN password_resets r ON asked.kind = 'reset' AND r.id = asked.id
         LEFT JOIN users u ON u.id = CASE asked.kind WHEN 'user' THEN asked.id WHEN 'reset' THEN r.user_id END
         ORDER BY asked.number",
    )
    .bind(kinds)
    .bind(ids)
    .fetch_all(&mut **tx)
    .await?;
    rows.iter().map(|row| Ok(row.try_get("email")?)).collect()
}
