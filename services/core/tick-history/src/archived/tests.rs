use std::time::Duration;

use events::{Symbol, Venue};
use object_archive::{
    layout::{DayFolder, MANIFEST, Rows},
    manifest::{Edge, Manifest, Part},
    parquet_part::PartEncoder,
    table::{RowBuffer, TICKS, Value},
    target::Settings,
};
use sha2::{Digest, Sha256};
use store::market::export::Market;
use tempfile::TempDir;

use super::*;

const DAY: i64 = 19_000 * 86_400;

fn second(second: i64) -> Timestamp {
    Timestamp::from_micros((DAY + second) * 1_000_000).expect("a time")
}

/// An archive in a folder, with a day of venues.
struct Archive {
    folder: TempDir,
    days: Vec<DroppedDay>,
}

impl Archive {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), days: Vec::new() }
    }

    fn target(&self) -> Target {
        let url = self.folder.path().to_str().expect("text").to_owned();
        Target::open(&Settings { url, ..Settings::default() }).expect("a target")
    }

    fn reader(&self) -> ArchiveReader {
        ArchiveReader {
            target: self.target(),
            url: "here".into(),
            memory: PartMemory::default(),
            decoders: Decoders::start().expect("threads"),
        }
    }

    /// Writes the parts of a venue, each of which has a tick at each of these seconds, with the number of further ticks that its manifest
    /// states and that are not there.
    async fn write(&mut self, venue: &str, parts: &[(&[i64], u64)]) {
        let (target, instrument) = (self.target(), i32::try_from(self.days.len()).expect("few"));
        let venue = Venue::parse(venue).expect("a venue");
        let symbol = Symbol::parse("BTC-USD").expect("a symbol");
        let market = Market { venue: venue.clone(), symbol: symbol.clone(), instrument };
        let folder = DayFolder { rows: Rows::Ticks, venue, symbol, day: second(0) }.path();
        let mut stated = Vec::new();
        for (number, (seconds, absent)) in parts.iter().enumerate() {
            let bytes = encode(seconds);
            let edge = |at: i64| Edge { at: second(at), position: (at, 0), id: at.to_string() };
            let part = Part {
                name: format!("part-{number}.parquet"),
                rows: seconds.len() as u64 + absent,
                bytes: bytes.len() as u64,
                sha256: Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect(),
                first: edge(seconds[0]),
                last: edge(seconds[seconds.len() - 1]),
            };
            target.put_new(&format!("{folder}/{}", part.name), bytes).await.expect("written");
            stated.push(part);
        }
        let ticks = stated.iter().map(|part| part.rows).sum();
        let manifest = Manifest::of(stated, Vec::new()).expect("parts").to_json();
        target.put_new(&format!("{folder}/{MANIFEST}"), manifest.into()).await.expect("written");
        self.days.push(DroppedDay { market, day: second(0), ticks, archived: ticks });
    }

    fn remove(&self, file: &str) {
        let folder = self.folder.path().join("ticks/venue=few/symbol=BTC-USD");
        let day = std::fs::read_dir(folder).expect("a folder").next().expect("a day").expect("a day");
        std::fs::remove_file(day.path().join(file)).expect("a file");
    }

    /// Reads the seconds of the ticks of a range, in pages of two.
    async fn read(&self, from: i64, until: i64) -> Result<Vec<i64>, HistoryError> {
        let range = (second(from), second(until));
        let mut month = ArchivedMonth::new(self.reader(), self.days.clone(), range, None);
        let mut found = Vec::new();
        while let Some(page) = month.next(2).await? {
            assert!(page.len() <= 2);
            found.extend(page.iter().map(|tick| tick.at.micros() / 1_000_000 - DAY));
        }
        Ok(found)
    }
}

fn encode(seconds: &[i64]) -> bytes::Bytes {
    let mut rows = RowBuffer::new(&TICKS);
    for number in seconds {
        let (at, id) = (Value::Time(second(*number)), number.to_string());
        rows.push([
            at,
            Value::Integer(*number),
            Value::Integer(0),
            Value::Decimal(Some(10_i128.pow(18))),
            Value::Decimal(None),
            Value::Text(Some(&id)),
            Value::Text(Some("trade")),
            Value::Text(Some("file")),
            at,
            Value::Integer(2),
            Value::Integer(0),
        ]);
    }
    let mut encoder = PartEncoder::new(&TICKS).expect("a part");
    encoder.append(&rows).expect("a group");
    encoder.finish().expect("bytes")
}

#[tokio::test]
async fn parts_of_several_venues_are_merged_by_time() {
    let mut archive = Archive::new();
    archive.write("few", &[(&[1, 4, 5, 9], 0), (&[2, 6], 0)]).await;
    archive.write("other", &[(&[3, 4, 8], 0)]).await;
    assert_eq!(archive.read(0, 86_400).await.expect("ticks"), [1, 2, 3, 4, 4, 5, 6, 8, 9]);
    assert_eq!(archive.read(4, 8).await.expect("ticks"), [4, 4, 5, 6]);
    assert!(archive.read(10, 20).await.expect("ticks").is_empty());
    assert!(archive.read(0, 1).await.expect("ticks").is_empty());
}

