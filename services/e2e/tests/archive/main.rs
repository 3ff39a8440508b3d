//! History and the page of prices as files, on a folder and on a real server that speaks S3, read by pyarrow and DuckDB: `make test-archive`. The recorded day
//! lies in the folder that `TICKBELL_SHARED` names, by default `../shared` of the clone.

mod beyond_retention;
mod crash;
mod folder;
mod gate;
mod object_store;
mod repairs;
mod s3;
mod site;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use e2e::{
    Database, Process, System,
    process::{tool, use_complete_build},
};

/// The recorded day: its file, the venue and its number of trades.
const FILE: &str = "data/spy-trades-2013-10-07.csv.gz";
const VENUE: &str = "recorded";
const TRADES: usize = 250_601;
/// The folder of the day's ticks.
const DAY: &str = "ticks/venue=recorded/symbol=SPY/date=2013-10-07";

/// The rows as the judge reads them. An id that begins with the time of its tick is stored without it.
const ROWS: &str = "COPY (SELECT micros, sequence, index, price, size,
        CASE WHEN trade_id LIKE '//%' THEN substr(trade_id, 2) WHEN trade_id LIKE '/%' THEN micros || trade_id ELSE trade_id END,
        venue, symbol
    FROM (SELECT *, (extract(epoch FROM at) * 1000000)::bigint AS micros FROM ticks) tick
    JOIN instruments ON instruments.id = instrument_id) TO STDOUT (FORMAT csv)";

fn shared() -> PathBuf {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the root of the clone");
    std::env::var_os("TICKBELL_SHARED").map_or_else(|| clone.join("../shared"), PathBuf::from)
}

/// A system whose history has the recorded day.
async fn recorded() -> System {
    use_complete_build();
    let system = System::start().await;
    system.ingest_file(&shared().join(FILE), VENUE).await;
    system.wait_until_processed().await;
    system
}

/// A system whose history has a few trades of a day.
async fn few() -> System {
    few_with(&[]).await
}

/// The same, with settings.
async fn few_with(settings: &[(&str, &str)]) -> System {
    use_complete_build();
    let system = System::with(settings).await;
    let rows: Vec<(String, String)> =
        (0..600).map(|n| (format!("13:{:02}:{:02}.5", n / 60, n % 60), format!("{}.25", 100 + n))).collect();
    let rows: Vec<(&str, &str)> = rows.iter().map(|(time, price)| (time.as_str(), price.as_str())).collect();
    system.ingest(&e2e::tape::csv("BTC-USD", &rows), "few").await;
    system.wait_until_processed().await;
    system
}

/// One more trade of that day, which comes late.
async fn late_tick(system: &System, venue: &str, symbol: &str, time: &str) {
    let csv = format!("time,symbol,price,size\n{time},{symbol},1.5,0.000000000000000001\n");
    let file = system.home().join("late.csv");
    fs::write(&file, csv).expect("a file");
    system.ingest_file(&file, venue).await;
    system.wait_until_processed().await;
}

/// An archiver that writes to a folder and looks every ten seconds.
fn archiver(system: &System, url: &str) -> Process {
    let mut command = system.tickbell();
    command.arg("archiver").env("TICKBELL_ARCHIVE__URL", url).env("TICKBELL_ARCHIVE__EVERY", "10s");
    system.spawn("archiver", &mut command)
}

/// The number of ticks of which the database says that the archive has them.
fn marked(system: &System) -> String {
    Database::of(system).value("SELECT coalesce(sum(ticks), 0) FROM archived_days")
}

/// Compares a folder with the database by two engines that are not ours, and returns what they say of it.
fn judge(system: &System, folder: &Path) -> serde_json::Value {
    let rows = Database::of(system).value(ROWS);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/archive/judge.py");
    let mut judge = Command::new(tool("python"))
        .arg(script)
        .arg(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python runs");
    // The judge reads all of it before it writes.
    judge.stdin.take().expect("a pipe").write_all(rows.as_bytes()).expect("it reads");
    let output = judge.wait_with_output().expect("it ends");
    assert!(output.status.success(), "the judge found a difference");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A number of the last line of `tickbell export`, like `rows`.
fn said(output: &Output, name: &str) -> u64 {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {text}", output.status);
    let value = text.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
}

/// The names of the parts in a day's folder.
fn parts(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".parquet")).collect();
    names.sort();
    names
}

fn manifest(folder: &Path) -> serde_json::Value {
    serde_json::from_slice(&fs::read(folder.join("_manifest.json")).expect("a manifest")).expect("JSON")
}
