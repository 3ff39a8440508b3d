//! Whose alerts and orders are.

use std::collections::HashMap;

use sqlx::Row;
use uuid::Uuid;

use crate::{Error, Store};

/// Returns the users that rules and orders belong to, deleted rules too. An id that belongs to nobody is left out.
pub async fn find(store: &Store, ids: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, Error> {
    // The subselects hide the array from the planner, so that PostgreSQL reuses one generic plan.
    let rows = sqlx::query(
        "SELECT id, user_id FROM rules WHERE id = ANY ((SELECT $1::uuid[])::uuid[]) AND user_id IS NOT NULL
         UNION ALL SELECT id, user_id FROM orders WHERE id = ANY ((SELECT $1::uuid[])::uuid[])",
    );
    let rows = rows.bind(ids).fetch_all(store.pool()).await?;
    rows.iter().map(|row| Ok((row.try_get("id")?, row.try_get("user_id")?))).collect()
}
