//! Streams that are not as this version declares them: somebody has changed them, or another version has.

use std::{path::Path, process::Command, time::Duration};

use e2e::{Servers, System};
use events::streams::Topology;
use platform::broker::topology::{self, comparison::Uses};
use serde_json::{Value, json};

/// How long a program may take that ends by itself.
const END: Duration = Duration::from_secs(20);
const STREAMS: [&str; 10] =
    ["TICKS", "CANDLES", "FEEDS", "RULES", "ALERTS", "ORDERS", "TRADES", "USERS", "DELIVERIES", "DLQ"];
/// The services with a stream that each of them uses.
const SERVICES: [(&str, &str); 6] = [
    ("price-ingestor", "TICKS"),
    ("history-writer", "TICKS"),
    ("alert-engine", "RULES"),
    ("trade-settler", "ALERTS"),
    ("notifier", "DELIVERIES"),
    ("gateway", "ORDERS"),
];
/// The commit that stands for the version before until there is a release.
const BASELINE: &str = include_str!("../../../../../../infra/pipelines/baseline");

/// What an operator or a later version may have made of a stream. The broker counts times in nanoseconds.
fn larger(settings: &Value) -> Value {
    let mut subjects = settings["subjects"].as_array().expect("subjects").clone();
    subjects.push(json!(format!("later.{}.>", settings["name"].as_str().expect("a name"))));
    // None is for ever.
    let max_age = settings["max_age"].as_i64().filter(|age| *age > 0).map_or(0, |age| 2 * age);
    let max_bytes = settings["max_bytes"].as_i64().expect("a size") + (64 << 20);
    json!({
        "subjects": subjects, "max_bytes": max_bytes, "max_age": max_age, "max_msg_size": 2 << 20,
        "duplicate_window": 600_000_000_000_i64, "compression": "none", "allow_direct": false
    })
}

/// Returns how many differences a service reports of a stream.
fn differences(page: &str, stream: &str) -> u64 {
    let of_stream = format!("tickbell_stream_differences{{stream=\"{stream}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&of_stream));
    value.unwrap_or_else(|| panic!("{of_stream}: {page}")).trim().parse().expect("a number")
}

#[tokio::test]
async fn every_service_starts_with_streams_that_were_enlarged_and_none_is_made_smaller() {
    let mut system = System::start().await;
    let changes = STREAMS.map(|stream| (stream, larger(&system.stream_settings(stream))));
    for (stream, changes) in &changes {
        system.change_stream(stream, changes);
    }
    // `up` manages the streams, so that it updates them.
    system.stop().await;
    system.up().await;
    let page = system.api.get("/metrics").await.expect_status(200).text;
    for (stream, changes) in &changes {
        let settings = system.stream_settings(stream);
        for (name, value) in changes.as_object().expect("settings").iter().filter(|(name, _)| name.starts_with("max_"))
        {
            assert_eq!(settings[name], *value, "{stream}: {name}");
        }
        assert_eq!(settings["compression"], "s2", "{stream}: what is no limit becomes as declared");
        assert!(differences(&page, stream) > 2, "{stream}");
    }

    for (stream, changes) in &changes {
        system.change_stream(stream, changes);
    }
    let servers = Servers::take_over(&mut system, &[("TICKBELL_STREAMS__MANAGE", "false")]).await;
    let services = SERVICES.map(|(name, stream)| (name, stream, servers.start(&system, name, &[name])));
    for (name, stream, service) in services {
        service.wait_until_ready().await;
        let page = service.admin.get("/metrics").await.expect_status(200).text;
        assert!(differences(&page, stream) > 4, "{name}");
        service.stop().await;
    }
    let compared = servers.spawn(&system, "diff", &["streams", "diff"]).wait(END).await;
    assert_eq!(compared.code(), Some(1), "every difference is shown");
    let applied = servers.spawn(&system, "apply", &["streams", "apply"]).wait(END).await;
    assert!(applied.success(), "{applied}");
    for (stream, changes) in &changes {
        assert_eq!(servers.stream_settings(stream)["max_bytes"], changes["max_bytes"], "{stream}");
    }
}

#[tokio::test]
async fn a_service_refuses_to_start_with_a_stream_that_keeps_less_than_it_relies_on() {
    let mut system = System::start().await;
    system.change_stream("TICKS", &json!({ "max_age": 3_600_000_000_000_i64 }));
    system.change_stream("TRADES", &json!({ "discard": "new" }));
    let servers = Servers::take_over(&mut system, &[("TICKBELL_STREAMS__MANAGE", "false")]).await;
    for (name, difference) in [
        ("price-ingestor", "TICKS: max_age is 3600s, declared 86400s"),
        ("history-writer", "TICKS: max_age is 3600s, declared 86400s"),
        ("notifier", "TRADES: discard is New, declared Old"),
    ] {
        let mut service = servers.spawn(&system, name, &[name]);
        let ended = service.wait(END).await;
        assert_eq!(ended.code(), Some(1), "{name}");
        assert!(service.log().contains(difference), "{name}: {}", service.log());
    }
    let gateway = servers.start(&system, "gateway", &["gateway"]);
    gateway.wait_until_ready().await;
    gateway.stop().await;
    let applied = servers.spawn(&system, "apply", &["streams", "apply"]).wait(END).await;
    assert!(applied.success(), "{applied}");
    let compared = servers.spawn(&system, "diff", &["streams", "diff"]).wait(END).await;
    assert!(compared.success(), "{compared}");
}

#[tokio::test]
async fn the_version_before_starts_with_the_streams_of_this_one() {
    let mut system = System::start().await;
    let broker = system.broker().await;
    let (before, now) = (version_before(), Topology::declared().expect("streams.yaml"));
    let (before_uses, now_uses) = (Uses::everything(&before), Uses::everything(&now));
    topology::verify(&broker, &before, &before_uses).await.expect("streams that this version has created");
    // A rollback where services manage the streams, and the next deployment of this version.
    topology::apply(&broker, &before).await.expect("nothing that this version needs is taken away");
    topology::verify(&broker, &now, &now_uses).await.expect("streams that the version before has updated");
    topology::apply(&broker, &now).await.expect("a second deployment");
    topology::verify(&broker, &before, &before_uses).await.expect("streams that this version has updated");
    system.stop().await;
}

/// Returns the streams that the newest release before this commit declares, or the baseline where there is no release.
fn version_before() -> Topology {
    let release = git(&["describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "HEAD^"]);
    let baseline = || BASELINE.lines().rfind(|line| !line.starts_with('#')).expect("a commit").to_owned();
    let version = release.unwrap_or_else(|_| baseline());
    let declared = git(&["show", &format!("{}:schemas/streams.yaml", version.trim())]);
    let declared = declared.unwrap_or_else(|error| {
        panic!("this clone lacks {version}: fetch all of the history with `git fetch --unshallow --tags` ({error})")
    });
    Topology::parse(&declared).expect("a topology that this version reads")
}

fn git(arguments: &[&str]) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("git").args(arguments).current_dir(root).output().map_err(|error| error.to_string())?;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}
