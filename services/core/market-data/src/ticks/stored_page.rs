//! A page of ticks as a consumer takes it from the stream.

use std::ops::Range;

use events::{
    PageTick, Price, Size, Timestamp,
    tick::{PageHead, read_page, read_page_backwards},
};

use crate::ticks::{
    max_ahead::MaxAhead,
    stored::{MAX_ID_BYTES, StoredTick, TickPosition, TickRefusal},
};

/// The ticks of a page that may be used, and why the others may not.
///
/// What is refused follows from the stream alone, so that every consumer refuses the same ticks. The page allocates a few
/// times, however many ticks it has: the ids stand one behind the other in one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredPage {
    head: PageHead,
    sequence: u64,
    /// The number of ticks, those that are refused included.
    len: usize,
    ids: String,
    ticks: Vec<Entry>,
    refused: Vec<RefusedTick>,
}

/// A tick of the page. Its id begins in `ids` where the one before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    id_start: u32,
    id_end: u32,
    index: u16,
    at: Timestamp,
    price: Price,
    size: Option<Size>,
}

/// A tick of a page that nobody may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedTick {
    /// The index of the tick in its page.
    pub index: u16,
    /// The reason why nobody may use it.
    pub refusal: TickRefusal,
}

impl Entry {
    fn tick<'page>(&self, head: &'page PageHead, sequence: u64, ids: &'page str) -> StoredTick<'page> {
        let PageHead { venue, symbol, kind, source, received_at } = head;
        let &Self { id_start, id_end, index, at, price, size } = self;
        StoredTick {
            venue,
            symbol,
            kind: *kind,
            source: *source,
            received_at: *received_at,
            id: &ids[id_start as usize..id_end as usize],
            at,
            price,
            size,
            position: TickPosition { sequence, index },
        }
    }
}

impl StoredPage {
    /// Reads the body of a page that the broker stored at `stored_at`. Fails where it is no page, or none of 1 to 500 ticks.
    pub fn read(
        body: &[u8],
        sequence: u64,
        stored_at: Timestamp,
        max_ahead: MaxAhead,
    ) -> Result<Self, serde_json::Error> {
        // A tick has about a hundred bytes, a third of which is its id.
        let (mut ids, mut ticks) = (String::with_capacity(body.len() / 3), Vec::with_capacity(body.len() / 90));
        let (mut refused, mut len) = (Vec::new(), 0_u16);
        let head = read_page(body, |tick| {
            let index = len;
            len += 1;
            match tick.map_err(|error| TickRefusal::Malformed(error.to_string())).and_then(|tick| {
                check(&tick, stored_at, max_ahead)?;
                Ok(tick)
            }) {
                Ok(PageTick { id, at, price, size }) => {
                    let id_start = ids.len() as u32;
                    ids.push_str(id);
                    ticks.push(Entry { id_start, id_end: ids.len() as u32, index, at, price, size });
                }
                Err(refusal) => refused.push(RefusedTick { index, refusal }),
            }
        })?;
        Ok(Self { head, sequence, len: len.into(), ids, ticks, refused })
    }

    /// Reads what the ticks of a page have in common, and the time of the last one that may be used; no time where none may. The others
    /// are not looked at.
    pub fn read_last_at(
        body: &[u8],
        stored_at: Timestamp,
        max_ahead: MaxAhead,
    ) -> Result<(PageHead, Option<Timestamp>), serde_json::Error> {
        read_page_backwards(body, |tick| check(&tick, stored_at, max_ahead).is_ok().then_some(tick.at))
    }

    /// Returns what all ticks have in common.
    pub fn head(&self) -> &PageHead {
        &self.head
    }

    /// Returns the number of ticks in the message, those that are refused included.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Returns whether the page has no tick, which none has that was read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Returns the ticks that may be used, in their order.
    pub fn ticks(&self) -> impl ExactSizeIterator<Item = StoredTick<'_>> + Clone {
        let Self { head, sequence, ids, ticks, .. } = self;
        ticks.iter().map(move |entry| entry.tick(head, *sequence, ids))
    }

    /// Returns the ticks that nobody may use.
    pub fn refused(&self) -> &[RefusedTick] {
        &self.refused
    }

    /// Returns the time of the last tick that may be used.
    pub fn last_at(&self) -> Option<Timestamp> {
        self.ticks.last().map(|tick| tick.at)
    }

    /// Drops the ticks for which a condition does not hold.
    pub fn retain(&mut self, mut holds: impl FnMut(StoredTick<'_>) -> bool) {
        let Self { head, sequence, ids, ticks, .. } = self;
        ticks.retain(|entry| holds(entry.tick(head, *sequence, ids)));
    }

    /// Drops the ticks whose index is outside of a range. The others stay what they are.
    pub fn keep(&mut self, indexes: &Range<usize>) {
        self.ticks.retain(|tick| indexes.contains(&tick.index.into()));
        self.refused.retain(|tick| indexes.contains(&tick.index.into()));
    }
}

