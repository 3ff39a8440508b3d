//! The judge: compares what has come out with what has gone in, by plain code of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use e2e::{Alert, Firing, Servers, System};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::{
    machine::factor,
    record::{Condition, Expectation, Record},
    traffic::{clients::Client, late::ADDRESS as LATE_ADDRESS, publisher::VENUE},
};

/// A late verdict is there this soon after everything else.
const VERDICTS: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The most late verdicts of an alert that are listed.
const MAX_LISTED: usize = 100;

/// The number of things that were compared.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    pub(crate) ticks: usize,
    pub(crate) source_ticks: usize,
    pub(crate) firings: usize,
    pub(crate) late_verdicts: usize,
    pub(crate) mails: usize,
    /// The mails that came once more under their Message-ID: at-least-once allows that after a crash.
    pub(crate) repeated_mails: usize,
    pub(crate) orders: usize,
}

/// A price and what it was compared with.
type Fired = (Decimal, Option<Decimal>);

/// Compares everything, once all is processed.
pub(crate) async fn judge(system: &System, servers: &Servers, client: &Client, record: &Record) -> Judged {
    let mut judged = Judged::default();
    judge_ticks(servers, record, &mut judged);
    let firings = judge_firings(client, record, &mut judged).await;
    judge_mails(record, &firings, &mut judged);
    judge_orders(servers, client, record, &mut judged).await;
    let verified = servers.run(system, &["ledger", "verify"]).await;
    if !verified.status.success() {
        record.add_violation(format!("the ledger does not verify: {}", String::from_utf8_lossy(&verified.stdout)));
    }
    judged
}

/// Each acknowledged tick is in the history once, and there is no other.
fn judge_ticks(servers: &Servers, record: &Record, judged: &mut Judged) {
    let database = servers.database();
    let rows = database.value(&format!(
        "SELECT symbol, trade_id, price FROM ticks JOIN instruments i ON i.id = instrument_id WHERE venue = '{VENUE}'"
    ));
    let mut stored: BTreeMap<(String, String, Decimal), usize> = BTreeMap::new();
    for row in rows.lines() {
        let [symbol, trade_id, price] = row.split('|').collect::<Vec<_>>()[..] else { panic!("{row} is no tick") };
        *stored.entry((symbol.into(), trade_id.into(), price.parse().expect("a price"))).or_default() += 1;
    }
    let published: BTreeSet<(String, String, Decimal)> = {
        let entries = record.entries();
        let all = entries.ticks.iter().flat_map(|(symbol, ticks)| ticks.iter().map(move |tick| (symbol, tick)));
        all.map(|(symbol, (trade_id, price))| (symbol.clone(), trade_id.clone(), Decimal::from(*price))).collect()
    };
    judged.ticks = published.len();
    let found: BTreeSet<_> = stored.keys().cloned().collect();
    report(record, "ticks that are not in the history", published.difference(&found).collect());
    report(record, "ticks in the history that nobody has published", found.difference(&published).collect());
    report(record, "ticks that are stored twice", stored.iter().filter(|(_, times)| **times > 1).collect());

    let candles = "SELECT sum(trades) FROM candles JOIN instruments i ON i.id = instrument_id \
                   WHERE interval_seconds = 86400 AND venue";
    let candles = database.value(&format!("{candles} = '{VENUE}'"));
    if candles != published.len().to_string() {
        record.add_violation(format!("the daily candles have {candles} trades of {} ticks", published.len()));
    }
    let repeated = "SELECT symbol, at FROM ticks JOIN instruments i ON i.id = instrument_id \
                    WHERE venue = 'coinnews' GROUP BY symbol, at HAVING count(*) > 1";
    report(record, "prices of the source that are stored twice", database.value(repeated).lines().collect());
    let of_source = "SELECT count(*) FROM ticks JOIN instruments i ON i.id = instrument_id WHERE venue = 'coinnews'";
    judged.source_ticks = database.value(of_source).parse().expect("a count");
}

