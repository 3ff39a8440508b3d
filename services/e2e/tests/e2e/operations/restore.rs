//! A database is restored from a backup that is older than rules, firings, users, orders and deposits, as the runbook says.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

use e2e::{Alert, Api, Database, System, tape, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

const ADA: &str = "ada@example.com";
const RECOVERED: Duration = Duration::from_secs(30);

/// A system with a backup, and what is newer than the backup.
struct Aged {
    system: System,
    token: String,
    /// A rule of the backup, which was paused since.
    old_rule: Alert,
    /// A rule that was created and has fired since.
    new_rule: Alert,
    /// An order that was filled since, and one that is open.
    orders: [Value; 2],
    balance: Value,
}

/// Runs one of the operator's scripts, as `make` does.
fn script(system: &System, name: &str, variables: &[(&str, &str)]) -> Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut command = Command::new(root.join("infra/scripts").join(name));
    command.env("DATA", system.data()).env("TICKBELL", system.tickbell().get_program()).current_dir(root);
    command.envs(variables.iter().copied()).output().expect("the script runs")
}

fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

async fn run(system: &System, arguments: &[&str]) -> String {
    let output = system.run(arguments).await;
    assert_success(&output);
    String::from_utf8(output.stdout).expect("text")
}

async fn publish(system: &System, time: &str, price: &str) {
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", time, price))]).await;
    system.wait_until_processed().await;
}

impl Aged {
    async fn new() -> Self {
        let system = System::start().await;
        system.sign_up(ADA).await;
        let token = system.api.sign_in(ADA).await;
        run(&system, &["accounts", "deposit", ADA, "1000", "USD"]).await;
        let threshold =
            |side: &str, price: &str| json!({ "symbol": "BTC-USD", "condition": { "price": { side: price } } });
        let old_rule = system.api.subscribe(threshold("above", "150")).await;
        publish(&system, "00:00:00", "100").await;
        let mut aged = Self {
            new_rule: old_rule.clone(),
            old_rule,
            orders: [Value::Null, Value::Null],
            balance: Value::Null,
            token,
            system,
        };
        aged.place(&json!({ "type": "market", "size": "1" })).await;
        aged.system.wait_until_processed().await;
        let to = aged.backup();
        assert_success(&script(&aged.system, "backup", &[("TO", &to)]));

        aged.change(&aged.old_rule, "paused").await;
        aged.new_rule = aged.system.api.subscribe(threshold("below", "90")).await;
        aged.system.sign_up("bob@example.com").await;
        run(&aged.system, &["accounts", "deposit", ADA, "500", "USD"]).await;
        aged.system.wait_until_processed().await;
        publish(&aged.system, "00:01:00", "80").await;
        let filled = aged.place(&json!({ "type": "market", "size": "2" })).await;
        let open = aged.place(&json!({ "type": "limit", "size": "1", "price": "20" })).await;
        assert_eq!((&filled["status"], &open["status"]), (&json!("filled"), &json!("open")));
        aged.system.wait_until_processed().await;
        aged.orders = [filled, open];
        aged.balance = aged.look("/v1/accounts").await;
        assert_eq!(aged.system.api.firings(&aged.new_rule).await.len(), 1);
        aged
    }

    fn backup(&self) -> String {
        self.system.home().join("backup.dump").display().to_string()
    }

    async fn place(&self, terms: &Value) -> Value {
        let mut order = json!({ "symbol": "BTC-USD", "side": "buy" });
        order.as_object_mut().expect("an object").extend(terms.as_object().expect("an object").clone());
        let request = self.system.api.request(Method::POST, "/v1/orders").bearer_auth(&self.token).json(&order);
        Api::send(request.header("prefer", "wait=9")).await.json()
    }

    async fn change(&self, rule: &Alert, status: &str) {
        let answer = self.system.api.manage(Method::PATCH, rule, Some(json!({ "status": status }))).await;
        answer.expect_status(200);
    }

    async fn look(&self, path: &str) -> Value {
        self.system.api.call(&self.token, Method::GET, path).await.expect_status(200).json()
    }

    async fn look_at_order(&self, order: &Value) -> Value {
        self.look(&format!("/v1/orders/{}", order["id"].as_str().expect("an id"))).await
    }

    /// Replaces the database by the backup, under the running services, and waits until they have read everything again.
    async fn restore(&self, newer: &str) {
        let restored = script(&self.system, "restore", &[("FROM", &self.backup()), ("SWITCH", "1"), ("NEWER", newer)]);
        assert_success(&restored);
        self.until_ready().await;
        self.system.wait_until_processed().await;
    }

    async fn until_ready(&self) {
        wait_until("the services are ready again", RECOVERED, async || {
            let answer = Api::try_send(self.system.api.request(Method::GET, "/readyz")).await?;
            (answer.status == 200).then_some(())
        })
        .await;
    }

