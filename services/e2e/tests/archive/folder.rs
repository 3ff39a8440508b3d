//! Exports to a folder and to standard output, and the downloads of the API.

use std::{fs, process::Stdio, time::Duration};

use e2e::{Database, System, process::send, wait_until};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use crate::{DAY, FILE, TRADES, few, few_with, judge, late_tick, manifest, marked, parts, recorded, said, shared};

/// The folder of the day's candles of a minute.
const CANDLES: &str = "candles/venue=recorded/symbol=SPY/interval=1m/date=2013-10-07";

#[tokio::test]
async fn a_recorded_day_is_exported_exactly() {
    let mut system = recorded().await;
    let folder = system.home().join("archive");
    let output = folder.to_str().expect("text").to_owned();
    let export = ["export", "ticks", "--output", output.as_str()];
    let began = Instant::now();
    let first = system.run(&export).await;
    let took = began.elapsed();
    assert_eq!((said(&first, "rows"), said(&first, "parts"), said(&first, "gaps")), (TRADES as u64, 1, 0));
    let sums = judge(&system, &folder.join("ticks"));
    let gz = fs::metadata(shared().join(FILE)).expect("the file").len();
    let per_second = TRADES as u128 * 1_000 / took.as_millis();
    eprintln!(
        "{TRADES} ticks are {} bytes as Parquet (with ids and positions) and {gz} as CSV.gz (without): {per_second} ticks/s; {sums}",
        said(&first, "bytes"),
    );
    let stated = manifest(&folder.join(DAY));
    assert_eq!((&stated["rows"], stated["parts"].as_array().map(Vec::len)), (&serde_json::json!(TRADES), Some(1)));

    // The archiver writes candles of a minute as well, so they are compared unless somebody asks for ticks only.
    let export_candles = ["export", "candles", "--interval", "1m", "--output", output.as_str()];
    let verify_only = async |system: &System, rows: &str| {
        let verify = system.run(&["archive", "verify", "--archive", &output, "--only", rows]).await;
        (verify.status.code(), String::from_utf8_lossy(&verify.stdout).into_owned())
    };
    let without_candles = system.run(&["archive", "verify", "--archive", &output]).await;
    assert_eq!(without_candles.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&without_candles.stdout).contains(&format!("{CANDLES}: is not archived")));
    assert_eq!(verify_only(&system, "ticks").await.0, Some(0));
    assert!(said(&system.run(&export_candles).await, "rows") > 300, "a candle of each minute");

    // A run that is repeated writes nothing.
    let written = |system: &System| {
        let find = std::process::Command::new("find")
            .arg(system.home().join("archive"))
            .args(["-printf", "%p %T@\n"])
            .output();
        find.expect("find runs").stdout
    };
    let before = written(&system);
    let again = system.run(&export).await;
    assert_eq!((said(&again, "rows"), said(&again, "bytes"), said(&again, "already_there")), (0, 0, TRADES as u64));
    assert_eq!(before, written(&system));
    let verify = system.run(&["archive", "verify", "--archive", &output]).await;
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));

    // A late tick makes a further part, and nothing else.
    late_tick(&system, crate::VENUE, "SPY", "2013-10-07T15:00:00.123456Z").await;
    let verify = system.run(&["archive", "verify", "--archive", &output]).await;
    assert_eq!(verify.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verify.stdout).contains("rows of 250601, the database 250602"));
    let (status, text) = verify_only(&system, "candles").await;
    assert!(status == Some(1) && text.contains(&format!("{CANDLES}: the archive has trades of 250601")), "{text}");
    assert_eq!(said(&system.run(&export_candles).await, "rows"), 1, "the candle of the late tick");
    let late = system.run(&export).await;
    assert_eq!((said(&late, "rows"), said(&late, "parts")), (1, 1));
    let names = parts(&folder.join(DAY));
    assert!(names.len() == 2 && names.iter().any(|name| name.ends_with("-r2.parquet")), "{names:?}");
    judge(&system, &folder.join("ticks"));
    let verify = system.run(&["archive", "verify", "--archive", &output]).await;
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));

    // A file that was changed is found by its digest.
    let part = folder.join(DAY).join(&names[0]);
    let mut bytes = fs::read(&part).expect("a part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes).expect("written");
    let verify = system.run(&["archive", "verify", "--archive", &output]).await;
    assert!(verify.status.code() == Some(1) && String::from_utf8_lossy(&verify.stdout).contains("SHA-256"));
    system.stop().await;
}

/// The lines of the database as the CSV has them.
const LINES: &str =
    "COPY (SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'), venue, symbol, price, size
    FROM ticks JOIN instruments ON instruments.id = instrument_id ORDER BY at, sequence, index) TO STDOUT (FORMAT csv)";

