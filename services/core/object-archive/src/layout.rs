//! Where things are: Hive folders, which engines read as columns, and names that say which rows a part holds.

use events::{Interval, Symbol, Timestamp, Venue};

/// The name of the file that states what the parts beside it hold. Engines skip names that begin with an underscore.
pub const MANIFEST: &str = "_manifest.json";

/// What the rows of a folder are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// Every tick once.
    Ticks,
    /// Candles of one interval; of one that was corrected, each revision.
    Candles(Interval),
}

/// The folder of one day of one market.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayFolder {
    /// The kind of its rows.
    pub rows: Rows,
    /// The venue of its market.
    pub venue: Venue,
    /// The symbol of its market.
    pub symbol: Symbol,
    /// Any time of the day in UTC.
    pub day: Timestamp,
}

impl DayFolder {
    /// Returns the day as it stands in the path, like `2013-10-07`.
    pub fn date(&self) -> String {
        String::from_utf8_lossy(&self.day.to_text()[..10]).into_owned()
    }

    /// Returns the path of the folder, without a slash at its end. Venues and symbols are good names of folders as they stand.
    pub fn path(&self) -> String {
        let Self { venue, symbol, .. } = self;
        let date = self.date();
        match self.rows {
            Rows::Ticks => format!("ticks/venue={venue}/symbol={symbol}/date={date}"),
            Rows::Candles(interval) => {
                format!("candles/venue={venue}/symbol={symbol}/interval={interval}/date={date}")
            }
        }
    }
}

/// Returns the name of a part by the first and the last number of its rows. The first parts of a day have no revision; each later
/// run that finds rows which no part has makes the next.
pub fn part_name(first: u64, last: u64, revision: u32, ending: &str) -> String {
    match revision {
        1 => format!("part-{first}-{last}.{ending}"),
        _ => format!("part-{first}-{last}-r{revision}.{ending}"),
    }
}

/// Returns the revision of a part, by its name; none of what is no part with this ending.
pub fn revision(name: &str, ending: &str) -> Option<u32> {
    let numbers = name.strip_prefix("part-")?.strip_suffix(ending)?.strip_suffix('.')?;
    let mut numbers = numbers.split('-');
    let is_number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).is_some();
    if !is_number(numbers.next()) || !is_number(numbers.next()) {
        return None;
    }
    let revision = numbers.next().map_or(Some(1), |text| text.strip_prefix('r')?.parse().ok());
    revision.filter(|_| numbers.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_what_is_in_it() {
        let folder = |rows| DayFolder {
            rows,
            venue: Venue::parse("coinbase").expect("a venue"),
            symbol: Symbol::parse("BRK.B").expect("a symbol"),
            day: "2026-11-27T23:59:59Z".parse().expect("a time"),
        };
        assert_eq!(folder(Rows::Ticks).path(), "ticks/venue=coinbase/symbol=BRK.B/date=2026-11-27");
        assert_eq!(
            folder(Rows::Candles(Interval::Minute)).path(),
            "candles/venue=coinbase/symbol=BRK.B/interval=1m/date=2026-11-27"
        );
    }

    #[test]
    fn the_name_of_a_part_has_its_revision() {
        for (name, found) in [
            (part_name(1, 9, 1, "parquet"), Some(1)),
            (part_name(1, 9, 2, "parquet"), Some(2)),
            (part_name(1, 9, 1, "csv"), None),
            ("part-1-9-r2-x.parquet".into(), None),
            ("part-1.parquet".into(), None),
            ("part-a-9.parquet".into(), None),
            (MANIFEST.into(), None),
        ] {
            assert_eq!(revision(&name, "parquet"), found, "{name}");
        }
    }
}
