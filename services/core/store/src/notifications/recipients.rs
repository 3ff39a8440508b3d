//! The addresses of recipients. They are looked up when a delivery is added, so that a person whose data were erased
//! before gets no message.

use std::collections::HashMap;

use sqlx::Row;
use uuid::Uuid;

use crate::{Error, Tx, identity::gdpr::ERASED};

/// A person who receives messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Person {
    /// The person of the sign-up with this id.
    SignUp(Uuid),
    /// The user with this id.
    User(Uuid),
    /// The user of the password reset with this id.
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

/// Blocks erasures until the transaction ends, because a delivery would otherwise store an address again after its
/// erasure.
async fn block_erasure(tx: &mut Tx) -> Result<(), Error> {
    sqlx::query("SELECT pg_advisory_xact_lock_shared(hashtextextended('tickbell/gdpr', 0))").execute(&mut **tx).await?;
    Ok(())
}

/// Whether somebody may be notified about a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleRecipient {
    /// The rule has an address.
    Present,
    /// The address of the rule was erased. Older events about the rule still hold it.
    Erased,
}

/// Returns the recipients of those of the rules that have a row.
pub async fn of_rules(tx: &mut Tx, rules: &[Uuid]) -> Result<HashMap<Uuid, RuleRecipient>, Error> {
    block_erasure(tx).await?;
    let query = "SELECT id, rule #>> '{notify,email}' IS NOT DISTINCT FROM $2 FROM rules WHERE id = ANY($1)";
    let found: Vec<(Uuid, bool)> = sqlx::query_as(query).bind(rules).bind(ERASED).fetch_all(&mut **tx).await?;
    let recipient = |erased| if erased { RuleRecipient::Erased } else { RuleRecipient::Present };
    Ok(found.into_iter().map(|(id, erased)| (id, recipient(erased))).collect())
}

/// Returns the address of each person, in the same order; none for a person who does not exist or was erased.
pub async fn addresses(tx: &mut Tx, people: &[Person]) -> Result<Vec<Option<String>>, Error> {
    block_erasure(tx).await?;
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
