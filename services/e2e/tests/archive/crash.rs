//! The archiver is killed between any two of its steps, and its store fails in each way that a store can.

use std::{fs, path::Path, time::Duration};

use e2e::{Api, Database, Process, Proxy, System, process::free_address, wait_until};
use nix::sys::signal::Signal;

use crate::{
    few,
    gate::{Gate, Side},
    judge, late_tick,
    object_store::ObjectStore,
};

const WORK: Duration = Duration::from_secs(120);
/// More requests than a pass over one day of one market has.
const MAX_STEPS: usize = 60;

/// The settings of an archiver that reaches its store at another address.
fn through(store: &ObjectStore, address: std::net::SocketAddr, prefix: &str) -> Vec<(&'static str, String)> {
    let mut settings = store.settings(prefix).to_vec();
    settings[1].1 = format!("http://{address}");
    settings.push(("TICKBELL_ARCHIVE__EVERY", "10s".into()));
    settings
}

fn archiver(system: &System, name: &str, settings: &[(&'static str, String)]) -> Process {
    let mut command = system.tickbell();
    command.arg("archiver").envs(settings.iter().map(|(name, value)| (name, value)));
    system.spawn(name, &mut command)
}

fn marked(system: &System) -> String {
    Database::of(system).value("SELECT coalesce(sum(ticks), 0) FROM archived_days")
}

/// Whether the day is marked, and ticks and candles are in the store as they are in the database.
async fn is_archived(system: &System, settings: &[(&'static str, String)]) -> bool {
    if marked(system) != "600" {
        return false;
    }
    let mut command = tokio::process::Command::from(system.tickbell());
    command.args(["archive", "verify"]).envs(settings.iter().map(|(name, value)| (name, value)));
    command.kill_on_drop(true).output().await.expect("it runs").status.code() == Some(0)
}

/// Fails where a reader would find half a file, or a manifest that states what is not there.
fn check_readable(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            check_readable(&path);
            continue;
        }
        let bytes = fs::read(&path).expect("a file");
        if path.extension().is_some_and(|ending| ending == "parquet") {
            assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"), "{} is half a file", path.display());
        } else {
            let manifest: serde_json::Value = serde_json::from_slice(&bytes).expect("a whole manifest");
            for part in manifest["parts"].as_array().expect("parts") {
                let file = folder.join(part["name"].as_str().expect("a name"));
                let len = fs::metadata(&file).expect("a part that is stated is there").len();
                assert_eq!(part["bytes"], len, "{}", file.display());
            }
        }
    }
}

#[tokio::test]
async fn a_crash_between_any_two_steps_leaves_whole_files_and_the_next_run_completes_the_day() {
    let mut system = few().await;
    let store = ObjectStore::start(&system, &[]).await;
    let gate = Gate::start(store.address()).await;
    for side in [Side::Before, Side::Behind] {
        let (mut steps, mut before_mark) = (0, 0);
        for step in 0..MAX_STEPS {
            let prefix = format!("crash-{side:?}-{step}");
            let settings = through(&store, gate.address(), &prefix);
            Database::of(&system).value("DELETE FROM archived_days");
            Database::of(&system).value("DELETE FROM leases WHERE service = 'archiver'");
            gate.stop_at(side, step);
            let killed = archiver(&system, "archiver", &settings);
            // One that is not stopped does all that it has to do.
            let has_stopped =
                wait_until("it is stopped, or the day is archived", WORK, async || match gate.has_stopped() {
                    true => Some(true),
                    false => is_archived(&system, &store.settings(&prefix)).await.then_some(false),
                })
                .await;
            killed.kill();
            if !has_stopped {
                break;
            }
            steps += 1;
            let is_marked = marked(&system) == "600";
            before_mark += usize::from(!is_marked);
            let copy = system.home().join(&prefix);
            store.copy_what_is_there(&prefix, &copy);
            check_readable(&copy);
            // What the database says to be archived is.
            if is_marked {
                judge(&system, &copy.join("ticks"));
            }
            gate.open();
            Database::of(&system).value("DELETE FROM leases WHERE service = 'archiver'");
            let next = archiver(&system, "archiver", &settings);
            wait_until("the day is archived", WORK, async || {
                is_archived(&system, &store.settings(&prefix)).await.then_some(())
            })
            .await;
            next.stop(Signal::SIGTERM).await;
            let copy = system.home().join(format!("{prefix}-done"));
            store.copy(&prefix, &copy);
            check_readable(&copy);
            judge(&system, &copy.join("ticks"));
        }
        eprintln!("{side:?}: {steps} steps, {before_mark} of them before the day was marked");
        assert!(steps > 8 && before_mark > 4, "{side:?}: {steps} steps, {before_mark} before the mark");
    }
    system.stop().await;
}

/// The value of a counter of an archiver that answers.
async fn errors(api: &Api, reason: &str) -> Option<u64> {
    let metrics = Api::try_send(api.request(reqwest::Method::GET, "/metrics")).await?.text;
    let name = format!("tickbell_archive_store_errors_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok())
}

async fn readiness(api: &Api) -> Option<(u16, String)> {
    let answer = Api::try_send(api.request(reqwest::Method::GET, "/readyz")).await?;
    Some((answer.status, answer.text))
}

#[tokio::test]
async fn what_a_store_answers_is_counted_and_said_and_nothing_is_lost() {
    let mut system = few().await;
    let mut store = ObjectStore::start(&system, &[]).await;
    let line = Proxy::start(store.address()).await;
    let admin = free_address();
    let api = Api::new(&format!("http://{admin}"));
    let mut settings = through(&store, line.address(), "faults");
    settings.push(("TICKBELL_ADMIN__LISTEN", admin.to_string()));

    // Credentials that are refused.
    let mut wrong = settings.clone();
    wrong[4].1 = "wrong".into();
    let refused = archiver(&system, "archiver", &wrong);
    wait_until("the refusal is counted", WORK, async || {
        errors(&api, "refused").await.filter(|count| *count > 0).map(drop)
    })
    .await;
    wait_until("the refusal is said", WORK, async || {
        let (status, text) = readiness(&api).await?;
        (status == 503 && text.contains("AWS_SECRET_ACCESS_KEY") && !text.contains("wrong")).then_some(())
    })
    .await;
    refused.stop(Signal::SIGTERM).await;
    assert_eq!(marked(&system), "0");

    // A store that is slow: each way takes a quarter of a second.
    line.delay(Duration::from_millis(250));
    let archiver = archiver(&system, "archiver", &settings);
    wait_until("the day is archived", WORK, async || (marked(&system) == "600").then_some(())).await;
    wait_until("it is ready", WORK, async || readiness(&api).await.filter(|(status, _)| *status == 200).map(drop))
        .await;
    assert_eq!(errors(&api, "unavailable").await, Some(0));
    line.heal();

    // One that is away for some time, in which something comes late.
    store.kill();
    late_tick(&system, "few", "BTC-USD", "2018-04-05T13:00:00.6Z").await;
    wait_until("the outage is counted", WORK, async || {
        errors(&api, "unavailable").await.filter(|count| *count > 0).map(drop)
    })
    .await;
    wait_until("the outage is said", WORK, async || {
        let (status, text) = readiness(&api).await?;
        (status == 503 && text.contains("nothing is lost")).then_some(())
    })
    .await;
    assert_eq!(marked(&system), "600", "nothing is marked that is not archived");
    store.start_again(&system).await;
    wait_until("the late tick is archived", WORK, async || (marked(&system) == "601").then_some(())).await;
    wait_until("it is ready", WORK, async || readiness(&api).await.filter(|(status, _)| *status == 200).map(drop))
        .await;
    archiver.stop(Signal::SIGTERM).await;
    let copy = system.home().join("copy");
    store.copy("faults/ticks", &copy);
    judge(&system, &copy);
    system.stop().await;
}

#[tokio::test]
async fn a_full_store_is_said_and_the_service_goes_on_when_there_is_room() {
    let mut system = few().await;
    let mut store = ObjectStore::start(&system, &["-master.volumeSizeLimitMB=1", "-volume.max=8"]).await;
    store.fill();
    let admin = free_address();
    let api = Api::new(&format!("http://{admin}"));
    let mut settings = through(&store, store.address(), "full");
    settings.push(("TICKBELL_ADMIN__LISTEN", admin.to_string()));
    let archiver = archiver(&system, "archiver", &settings);
    wait_until("the full store is said", WORK, async || {
        let (status, text) = readiness(&api).await?;
        (status == 503 && text.contains("full") && text.contains("nothing is lost")).then_some(())
    })
    .await;
    assert_eq!(marked(&system), "0");
    store.make_room(&system).await;
    wait_until("the day is archived", WORK, async || is_archived(&system, &settings).await.then_some(())).await;
    archiver.stop(Signal::SIGTERM).await;
    system.stop().await;
}
