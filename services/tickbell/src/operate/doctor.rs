//! `tickbell doctor`: what is not well, and how to mend it.

use events::streams::Topology;
use platform::{
    Broker,
    broker::{dead_letter_queue, topology},
};
use serde::Serialize;
use store::Store;

use super::{broker, settings, status, store};
use crate::{
    cli::{Common, Output},
    exit::Exit,
    print::say,
    settings::Settings,
};

/// The oldest servers that have what we use: resetting consumers, and everything since.
const NATS: [u32; 2] = [2, 14];
const POSTGRESQL: i32 = 150_000;

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    well: bool,
    detail: String,
    /// What to do when it is not well.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<String>,
}

impl Finding {
    fn well(what: &'static str, detail: impl Into<String>) -> Self {
        Self { what, well: true, detail: detail.into(), mend: None }
    }

    fn bad(what: &'static str, detail: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { what, well: false, detail: detail.into(), mend: Some(mend.into()) }
    }
}

pub(crate) async fn run(common: &Common, output: &Output) -> anyhow::Result<Exit> {
    let settings = settings(common)?;
    let mut findings = Vec::new();
    let broker = broker(&settings).await;
    let store = store(&settings).await;
    match &broker {
        Ok(broker) => findings.extend(examine_broker(broker, &settings).await?),
        Err(error) => findings.push(Finding::bad(
            "broker",
            error.to_string(),
            "start NATS, or `tickbell up`; or name it with --nats-url",
        )),
    }
    match &store {
        Ok(store) => findings.extend(examine_database(store).await?),
        Err(error) => findings.push(Finding::bad(
            "database",
            error.to_string(),
            "start PostgreSQL, or `tickbell up`; or name it with --database-url",
        )),
    }
    if let (Ok(broker), Ok(store)) = (&broker, &store)
        && findings.iter().all(|finding| finding.well || finding.what == "durability")
    {
        findings.extend(examine_flow(broker, store).await?);
    }
    if output.json {
        say(&serde_json::to_string(&findings)?);
    } else {
        findings.iter().for_each(print);
    }
    let reached = broker.is_ok() && store.is_ok();
    let well = findings.iter().all(|finding| finding.well);
    Ok(if !reached {
        Exit::Unavailable
    } else if well {
        Exit::Done
    } else {
        Exit::Failed
    })
}

fn print(finding: &Finding) {
    let Finding { what, well, detail, mend } = finding;
    say(&format!("{} {what:<12} {detail}", if *well { "ok " } else { "BAD" }));
    if let Some(mend) = mend {
        say(&format!("    to mend:     {mend}"));
    }
}

async fn examine_broker(broker: &Broker, settings: &Settings) -> anyhow::Result<Vec<Finding>> {
    let version = broker.server_version();
    let numbers: Vec<u32> = version.split(['.', '-']).map_while(|part| part.parse().ok()).collect();
    let mut findings = vec![if numbers.as_slice() >= NATS.as_slice() {
        Finding::well("broker", format!("nats-server {version}"))
    } else {
        Finding::bad("broker", format!("nats-server {version}"), "use nats-server 2.14 or newer")
    }];
    findings.push(match broker.syncs_always(&settings.nats).await {
        Some(true) => Finding::well("durability", "the broker flushes before it acknowledges"),
        Some(false) => Finding::bad(
            "durability",
            "the broker acknowledges before it flushes: a power cut can lose messages",
            "set `sync_interval: always` in the jetstream section of its configuration",
        ),
        None => Finding::bad(
            "durability",
            "the broker could not be asked how it syncs",
            "set nats.monitor_url to its monitoring page, like http://127.0.0.1:8222",
        ),
    });
    let differences = topology::diff(broker, &Topology::declared()?).await?;
    findings.push(if differences.is_empty() {
        Finding::well("streams", "as schemas/streams.yaml says")
    } else {
        Finding::bad("streams", differences.join("; "), "run `tickbell streams apply`")
    });
    Ok(findings)
}

async fn examine_database(store: &Store) -> anyhow::Result<Vec<Finding>> {
    let version = store.server_version().await?;
    let shown = format!("PostgreSQL {}.{}", version / 10_000, version % 10_000);
    let server = if version >= POSTGRESQL {
        Finding::well("database", shown)
    } else {
        Finding::bad("database", shown, "use PostgreSQL 15 or newer")
    };
    let schema = match store.pending_migrations().await? {
        0 => Finding::well("schema", "up to date"),
        pending => Finding::bad("schema", format!("{pending} migrations are missing"), "run `tickbell migrate`"),
    };
    Ok(vec![server, schema])
}

async fn examine_flow(broker: &Broker, store: &Store) -> anyhow::Result<Vec<Finding>> {
    let status = status::read(broker, store).await?;
    let behind: Vec<String> = status
        .consumers
        .iter()
        .filter(|consumer| consumer.lag > 0)
        .map(|c| format!("{} by {}", c.name, c.lag))
        .collect();
    let consumers = if behind.is_empty() {
        Finding::well("consumers", "all caught up")
    } else {
        let mend = "wait if it shrinks; else look at the service's log and at `tickbell status` again";
        Finding::bad("consumers", format!("behind: {}", behind.join(", ")), mend)
    };
    let status::Deliveries { waiting, failed } = status.deliveries;
    let detail = format!("{waiting} waiting, {failed} failed");
    let deliveries = if failed == 0 {
        Finding::well("deliveries", detail)
    } else {
        Finding::bad(
            "deliveries",
            detail,
            "see the reasons in table delivery_attempts; check smtp.url and the addresses",
        )
    };
    let dead = dead_letter_queue::list(broker).await?.len();
    let dead = if dead == 0 {
        Finding::well("dead letters", "none")
    } else {
        let mend = "see `tickbell dlq list`; once the cause is mended, `tickbell dlq replay`";
        Finding::bad("dead letters", format!("{dead} messages were given up"), mend)
    };
    Ok(vec![consumers, deliveries, dead])
}