fn check(tick: &PageTick<&str>, stored_at: Timestamp, max_ahead: MaxAhead) -> Result<(), TickRefusal> {
    if tick.id.is_empty() || tick.id.len() > MAX_ID_BYTES {
        return Err(TickRefusal::IdLength(tick.id.len()));
    }
    if tick.id.chars().any(char::is_control) {
        return Err(TickRefusal::IdCharacter);
    }
    Ok(max_ahead.check(tick.at, stored_at)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORED_AT: &str = "2024-08-11T00:00:00Z";

    fn body(ticks: &[(&str, &str)]) -> String {
        let tick = |(id, at): &(&str, &str)| serde_json::json!({ "id": id, "at": at, "price": "5" }).to_string();
        let ticks: Vec<String> = ticks.iter().map(tick).collect();
        let head =
            r#""venue":"test","symbol":"BTC-USD","kind":"trade","source":"live","received_at":"2024-08-11T00:00:00Z""#;
        format!("{{{head},\"ticks\":[{}]}}", ticks.join(","))
    }

    fn stored_at() -> Timestamp {
        STORED_AT.parse().expect("a time")
    }

    fn read(ticks: &[(&str, &str)]) -> StoredPage {
        StoredPage::read(body(ticks).as_bytes(), 7, stored_at(), MaxAhead::DEFAULT).expect("a page")
    }

    #[test]
    fn a_tick_is_taken_under_its_id_or_refused_with_a_reason() {
        let (longest, too_long) = ("7".repeat(200), "7".repeat(201));
        let page = read(&[
            ("17", STORED_AT),
            (&too_long, STORED_AT),
            ("", STORED_AT),
            (&longest, STORED_AT),
            ("a\0b", STORED_AT),
            ("18", "2099-01-01T00:00:00Z"),
            ("é\"19", STORED_AT),
        ]);
        let taken: Vec<_> = page.ticks().map(|tick| (tick.position.index, tick.id.to_owned())).collect();
        assert_eq!(taken, [(0, "17".to_owned()), (3, longest), (6, "é\"19".to_owned())]);
        let refused: Vec<_> = page.refused().iter().map(|tick| (tick.index, tick.refusal.to_string())).collect();
        assert_eq!(
            refused[..3],
            [
                (1, "its id has 201 bytes; allowed are 1 to 200".to_owned()),
                (2, "its id has 0 bytes; allowed are 1 to 200".to_owned()),
                (4, "its id contains a control character, which is not allowed".to_owned()),
            ]
        );
        assert!(refused[3].0 == 5 && refused[3].1.contains("ahead of the clock"), "{refused:?}");
        assert_eq!((page.len(), refused.len()), (7, 4));
        assert!(page.ticks().all(|tick| tick.position.sequence == 7));
    }

    #[test]
    fn the_time_of_the_last_usable_tick_is_found_without_the_others() {
        let early = "2024-08-10T23:59:59Z";
        for ticks in [
            &[("a", early), ("b", STORED_AT)][..],
            &[("a", early), ("b", "2099-01-01T00:00:00Z"), ("", STORED_AT)],
            &[("a", "2099-01-01T00:00:00Z")],
            &[("a", "2024-08-11T00:00:10Z")],
        ] {
            let page = read(ticks);
            let found = StoredPage::read_last_at(body(ticks).as_bytes(), stored_at(), MaxAhead::DEFAULT);
            assert_eq!(found.expect("a page"), (page.head().clone(), page.last_at()), "{ticks:?}");
        }
    }

    #[test]
    fn a_part_of_a_page_has_the_ticks_that_it_had_at_their_positions() {
        let mut page = read(&[("a", STORED_AT), ("", STORED_AT), ("c", STORED_AT), ("d", STORED_AT)]);
        page.keep(&(1..3));
        assert_eq!(page.ticks().map(|tick| (tick.id, tick.position.index)).collect::<Vec<_>>(), [("c", 2)]);
        assert_eq!((page.refused().len(), page.len()), (1, 4));
        page.keep(&(0..1));
        assert_eq!((page.ticks().len(), page.refused().len(), page.last_at()), (0, 0, None));
    }
}