    /// Checks that the rule of the backup, whose pause was lost, is active and follows its owner.
    async fn assert_old_rule_follows(&self) {
        let fired = async || self.system.api.firings(&self.old_rule).await.len();
        assert_eq!(self.system.api.status_of(&self.old_rule).await, "active");
        publish(&self.system, "00:02:00", "160").await;
        assert_eq!(fired().await, 1, "the row says that it is active");
        publish(&self.system, "00:03:00", "100").await;
        // The broker takes the first change for a repeat of the lost one, which had the same number.
        for status in ["paused", "active", "paused"] {
            self.change(&self.old_rule, status).await;
        }
        self.system.wait_until_processed().await;
        publish(&self.system, "00:04:00", "170").await;
        assert_eq!(fired().await, 1, "it is paused again");
    }
}

#[tokio::test]
async fn a_restore_that_takes_over_newer_rows_loses_no_money_and_no_rule() {
    let aged = Aged::new().await;
    let before = run(&aged.system, &["ledger", "verify"]).await;
    assert_success(&script(&aged.system, "restore", &[("FROM", &aged.backup())]));
    assert_eq!(aged.look("/v1/accounts").await, aged.balance, "without SWITCH=1 nothing is touched");
    Database::of(&aged.system).value("DROP DATABASE tickbell_restored");

    aged.restore("1").await;
    assert_eq!(aged.look("/v1/accounts").await, aged.balance);
    for order in &aged.orders {
        assert_eq!(&aged.look_at_order(order).await, order);
    }
    let head = |said: &str| said.split_whitespace().find(|word| word.len() == 64).map(str::to_owned);
    assert!(head(&before).is_some(), "{before}");
    assert_eq!(head(&run(&aged.system, &["ledger", "verify"]).await), head(&before));
    aged.system.api.try_sign_in("bob@example.com", e2e::PASSWORD).await.expect_status(201);
    assert_eq!(aged.system.api.firings(&aged.new_rule).await.len(), 1, "it fires at the same tick again");
    aged.assert_old_rule_follows().await;
    assert!(run(&aged.system, &["dlq", "list"]).await.contains("no dead letters"));
}

#[tokio::test]
async fn after_a_restore_to_a_backup_alone_what_is_newer_is_passed_over_and_named() {
    let mut aged = Aged::new().await;
    aged.restore("").await;
    run(&aged.system, &["ledger", "verify"]).await;
    let said = run(&aged.system, &["dlq", "list"]).await;
    for order in &aged.orders {
        let id = order["id"].as_str().expect("an id");
        assert!(said.contains(&format!("order {id} is not in table orders")), "{said}");
    }
    assert!(said.contains("is not in table deposits"), "{said}");
    let metrics = aged.system.api.get("/metrics").await.expect_status(200).text;
    for (service, row) in
        [("alert-engine", "rule"), ("notifier", "rule"), ("trade-settler", "order"), ("trade-settler", "deposit")]
    {
        let counter = format!("tickbell_events_without_row_total{{service=\"{service}\",row=\"{row}\"}}");
        let counted = metrics.lines().find_map(|line| line.strip_prefix(&counter)?.trim().parse::<u64>().ok());
        assert!(counted > Some(0), "{counter} is {counted:?}");
    }
    let gone = aged.system.api.manage(Method::GET, &aged.new_rule, None).await;
    assert_eq!(gone.status, 404, "{}", gone.text);
    aged.assert_old_rule_follows().await;

    // Every service starts with what was restored.
    aged.system.stop().await;
    aged.system.up().await;
    aged.system.wait_until_processed().await;

    // The rows can still be taken over, as the runbook says, and what needs them can be replayed.
    let url = aged.system.named("DATABASE_URL").expect("a URL");
    let before =
        Database::of(&aged.system).value("SELECT datname FROM pg_database WHERE datname LIKE 'tickbell_before_%'");
    let (server, _) = url.rsplit_once('/').expect("a database URL");
    let old = format!("{server}/{before}");
    take_over(&old, &url);
    let replayed = run(&aged.system, &["dlq", "replay", "--all"]).await;
    assert_eq!(replayed.lines().count(), 3, "{replayed}");
    aged.system.wait_until_processed().await;
    for (order, status) in aged.orders.iter().zip(["filled", "open"]) {
        assert_eq!(aged.look_at_order(order).await["status"], status);
    }
    run(&aged.system, &["ledger", "verify"]).await;
    aged.system.stop().await;
}

/// Runs the command of the runbook that copies rows from the old database.
fn take_over(old: &str, new: &str) {
    let runbook = include_str!("../../../../../RUNBOOK.md");
    let begin = runbook.find("pg_dump --data-only --inserts").expect("the command");
    let command: String = runbook[begin..].lines().take_while(|line| *line != "```").collect::<Vec<_>>().join("\n");
    let command =
        command.replace("postgres://…/tickbell_before_…", "\"$OLD\"").replace("postgres://…/tickbell", "\"$NEW\"");
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", &command]).env("OLD", old).env("NEW", new).stdin(Stdio::null());
    assert_success(&shell.output().expect("bash runs"));
}
