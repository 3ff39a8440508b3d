//! Downloads of ticks that the database has dropped.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use e2e::{Database, Process, System, process::use_complete_build, wait_until};
use events::Period;
use nix::sys::signal::Signal;
use platform::clock;
use reqwest::Method;
use tokio::{net::TcpListener, process::Command, task::JoinHandle};

use crate::{TRADES, late_tick, object_store::ObjectStore, recorded, said};

const WORK: Duration = Duration::from_secs(120);
/// More than a page of the API, so that an answer has begun when its second part is read.
const TICKS_OF_MARCH: u32 = 6_000;
const TICKS_OF_APRIL: u32 = 300;
const ALL: &str = "/v1/prices/BTC-USD/history.csv";
const MARCH: &str = "/v1/prices/BTC-USD/history.csv?to=2018-04-01T00:00:00Z";

/// Trades of two months of a venue, and some of a second one at the same times. Prices and sizes have zeros at their ends.
fn trades(every: u32) -> String {
    let mut csv = "time,symbol,price,size\n".to_owned();
    let mut add = |day: &str, number: u32| {
        let (hour, minute, second) = (number / 600, number / 10 % 60, number % 10 * 6);
        let price = 6_000 + number;
        // Every hundredth has no size, and the others have different numbers of decimal places.
        let size = if number.is_multiple_of(100) { String::new() } else { format!("0.{:02}00", number % 97) };
        let _ =
            writeln!(csv, "{day}T{hour:02}:{minute:02}:{second:02}.25Z,BTC-USD,{price}.{:03}0,{size}", number % 1_000);
    };
    (0..TICKS_OF_MARCH).filter(|number| number.is_multiple_of(every)).for_each(|number| add("2018-03-31", number));
    (0..TICKS_OF_APRIL).filter(|number| number.is_multiple_of(every)).for_each(|number| add("2018-04-01", number));
    csv
}

