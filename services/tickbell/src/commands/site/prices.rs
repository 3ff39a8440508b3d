//! Where the prices of the page are from: the history, or an API that is asked once.

use events::{Symbol, Timestamp};
use platform::{ServiceError, runtime::error::error_chain, settings::SettingsError};
use price_page::{PriceRow, PricesDocument, fold};
use store::{Store, market::queries};

use crate::{
    commands::connect,
    exit::{Unavailable, unavailable},
    settings::Settings,
};

/// The number of symbols that are read with one statement.
const SYMBOLS_AT_ONCE: i64 = 500;

/// What stands on the page.
pub(super) struct Prices {
    pub(super) rows: Vec<PriceRow>,
    /// The number of symbols that have no row, because there are more of them than a page has.
    pub(super) omitted: usize,
}

/// Reads the latest prices and their last day from the history.
pub(super) async fn from_history(settings: &Settings) -> anyhow::Result<Prices> {
    let store = connect::store(settings).await?;
    let mut rows: Vec<PriceRow> = Vec::new();
    while rows.len() < PricesDocument::MOST_ROWS {
        let after = rows.last().map(|row| row.symbol.clone());
        let read = queries::list_price_rows(&store, after.as_ref(), SYMBOLS_AT_ONCE).await?;
        let is_last = (read.len() as i64) < SYMBOLS_AT_ONCE;
        rows.extend(read);
        if is_last {
            return Ok(Prices { rows, omitted: 0 });
        }
    }
    rows.truncate(PricesDocument::MOST_ROWS);
    let last = rows.last().map(|row| row.symbol.clone());
    Ok(Prices { omitted: count_after(&store, last).await?, rows })
}

/// Counts the symbols that have a price behind one in their order.
async fn count_after(store: &Store, mut after: Option<Symbol>) -> anyhow::Result<usize> {
    let mut count = 0;
    loop {
        let read = queries::list_latest(store, after.as_ref(), SYMBOLS_AT_ONCE).await?;
        count += read.len();
        let Some(last) = read.into_iter().next_back() else { return Ok(count) };
        after = Some(last.symbol);
    }
}

/// Asks the source of the settings once, and adds its prices to those of the page before.
pub(super) async fn ask_once(settings: &Settings, former: Vec<PriceRow>, now: Timestamp) -> anyhow::Result<Prices> {
    let ticks = price_ingestor::fetch(&settings.price_ingestor, settings.ticks.max_ahead()).await;
    let ticks = ticks.map_err(|error| match error {
        ServiceError::Transient(..) => unavailable(error),
        ServiceError::Permanent(..) => SettingsError(error_chain(&error)).into(),
    })?;
    if ticks.is_empty() && former.is_empty() {
        return Err(Unavailable("the source has no price yet, so that there is nothing to show".into()).into());
    }
    let mut rows = fold(former, &ticks, now);
    let omitted = rows.len().saturating_sub(PricesDocument::MOST_ROWS);
    rows.truncate(PricesDocument::MOST_ROWS);
    Ok(Prices { rows, omitted })
}
