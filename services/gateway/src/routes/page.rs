//! Pages of lists.

use serde::Serialize;
use utoipa::ToSchema;

use crate::request::cursor::{CursorKey, ListCursor};

/// A page of a list.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// The cursor of the next page; null on the last page.
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of at most `limit` items from up to `limit + 1` rows, with a cursor when a row is left over.
    pub(crate) fn new<R: Into<T>, K: CursorKey, const LIST: char>(
        mut rows: Vec<R>,
        limit: u16,
        cursor_behind: impl Fn(&R) -> ListCursor<K, LIST>,
    ) -> Self {
        let has_more = rows.len() > usize::from(limit);
        rows.truncate(usize::from(limit));
        let next_cursor = rows.last().filter(|_| has_more).map(|last| cursor_behind(last).encode());
        Self { items: rows.into_iter().map(R::into).collect(), next_cursor }
    }

    /// Makes a page of all of these rows, of which there is at least one, with a cursor: there are more.
    pub(crate) fn cut_short<R: Into<T>, K: CursorKey, const LIST: char>(
        rows: Vec<R>,
        cursor_behind: impl Fn(&R) -> ListCursor<K, LIST>,
    ) -> Self {
        let next_cursor = rows.last().map(|last| cursor_behind(last).encode());
        Self { items: rows.into_iter().map(R::into).collect(), next_cursor }
    }

    /// Makes the one page of a list that is always answered as a whole.
    pub(crate) fn whole<R: Into<T>>(rows: Vec<R>) -> Self {
        Self { items: rows.into_iter().map(R::into).collect(), next_cursor: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::cursor::FiringCursor;

    #[test]
    fn a_page_ends_with_a_cursor_only_when_there_is_more() {
        let cursor = |number: &i64| -> FiringCursor { ListCursor(*number) };
        let page = |rows: Vec<i64>| {
            let Page { items, next_cursor } = Page::<i64>::new(rows, 2, cursor);
            (items, next_cursor)
        };
        assert_eq!(page(vec![3, 2, 1]), (vec![3, 2], Some(cursor(&2).encode())));
        assert_eq!(page(vec![2, 1]), (vec![2, 1], None));
        assert_eq!(page(vec![]), (vec![], None));
        let cut = Page::<i64>::cut_short(vec![3], cursor);
        assert_eq!((cut.items, cut.next_cursor), (vec![3], Some(cursor(&3).encode())));
    }
}
