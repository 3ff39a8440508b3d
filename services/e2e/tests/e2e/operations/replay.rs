//! A generated series of prices and rules on it, for tests that interrupt the system: the outcome must be the same as
//! without interruption.

use std::collections::BTreeSet;

use e2e::{Alert, Api, Firing, Mail, Process, System, api::Candle};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// The number of prices.
const TICKS: usize = 3_000;
/// The prices come in bursts, which make pages of many ticks: so many within milliseconds, and as many seconds later the next.
const BURST: usize = 20;
/// The prices are published at this speed: for half a minute without interruption.
const SPEED: &str = "100x";

/// The outcome of a run, which must not depend on interruptions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// The firings of each rule, without what differs from run to run.
    firings: Vec<Vec<Firing>>,
    /// The number of ticks that are stored of each symbol.
    stored: Vec<usize>,
    /// The candles of each symbol.
    candles: Vec<Vec<Candle>>,
}

fn rules() -> Vec<Value> {
    let change = |symbol: &str, percent: &str, since: &str, cooldown: &str| {
        let change = json!({ "percent": percent, "since": since });
        json!({ "symbol": symbol, "condition": { "change": change }, "cooldown": cooldown })
    };
    vec![
        change("BTC-USD", "1", "anchor", "0s"),
        change("BTC-USD", "0.4", "1m", "2m"),
        change("BTC-USD", "0.24", "previous", "0s"),
        json!({ "symbol": "BTC-USD", "condition": { "price": { "above": "7000" } } }),
        change("ETH-USD", "0.5", "anchor", "30s"),
        change("ETH-USD", "0.7", "5m", "0s"),
        json!({ "symbol": "ETH-USD", "condition": { "price": { "below": "400" } }, "cooldown": "1m" }),
    ]
}

/// Returns a random walk in steps of up to a quarter of a percent, the same in every run.
pub(crate) fn csv() -> String {
    let mut random = StdRng::seed_from_u64(20_180_405);
    let mut prices = [("BTC-USD", 700_000_i64), ("ETH-USD", 40_000)];
    let mut text = String::from("time,symbol,price,size\n");
    for number in 0..TICKS {
        let (symbol, cents) = &mut prices[number % 2];
        *cents += *cents * random.random_range(-25..=25) / 10_000;
        let (second, millis) = (number / BURST * BURST, number % BURST);
        let (hours, minutes) = (second / 3_600, second / 60 % 60);
        let time = format!("2018-04-05T{hours:02}:{minutes:02}:{:02}.{millis:03}Z", second % 60);
        text.push_str(&format!("{time},{symbol},{}.{:02},0.5\n", *cents / 100, *cents % 100));
    }
    text
}

/// Creates the rules and waits until they are active.
pub(crate) async fn subscribe(system: &System) -> Vec<Alert> {
    let alerts = subscribe_at(&[&system.api]).await;
    system.wait_until_processed().await;
    alerts
}

/// Creates the rules, at each of the gateways in turn.
pub(crate) async fn subscribe_at(gateways: &[&Api]) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (rule, api) in rules().into_iter().zip(gateways.iter().cycle()) {
        alerts.push(api.subscribe(rule).await);
    }
    alerts
}

/// Publishes the prices from a process of its own, which runs on when the system is killed.
pub(crate) fn play(system: &System) -> Process {
    play_at(system, &system.named("NATS_URL").expect("the broker's address"))
}

/// Publishes the prices to the broker at `url`.
pub(crate) fn play_at(system: &System, url: &str) -> Process {
    let file = system.home().join("replay.csv");
    std::fs::write(&file, csv()).expect("a file");
    let source = format!("file:{}", file.display());
    let mut command = system.tickbell();
    command.args(["price-ingestor", "--source", &source, "--speed", SPEED, "--venue", "test", "--nats-url", url]);
    system.spawn("ingestor", &mut command)
}

/// Reads the outcome through the API.
pub(crate) async fn outcome(system: &System, alerts: &[Alert]) -> Outcome {
    let (mut firings, mut has_page_of_many) = (Vec::new(), false);
    for alert in alerts {
        let mut of_rule = system.api.firings(alert).await;
        for firing in &mut of_rule {
            assert_eq!(firing.id, format!("{}-{}", alert.id, firing.number));
            (firing.id, firing.rule_id) = Default::default();
            has_page_of_many |= firing.stream_index > 0;
            // How the ticks are cut into pages differs too.
            (firing.stream_sequence, firing.stream_index) = Default::default();
        }
        firings.push(of_rule);
    }
    assert!(has_page_of_many, "pages of one tick are not what is interrupted");
    let (mut stored, mut candles) = (Vec::new(), Vec::new());
    for symbol in ["BTC-USD", "ETH-USD"] {
        let ticks = system.api.history(symbol, "asc", 1_000).await;
        assert_eq!(ticks.iter().map(|tick| &tick.trade_id).collect::<BTreeSet<_>>().len(), ticks.len());
        stored.push(ticks.len());
        candles.push(system.api.candles(symbol, "1m").await);
    }
    Outcome { firings, stored, candles }
}

/// Returns the outcome of a run without interruption, which is made once per test process.
pub(crate) async fn undisturbed() -> &'static Outcome {
    static OUTCOME: OnceCell<Outcome> = OnceCell::const_new();
    let run = async || {
        let mut system = System::start().await;
        let alerts = subscribe(&system).await;
        system.ingest(&csv(), "test").await;
        system.wait_until_processed().await;
        let outcome = outcome(&system, &alerts).await;
        assert_eq!(outcome.stored, [TICKS / 2; 2]);
        let never_fired: Vec<_> =
            outcome.firings.iter().enumerate().filter(|(_, of_rule)| of_rule.is_empty()).collect();
        assert!(never_fired.is_empty(), "rules that never fire test nothing: {never_fired:?}");
        assert_notified_once(&system.mails(), &alerts, &outcome);
        system.stop().await;
        outcome
    };
    OUTCOME.get_or_init(run).await
}

/// Checks that each firing that is not suppressed has one mail, and that there is no other mail.
pub(crate) fn assert_notified_once(mails: &[Mail], alerts: &[Alert], outcome: &Outcome) {
    let mut notified: Vec<_> = mails.iter().map(Mail::firing).collect();
    notified.sort();
    let numbers = |(alert, firings): (&Alert, &Vec<Firing>)| {
        let notified = firings.iter().filter(|firing| firing.suppressed.is_none());
        notified.map(|firing| (alert.id.clone(), firing.number)).collect::<Vec<_>>()
    };
    let mut fired: Vec<_> = alerts.iter().zip(&outcome.firings).flat_map(numbers).collect();
    fired.sort();
    assert_eq!(notified, fired);
    let ids: BTreeSet<_> = mails.iter().map(|mail| &mail.message_id).collect();
    assert_eq!(ids.len(), mails.len());
}
