//! Thirty-two users trade for a minute while processes are killed at random: no money is lost or created.

use std::{
    collections::BTreeSet,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use e2e::{Api, Database, Process, System, system::Server, tape, wait_until};
use events::OutboundMessage;
use futures::future::{join, join_all};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use serde_json::{Value, json};

const CLIENTS: usize = 32;
const TRADED: Duration = Duration::from_secs(60);
/// The longest time for which an unanswered request is repeated.
const TIMEOUT: Duration = Duration::from_secs(60);

/// For each asset the sum of all accounts, which must be zero, and the sum of all deposits.
const TOTALS: &str = "
    SELECT string_agg(asset || ' ' || sum || ' ' || deposited, ', ' ORDER BY asset) FROM (
        SELECT asset, sum(balance), -sum(balance) FILTER (WHERE kind = 'issued') AS deposited
        FROM accounts GROUP BY asset) AS totals";

struct StressTest {
    system: System,
    database: Database,
    /// The ids of the orders that the API has accepted.
    placed: Mutex<BTreeSet<String>>,
    /// The number of times that the totals could be read; the database is down now and then.
    totals_read: AtomicUsize,
}

/// A user who trades.
struct Client {
    random: StdRng,
    token: String,
}

impl StressTest {
    /// Starts a system with users, deposits and a first price.
    async fn open() -> (Self, Vec<Client>) {
        let system = System::from_nothing().await;
        let mut clients = Vec::new();
        for number in 0..CLIENTS {
            let email = format!("client{number}@example.com");
            system.sign_up(&email).await;
            let token = system.api.sign_in(&email).await;
            let deposits = [("100000", "USD"), ("10", "BTC")];
            for (amount, asset) in deposits {
                let deposit = system.run(&["accounts", "deposit", &email, amount, asset]).await;
                assert!(deposit.status.success(), "{deposit:?}");
            }
            clients.push(Client { random: StdRng::seed_from_u64(number as u64), token });
        }
        system.publish(&[price(0, 5_000)]).await;
        system.wait_until_processed().await;
        let database = Database::of(&system);
        (Self { system, database, placed: Mutex::default(), totals_read: AtomicUsize::new(0) }, clients)
    }

    /// Trades until `end`. A request without an answer is repeated under its idempotency key.
    async fn trade(&self, client: &mut Client, end: Instant) {
        let mut round = 0;
        while Instant::now() < end {
            round += 1;
            let key = format!("round-{round}");
            let terms = terms(&mut client.random);
            let order = wait_until("an order is accepted", TIMEOUT, async || {
                let request = self.system.api.request(Method::POST, "/v1/orders").bearer_auth(&client.token);
                let request = request.header("idempotency-key", &key).header("prefer", "wait=1").json(&terms);
                let answer = Api::try_send(request.timeout(Duration::from_secs(5))).await?;
                assert!(matches!(answer.status, 200 | 202 | 503), "{}", answer.text);
                (answer.status != 503).then(|| answer.json::<Value>())
            })
            .await;
            let id = order["id"].as_str().expect("an id").to_owned();
            if client.random.random_ratio(1, 4) {
                let cancel = self.system.api.request(Method::DELETE, &format!("/v1/orders/{id}"));
                // A filled order stays filled, and a cancellation that is not answered is not repeated.
                Api::try_send(cancel.bearer_auth(&client.token).timeout(Duration::from_secs(5))).await;
            }
            self.placed.lock().expect("no panic").insert(id);
        }
    }

    /// Publishes prices until `end`.
    async fn quote(&self, end: Instant) {
        let mut random = StdRng::seed_from_u64(99);
        let mut second = 0;
        while Instant::now() < end {
            second += 1;
            let price = price(second, 4_900 + random.random_range(0..200));
            let broker =
                wait_until("the broker can be reached", TIMEOUT, async || self.system.try_broker().await).await;
            // A broker that dies now stores this price or not, and either is fine.
            let published = broker.publish(std::slice::from_ref(&price));
            let _ = tokio::time::timeout(Duration::from_secs(1), published).await;
            self.check_totals();
        }
    }

    /// Checks that the totals are what was deposited, if the database can be reached.
    fn check_totals(&self) {
        let output = self.database.run(TOTALS);
        if output.status.success() {
            self.totals_read.fetch_add(1, Ordering::Relaxed);
            let totals = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            assert_eq!(totals, "BTC 0.00000000 320.00000000, USD 0.00 3200000.00");
        }
    }
}

fn price(second: i64, price: i64) -> OutboundMessage {
    let time = format!("{:02}:{:02}:{:02}", second / 3_600, second / 60 % 60, second % 60);
    tape::message(&tape::tick("test", "BTC-USD", &time, &price.to_string()))
}

fn terms(random: &mut StdRng) -> Value {
    let side = ["buy", "sell"][random.random_range(0..2)];
    let size = format!("0.{:03}", random.random_range(1..500));
    let price = (4_900 + random.random_range(0..200)).to_string();
    let mut terms = match random.random_range(0..3) {
        0 => json!({ "type": "market", "size": size }),
        1 => json!({ "type": "stop", "size": size, "stop_price": price }),
        _ => json!({ "type": "limit", "size": size, "price": price }),
    };
    terms["symbol"] = "BTC-USD".into();
    terms["side"] = side.into();
    terms
}

#[tokio::test]
async fn the_ledger_balances_while_every_process_is_killed() {
    let (mut test, mut clients) = StressTest::open().await;
    let end = Instant::now() + TRADED;
    let mut random = StdRng::seed_from_u64(7);
    {
        // A second trade-settler beside that of `up`; each takes over from the other.
        let mut settler = test.spawn_settler();
        let trading = join_all(clients.iter_mut().map(|client| test.trade(client, end)));
        let killing = async {
            let (mut round, mut killed) = (0, 0);
            while Instant::now() < end {
                let next = Instant::now() + Duration::from_millis(random.random_range(3_000..7_000));
                wait_until("the next kill is due", TIMEOUT, async || (Instant::now() >= next).then_some(())).await;
                match round % 3 {
                    0 => test.system.kill_server(Server::Postgres),
                    1 => test.system.kill_server(Server::Nats),
                    _ => {
                        settler = test.kill_settler(settler).await;
                        killed += 1;
                    }
                }
                round += 1;
            }
            killed
        };
        let ((_, killed), ()) = join(join(trading, killing), test.quote(end)).await;
        assert!(killed >= 2, "a settler's process was killed {killed} times");
        let totals_read = test.totals_read.load(Ordering::Relaxed);
        assert!(totals_read >= 20, "the totals were read {totals_read} times");
    }
    // At last everything is killed at once and started again.
    test.system.kill();
    test.system.kill_server(Server::Postgres);
    test.system.kill_server(Server::Nats);
    test.system.up().await;
    test.system.wait_until_processed().await;
    test.assert_consistent(&clients).await;
    test.system.stop().await;
}

/// Takes the lease from the leading settler, so that another one takes over.
const END_LEASE: &str = "
    UPDATE leases SET holder = gen_random_uuid(), expires_at = clock_timestamp() WHERE service = 'trade-settler'";

/// Returns the name of the program that leads.
const LEADER: &str = "SELECT program FROM leases WHERE service = 'trade-settler' AND expires_at > clock_timestamp()";

impl StressTest {
    fn spawn_settler(&self) -> Process {
        self.system.spawn("settler", self.system.tickbell().arg("trade-settler"))
    }

    /// Kills the settler's process while it settles, and starts another one.
    async fn kill_settler(&self, settler: Process) -> Process {
        let ask = |sql: &str| String::from_utf8_lossy(&self.database.run(sql).stdout).trim().to_owned();
        wait_until("the process settles", TIMEOUT, async || {
            if ask(LEADER) == "tickbell trade-settler" {
                return Some(());
            }
            // A failure means that the server is down: whichever settler is first leads then.
            ask(END_LEASE);
            None
        })
        .await;
        let postings = || ask("SELECT max(id) FROM postings").parse::<u64>().ok();
        let before = wait_until("there are postings", TIMEOUT, async || postings()).await;
        wait_until("it posts", TIMEOUT, async || postings().filter(|last| *last > before)).await;
        settler.kill();
        self.spawn_settler()
    }

    async fn assert_consistent(&self, clients: &[Client]) {
        let totals_read = self.totals_read.load(Ordering::Relaxed);
        self.check_totals();
        assert_eq!(self.totals_read.load(Ordering::Relaxed), totals_read + 1, "the totals cannot be read");
        let value = |sql: &str| self.database.value(sql);
        let mut known = BTreeSet::new();
        for client in clients {
            let orders: Vec<Value> = self.system.api.pages("/v1/orders?limit=1000", Some(&client.token)).await;
            for order in orders {
                assert_ne!(order["status"], "received", "{order}");
                known.insert(order["id"].as_str().expect("an id").to_owned());
            }
        }
        let placed = self.placed.lock().expect("no panic").clone();
        assert!(placed.len() > CLIENTS, "only {} orders were placed in a minute", placed.len());
        assert!(placed.is_subset(&known), "orders were accepted and are lost: {:?}", placed.difference(&known));
        let twice = "SELECT count(*) FROM (SELECT cause FROM postings WHERE kind = 'fill' GROUP BY cause HAVING count(*) > 1) t";
        assert_eq!(value(twice), "0", "orders were settled twice");
        assert_eq!(value("SELECT sum(deadlocks) FROM pg_stat_database"), "0");
        let log = std::fs::read_to_string(self.system.data().join("postgres.log")).expect("PostgreSQL's log");
        assert!(!log.contains("deadlock detected"), "PostgreSQL has seen a deadlock");
        let verified = self.system.run(&["ledger", "verify"]).await;
        let said = String::from_utf8_lossy(&verified.stdout);
        assert!(verified.status.success(), "{said}");
    }
}