/// Each alert has fired as a naive computation says. Returns the ids of all firings, by rule and number.
async fn judge_firings(client: &Client, record: &Record, judged: &mut Judged) -> BTreeSet<(String, i64)> {
    let (alerts, ticks) = {
        let entries = record.entries();
        (entries.alerts.clone(), entries.ticks.clone())
    };
    let mut all = BTreeSet::new();
    for (alert, expectation) in &alerts {
        let firings = firings(client, alert).await;
        let found: Vec<Fired> = firings.iter().map(|firing| (firing.price, firing.reference_price)).collect();
        let expected: Vec<Fired> = match expectation {
            Expectation::Once => vec![(Decimal::from(101), None)],
            Expectation::Late => Vec::new(),
            Expectation::Computed { symbol, condition } => {
                let prices: Vec<u32> = ticks[symbol].iter().map(|(_, price)| *price).collect();
                compute(*condition, &prices)
            }
        };
        if found != expected {
            let first = found.iter().zip(&expected).position(|(found, expected)| found != expected);
            let (id, counts) = (&alert.id, (found.len(), expected.len()));
            record.add_violation(format!(
                "alert {id} ({expectation:?}) has {} firings instead of {}; the first that differs is {first:?}",
                counts.0, counts.1
            ));
        }
        if *expectation == Expectation::Late {
            judge_late(client, alert, record, judged).await;
        }
        for (number, firing) in (1..).zip(&firings) {
            if firing.number != number || firing.suppressed.is_some() {
                record.add_violation(format!("firing {number} of alert {} is {firing:?}", alert.id));
            }
            all.insert((firing.rule_id.clone(), firing.number));
        }
    }
    judged.firings = all.len();
    all
}

