//! `tickbell doctor`: checks the installation and names a remedy for each problem.

use std::{mem, time::Duration};

use events::streams::Topology;
use platform::{
    Broker,
    broker::{
        dead_letter_queue,
        topology::{
            self,
            comparison::{Difference, Severity},
        },
    },
};
use serde::Serialize;
use store::Store;

use super::status::{self, Consumer};
use crate::{
    commands::connect::{broker, settings, store},
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::print,
    settings::Settings,
};

/// The oldest supported servers: 2.14 is the first NATS server that can reset a consumer.
const NATS: [u32; 2] = [2, 14];
const POSTGRESQL: i32 = 150_000;

/// The time between two looks at consumers that are behind, in which one that works has moved.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3);

/// The result of one check.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    ok: bool,
    detail: String,
    /// What to do about a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, ok: true, detail: detail.into(), remedy: None }
    }

    fn problem(check: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { check, ok: false, detail: detail.into(), remedy: Some(remedy.into()) }
    }
}

pub(crate) async fn run(options: &GlobalOptions, output: &OutputOptions) -> anyhow::Result<Exit> {
    let settings = settings(options)?;
    let mut findings = Vec::new();
    let broker = broker(&settings).await;
    let store = store(&settings).await;
    match &broker {
        Ok(broker) => findings.extend(check_broker(broker, &settings).await?),
        Err(error) => findings.push(Finding::problem(
            "broker",
            error.to_string(),
            "start the NATS server or `tickbell up`, or set its address with --nats-url",
        )),
    }
    match &store {
        Ok(store) => findings.extend(check_database(store).await?),
        Err(error) => findings.push(Finding::problem(
            "database",
            error.to_string(),
            "start PostgreSQL or `tickbell up`, or set its address with --database-url",
        )),
    }
    if let (Ok(broker), Ok(store)) = (&broker, &store)
        && findings.iter().all(|finding| finding.ok || finding.check == "durability")
    {
        findings.extend(check_flow(broker, store).await?);
    }
    if output.json {
        print(&serde_json::to_string(&findings)?);
    } else {
        findings.iter().for_each(print_finding);
    }
    let reached = broker.is_ok() && store.is_ok();
    let ok = findings.iter().all(|finding| finding.ok);
    Ok(if !reached {
        Exit::Unavailable
    } else if ok {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn print_finding(finding: &Finding) {
    let Finding { check, ok, detail, remedy } = finding;
    print(&format!("{:<7} {check:<12} {detail}", if *ok { "ok" } else { "PROBLEM" }));
    if let Some(remedy) = remedy {
        print(&format!("{:<7} {:<12} {remedy}", "", "  remedy:"));
    }
}

async fn check_broker(broker: &Broker, settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    let version = broker.server_version();
    let numbers: Vec<u32> = version.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    let mut findings = vec![if numbers.as_slice() >= NATS.as_slice() {
        Finding::ok("broker", format!("nats-server {version}"))
    } else {
        Finding::problem("broker", format!("nats-server {version}"), "upgrade to nats-server 2.14 or newer")
    }];
    findings.push(match broker.syncs_always(&settings.nats).await {
        Some(true) => Finding::ok("durability", "the broker flushes a message to disk before it acknowledges it"),
        Some(false) => Finding::problem(
            "durability",
            "the broker acknowledges a message before it flushes it to disk: a power cut can lose messages",
            "set `sync_interval: always` in the jetstream section of its configuration",
        ),
        None => Finding::problem(
            "durability",
            "unknown: the monitoring page of the broker does not answer",
            "set nats.monitor_url to the monitoring page, like http://127.0.0.1:8222",
        ),
    });
    findings.push(check_streams(&topology::diff(broker, &Topology::declared()?).await?));
    Ok(findings)
}

/// Tells streams that services cannot use from those that somebody has changed and that do.
fn check_streams(differences: &[Difference]) -> Finding {
    let joined =
        |differences: &[&Difference]| differences.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let (warnings, errors): (Vec<_>, Vec<_>) =
        differences.iter().partition(|difference| difference.severity == Severity::Warning);
    match (warnings.is_empty(), errors.is_empty()) {
        (true, true) => Finding::ok("streams", "match schemas/streams.yaml"),
        (false, true) => Finding::ok("streams", format!("can be used, with differences: {}", joined(&warnings))),
        (_, false) => Finding::problem("streams", joined(&errors), "run `tickbell streams apply`"),
    }
}

async fn check_database(store: &Store) -> anyhow::Result<Vec<Finding>> {
    let version = store.server_version().await?;
    let display = format!("PostgreSQL {}.{}", version / 10_000, version % 10_000);
    let server = if version >= POSTGRESQL {
        Finding::ok("database", display)
    } else {
        Finding::problem("database", display, "upgrade to PostgreSQL 15 or newer")
    };
    let schema = match store.pending_migrations().await? {
        0 => Finding::ok("schema", "up to date"),
        pending => {
            Finding::problem("schema", format!("{pending} migrations are not applied"), "run `tickbell migrate`")
        }
    };
    Ok(vec![server, schema])
}

async fn check_flow(broker: &Broker, store: &Store) -> anyhow::Result<Vec<Finding>> {
    let mut status = status::read(broker, store).await?;
    let mut before = Vec::new();
    if status.consumers.iter().any(|consumer| consumer.lag > 0) {
        tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        before = mem::replace(&mut status, status::read(broker, store).await?).consumers;
    }
    let consumers = check_lag(&before, &status.consumers);
    let status::Deliveries { waiting, failed, outage } = status.deliveries;
    let mail = match outage {
        None => Finding::ok("mail", "goes out, as far as there is any"),
        Some(outage) => Finding::problem(
            "mail",
            outage,
            "check that the mail server answers, smtp.url and what it says about this client; or start the notifier",
        ),
    };
    let detail = format!("{waiting} waiting, {failed} failed");
    let deliveries = if failed == 0 {
        Finding::ok("deliveries", detail)
    } else {
        Finding::problem(
            "deliveries",
            detail,
            "read the errors in the table delivery_attempts; check smtp.url and the mail addresses",
        )
    };
    let dead = dead_letter_queue::list(broker).await?.len();
    let dead = if dead == 0 {
        Finding::ok("dead letters", "none")
    } else {
        let remedy = "read the reasons with `tickbell dlq list`; after fixing the cause, run `tickbell dlq replay`";
        Finding::problem("dead letters", format!("{dead} messages could not be processed"), remedy)
    };
    Ok(vec![consumers, mail, deliveries, dead])
}

/// Tells consumers that stand still from those that are behind and move, given two looks at them.
fn check_lag(before: &[Consumer], now: &[Consumer]) -> Finding {
    let list = |consumers: &[&Consumer]| {
        let behind = consumers.iter().map(|consumer| format!("{} by {} messages", consumer.name, consumer.lag));
        behind.collect::<Vec<_>>().join(", ")
    };
    let stands_still = |now: &&&Consumer| {
        let earlier = before.iter().find(|before| before.name == now.name);
        earlier.is_some_and(|before| before.lag > 0 && before.position == now.position && before.lag <= now.lag)
    };
    let behind: Vec<&Consumer> = now.iter().filter(|consumer| consumer.lag > 0).collect();
    let still: Vec<&Consumer> = behind.iter().filter(stands_still).copied().collect();
    if !still.is_empty() {
        let detail = format!("standing still and behind: {}", list(&still));
        return Finding::problem("consumers", detail, "start the service, or read its log and its /readyz");
    }
    let detail = if behind.is_empty() { "no lag".into() } else { format!("catching up: {}", list(&behind)) };
    Finding::ok("consumers", detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_was_enlarged_is_no_problem() {
        let difference = |detail: &str, severity| Difference {
            stream: "TICKS".into(),
            of: "TICKS".into(),
            detail: detail.into(),
            severity,
        };
        let (larger, smaller) = (difference("larger", Severity::Warning), difference("smaller", Severity::Error));
        for (differences, is_ok, detail) in [
            (vec![], true, "match schemas/streams.yaml"),
            (vec![larger.clone()], true, "can be used, with differences: TICKS: larger"),
            (vec![larger, smaller], false, "TICKS: smaller"),
        ] {
            let finding = check_streams(&differences);
            assert_eq!((finding.ok, finding.detail.as_str()), (is_ok, detail));
        }
    }

    #[test]
    fn a_consumer_that_moves_is_no_problem() {
        let consumer = |position, lag| Consumer {
            name: "history-writer".into(),
            stream: "TICKS".into(),
            position,
            lag,
            last_event_at: None,
        };
        for (before, now, is_ok, detail) in [
            (None, (9, 0), true, "no lag"),
            (Some((9, 30)), (39, 0), true, "no lag"),
            (Some((9, 30)), (19, 40), true, "catching up: history-writer by 40 messages"),
            (Some((9, 30)), (9, 20), true, "catching up: history-writer by 20 messages"),
            (Some((9, 0)), (9, 5), true, "catching up: history-writer by 5 messages"),
            (Some((9, 30)), (9, 31), false, "standing still and behind: history-writer by 31 messages"),
        ] {
            let before: Vec<_> = before.into_iter().map(|(position, lag)| consumer(position, lag)).collect();
            let finding = check_lag(&before, &[consumer(now.0, now.1)]);
            assert_eq!((finding.ok, finding.detail.as_str()), (is_ok, detail));
        }
    }
}
