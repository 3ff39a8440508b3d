//! Recorded files as people have them: one per day, published twice, rotated, extended, damaged, and those of vendors.

use e2e::{System, tape};
use serde_json::Value;

/// Publishes a file under the venue `test`, and returns the exit status and the last line that the ingestor prints: a summary,
/// or the error that ended it.
async fn ingest(system: &System, name: &str, text: &[u8], options: &[&str]) -> (Option<i32>, String) {
    let file = system.home().join(name);
    std::fs::write(&file, text).expect("a file");
    let source = format!("file:{}", file.display());
    let arguments = ["price-ingestor", "--source", &source, "--venue", "test"];
    let output = system.run(&[&arguments, options].concat()).await;
    let printed = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), printed.lines().last().unwrap_or_default().to_owned())
}

/// Publishes lines of a symbol and waits for the history; returns how many were published, refused, and new to it.
async fn summary(system: &System, name: &str, text: &str) -> [u64; 3] {
    let (status, last) = ingest(system, name, text.as_bytes(), &["--wait"]).await;
    assert_eq!(status, Some(0), "{last}");
    let summary: Value = serde_json::from_str(&last).expect("a summary");
    ["published", "refused", "new"].map(|field| summary[field].as_u64().expect("a count"))
}

fn seconds(symbol: &str, seconds: std::ops::Range<u32>) -> String {
    // Of each second two equal trades, and one of another price.
    let times = seconds.map(|second| format!("00:{:02}:{:02}", second / 60, second % 60)).collect::<Vec<_>>();
    let rows = times.iter().flat_map(|time| ["10", "10", "11"].map(|price| (time.as_str(), price)));
    tape::csv(symbol, &rows.collect::<Vec<_>>())
}

#[tokio::test]
async fn a_file_gives_each_trade_once_however_it_is_cut() {
    let mut system = System::start().await;
    let stored = async || system.api.history("DAY-USD", "asc", 1_000).await.len();
    assert_eq!(summary(&system, "day1.csv", &seconds("DAY-USD", 0..10)).await, [30, 0, 30]);
    assert_eq!(summary(&system, "day2.csv", &seconds("DAY-USD", 10..20)).await, [30, 0, 30], "another day");
    assert_eq!(summary(&system, "again.csv", &seconds("DAY-USD", 0..10)).await, [30, 0, 0], "the same file");
    assert_eq!(summary(&system, "extended.csv", &seconds("DAY-USD", 0..25)).await, [75, 0, 15], "the whole file later");
    assert_eq!(
        summary(&system, "rotated.csv", &seconds("DAY-USD", 15..30)).await,
        [45, 0, 15],
        "its end in another file"
    );
    assert_eq!(stored().await, 90);
    let volume: rust_decimal::Decimal =
        system.api.candles("DAY-USD", "1h").await.iter().map(|candle| candle.volume).sum();
    assert_eq!(volume, 90.into());
    system.stop().await;
}

#[tokio::test]
async fn what_is_read_as_nothing_is_an_error_and_what_is_refused_is_counted() {
    let mut system = System::start().await;
    for (text, why) in [
        ("time,symbol,price\nbad\n", "none of its 1 lines was accepted; the first of them, line 2: "),
        ("time,symbol,price\n", "it has a header and no lines below it"),
        ("time,symbol,price\n2099-01-01T00:00:00Z,SPY,1\n", "ahead of the clock"),
        ("when,price\n", "--columns time=NAME"),
        ("", "the file has no lines"),
    ] {
        let (status, last) = ingest(&system, "bad.csv", text.as_bytes(), &[]).await;
        assert_eq!(status, Some(1), "{last}");
        assert!(last.starts_with("tickbell: ") && last.contains(why), "{last}");
    }
    let some = "time,symbol,price,size\r2018-04-05T00:00:00Z,CR-USD,1,1,\rbad\r2099-01-01T00:00:00Z,CR-USD,1,1\n\
                2018-04-05T00:00:01Z,CR-USD,0.00004841587973576128,1\r\n";
    assert_eq!(summary(&system, "some.csv", some).await, [2, 2, 2]);
    let prices: Vec<_> =
        system.api.history("CR-USD", "asc", 9).await.iter().map(|tick| tick.price.to_string()).collect();
    assert_eq!(prices, ["1", "0.000048415879735761"]);

    let newest_first: String =
        (0..30).rev().map(|second| format!("2018-04-05T00:00:{second:02}Z,NEW-USD,{second}1\n")).collect();
    let newest_first = format!("time,symbol,price\n{newest_first}");
    let (status, last) = ingest(&system, "new.csv", newest_first.as_bytes(), &[]).await;
    assert!(status == Some(1) && last.contains("--newest-first"), "{last}");
    let (status, last) = ingest(&system, "new.csv", newest_first.as_bytes(), &["--newest-first", "--wait"]).await;
    assert_eq!(status, Some(0), "{last}");
    let order: Vec<_> =
        system.api.history("NEW-USD", "asc", 100).await.iter().map(|tick| tick.price.to_string()).collect();
    assert_eq!((order.len(), order[0].as_str(), order[29].as_str()), (30, "1", "291"));

    let binance = b"26129,0.01633102,4.70443515,27781,27781,1735689600010866,True,True\n";
    let options = ["--format", "binance-aggtrades", "--symbol", "BNB-BTC", "--wait"];
    let (status, last) = ingest(&system, "BNBBTC-aggTrades-2025-01-01.csv", binance, &options).await;
    assert_eq!(status, Some(0), "{last}");
    let stored = system.api.history("BNB-BTC", "asc", 9).await;
    assert_eq!((stored[0].trade_id.as_str(), stored[0].at.as_str()), ("26129", "2025-01-01T00:00:00.010866Z"));
    system.stop().await;
}