fn first_columns(csv: &str) -> String {
    let line = |line: &str| line.split(',').take(5).collect::<Vec<_>>().join(",");
    csv.lines().skip(1).map(line).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn text_has_every_tick_and_can_be_published_again() {
    let mut system = recorded().await;
    let expected = Database::of(&system).value(LINES);
    let csv = system.run(&["export", "ticks", "--format", "csv", "--output", "-"]).await;
    let text = String::from_utf8(csv.stdout).expect("UTF-8");
    assert!(text.starts_with("time,venue,symbol,price,size,id,kind,source,received_at,stream_sequence,stream_index\n"));
    assert!(first_columns(&text) == expected, "the export differs from the database");
    let ndjson = system.run(&["export", "ticks", "--format", "ndjson", "--output", "-"]).await.stdout;
    assert_eq!(String::from_utf8_lossy(&ndjson).lines().count(), TRADES);

    let api = system.api.get("/v1/prices/SPY/history.csv").await.expect_status(200);
    assert!(api.text == text, "the API's file differs from the export");
    let part = system.api.get("/v1/prices/SPY/history.csv?from=2013-10-07T15:00:00Z&to=2013-10-07T15:01:00Z").await;
    let wanted = Database::of(&system)
        .value("SELECT count(*) FROM ticks WHERE at >= '2013-10-07T15:00:00Z' AND at < '2013-10-07T15:01:00Z'");
    assert_eq!((part.text.lines().count() - 1).to_string(), wanted);
    let candles = system.api.get("/v1/prices/SPY/candles.csv?interval=1m").await.expect_status(200);
    let exported = system.run(&["export", "candles", "--interval", "1m", "--output", "-"]).await.stdout;
    assert_eq!(candles.text, String::from_utf8(exported).expect("UTF-8"));
    system.api.get("/v1/prices/NO/history.csv").await.expect_status(404);
    system.api.get("/v1/prices/SPY/candles.csv").await.expect_status(422);

    // What was exported is what was published: each trade has the id that it had.
    let before = Database::of(&system).value("SELECT count(*) FROM ticks");
    fs::write(system.home().join("again.csv"), &text).expect("a file");
    system.ingest_file(&system.home().join("again.csv"), crate::VENUE).await;
    system.wait_until_processed().await;
    assert_eq!(Database::of(&system).value("SELECT count(*) FROM ticks"), before);
    system.stop().await;
}

/// Whether a moment has come, by the names of the files in a folder.
type HasCome<'test> = &'test dyn Fn(&[String]) -> bool;

#[tokio::test]
async fn a_crash_leaves_no_half_file_and_the_next_run_completes_the_day() {
    let mut system = recorded().await;
    let folder = system.home().join("archive");
    let output = folder.to_str().expect("text").to_owned();
    let day = folder.join(DAY);
    let state = || {
        let names = fs::read_dir(&day).into_iter().flatten().flatten().map(|entry| entry.file_name());
        let mut names: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    // Ends it at each of what can be seen from outside: nothing, a file that is being written, a part without its manifest.
    let is = |names: &[String], what: &str| names.iter().any(|name| name.starts_with(what));
    let moments: [(&str, HasCome<'_>); 3] = [
        ("before it writes", &|_| true),
        ("while it writes", &|names| is(names, ".writing-")),
        ("behind a part", &|names| is(names, "part-")),
    ];
    for (moment, has_come) in moments {
        let mut command = system.tickbell();
        command.args(["export", "ticks", "--output", &output]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut export = command.spawn().expect("it starts");
        wait_until(moment, Duration::from_secs(60), async || {
            let has_ended = export.try_wait().expect("it is our child").is_some();
            (has_ended || has_come(&state())).then_some(())
        })
        .await;
        send(export.id(), Signal::SIGKILL);
        export.wait().expect("it ends");
        for name in state().iter().filter(|name| name.starts_with("part-")) {
            let bytes = fs::read(day.join(name)).expect("a part");
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{moment}: {name} is half a file");
        }
    }
    // A part whose manifest was never written, by hand.
    let done = system.run(&["export", "ticks", "--output", &output]).await;
    assert_eq!(said(&done, "rows") + said(&done, "already_there"), TRADES as u64);
    fs::remove_file(day.join("_manifest.json")).expect("a manifest");
    let again = system.run(&["export", "ticks", "--output", &output]).await;
    assert_eq!((said(&again, "rows"), said(&again, "already_there")), (0, TRADES as u64));
    judge(&system, &folder);
    assert_eq!(manifest(&day)["rows"], TRADES);
    system.stop().await;
}

#[tokio::test]
async fn what_cannot_be_written_is_said() {
    let mut system = few().await;
    let cases: [(&[&str], i32, &str); 5] = [
        (&["--output", "gs://a/b"], 1, "gs:// is not supported"),
        (&["--output", "s3://"], 1, "there is no name of a bucket"),
        (&["--output", "/proc/archive"], 1, "/proc/archive"),
        (&["--output", "-", "--format", "parquet"], 64, "Parquet is not written to standard output"),
        (
            &["--output", "-", "--from", "2018-04-06T00:00:00Z", "--to", "2018-04-05T00:00:00Z"],
            64,
            "give the earlier time first",
        ),
    ];
    for (arguments, status, words) in cases {
        let output = system.run(&[&["export", "ticks"][..], arguments].concat()).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(status) && said.contains(words),
            "{arguments:?}: {} {said}",
            output.status
        );
    }
    // A history-writer that waits for an archive must know which.
    let mut without = system.tickbell();
    let without = without.arg("history-writer").env("TICKBELL_HISTORY__ARCHIVE", "required").output().expect("it runs");
    let text = String::from_utf8_lossy(&without.stderr).into_owned();
    assert!(without.status.code() == Some(64) && text.contains("archive.url is empty"), "{}: {text}", without.status);
    // Text is written to a folder too, whole days under the same names; other rows of that day are refused.
    let folder = system.home().join("text");
    let output = folder.to_str().expect("text");
    let export = ["export", "ticks", "--format", "csv", "--output", output];
    let first = system.run(&export).await;
    assert_eq!((said(&first, "rows"), said(&first, "parts")), (600, 1));
    assert_eq!(said(&system.run(&export).await, "rows"), 0);
    late_tick(&system, "few", "BTC-USD", "2018-04-05T13:00:00.6Z").await;
    let other = system.run(&export).await;
    let said = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(other.status.code() == Some(1) && said.contains("holds other rows already"), "{said}");
    system.stop().await;
}

#[tokio::test]
async fn a_month_is_dropped_only_when_it_is_archived() {
    let settings = [("TICKBELL_HISTORY__RETENTION_DAYS", "1"), ("TICKBELL_HISTORY__ARCHIVE", "required")];
    let mut system = few_with(&settings).await;
    let limit = Duration::from_secs(60);
    let folder = system.home().join("archive");
    let url = folder.to_str().expect("text").to_owned();
    system.configure([("TICKBELL_ARCHIVE__URL", url.clone())]);
    // The history-writer looks for old months when it starts, and then every hour.
    system.stop().await;
    system.up().await;
    wait_until("the month waits", limit, async || is_waiting(&system).await.then_some(())).await;
    assert_eq!(Database::of(&system).value("SELECT count(*) FROM ticks"), "600");

    let archiver = crate::archiver(&system, &url);
    wait_until("the day is archived", limit, async || (marked(&system) == "600").then_some(())).await;
    judge(&system, &folder.join("ticks"));

    // A file is not the one that was written: whoever compares it takes back that the day is archived.
    let day = folder.join("ticks/venue=few/symbol=BTC-USD/date=2018-04-05");
    let part = day.join(&parts(&day)[0]);
    let mut bytes = fs::read(&part).expect("a part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&part, bytes).expect("written");
    archiver.stop(Signal::SIGTERM).await;
    let verify = system.run(&["archive", "verify", "--archive", url.as_str()]).await;
    let text = String::from_utf8_lossy(&verify.stdout).into_owned();
    assert!(verify.status.code() == Some(1) && text.contains("SHA-256"), "{text}");
    assert_eq!(marked(&system), "0");
    system.stop().await;
    system.up().await;
    wait_until("the month waits", limit, async || is_waiting(&system).await.then_some(())).await;

    // It is repaired as RUNBOOK.md says.
    fs::remove_dir_all(&day).expect("the day");
    let archiver = crate::archiver(&system, &url);
    wait_until("the day is archived", limit, async || (marked(&system) == "600").then_some(())).await;
    archiver.stop(Signal::SIGTERM).await;

    // Where the archive is moved, what the old one has does not count.
    system.configure([("TICKBELL_ARCHIVE__URL", format!("{url}-moved"))]);
    system.stop().await;
    system.up().await;
    wait_until("the month waits", limit, async || is_waiting(&system).await.then_some(())).await;
    assert_eq!(Database::of(&system).value("SELECT count(*) FROM ticks"), "600");

    system.configure([("TICKBELL_ARCHIVE__URL", url)]);
    system.stop().await;
    system.up().await;
    wait_until("the month is dropped", limit, async || {
        (Database::of(&system).value("SELECT count(*) FROM dropped_tick_months") == "1").then_some(())
    })
    .await;
    assert_eq!(Database::of(&system).value("SELECT count(*) FROM ticks"), "0");
    system.stop().await;
}

/// Whether the history-writer has found a month that the archive lacks.
async fn is_waiting(system: &System) -> bool {
    let metrics = system.api.get("/metrics").await.text;
    metrics.lines().any(|line| line == "tickbell_history_months_waiting_for_archive 1")
}
