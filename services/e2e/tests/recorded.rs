//! Recorded days through the whole system, against an independent implementation's results: `expected.md` beside the
//! recordings, in the folder that `TICKBELL_SHARED` names, by default `../shared` of the clone.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use e2e::{Alert, Firing, System, process::use_release_build};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// A row of a table: what its columns hold, by their names.
type Row = BTreeMap<String, String>;

fn shared() -> PathBuf {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the root of the clone");
    std::env::var_os("TICKBELL_SHARED").map_or_else(|| clone.join("../shared"), PathBuf::from)
}

/// The rows of the table under a heading.
fn table(heading: &str) -> Vec<Row> {
    let file = shared().join("spec/expected.md");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let (_, section) = text.split_once(&format!("## {heading}\n")).expect("the heading");
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let mut lines = section.lines().take_while(|line| line.starts_with('|'));
    let names = cells(lines.next().expect("a header"));
    let rows = lines.skip(1).map(|line| names.iter().cloned().zip(cells(line)).collect());
    rows.collect()
}

/// `change 2 % any since anchor`, `price above 6800`; and what is under "more".
fn rule(row: &Row) -> Value {
    let words: Vec<&str> = row["condition"].split(' ').collect();
    let condition = match words.as_slice() {
        ["change", percent, "%", direction, "since", since] => {
            json!({ "change": { "percent": percent, "direction": direction, "since": since } })
        }
        ["price", side, limit] => json!({ "price": { *side: limit } }),
        other => panic!("a condition like none before: {other:?}"),
    };
    let mut rule = json!({ "symbol": row["symbol"], "condition": condition });
    if let Some((name, value)) = row["more"].split_once(' ') {
        rule[name] = value.into();
    }
    rule
}

/// `13:45:00 at 6804.91 (+2.2065)`, with the price and the change as numbers.
fn shown(firing: &Firing) -> (String, Decimal, Option<Decimal>) {
    (firing.fired_at[11..19].to_owned(), firing.price, firing.change_percent)
}

fn read(cell: &str) -> (String, Decimal, Option<Decimal>) {
    let number = |text: &str| text.trim_start_matches('+').parse::<Decimal>().expect("a number");
    let (time, rest) = cell.split_once(" at ").expect("a firing");
    let (price, change) = rest.split_once(" (").map_or((rest, None), |(price, change)| (price, Some(change)));
    (time.to_owned(), number(price), change.map(|change| number(change.trim_end_matches(')'))))
}

/// The table counts suppressed firings by themselves.
async fn assert_fired(system: &System, alert: &Alert, row: &Row) {
    let firings = system.api.firings(alert).await;
    let (notified, suppressed): (Vec<&Firing>, Vec<&Firing>) =
        firings.iter().partition(|firing| firing.suppressed.is_none());
    let counts = (notified.len().to_string(), suppressed.len().to_string());
    assert_eq!(counts, (row["firings"].clone(), row["suppressed"].clone()), "{row:?}");
    if let (Some(first), Some(last)) = (firings.first(), firings.last()) {
        assert_eq!((shown(first), shown(last)), (read(&row["first"]), read(&row["last"])), "{row:?}");
    }
}

async fn assert_candles(system: &System, date: &str, row: &Row) {
    let candles = system.api.candles(&row["symbol"], &format!("{}&limit=1000", row["interval"])).await;
    assert_eq!(candles.len().to_string(), row["candles"], "{row:?}");
    let start = format!("{date}T{}.000000Z", row["one of them: start"]);
    let candle = candles.iter().find(|candle| candle.start == start).expect("the candle");
    let number = |column: &str| row[column].parse::<Decimal>().expect("a number");
    let got = (candle.open, candle.high, candle.low, candle.close, candle.volume, candle.trades.to_string());
    let wanted = (number("open"), number("high"), number("low"), number("close"), number("volume"));
    assert_eq!(got, (wanted.0, wanted.1, wanted.2, wanted.3, wanted.4, row["trades"].clone()), "{row:?}");
}

/// All rows of both tables about one file.
async fn assert_as_expected(file: &str) {
    let of_file = |heading| table(heading).into_iter().filter(|row| row["file"] == file).collect::<Vec<_>>();
    let (rules, candles) = (of_file("Firings"), of_file("Candles"));
    assert!(!rules.is_empty(), "expected.md says nothing about {file}");
    use_release_build();
    let mut system = System::start().await;
    let mut alerts = Vec::new();
    for row in &rules {
        alerts.push(system.api.subscribe(rule(row)).await);
    }
    system.wait_until_processed().await;
    system.ingest_file(&shared().join("data").join(file), "recorded").await;
    system.wait_until_processed().await;
    let mut notified = 0;
    for (alert, row) in alerts.iter().zip(&rules) {
        assert_fired(&system, alert, row).await;
        notified += row["firings"].parse::<usize>().expect("a number");
    }
    assert_eq!(system.mails().len(), notified, "one mail for each firing that is not suppressed");
    let name = file.split('.').next().expect("a name");
    for row in &candles {
        assert_candles(&system, &name[name.len() - 10..], row).await;
    }
    system.stop().await;
}

#[tokio::test]
async fn minutes_of_four_coins_fire_as_expected() {
    assert_as_expected("crypto-2018-04-05.csv").await;
}

#[tokio::test]
async fn seconds_of_bitcoin_fire_as_expected() {
    assert_as_expected("btc-usd-seconds-2016-10-07.csv").await;
}

#[tokio::test]
async fn trades_of_a_share_fire_as_expected() {
    assert_as_expected("spy-trades-2013-10-07.csv.gz").await;
}