/// Waits until the archiver has found as many ticks in the archive as there are, and ends it.
async fn archive(system: &System, settings: &[(&'static str, String)], ticks: &str) {
    let mut command = system.tickbell();
    command.arg("archiver").envs(settings.iter().map(|(name, value)| (name, value)));
    let archiver: Process = system.spawn("archiver", &mut command);
    wait_until("the days are archived", WORK, async || {
        (Database::of(system).value("SELECT coalesce(sum(ticks), 0) FROM archived_days") == ticks).then_some(())
    })
    .await;
    archiver.stop(Signal::SIGTERM).await;
}

/// Starts the system again with settings and waits until old months are dropped.
async fn drop_old_months(system: &mut System, months: &str) {
    system.configure([
        ("TICKBELL_HISTORY__RETENTION_DAYS", "1".into()),
        ("TICKBELL_HISTORY__ARCHIVE", "required".into()),
    ]);
    // The history-writer looks for old months when it starts, and then every hour.
    system.stop().await;
    system.up().await;
    wait_until("the months are dropped", WORK, async || {
        (Database::of(system).value("SELECT count(*) FROM dropped_tick_months") == months).then_some(())
    })
    .await;
}

async fn export(system: &System, settings: &[(&'static str, String)], arguments: &[&str]) -> std::process::Output {
    let mut command = Command::from(system.tickbell());
    command.args(["export", "ticks"]).args(arguments).envs(settings.iter().map(|(name, value)| (name, value)));
    command.kill_on_drop(true).output().await.expect("it runs")
}

/// A listener that takes connections, reads nothing and says nothing.
struct Silent {
    accepting: JoinHandle<()>,
    connections: Arc<AtomicUsize>,
}

impl Silent {
    async fn listen(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("the port is free");
        let connections = Arc::<AtomicUsize>::default();
        let counted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok((connection, _)) = listener.accept().await {
                open.push(connection);
                counted.store(open.len(), Ordering::Relaxed);
            }
        });
        Self { accepting, connections }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Closes all connections, and leaves the port to others.
    async fn close(self) {
        self.accepting.abort();
        assert!(self.accepting.await.is_err_and(|error| error.is_cancelled()));
    }
}

async fn downloads(system: &System, paths: &[&str]) -> Vec<String> {
    let mut files = Vec::new();
    for path in paths {
        files.push(system.api.get(path).await.expect_status(200).text);
    }
    files
}

#[tokio::test]
async fn what_was_dropped_is_downloaded_as_before_to_the_byte() {
    use_complete_build();
    let mut system = System::start().await;
    let mut store = ObjectStore::start(&system, &[]).await;
    let settings = store.settings("history");
    system.configure(settings.clone());
    system.stop().await;
    system.up().await;
    system.ingest(&trades(1), "few").await;
    system.ingest(&trades(7), "other").await;
    // One of this month, which stays in the database.
    let recent = clock::now().before(Period::HOUR, Period::SECOND).expect("a time").floor(events::Interval::Minute);
    late_tick(&system, "few", "BTC-USD", &recent.to_string()).await;
    let all = |system: &System, rest: &str| Database::of(system).value(&format!("SELECT count(*) FROM ticks {rest}"));
    let old = |system: &System| all(system, "WHERE at < '2019-01-01'");
    archive(&system, &settings, &old(&system)).await;
    // What comes late makes further parts, whose ticks lie between those of the first ones.
    late_tick(&system, "few", "BTC-USD", "2018-03-31T05:00:00.1Z").await;
    late_tick(&system, "other", "BTC-USD", "2018-03-31T05:00:00.1Z").await;
    archive(&system, &settings, &old(&system)).await;

    let paths = [
        ALL,
        MARCH,
        "/v1/prices/BTC-USD/history.csv?venue=other",
        "/v1/prices/BTC-USD/history.csv?from=2018-03-31T05:00:00.1Z&to=2018-03-31T05:00:00.25Z",
        "/v1/prices/BTC-USD/history.csv?from=2018-03-31T09:30:00Z&to=2018-04-01T00:10:00Z",
        "/v1/prices/BTC-USD/history.csv?from=2018-04-01T00:20:00Z",
        "/v1/prices/BTC-USD/history.csv?to=2018-03-31T00:00:00Z",
        "/v1/prices/BTC-USD/candles.csv?interval=1m",
        "/v1/prices/BTC-USD/candles.csv?interval=1d&venue=other",
    ];
    let before = downloads(&system, &paths).await;
    let count: usize = all(&system, "").parse().expect("a number");
    assert_eq!(before[0].lines().count(), count + 1);
    assert!(before[0].contains(",6000.0000,,") && before[0].contains(",0.0100,"), "zeros at the end stay");
    let by_hand = [&["--output", "-"][..], &["--output", "-", "--format", "ndjson", "--venue", "few"]];
    let mut exported = Vec::new();
    for arguments in by_hand {
        exported.push(export(&system, &settings, arguments).await.stdout);
    }

    drop_old_months(&mut system, "2").await;
    assert_eq!(all(&system, ""), "1");
    for (path, (before, after)) in paths.iter().zip(before.iter().zip(downloads(&system, &paths).await)) {
        assert!(*before == after, "{path} differs");
    }
    for (arguments, before) in by_hand.iter().zip(&exported) {
        let after = export(&system, &settings, arguments).await;
        assert!(after.status.success(), "{}", String::from_utf8_lossy(&after.stderr));
        assert!(*before == after.stdout, "{arguments:?} differs");
    }
    // What is exported by hand to a folder is read from the archive, too.
    let folder = system.home().join("copy");
    let output = folder.to_str().expect("text");
    let copied = export(&system, &settings, &["--output", output]).await;
    assert_eq!(said(&copied, "rows"), count as u64);
    let again = export(&system, &settings, &["--output", output]).await;
    assert_eq!((said(&again, "rows"), said(&again, "already_there")), (0, count as u64));

    // The store is away: what it has is not to be had now, and the rest is.
    store.kill();
    let away = system.api.get(MARCH).await.expect_status(503);
    assert!(away.text.contains("archive") && away.headers.contains_key("retry-after"), "{}", away.text);
    let since = format!("{ALL}?from={}", recent.floor(events::Interval::Day));
    assert_eq!(system.api.get(&since).await.expect_status(200).text.lines().count(), 2);
    let metrics = system.api.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == r#"tickbell_downloads_failed_total{reason="archive"} 1"#), "{metrics}");
    // Something takes its connections and never answers: that is said and counted before the request's time is over.
    let silent = Silent::listen(store.address()).await;
    let hangs = system.api.get(MARCH).await.expect_status(503);
    assert!(hangs.text.contains("archive") && hangs.headers.contains_key("retry-after"), "{}", hangs.text);
    assert!(silent.connections() > 0);
    let metrics = system.api.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == r#"tickbell_downloads_failed_total{reason="archive"} 2"#), "{metrics}");
    silent.close().await;
    store.start_again(&system).await;

    // The second month's file is not the one that was written: the answer has begun, and does not end as if it were whole.
    store.spoil("history/ticks/venue=few/symbol=BTC-USD/date=2018-04-01");
    assert_eq!(downloads(&system, &[MARCH]).await[0], before[1]);
    let mut answer = system.api.request(Method::GET, ALL).send().await.expect("an answer");
    assert_eq!(answer.status(), 200);
    let mut got = Vec::new();
    let failed = loop {
        match answer.chunk().await {
            Ok(Some(piece)) => got.extend_from_slice(&piece),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(failed, "it ends as if it were whole");
    assert!(before[0].as_bytes().starts_with(&got), "what came is right");

    // A gateway without the archive says what it cannot give.
    system.configure([("TICKBELL_ARCHIVE__URL", String::new())]);
    system.stop().await;
    system.up().await;
    let refused = system.api.get(ALL).await.expect_status(422);
    let said = "2018-03-31T00:00:00.000000Z to 2018-04-02T00:00:00.000000Z";
    assert!(refused.text.contains(said) && refused.text.contains("archive.url"), "{}", refused.text);
    assert_eq!(system.api.get(&since).await.expect_status(200).text.lines().count(), 2);
    let refused = export(&system, &[], &["--output", "-"]).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && text.contains(said), "{text}");
    system.stop().await;
}

#[tokio::test]
async fn a_month_that_is_dropped_while_it_is_read_is_read_to_its_end() {
    let mut system = recorded().await;
    let folder = system.home().join("archive");
    let settings = [("TICKBELL_ARCHIVE__URL", folder.to_str().expect("text").to_owned())];
    system.configure(settings.clone());
    system.stop().await;
    system.up().await;
    archive(&system, &settings, &TRADES.to_string()).await;
    let path = "/v1/prices/SPY/history.csv";
    let before = system.api.get(path).await.expect_status(200).text;
    let mut answer = system.api.request(Method::GET, path).send().await.expect("an answer");
    let mut after = answer.chunk().await.expect("it begins").expect("a piece").to_vec();
    Database::of(&system).value("SELECT drop_ticks_partition('2013-10-01')");
    assert!(after.len() < before.len() / 2, "most of it is read from the archive");
    while let Some(piece) = answer.chunk().await.expect("a piece") {
        after.extend_from_slice(&piece);
    }
    assert!(after == before.as_bytes(), "it differs");
    // The same day as the database has it no more, from the archive alone, and from one that lacks its manifest.
    assert!(system.api.get(path).await.expect_status(200).text == before, "it differs");
    compare_dropped_day(&system, &folder).await;
    fs::remove_file(folder.join(crate::DAY).join("_manifest.json")).expect("a manifest");
    let failed = system.api.get(path).await.expect_status(500);
    assert!(failed.text.contains("2013-10-07T00:00:00.000000Z to 2013-10-08T00:00:00.000000Z"), "{}", failed.text);
    let metrics = system.api.get("/metrics").await.text;
    assert!(metrics.lines().any(|line| line == r#"tickbell_downloads_failed_total{reason="archive"} 1"#), "{metrics}");
    // A day that was dropped before there was an archive is nobody's failure.
    Database::of(&system).value("DELETE FROM archived_days");
    let refused = system.api.get(path).await.expect_status(422);
    assert!(refused.text.contains("has none of the 250601 ticks"), "{}", refused.text);
    system.stop().await;
}

/// Compares the archive of a day whose ticks were dropped, as it is and with what may happen to its files.
async fn compare_dropped_day(system: &System, folder: &Path) {
    let archive = folder.to_str().expect("text");
    let verify = async |more: &[&str]| {
        let output =
            system.run(&[&["archive", "verify", "--archive", archive, "--only", "ticks"][..], more].concat()).await;
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        (output.status.code(), said)
    };
    let (status, said) = verify(&[]).await;
    assert!(status == Some(0) && said.contains("Compared 1 days, 0 of which differ"), "{said}");
    // What compares nothing does not say that all is well.
    for nothing in [["--symbol", "NO"], ["--from", "2014-01-01T00:00:00Z"], ["--to", "2013-10-07T23:00:00Z"]] {
        let (status, said) = verify(&nothing).await;
        assert!(status == Some(1) && said.contains("Nothing was compared"), "{nothing:?}: {said}");
    }
    let day = folder.join(crate::DAY);
    let [part] = crate::parts(&day).try_into().expect("one part");
    let (part, manifest) = (day.join(part), day.join("_manifest.json"));
    let whole = [fs::read(&part).expect("a part"), fs::read(&manifest).expect("a manifest")];
    let mut changed = whole[0].clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    let other = String::from_utf8_lossy(&whole[1]).replace("\"rows\": 250601", "\"rows\": 250600").into_bytes();
    let left = day.join("part-1-2.parquet");
    for (file, content, expected) in [
        (&part, Some(&changed), "SHA-256"),
        (&part, None, "is not there"),
        (&manifest, Some(&other), "has 250601 rows, and the manifest states 250600"),
        (&manifest, None, "is not archived"),
        (&left, Some(&changed), "part-1-2.parquet is there, and the manifest does not state it"),
    ] {
        match content {
            Some(content) => fs::write(file, content).expect("written"),
            None => fs::remove_file(file).expect("it is there"),
        }
        let (status, said) = verify(&[]).await;
        assert!(status == Some(1) && said.contains(expected), "{expected}: {said}");
        fs::write(&part, &whole[0]).expect("written");
        fs::write(&manifest, &whole[1]).expect("written");
    }
    fs::remove_file(left).expect("it is there");
    assert_eq!(verify(&[]).await.0, Some(0));
}
