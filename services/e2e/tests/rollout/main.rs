//! Rollouts under load, by switching colours and by rolling restarts: no request fails and no mail is repeated.

mod balancer;
mod client;
mod load;

use std::{
    collections::BTreeSet,
    io::Write,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use e2e::{
    Alert, Api, Mail, MailServer, Servers, Service, System, process::use_release_build, status::Consumer, wait_until,
};
use futures::{StreamExt, future::join_all, stream};
use reqwest::Method;
use serde_json::Value;

use crate::{
    balancer::{Balancer, Endpoint},
    load::{Load, SYMBOLS},
};

/// The least number of requests that must be answered during the rollouts.
const REQUESTS: u64 = 100_000;
/// The longest time for that.
const LOAD: Duration = Duration::from_secs(180);
const WAIT: Duration = Duration::from_secs(30);
/// The number of ticks of each symbol after which a rule must have fired.
const ROUNDS: u64 = 10;
/// The number of connections that read the rules at the end.
const CONNECTIONS: usize = 16;

/// The settings of production with shorter waits, because the balancer reacts within a second. Two colours at once must not
/// have more connections to the database than it allows.
const SETTINGS: [(&str, &str); 5] = [
    ("TICKBELL_STREAMS__MANAGE", "false"),
    ("TICKBELL_GATEWAY__LAME_DUCK_SECONDS", "2"),
    ("TICKBELL_GATEWAY__DRAIN_SECONDS", "5"),
    ("TICKBELL_DATABASE__MAX_CONNECTIONS", "10"),
    ("TICKBELL_PRICE_INGESTOR__SIMULATOR__INTERVAL", "100ms"),
];
/// The arguments with which each service is started.
const INGESTOR: &[&str] = &["price-ingestor"];
const ENGINE: &[&str] = &["alert-engine"];
const WRITER: &[&str] = &["history-writer"];
const SETTLER: &[&str] = &["trade-settler"];
const NOTIFIER: &[&str] = &["notifier"];
const GATEWAY: &[&str] = &["gateway"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switches_of_colour_and_rolling_restarts_lose_no_request_and_repeat_no_mail() {
    use_release_build();
    let fleet = Fleet::new().await;
    let mut ingestors = vec![fleet.start(INGESTOR).await];
    let (mut writers, mut engines) = (fleet.pair(WRITER).await, fleet.pair(ENGINE).await);
    let mut settlers = fleet.pair(SETTLER).await;
    let (mut notifiers, mut gateways) = (fleet.pair(NOTIFIER).await, fleet.pair(GATEWAY).await);
    fleet.smoke(&gateways).await;
    let balancer = Balancer::start(endpoints(&gateways).await).await;
    let load = Load::start(balancer.address());

    let mut times = 0;
    while load.answered() < REQUESTS && load.began.elapsed() < LOAD {
        let (blue, green) = (gateways, fleet.pair(GATEWAY).await);
        fleet.switch(&balancer, blue, &green).await;
        let blue = fleet.pair(GATEWAY).await;
        fleet.switch(&balancer, green, &blue).await;
        gateways = blue;
        for _ in 0..gateways.len() {
            let oldest = gateways.remove(0);
            gateways.push(fleet.replace(oldest).await);
            balancer.select(endpoints(&gateways).await);
        }
        for replicas in [&mut engines, &mut writers, &mut settlers, &mut notifiers, &mut ingestors] {
            fleet.roll(replicas).await;
        }
        times += 1;
    }

    let tally = load.finish().await;
    fleet.wait_until_evaluated().await;
    stop(ingestors).await;
    fleet.servers.wait_until_processed(&fleet.system).await;
    let api = Api::new(&format!("http://{}", balancer.address()));
    let fired = firings(&api, &tally.alerts).await;
    let mails = fleet.mailbox.taken();
    let exchanged = format!("{times} times two switches and a rolling restart of everything");
    // Not by a macro, whose output a test that passes does not show.
    let _ = writeln!(std::io::stderr(), "{exchanged}: {tally}; {} rules, {} mails", tally.alerts.len(), mails.len());
    assert!(tally.requests() >= REQUESTS && times > 0, "too few requests or rollouts to prove anything");
    assert!(tally.failures.is_empty(), "{:#?}, {:?}", tally.failures, balancer.broken());
    assert_notified_once(&mails, &fired);
    for replicas in [gateways, engines, writers, settlers, notifiers] {
        stop(replicas).await;
    }
}

/// The running services and their servers.
struct Fleet {
    servers: Servers,
    mailbox: MailServer,
    system: System,
    started: AtomicU32,
}

/// One process of a service, and how it was started.
struct Replica {
    arguments: &'static [&'static str],
    service: Service,
}

impl Fleet {
    async fn new() -> Self {
        let mut system = System::start().await;
        let mailbox = MailServer::start(system.home()).await;
        let url = mailbox.url();
        let settings: Vec<_> = SETTINGS.into_iter().chain([("TICKBELL_SMTP__URL", url.as_str())]).collect();
        let servers = Servers::take_over(&mut system, &settings).await;
        Self { servers, mailbox, system, started: AtomicU32::new(0) }
    }

    /// Starts a process and waits until it is ready.
    async fn start(&self, arguments: &'static [&'static str]) -> Replica {
        let name = format!("{}-{}", arguments[0], self.started.fetch_add(1, Ordering::Relaxed));
        let service = self.servers.start(&self.system, &name, arguments);
        service.wait_until_ready().await;
        Replica { arguments, service }
    }

    async fn pair(&self, arguments: &'static [&'static str]) -> Vec<Replica> {
        join_all([self.start(arguments), self.start(arguments)]).await
    }

    /// Stops a process, which must end with status 0, and starts its successor.
    async fn replace(&self, old: Replica) -> Replica {
        old.service.stop().await;
        self.start(old.arguments).await
    }

    /// Replaces processes one by one.
    async fn roll(&self, replicas: &mut Vec<Replica>) {
        for _ in 0..replicas.len() {
            let oldest = replicas.remove(0);
            replicas.push(self.replace(oldest).await);
        }
    }

    /// Tests the idle colour, routes new connections to it, and stops the other colour.
    async fn switch(&self, balancer: &Balancer, active: Vec<Replica>, idle: &[Replica]) {
        self.smoke(idle).await;
        balancer.select(endpoints(idle).await);
        stop(active).await;
    }

    /// Runs the smoke test against each gateway directly.
    async fn smoke(&self, gateways: &[Replica]) {
        for gateway in gateways {
            let api = &gateway.service.api;
            let output = self.system.run(&["smoke", api.base()]).await;
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "smoke of {} ended with {}: {said}", api.base(), output.status);
        }
    }

    /// Waits until every rule was in effect for some ticks.
    async fn wait_until_evaluated(&self) {
        let waits = |consumer: &Consumer| {
            ["alert-engine-rules", "gateway"].contains(&consumer.name.as_str()) && consumer.lag > 0
        };
        let position = async || {
            let status = self.servers.status(&self.system).await?;
            (!status.consumers.iter().any(waits)).then(|| status.position("alert-engine"))
        };
        let enough = wait_until("every rule is in effect", WAIT, position).await + ROUNDS * SYMBOLS.len() as u64;
        wait_until("some ticks more are judged", WAIT, async || position().await.filter(|now| *now >= enough)).await;
    }
}

