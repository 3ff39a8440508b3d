//! What changes of a day while the archiver runs: ticks, what is known of gaps, and files that are not as they should be.

use std::{fs, path::Path, time::Duration};

use e2e::{Database, System, wait_until};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::{archiver, few, judge, late_tick, manifest, marked, parts, said};

const LIMIT: Duration = Duration::from_secs(60);
/// The day of the few ticks.
const FEW: &str = "ticks/venue=few/symbol=BTC-USD/date=2018-04-05";

async fn wait_until_marked(system: &System, ticks: &str) {
    wait_until(&format!("{ticks} ticks are archived"), LIMIT, async || (marked(system) == ticks).then_some(())).await;
}

async fn verify(system: &System, archive: &Path, more: &[&str]) -> (Option<i32>, String) {
    let archive = archive.to_str().expect("text");
    let output = system.run(&[&["archive", "verify", "--archive", archive][..], more].concat()).await;
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn a_day_that_changes_after_it_was_written_is_written_again() {
    let mut system = few().await;
    let folder = system.home().join("archive");
    let archiver = archiver(&system, folder.to_str().expect("text"));
    wait_until_marked(&system, "600").await;
    // The rest of a recorded day is played in its order when its first part is archived.
    late_tick(&system, "few", "BTC-USD", "2018-04-05T20:00:00Z").await;
    wait_until_marked(&system, "601").await;
    late_tick(&system, "few", "BTC-USD", "2018-04-05T13:00:00.6Z").await;
    wait_until_marked(&system, "602").await;

    // What is known of its gaps changes, and then is forgotten because they were filled.
    let day = folder.join(FEW);
    let gaps = |change: &str| {
        let count = "INSERT INTO feed_gap_changes VALUES ('few', 'BTC-USD', 1)
            ON CONFLICT (venue, symbol) DO UPDATE SET changes = feed_gap_changes.changes + 1";
        Database::of(&system).value(&format!("{change}; {count}"));
    };
    let stated = async |state: &str| {
        let is_stated =
            || manifest(&day)["gaps"].as_array().is_some_and(|gaps| gaps.len() == 1 && gaps[0]["state"] == state);
        wait_until(&format!("the gap is stated: {state}"), LIMIT, async || is_stated().then_some(())).await;
    };
    gaps(
        "INSERT INTO feed_gaps (venue, symbol, lower_bound, bounds, gap_from, reason, state)
         VALUES ('few', 'BTC-USD', 7, 'ids', '2018-04-05T13:01:00Z', 'stale', 'open')",
    );
    stated("open").await;
    gaps("UPDATE feed_gaps SET (state, revision, gap_to) = ('filled', 2, '2018-04-05T13:02:00Z')");
    stated("filled").await;
    gaps("DELETE FROM feed_gaps");
    late_tick(&system, "few", "BTC-USD", "2018-04-05T13:00:00.7Z").await;
    wait_until_marked(&system, "603").await;
    stated("filled").await;

    // A file was lost: who finds that out takes back that the day is archived, and the archiver writes what is missing.
    fs::remove_file(day.join(&parts(&day)[0])).expect("a part");
    let (status, said) = verify(&system, &folder, &[]).await;
    assert!(status == Some(1) && said.contains("is not there"), "{said}");
    wait_until_marked(&system, "603").await;
    assert_eq!(verify(&system, &folder, &[]).await.0, Some(0));
    judge(&system, &folder.join("ticks"));
    archiver.stop(Signal::SIGTERM).await;
    system.stop().await;
}

/// Leaves a part of the day that its manifest does not state, as a run does that is killed before it states it.
async fn leave_part(system: &System, range: [&str; 2], left: &Path) {
    let name = left.file_stem().and_then(|name| name.to_str()).expect("a name");
    let folder = system.home().join(name);
    let output = folder.to_str().expect("text");
    let export = ["export", "ticks", "--output", output, "--from", range[0], "--to", range[1]];
    assert!(said(&system.run(&export).await, "rows") > 0);
    let written = parts(&folder.join(FEW));
    assert_eq!(written.len(), 1);
    fs::copy(folder.join(FEW).join(&written[0]), left).expect("a copy");
}

#[tokio::test]
async fn a_part_that_nobody_states_adds_no_row_twice() {
    let mut system = few().await;
    let folder = system.home().join("archive");
    let day = folder.join(FEW);
    let export = ["export", "ticks", "--output", folder.to_str().expect("text")];
    assert_eq!(said(&system.run(&export).await, "rows"), 600);
    let only_ticks = ["--only", "ticks"];

    // All of its rows are in the part that is stated.
    let left = day.join("part-900-901.parquet");
    leave_part(&system, ["2018-04-05T13:02:00Z", "2018-04-05T13:05:00Z"], &left).await;
    let (status, text) = verify(&system, &folder, &only_ticks).await;
    let expected = "part-900-901.parquet is there, and the manifest does not state it";
    assert!(status == Some(1) && text.contains(expected), "{text}");
    let again = system.run(&export).await;
    assert_eq!((said(&again, "rows"), said(&again, "already_there")), (0, 600));
    assert_eq!((parts(&day).len(), &manifest(&day)["rows"]), (1, &json!(600)));

    // One of them is new.
    late_tick(&system, "few", "BTC-USD", "2018-04-05T13:03:00.7Z").await;
    let left = day.join("part-902-903.parquet");
    leave_part(&system, ["2018-04-05T13:03:00Z", "2018-04-05T13:06:00Z"], &left).await;
    assert_eq!(said(&system.run(&export).await, "rows"), 1);
    assert!(!left.exists() && manifest(&day)["rows"] == 601);
    assert_eq!(verify(&system, &folder, &only_ticks).await.0, Some(0));

    // No part is stated at all, and the one with fewer rows is read first.
    leave_part(&system, ["2018-04-05T13:01:00Z", "2018-04-05T13:04:00Z"], &day.join("part-0-0.parquet")).await;
    fs::remove_file(day.join("_manifest.json")).expect("a manifest");
    said(&system.run(&export).await, "rows");
    assert_eq!(manifest(&day)["rows"], 601);
    assert_eq!(verify(&system, &folder, &only_ticks).await.0, Some(0));
    judge(&system, &folder);

    // What cannot be read stays, and is named.
    fs::write(day.join("part-1-2.parquet"), "no part").expect("a file");
    assert_eq!(said(&system.run(&export).await, "rows"), 0);
    let (status, text) = verify(&system, &folder, &only_ticks).await;
    assert!(status == Some(1) && text.contains("part-1-2.parquet is there"), "{text}");
    fs::remove_file(day.join("part-1-2.parquet")).expect("it is there");

    // One that was changed is not stated anew.
    let stated = manifest(&day)["parts"][0]["name"].as_str().expect("a name").to_owned();
    let mut bytes = fs::read(day.join(&stated)).expect("a part");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(day.join(&stated), bytes).expect("written");
    late_tick(&system, "few", "BTC-USD", "2018-04-05T13:03:00.8Z").await;
    let refused = system.run(&export).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && text.contains(&format!("{stated} is not the file")), "{text}");
    system.stop().await;
}
