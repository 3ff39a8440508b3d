//! A morning of generated prices and the rules that watch it, to be disturbed.

use std::collections::BTreeSet;

use e2e::{Alert, Api, Firing, Mail, Process, System};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

/// How many prices there are.
const TICKS: usize = 3_000;
/// They are a second apart and played so many times as fast: for half a minute when nothing holds them up.
const SPEED: &str = "100x";

/// What a run comes to: it must be the same however it was disturbed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Of each rule, without what differs from run to run.
    firings: Vec<Vec<Firing>>,
    /// How many ticks each symbol has.
    stored: Vec<usize>,
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

/// A walk in steps of up to a quarter of a percent, the same in every run.
pub(crate) fn csv() -> String {
    let mut random = StdRng::seed_from_u64(20_180_405);
    let mut prices = [("BTC-USD", 700_000_i64), ("ETH-USD", 40_000)];
    let mut text = String::from("time,symbol,price,size\n");
    for second in 0..TICKS {
        let (symbol, cents) = &mut prices[second % 2];
        *cents += *cents * random.random_range(-25..=25) / 10_000;
        let (hours, minutes) = (second / 3_600, second / 60 % 60);
        let time = format!("2018-04-05T{hours:02}:{minutes:02}:{:02}Z", second % 60);
        text.push_str(&format!("{time},{symbol},{}.{:02},0.5\n", *cents / 100, *cents % 100));
    }
    text
}

/// Makes the rules and waits until they are active.
pub(crate) async fn subscribe(system: &System) -> Vec<Alert> {
    let alerts = subscribe_at(&[&system.api]).await;
    system.wait_until_processed().await;
    alerts
}

/// Makes the rules, at one gateway after the other.
pub(crate) async fn subscribe_at(gateways: &[&Api]) -> Vec<Alert> {
    let mut alerts = Vec::new();
    for (rule, api) in rules().into_iter().zip(gateways.iter().cycle()) {
        alerts.push(api.subscribe(rule).await);
    }
    alerts
}

/// Plays the prices in a process of its own, which outlives the system's.
pub(crate) fn play(system: &System) -> Process {
    play_at(system, &system.named("NATS_URL").expect("the broker's address"))
}

/// The same, to a broker that the system's `env` file does not name.
pub(crate) fn play_at(system: &System, url: &str) -> Process {
    let file = system.home().join("replay.csv");
    std::fs::write(&file, csv()).expect("a file");
    let source = format!("file:{}", file.display());
    let mut command = system.tickbell();
    command.args(["price-ingestor", "--source", &source, "--speed", SPEED, "--venue", "test", "--nats-url", url]);
    system.spawn("ingestor", &mut command)
}

/// Looks at everything that is to be as in an undisturbed run.
pub(crate) async fn outcome(system: &System, alerts: &[Alert]) -> Outcome {
    let mut firings = Vec::new();
    for alert in alerts {
        let mut of_rule = system.api.firings(alert).await;
        for firing in &mut of_rule {
            assert_eq!(firing.id, format!("{}-{}", alert.id, firing.number));
            (firing.id, firing.rule_id) = Default::default();
        }
        firings.push(of_rule);
    }
    let mut stored = Vec::new();
    for symbol in ["BTC-USD", "ETH-USD"] {
        let ticks = system.api.history(symbol, "asc", 1_000).await;
        assert_eq!(ticks.iter().map(|tick| &tick.trade_id).collect::<BTreeSet<_>>().len(), ticks.len());
        stored.push(ticks.len());
    }
    Outcome { firings, stored }
}

/// What comes of it when nothing is killed; found once per run of the tests.
pub(crate) async fn undisturbed() -> &'static Outcome {
    static OUTCOME: OnceCell<Outcome> = OnceCell::const_new();
    let run = async || {
        let mut system = System::start().await;
        let alerts = subscribe(&system).await;
        system.ingest(&csv(), "test").await;
        system.wait_until_processed().await;
        let outcome = outcome(&system, &alerts).await;
        assert_eq!(outcome.stored, [TICKS / 2; 2]);
        let quiet: Vec<_> = outcome.firings.iter().enumerate().filter(|(_, of_rule)| of_rule.is_empty()).collect();
        assert!(quiet.is_empty(), "rules that never fire test nothing: {quiet:?}");
        assert_notified_once(&system.mails(), &alerts, &outcome);
        system.stop().await;
        outcome
    };
    OUTCOME.get_or_init(run).await
}

/// Every firing that is not suppressed has one mail, and there is no other.
pub(crate) fn assert_notified_once(mails: &[Mail], alerts: &[Alert], outcome: &Outcome) {
    let mut notified: Vec<_> = mails.iter().map(Mail::firing).collect();
    notified.sort();
    let numbers = |(alert, firings): (&Alert, &Vec<Firing>)| {
        let loud = firings.iter().filter(|firing| firing.suppressed.is_none());
        loud.map(|firing| (alert.id.clone(), firing.number)).collect::<Vec<_>>()
    };
    let mut fired: Vec<_> = alerts.iter().zip(&outcome.firings).flat_map(numbers).collect();
    fired.sort();
    assert_eq!(notified, fired);
    let ids: BTreeSet<_> = mails.iter().map(|mail| &mail.message_id).collect();
    assert_eq!(ids.len(), mails.len());
}