/// Gateways as the balancer sees them.
async fn endpoints(gateways: &[Replica]) -> Vec<Endpoint> {
    let endpoint = async |gateway: &Replica| {
        let Service { api, admin, .. } = &gateway.service;
        Endpoint::new(api.base().trim_start_matches("http://").parse().expect("an address"), admin.clone()).await
    };
    join_all(gateways.iter().map(endpoint)).await
}

async fn stop(replicas: Vec<Replica>) {
    join_all(replicas.into_iter().map(|replica| replica.service.stop())).await;
}

/// Every firing of every rule that was answered 201: each is there, and has rung.
async fn firings(api: &Api, alerts: &[Alert]) -> BTreeSet<(String, i64)> {
    let look = async |alert: &Alert| {
        let rule: Value = api.manage(Method::GET, alert, None).await.expect_status(200).json();
        let firings = api.firings(alert).await;
        if rule["repeat"] == "once" {
            assert_eq!((firings.len(), &rule["status"]), (1, &"done".into()), "{rule}");
        }
        firings.into_iter().map(|firing| (firing.rule_id, firing.number)).collect::<Vec<_>>()
    };
    let all: Vec<_> = stream::iter(alerts).map(look).buffer_unordered(CONNECTIONS).concat().await;
    let (count, set) = (all.len(), BTreeSet::from_iter(all));
    assert_eq!(set.len(), count, "a firing is listed once");
    set
}

/// Each firing has one mail, and there is no other.
fn assert_notified_once(mails: &[Mail], fired: &BTreeSet<(String, i64)>) {
    let notified: BTreeSet<_> = mails.iter().map(Mail::firing).collect();
    let ids: BTreeSet<_> = mails.iter().map(|mail| &mail.message_id).collect();
    assert_eq!((ids.len(), notified.len()), (mails.len(), mails.len()), "no mail is repeated");
    let (missing, unasked): (Vec<_>, Vec<_>) =
        (fired.difference(&notified).collect(), notified.difference(fired).collect());
    assert!(missing.is_empty() && unasked.is_empty(), "without a mail: {missing:?}; without a firing: {unasked:?}");
}
