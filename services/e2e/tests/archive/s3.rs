//! The archive in a store that speaks S3.

use std::time::Duration;

use e2e::{Process, System, wait_until};
use tokio::process::Command;

use crate::{DAY, TRADES, few, judge, late_tick, manifest, object_store::ObjectStore, parts, recorded, said};

const WORK: Duration = Duration::from_secs(120);

/// The program, with the settings of a store.
fn command(system: &System, settings: &[(&'static str, String)], arguments: &[&str]) -> Command {
    let mut command = Command::from(system.tickbell());
    command.args(arguments).envs(settings.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
    command
}

async fn export(system: &System, settings: &[(&'static str, String)]) -> std::process::Output {
    let url = settings.iter().find(|(name, _)| *name == "TICKBELL_ARCHIVE__URL").map(|(_, url)| url.clone());
    let url = url.expect("a URL");
    command(system, settings, &["export", "ticks", "--output", &url]).output().await.expect("it runs")
}

#[tokio::test]
async fn a_recorded_day_is_in_the_bucket_exactly_once() {
    let mut system = recorded().await;
    let mut store = ObjectStore::start(&system, &[]).await;
    let settings = store.settings("history");
    // Two at once: each row is there once, whoever wrote it.
    let (one, other) = tokio::join!(export(&system, &settings), export(&system, &settings));
    for output in [&one, &other] {
        assert_eq!(said(output, "rows") + said(output, "already_there"), TRADES as u64);
    }
    let again = export(&system, &settings).await;
    assert_eq!((said(&again, "rows"), said(&again, "already_there")), (0, TRADES as u64));
    let copy = system.home().join("copy");
    store.copy("history", &copy);
    judge(&system, &copy);
    assert_eq!(parts(&copy.join(DAY)).len(), 1);

    late_tick(&system, crate::VENUE, "SPY", "2013-10-07T15:00:00.123456Z").await;
    // The store is away: what was to be written is not lost, and the error says so.
    store.kill();
    let away = export(&system, &settings).await;
    let text = String::from_utf8_lossy(&away.stderr).into_owned();
    assert!(away.status.code() == Some(1) && text.contains("does not answer as it should"), "{text}");
    store.start_again(&system).await;
    assert_eq!(said(&export(&system, &settings).await, "rows"), 1);
    let verify =
        command(&system, &settings, &["archive", "verify", "--only", "ticks"]).output().await.expect("it runs");
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));
    let copy = system.home().join("copy2");
    store.copy("history", &copy);
    judge(&system, &copy);
    assert_eq!((parts(&copy.join(DAY)).len(), &manifest(&copy.join(DAY))["rows"]), (2, &serde_json::json!(TRADES + 1)));
    system.stop().await;
}

#[tokio::test]
async fn who_may_not_write_learns_why() {
    let mut system = few().await;
    let store = ObjectStore::start(&system, &[]).await;
    let mut settings = store.settings("history");
    settings[4].1 = "wrong".into();
    let refused = export(&system, &settings).await;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        refused.status.code() == Some(1) && text.contains("AWS_SECRET_ACCESS_KEY") && !text.contains("wrong"),
        "{text}"
    );
    let mut settings = store.settings("history");
    settings[0].1 = "s3://absent/history".into();
    let absent = export(&system, &settings).await;
    let text = String::from_utf8_lossy(&absent.stderr).into_owned();
    assert!(absent.status.code() == Some(1) && text.contains("there is no such bucket"), "{text}");
    system.stop().await;
}

#[tokio::test]
async fn a_full_store_is_said_and_the_export_completes_when_there_is_room() {
    let mut system = few().await;
    // Few volumes of a megabyte each, which somebody else fills.
    let mut store = ObjectStore::start(&system, &["-master.volumeSizeLimitMB=1", "-volume.max=8"]).await;
    store.fill();
    let settings = store.settings("history");
    let full = export(&system, &settings).await;
    let text = String::from_utf8_lossy(&full.stderr).into_owned();
    assert!(full.status.code() == Some(1) && text.contains("full") && text.contains("nothing is lost"), "{text}");
    store.make_room(&system).await;
    let output = export(&system, &settings).await;
    assert_eq!(said(&output, "rows") + said(&output, "already_there"), 600);
    system.stop().await;
}

#[tokio::test]
async fn the_archiver_writes_closed_days_and_goes_on_when_the_store_is_back() {
    let mut system = few().await;
    let mut store = ObjectStore::start(&system, &[]).await;
    let mut settings = store.settings("service").to_vec();
    settings.push(("TICKBELL_ARCHIVE__EVERY", "10s".into()));
    store.kill();
    let start = |name: &str| -> Process {
        let mut command = system.tickbell();
        command.arg("archiver").envs(settings.iter().map(|(name, value)| (name, value)));
        system.spawn(name, &mut command)
    };
    // Two of them: one leads, the other waits.
    let (_one, _other) = (start("archiver-1"), start("archiver-2"));
    store.start_again(&system).await;
    let settings = settings.clone();
    wait_until("the day is archived", WORK, async || {
        let verify = command(&system, &settings, &["archive", "verify"]).output().await.expect("it runs");
        (verify.status.code() == Some(0)).then_some(())
    })
    .await;
    late_tick(&system, "few", "BTC-USD", "2018-04-05T13:00:00.6Z").await;
    wait_until("the late tick is archived", WORK, async || {
        let verify = command(&system, &settings, &["archive", "verify"]).output().await.expect("it runs");
        (verify.status.code() == Some(0)).then_some(())
    })
    .await;
    let copy = system.home().join("copy");
    store.copy("service/ticks", &copy);
    judge(&system, &copy);
    system.stop().await;
}
