//! Walks through the schedule: injects faults, waits until everything works again, and measures how long that takes.

use std::{collections::BTreeSet, time::Duration};

use e2e::{Status, wait_until};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    cluster::{Cluster, Role},
    fault::{self, Fault},
    judge::judge,
    machine::{factor, load, say},
    readiness::Readiness,
    record::Record,
    report::Report,
    schedule::Step,
    traffic::{
        canaries::Canaries,
        clients::Client,
        feed::{self, Action, Feed},
        publisher::Publisher,
    },
};

/// The bound on a recovery, and that on one for which a server has to start again.
const RECOVERY: Duration = Duration::from_secs(10);
const RESTART: Duration = Duration::from_secs(30);
/// What a canary may take beyond the bound: a stall is noticed after ten seconds.
const GRACE: Duration = Duration::from_secs(5);
/// A system that has not recovered by then has nothing more to show.
const HOPELESS: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The time between two faults that are injected together.
const APART: Duration = Duration::from_millis(400);
/// The time during which the broker stores what an older copy lacks.
const BETWEEN_COPIES: Duration = Duration::from_secs(4);
const WORK: Duration = Duration::from_secs(60);
const TRADER: &str = "trader@example.com";

/// Everything that takes part in a run.
pub(crate) struct Harness {
    cluster: Cluster,
    readiness: Readiness,
    client: Client,
    record: Record,
    canaries: Canaries,
    feed: Feed,
    report: Report,
    began: Instant,
}

impl Harness {
    /// Starts everything, and returns once each canary has passed.
    pub(crate) async fn start(seed: u64) -> Self {
        let began = Instant::now();
        let mut cluster = Cluster::start().await;
        say(&format!("everything runs after {:.0?}; logs are in {}", began.elapsed(), cluster.system.home().display()));
        let record = Record::start(cluster.mail.taken_folder());
        let readiness = Readiness::watch(&cluster, began);
        wait_until("all instances are ready", WORK, async || readiness.is_complete().then_some(())).await;
        let token = sign_up(&mut cluster, &readiness).await;
        let client = Client { readiness: readiness.clone(), token };
        feed::create_alerts(&client, &record).await;
        cluster.servers.wait_until_processed(&cluster.system).await;
        let address = cluster.servers.address(e2e::system::Server::Nats);
        let feed = Feed::start(Publisher::new(address, "feed"), record.clone(), seed);
        let canaries = Canaries::start(client.clone(), record.clone(), Publisher::new(address, "canaries"));
        let report = Report::new(seed);
        let mut harness = Self { cluster, readiness, client, record, canaries, feed, report, began };
        let took = harness.recover(Instant::now(), RESTART).await;
        say(&format!("all canaries pass after {took:.1?}"));
        harness
    }

    /// Injects the faults of a step, ends them, and waits until everything works again.
    pub(crate) async fn walk(&mut self, step: &Step) {
        let seconds = self.began.elapsed().as_secs();
        say(&format!("{seconds:>5} s  {step}"));
        let bound = if step.faults.iter().any(|fault| fault.ends_a_server()) { RESTART } else { RECOVERY };
        if step.faults.iter().any(|fault| fault.needs_quiet()) {
            self.quiet().await;
        }
        let mut since = Instant::now();
        let mut injected = Vec::new();
        for fault in &step.faults {
            match fault {
                Fault::PutBack => self.put_back().await,
                Fault::Repeat => self.feed.act(Action::Repeat).await,
                Fault::Late => self.feed.act(Action::Late).await,
                _ => injected.push(fault.inject(&mut self.cluster, &self.readiness, &self.record).await),
            }
            self.pass(APART).await;
        }
        self.canaries.resume();
        self.feed.resume();
        let mut took = Duration::ZERO;
        if step.is_survivable() {
            took = self.recover(since, bound).await;
        }
        self.pass(step.lasts).await;
        if !step.is_survivable() {
            since = Instant::now();
        }
        injected.into_iter().for_each(|injected| injected.end(&mut self.cluster));
        self.cluster.heal();
        if !step.is_survivable() {
            took = self.recover(since, bound).await;
        }
        self.complete().await;
        say(&format!("         recovered after {:.1} s (load {})", took.as_secs_f32(), load()));
        self.report.add(step.faults.iter().map(|fault| fault.kind()).collect(), took);
    }

