//! What changes of a day while the archiver runs: ticks, what is known of gaps, and files that are not as they should be.

use std::{fs, path::Path, time::Duration};

use e2e::{Database, System, wait_until};
use nix::sys::signal::Signal;

use crate::{archiver, few, judge, late_tick, manifest, marked, parts};

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
