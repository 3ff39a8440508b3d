//! The gaps that a page of ticks names where the request asks for them.

use events::{Symbol, Timestamp, Venue, feed::GapState};
use serde::Serialize;
use store::{
    feeds::gaps::{self, SymbolGap},
    market::tick_list::{SortOrder, TickCursor, TickRange},
};
use utoipa::ToSchema;

use super::json::Tick;
use crate::{http::problem::Problem, state::AppState};

/// The number of gaps that a page names, the oldest first.
const MAX_GAPS: i64 = 1_000;

/// A page of ticks.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: a page is written from the columns of the database")]
pub(crate) struct HistoryPage {
    items: Vec<Tick>,
    /// The cursor of the next page; null on the last page.
    #[schema(required = true)]
    next_cursor: Option<String>,
    /// The gaps in the trades of this page, the oldest first; only where `gaps=include` asks for them.
    #[schema(required = false)]
    gaps: Vec<HistoryGap>,
}

/// Trades that were missed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryGap {
    venue: Venue,
    /// The time of the last trade before it.
    from: Timestamp,
    /// The time of the first trade after it; null while it is open.
    to: Option<Timestamp>,
    /// What became of it: `open`, `filling`, `filled` or `unfillable`.
    #[schema(example = "filled")]
    state: &'static str,
    /// The venue's first id that is missing, or was; null where ids say nothing.
    #[schema(example = 812345002)]
    first_missing_id: Option<u64>,
    /// The venue's last id that is missing, or was; null where it is not known.
    #[schema(example = 812345009)]
    last_missing_id: Option<u64>,
}

impl From<SymbolGap> for HistoryGap {
    fn from(gap: SymbolGap) -> Self {
        let SymbolGap { venue, from, to, state, first_missing_id, last_missing_id } = gap;
        Self { venue, from, to, state: GapState::as_str(state), first_missing_id, last_missing_id }
    }
}

/// Adds the gaps that a page touches. `last` is the time of its last tick, where another page follows.
pub(super) async fn add(
    state: &AppState,
    page: &mut Vec<u8>,
    (symbol, range): (&Symbol, &TickRange),
    (order, cursor): (SortOrder, Option<TickCursor>),
    last: Option<Timestamp>,
) -> Result<(), Problem> {
    let span = span(range, order, cursor.map(|cursor| cursor.at), last);
    let found = gaps::list_of_symbol(&state.store, (symbol, range.venue.as_ref()), span, MAX_GAPS).await?;
    let found: Vec<HistoryGap> = found.into_iter().map(HistoryGap::from).collect();
    page.pop();
    page.extend_from_slice(b",\"gaps\":");
    page.extend_from_slice(&serde_json::to_vec(&found).expect("times and names have JSON"));
    page.push(b'}');
    Ok(())
}

/// Returns the time that a page covers: up to its last tick where another page follows, else to the end of the range.
fn span(
    range: &TickRange,
    order: SortOrder,
    behind: Option<Timestamp>,
    last: Option<Timestamp>,
) -> (Timestamp, Timestamp) {
    let (from, to) = (range.from.unwrap_or(Timestamp::EPOCH), range.to.unwrap_or(Timestamp::LAST));
    match order {
        SortOrder::Ascending => (behind.map_or(from, |behind| behind.max(from)), last.unwrap_or(to)),
        SortOrder::Descending => (last.unwrap_or(from), behind.map_or(to, |behind| behind.min(to))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_covers_the_time_between_its_neighbours() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000).expect("a time");
        let range = |from, to| TickRange { venue: None, from, to, limit: 10 };
        let (all, some) = (range(None, None), range(Some(at(10)), Some(at(50))));
        for (range, order, behind, last, expected) in [
            (&all, SortOrder::Ascending, None, None, (Timestamp::EPOCH, Timestamp::LAST)),
            (&some, SortOrder::Ascending, None, Some(at(20)), (at(10), at(20))),
            (&some, SortOrder::Ascending, Some(at(20)), None, (at(20), at(50))),
            (&some, SortOrder::Descending, None, Some(at(30)), (at(30), at(50))),
            (&some, SortOrder::Descending, Some(at(30)), None, (at(10), at(30))),
        ] {
            assert_eq!(span(range, order, behind, last), expected, "{order:?} {behind:?} {last:?}");
        }
    }
}
