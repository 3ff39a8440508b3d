//! The monthly partitions of the ticks, which the history-writer creates ahead and drops when they are too old.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate};
use events::Timestamp;
use market_data::Month;
use tracing::{debug, info};

use crate::{Error, Store};

/// Returns the months that have a partition.
pub async fn list(store: &Store) -> Result<BTreeSet<Month>, Error> {
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'ticks'::regclass",
    )
    .fetch_all(store.pool())
    .await?;
    Ok(names.iter().filter_map(|name| partition_month(name)).collect())
}

/// Parses the month from the name of a partition, such as `ticks_2018_04`.
fn partition_month(name: &str) -> Option<Month> {
    let (year, month) = name.strip_prefix("ticks_")?.split_once('_')?;
    Month::new(year.parse().ok()?, month.parse().ok()?)
}

/// Returns the months whose ticks were dropped. Whether a tick of such a month was stored before, nobody can tell.
pub async fn dropped(store: &Store) -> Result<BTreeSet<Month>, Error> {
    let months: Vec<NaiveDate> =
        sqlx::query_scalar("SELECT first_day FROM dropped_tick_months").fetch_all(store.pool()).await?;
    Ok(months.iter().filter_map(|first_day| Month::new(first_day.year(), first_day.month())).collect())
}

/// Creates the partition of a month.
pub async fn create(store: &Store, month: Month) -> Result<(), Error> {
    sqlx::query("SELECT create_ticks_partition($1)").bind(month.first_day()).execute(store.pool()).await?;
    debug!(%month, "created partition");
    Ok(())
}

/// Returns the months whose partitions end at or before `oldest`.
pub async fn before(store: &Store, oldest: Timestamp) -> Result<Vec<Month>, Error> {
    let is_before = |month: &Month| month.next().start() <= oldest.datetime();
    Ok(list(store).await?.into_iter().filter(is_before).collect())
}

/// Drops the partition of a month with its ticks. The candles stay.
pub async fn drop(store: &Store, month: Month) -> Result<(), Error> {
    sqlx::query("SELECT drop_ticks_partition($1)").bind(month.first_day()).execute(store.pool()).await?;
    info!(%month, "dropped partition older than history.retention_days");
    Ok(())
}