    /// Judges everything once all is processed, and returns whether nothing is wrong. Otherwise it leaves its folder.
    pub(crate) async fn finish(mut self) -> bool {
        self.quiet().await;
        self.report.judged = judge(&self.cluster.system, &self.cluster.servers, &self.client, &self.record).await;
        self.report.canaries = self.canaries.count();
        say(&self.report.to_string());
        let violations = std::mem::take(&mut self.record.entries().violations);
        if !violations.is_empty() {
            self.cluster.system.keep_folder();
            let (count, seed) = (violations.len(), self.report.seed);
            say(&format!("{count} violations with seed {seed}:\n{}", violations.join("\n")));
        }
        violations.is_empty()
    }

    /// Lets everything that is under way end.
    async fn quiet(&mut self) {
        self.canaries.pause();
        self.feed.pause().await;
        let began = Instant::now();
        while !self.canaries.under_way().is_empty() {
            if began.elapsed() > HOPELESS {
                let violation = format!("these canaries do not end: {:?}", self.canaries.under_way());
                self.record.add_violation(violation);
                break;
            }
            self.pass(LOOK_EVERY).await;
        }
        let (servers, system) = (&self.cluster.servers, &self.cluster.system);
        let done = async || servers.status(system).await.filter(Status::is_done);
        wait_until("all is processed", WORK, done).await;
    }

    /// Copies the streams, lets some time pass, and puts the copy back.
    async fn put_back(&mut self) {
        let copy = self.cluster.system.copy_streams();
        self.canaries.resume();
        self.feed.resume();
        self.pass(BETWEEN_COPIES).await;
        self.quiet().await;
        fault::put_back(&mut self.cluster, &copy);
    }

    /// Waits until a canary of each kind that began after `since` has ended, and returns how long that took.
    async fn recover(&mut self, since: Instant, bound: Duration) -> Duration {
        let bound = bound * factor();
        let mut reported = false;
        loop {
            if let Some(ended) = self.canaries.ended_since(since) {
                return ended - since;
            }
            if since.elapsed() > bound && !reported {
                reported = true;
                let seconds = self.began.elapsed().as_secs();
                let under_way = self.canaries.under_way();
                let late: BTreeSet<_> =
                    under_way.iter().map(|canary| format!("{}: until {}", canary.kind, canary.step)).collect();
                let answers = self.readiness.describe(&Role::ALL);
                self.record.add_violation(format!(
                    "at {seconds} s: not recovered after {bound:?} (load {}): {late:?}; {answers}",
                    load()
                ));
            }
            if since.elapsed() > HOPELESS {
                // The end of the faults may help.
                return since.elapsed();
            }
            self.pass(LOOK_EVERY).await;
        }
    }

    /// Waits until all instances say that they are ready.
    async fn complete(&mut self) {
        let since = Instant::now();
        while !self.readiness.is_complete() {
            if since.elapsed() > RESTART * factor() {
                let answers = self.readiness.describe(&Role::ALL);
                self.record.add_violation(format!("not all instances are ready again after {RESTART:?}: {answers}"));
                return;
            }
            self.pass(LOOK_EVERY).await;
        }
    }

    /// Lets time pass, while instances that end are started again and canaries are judged.
    async fn pass(&mut self, time: Duration) {
        let began = Instant::now();
        loop {
            let seconds = self.began.elapsed().as_secs();
            for end in self.cluster.supervise() {
                self.record.add_violation(format!("at {seconds} s: {end}"));
            }
            self.canaries.judge((RECOVERY + GRACE) * factor(), self.began);
            if began.elapsed() >= time {
                return;
            }
            sleep(LOOK_EVERY.min(time)).await;
        }
    }
}

/// Creates a user with money, and returns the token of a session.
async fn sign_up(cluster: &mut Cluster, readiness: &Readiness) -> String {
    let api = readiness.gateways().remove(0);
    let body = serde_json::json!({ "email": TRADER, "password": e2e::PASSWORD });
    let _: Value = api.post("/v1/users", &body).await.expect_status(202).json();
    for arguments in [&["accounts", "asset", "V1", "2"][..], &["accounts", "deposit", TRADER, "100000000", "USD"][..]] {
        let output = cluster.servers.run(&cluster.system, arguments).await;
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    api.sign_in(TRADER).await
}