/// Each trade that came late and would have fired the alert has one verdict and one mail. A verdict waits until the history has the
/// trades of its gap. Of the verdicts the newest are listed.
async fn judge_late(client: &Client, alert: &Alert, record: &Record, judged: &mut Judged) {
    let late = record.entries().late.clone();
    let expected: Vec<String> = late.iter().rev().take(MAX_LISTED).map(u64::to_string).collect();
    let path = format!("/v1/alerts/{}/late-verdicts", alert.id);
    let began = Instant::now();
    loop {
        let page = client.send(&[200], |api| api.request(Method::GET, &path).bearer_auth(&alert.manage_token)).await;
        let verdicts = page["items"].as_array().into_iter().flatten();
        let found: Vec<String> =
            verdicts.filter_map(|verdict| verdict["trade_id"].as_str()).map(String::from).collect();
        let mails: BTreeSet<String> = {
            let entries = record.entries();
            entries.mails.values().filter(|mail| mail.to == LATE_ADDRESS).map(|mail| mail.message_id.clone()).collect()
        };
        judged.late_verdicts = found.len();
        if found == expected && mails.len() == late.len() {
            return;
        }
        if began.elapsed() > VERDICTS * factor() {
            let mails = mails.len();
            record
                .add_violation(format!("the late verdicts are {found:?} instead of {expected:?}, with {mails} mails"));
            return;
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Returns all firings of an alert, oldest first.
async fn firings(client: &Client, alert: &Alert) -> Vec<Firing> {
    let (mut firings, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/v1/alerts/{}/firings?limit=1000{cursor}", alert.id);
        let read = |api: &e2e::Api| api.request(Method::GET, &path).bearer_auth(&alert.manage_token);
        let page = client.send(&[200], read).await;
        firings.extend(serde_json::from_value::<Vec<Firing>>(page["items"].clone()).expect("firings"));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    firings.reverse();
    firings
}

/// The firings of a condition over prices, tick by tick.
fn compute(condition: Condition, prices: &[u32]) -> Vec<Fired> {
    let (mut fired, mut met_before, mut reference) = (Vec::new(), false, None);
    for price in prices {
        let changed = |percent: u32, reference: u32| {
            price * 100 >= reference * (100 + percent) || price * 100 <= reference * (100 - percent)
        };
        let decimal = |price: u32| Decimal::from(price);
        match condition {
            Condition::Above(threshold) | Condition::Below(threshold) => {
                let is_above = matches!(condition, Condition::Above(_));
                let met = if is_above { *price >= threshold } else { *price <= threshold };
                if met && !met_before {
                    fired.push((decimal(*price), None));
                }
                met_before = met;
            }
            Condition::SincePrevious(percent) => {
                if let Some(reference) = reference.filter(|reference| changed(percent, *reference)) {
                    fired.push((decimal(*price), Some(decimal(reference))));
                }
                reference = Some(*price);
            }
            Condition::SinceAnchor(percent) => {
                let anchor = *reference.get_or_insert(*price);
                if changed(percent, anchor) {
                    fired.push((decimal(*price), Some(decimal(anchor))));
                    reference = Some(*price);
                }
            }
        }
    }
    fired
}

/// Each firing is mailed under one Message-ID, and so is each order.
fn judge_mails(record: &Record, firings: &BTreeSet<(String, i64)>, judged: &mut Judged) {
    let (mails, unanswered, orders) = {
        let entries = record.entries();
        let mails: Vec<_> = entries.mails.values().cloned().collect();
        (mails, entries.unanswered.clone(), entries.orders.clone())
    };
    let distinct: BTreeMap<_, _> = mails.iter().map(|mail| (&mail.message_id, mail)).collect();
    (judged.mails, judged.repeated_mails) = (distinct.len(), mails.len() - distinct.len());
    let mut mailed: BTreeMap<(String, i64), usize> = BTreeMap::new();
    let mut of_unanswered: BTreeMap<&str, usize> = BTreeMap::new();
    // A mail of a late verdict is counted with the verdict.
    for mail in distinct.values().filter(|mail| mail.to != LATE_ADDRESS) {
        if unanswered.contains(&mail.to) {
            *of_unanswered.entry(&mail.to).or_default() += 1;
        } else if mail.header("X-Tickbell-Rule").is_some() {
            *mailed.entry(mail.firing()).or_default() += 1;
        }
    }
    let found: BTreeSet<_> = mailed.keys().cloned().collect();
    report(record, "firings without a mail", firings.difference(&found).collect());
    report(record, "mails without a firing", found.difference(firings).collect());
    report(record, "firings with two mails", mailed.iter().filter(|(_, times)| **times > 1).collect());
    report(record, "alerts with two mails", of_unanswered.iter().filter(|(_, times)| **times > 1).collect());
    let texts: String = distinct.values().map(|mail| mail.text.as_str()).collect();
    let mentions = |order: &&String| texts.matches(&format!("Order:    {order}")).count() != 1;
    report(record, "orders that are not mailed once", orders.iter().filter(mentions).collect());
}

/// Each accepted order is filled by one trade, and the account has what the orders have bought.
async fn judge_orders(servers: &Servers, client: &Client, record: &Record, judged: &mut Judged) {
    let orders = record.entries().orders.clone();
    judged.orders = orders.len();
    let rows = servers.database().value("SELECT order_id, count(*) FROM trades GROUP BY order_id");
    let trades: BTreeMap<&str, &str> = rows.lines().filter_map(|row| row.split_once('|')).collect();
    let not_once = |order: &&String| trades.get(order.as_str()) != Some(&"1");
    report(record, "orders that are not filled by one trade", orders.iter().filter(not_once).collect());
    let accounts = client.get("/v1/accounts").await;
    let bought = accounts["items"].as_array().into_iter().flatten().find(|account| account["asset"] == "V1");
    let bought = bought.and_then(|account: &Value| account["total"].as_str()?.parse::<Decimal>().ok());
    if bought.unwrap_or_default() != Decimal::from(orders.len()) {
        record.add_violation(format!("{} orders have bought {bought:?}", orders.len()));
    }
}

fn report<T: std::fmt::Debug>(record: &Record, what: &str, found: Vec<T>) {
    const SHOWN: usize = 5;
    if !found.is_empty() {
        let (count, shown) = (found.len(), &found[..found.len().min(SHOWN)]);
        record.add_violation(format!("{count} {what}, like {shown:?}"));
    }
}