#[tokio::test]
async fn parts_without_a_tick_of_the_range_are_not_read() {
    let mut archive = Archive::new();
    archive.write("few", &[(&[1, 3], 0), (&[4, 6], 0), (&[7, 9], 0)]).await;
    archive.remove("part-0.parquet");
    archive.remove("part-2.parquet");
    assert_eq!(archive.read(4, 7).await.expect("ticks"), [4, 6]);
    for (from, until) in [(3, 7), (4, 8)] {
        let refused = archive.read(from, until).await.expect_err("a part that is wanted");
        assert!(matches!(refused, HistoryError::Damaged(_)), "{refused}");
    }
}

#[tokio::test]
async fn a_day_is_read_no_further_than_the_range() {
    let mut archive = Archive::new();
    let many: Vec<i64> = (0..3_000).collect();
    // Whoever reads this part to its end learns that it is not whole.
    archive.write("few", &[(&many, 1)]).await;
    assert_eq!(archive.read(10, 14).await.expect("ticks"), [10, 11, 12, 13]);
    assert!(archive.read(10, 3_000).await.is_err());
}

#[tokio::test]
async fn readers_share_the_memory_for_parts_and_wait_for_each_other() {
    let mut archive = Archive::new();
    archive.write("few", &[(&[1, 3], 0), (&[4, 6], 0)]).await;
    archive.write("other", &[(&[2, 5], 0)]).await;
    let two_open = 2 * memory::of_part(&part((0, 0), 2, 2_000));
    let reader = ArchiveReader { memory: PartMemory::of(two_open + two_open / 2), ..archive.reader() };
    let month = || ArchivedMonth::new(reader.clone(), archive.days.clone(), (second(0), second(9)), None);
    let (mut first, mut other) = (month(), month());
    assert_eq!(first.next(2).await.expect("ticks").map(|page| page.len()), Some(2));
    let mut waiting = Box::pin(other.next(9));
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut waiting).await.is_err(), "the first has it");
    while first.next(2).await.expect("ticks").is_some() {}
    assert_eq!(waiting.await.expect("ticks").map(|page| page.len()), Some(6));
}

#[tokio::test]
async fn a_day_that_needs_more_memory_than_there_is_is_refused() {
    let mut archive = Archive::new();
    archive.write("few", &[(&[1, 3], 0)]).await;
    archive.write("other", &[(&[2, 5], 0)]).await;
    let one_open = memory::of_part(&part((0, 0), 2, 2_000));
    let reader = ArchiveReader { memory: PartMemory::of(one_open + one_open / 2), ..archive.reader() };
    let read = async |until| {
        let range = (second(0), second(until));
        ArchivedMonth::new(reader.clone(), archive.days.clone(), range, None).next(9).await
    };
    assert_eq!(read(2).await.expect("one of them").map(|page| page.len()), Some(1));
    let refused = read(6).await.map(|_| ()).expect_err("both");
    assert!(matches!(refused, HistoryError::TooWide { markets: 2, .. }), "{refused}");
}

fn part((from, until): (i64, i64), rows: u64, bytes: u64) -> Part {
    let edge = |at: i64| Edge { at: second(at), position: (at, 0), id: at.to_string() };
    Part { name: String::new(), rows, bytes, sha256: String::new(), first: edge(from), last: edge(until) }
}

#[test]
fn a_day_needs_the_memory_of_the_parts_that_are_open_at_once() {
    let (small, large) = (part((0, 3), 10, 1_000), part((0, 3), 9_000_000, 100 << 20));
    assert!(memory::of_part(&small) < 1 << 20 && memory::of_part(&large) < 16 << 20);
    for (spans, at_once) in [
        (&[][..], 0),
        (&[(0, 3)], 1),
        (&[(0, 3), (4, 6), (7, 9)], 1),
        (&[(0, 3), (3, 6), (7, 9)], 2),
        (&[(0, 9), (1, 2), (3, 4), (4, 5), (8, 10)], 3),
        (&[(4, 5), (0, 9), (5, 6), (5, 7)], 4),
    ] {
        let parts: Vec<Part> = spans.iter().map(|span| part(*span, 9_000_000, 100 << 20)).collect();
        assert_eq!(memory::of_day(parts.iter()), at_once * memory::of_part(&large), "{spans:?}");
    }
}

#[tokio::test]
async fn what_the_archive_has_lost_is_another_error_than_what_it_never_had() {
    let mut archive = Archive::new();
    archive.write("few", &[(&[1, 3], 0)]).await;
    archive.remove(MANIFEST);
    let lost = archive.read(0, 9).await.expect_err("it had them");
    assert!(matches!(&lost, HistoryError::Lost { why, .. } if why.contains("none of the 2 ticks")), "{lost}");
    // It had one tick when the database dropped two.
    archive.days[0].archived = 1;
    let missing = archive.read(0, 9).await.expect_err("it never had them all");
    assert!(matches!(missing, HistoryError::Missing { from, .. } if from == second(0)), "{missing}");
}
