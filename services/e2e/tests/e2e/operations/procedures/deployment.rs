//! One of every service as processes of their own, as in a cluster, and what must go through them before and after a
//! procedure.

use std::{collections::BTreeMap, process::Output, time::Duration};

use e2e::{Alert, Api, Database, Servers, Service, System, system::Server, tape, wait_until};
use platform::Broker;
use reqwest::Method;
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
pub(super) const SERVICES: [&str; 5] = ["alert-engine", "gateway", "history-writer", "notifier", "trade-settler"];
/// The services that read rules and orders.
const READERS: [&str; 2] = ["alert-engine", "trade-settler"];
/// How long each step of the work may take, including what services wait for after an outage.
const WORK: Duration = Duration::from_secs(30);
/// Makes the rows as old as those that `tickbell streams republish` takes: younger ones may be on their way.
const AGE: &str = "
    UPDATE rules SET updated_at = updated_at - interval '4 minutes';
    UPDATE orders SET placed_at = placed_at - interval '4 minutes';
    UPDATE firings SET saved_at = saved_at - interval '4 minutes'";

/// The servers, one of every service, and the work that has gone through them.
pub(super) struct Deployment {
    pub(super) system: System,
    pub(super) servers: Servers,
    services: BTreeMap<&'static str, Service>,
    token: String,
    work: Vec<Work>,
    minute: u32,
}

/// What goes through all services on one symbol: a rule, the ticks that fire it once, and an order.
struct Work {
    symbol: &'static str,
    rule: Alert,
    order: String,
}

impl Deployment {
    /// Starts the servers and all services.
    pub(super) async fn start() -> Self {
        let mut deployment = Self::without_services().await;
        deployment.start_services(&SERVICES).await;
        deployment
    }

    /// Starts the servers, with a user who has money. As in a cluster, the services will not create streams.
    pub(super) async fn without_services() -> Self {
        let mut system = System::start().await;
        system.sign_up(ADA).await;
        let token = system.api.sign_in(ADA).await;
        assert_success("a deposit", &system.run(&["accounts", "deposit", ADA, "100000", "USD"]).await);
        system.wait_until_processed().await;
        let servers = Servers::take_over(&mut system, &[("TICKBELL_STREAMS__MANAGE", "false")]).await;
        Self { system, servers, services: BTreeMap::new(), token, work: Vec::new(), minute: 0 }
    }

    /// Starts services and waits until they are ready.
    pub(super) async fn start_services(&mut self, names: &[&'static str]) {
        for name in names {
            self.services.insert(name, self.servers.start(&self.system, name, &[name]));
        }
        for name in names {
            self.services[name].wait_until_ready().await;
        }
    }

    /// Waits until all services that run are ready.
    pub(super) async fn wait_until_ready(&self, limit: Duration) {
        let ready = async || {
            for service in self.services.values() {
                if !service.is_ready().await {
                    return None;
                }
            }
            Some(())
        };
        wait_until("all services are ready", limit, ready).await;
    }

    /// Ends services as a power cut would.
    pub(super) fn kill_services(&mut self, names: &[&'static str]) {
        names.iter().filter_map(|name| self.services.remove(name)).for_each(Service::kill);
    }

    /// Asks services to stop, which must end them in order.
    pub(super) async fn stop_services(&mut self, names: &[&'static str]) {
        for service in names.iter().filter_map(|name| self.services.remove(name)).collect::<Vec<_>>() {
            service.stop().await;
        }
    }

    /// Runs a command of the runbook as it stands there, which must succeed.
    pub(super) async fn run(&self, line: &str) {
        assert_success(line, &self.servers.run_line(&self.system, line).await);
        if line == "tickbell status" {
            // Whoever reads it runs it until there is no lag.
            self.servers.wait_until_processed(&self.system).await;
        }
    }

    /// Creates a rule and places an order on a symbol that has a price.
    pub(super) async fn request(&mut self, symbol: &'static str) {
        let rule = self.create_rule(symbol).await;
        let order = self.place_order(symbol).await;
        self.work.push(Work { symbol, rule, order });
    }

    /// Fires the rule of [`Deployment::request`] by a tick, and waits until all of it has had its effect.
    pub(super) async fn complete(&mut self, symbol: &str) {
        let work = self.work.iter().find(|work| work.symbol == symbol).expect("it was requested");
        self.wait_until_filled(&work.order).await;
        self.wait_until_followed(&work.rule).await;
        self.publish(symbol, "101").await;
    }

    /// Lets a new rule, new ticks, a firing, its mail and an order go through all services.
    pub(super) async fn work(&mut self, symbol: &'static str) {
        let rule = self.create_rule(symbol).await;
        self.wait_until_followed(&rule).await;
        self.publish(symbol, "90").await;
        self.publish(symbol, "101").await;
        let fired = format!("SELECT count(*) FROM firings WHERE rule_id = '{}'", rule.id);
        self.wait_for("the rule fires", &fired, "1").await;
        let order = self.place_order(symbol).await;
        self.wait_until_filled(&order).await;
        self.work.push(Work { symbol, rule, order });
    }

    /// Publishes one tick, a minute after the one before: an order is refused where another symbol has a newer price.
    pub(super) async fn publish(&mut self, symbol: &str, price: &str) {
        self.minute += 1;
        let time = format!("00:{:02}:00", self.minute);
        self.wait_for_broker()
            .await
            .publish(&[tape::message(&tape::tick("test", symbol, &time, price))])
            .await
            .expect("it is stored");
    }

    /// Waits until the broker accepts a connection, and returns it.
    pub(super) async fn wait_for_broker(&self) -> Broker {
        wait_until("the broker is there", WORK, async || self.servers.try_broker().await).await
    }

    /// Waits until everything that was accepted is in the streams.
    async fn wait_until_published(&self) {
        self.wait_for("everything is published", "SELECT count(*) FROM outbox", "0").await;
    }

    /// Has a rule and an order published that no service reads, and so old that the broker's loss of them is no doubt.
    pub(super) async fn leave_unread(&mut self, symbol: &'static str) {
        self.servers.wait_until_processed(&self.system).await;
        self.kill_services(&READERS);
        self.request(symbol).await;
        self.wait_until_published().await;
        self.database().value(AGE);
    }

    /// Performs what a line says of a broker whose volumes are replaced, and returns whether it says anything of it.
    pub(super) async fn restart_broker(&mut self, line: &str) -> bool {
        match line {
            "kubectl scale statefulset nats --replicas 0" => self.servers.kill(Server::Nats),
            "kubectl scale statefulset nats --replicas 3" => self.servers.start_again(&self.system, Server::Nats),
            "kubectl rollout status statefulset nats" => drop(self.wait_for_broker().await),
            "kubectl get pods" => self.start_services(&READERS).await,
            _ => return false,
        }
        true
    }

    /// Checks that all work, before and after the procedure, has had its effect once.
    pub(super) async fn assert_done_once(&self) {
        for work in &self.work {
            let firings = format!("SELECT count(*) FROM firings WHERE rule_id = '{}'", work.rule.id);
            self.wait_for("the rule has fired", &firings, "1").await;
        }
        self.servers.wait_until_processed(&self.system).await;
        let database = self.database();
        // The price of a trade is not what is tried here.
        let subject = |mail: e2e::Mail| mail.subject.split(" at ").next().unwrap_or_default().to_owned();
        let mut mails: Vec<_> = self.system.mails().into_iter().map(subject).collect();
        let mut expected = Vec::new();
        for work in &self.work {
            let Work { symbol, rule, .. } = work;
            let of_symbol = format!("JOIN instruments i ON i.id = instrument_id WHERE symbol = '{symbol}'");
            for (what, query, count) in [
                ("ticks", format!("SELECT count(*) FROM ticks {of_symbol}"), "2"),
                (
                    "trades of the day",
                    format!("SELECT sum(trades) FROM candles {of_symbol} AND interval_seconds = 86400"),
                    "2",
                ),
                ("firings", format!("SELECT count(*) FROM firings WHERE rule_id = '{}'", rule.id), "1"),
            ] {
                assert_eq!(database.value(&query), count, "{what} of {symbol}");
            }
            let base = symbol.split('-').next().expect("a base");
            expected.push(format!("{symbol} above 100: now 101"));
            expected.push(format!("Bought 1.00 {base}"));
        }
        mails.sort();
        expected.sort();
        assert_eq!(mails, expected, "one mail of each");
        assert_eq!(
            database.value("SELECT count(*) FROM trades"),
            self.work.len().to_string(),
            "one trade of each order"
        );
        self.run("tickbell ledger verify").await;
    }

    pub(super) fn database(&self) -> Database {
        self.servers.database()
    }

    fn api(&self) -> &Api {
        &self.services["gateway"].api
    }

    async fn create_rule(&self, symbol: &str) -> Alert {
        self.api().subscribe(json!({ "symbol": symbol, "condition": { "price": { "above": "100" } } })).await
    }

    async fn place_order(&self, symbol: &str) -> String {
        let order = json!({ "symbol": symbol, "side": "buy", "type": "market", "size": "1" });
        let placed: Value = self.api().call_with(&self.token, Method::POST, "/v1/orders", &order).await.json();
        placed["id"].as_str().unwrap_or_else(|| panic!("no order: {placed}")).to_owned()
    }

    async fn wait_until_filled(&self, order: &str) {
        let status = format!("SELECT status FROM order_states WHERE order_id = '{order}'");
        self.wait_for("the order is filled", &status, "filled").await;
    }

    async fn wait_until_followed(&self, rule: &Alert) {
        let status = format!("SELECT status FROM rule_states WHERE rule_id = '{}'", rule.id);
        self.wait_for("the rule is followed", &status, "active").await;
    }

    async fn wait_for(&self, what: &str, query: &str, expected: &str) {
        let database = self.database();
        wait_until(what, WORK, async || (database.value(query) == expected).then_some(())).await;
    }
}

fn assert_success(what: &str, output: &Output) {
    let [said, logged] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{what} ended with {}\n{said}\n{logged}", output.status);
}
