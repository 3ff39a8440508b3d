//! Every kind of condition of the specification, by its worked example and beyond it.

use e2e::{Alert, Firing, System, tape};
use events::{Tick, Timestamp};
use platform::clock;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// A firing in the specification's table: the number of its tick, the number of the reference tick, the change in percent.
type Expected = (usize, Option<usize>, Option<&'static str>);

/// The worked example's ticks.
const TICKS: [(&str, &str); 6] = [
    ("00:00:00", "100"),
    ("00:00:30", "103"),
    ("00:01:00", "105"),
    ("00:01:30", "104"),
    ("00:02:00", "98"),
    ("00:02:30", "110.25"),
];

fn change(percent: &str, direction: &str, since: &str) -> Value {
    json!({ "change": { "percent": percent, "direction": direction, "since": since } })
}

fn price(side: &str, limit: &str) -> Value {
    json!({ "price": { side: limit } })
}

/// The rules of the worked example and their firings; a change has a reference tick, a price has none.
fn worked_example() -> [(Value, Vec<Expected>); 6] {
    let changed = |at, reference, percent| (at, Some(reference), Some(percent));
    let reached = |at| (at, None, None);
    [
        (change("5", "any", "previous"), vec![changed(5, 4, "-5.7692"), changed(6, 5, "12.5")]),
        (change("5", "up", "anchor"), vec![changed(3, 1, "5"), changed(6, 3, "5")]),
        (change("5", "any", "anchor"), vec![changed(3, 1, "5"), changed(5, 3, "-6.6667"), changed(6, 5, "12.5")]),
        (change("5", "any", "1m"), vec![changed(3, 1, "5"), changed(5, 3, "-6.6667")]),
        (price("above", "104"), vec![reached(3), reached(6)]),
        (price("below", "100"), vec![reached(1), reached(5)]),
    ]
}

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a number")
}

fn at(time: &str) -> String {
    format!("2018-04-05T{time}.000000Z")
}

fn ticks(symbol: &str, rows: &[(&str, &str)]) -> Vec<Tick> {
    rows.iter().map(|(time, price)| tape::tick("test", symbol, time, price)).collect()
}

async fn publish(system: &System, ticks: &[Tick]) {
    let messages: Vec<_> = ticks.iter().map(tape::message).collect();
    system.publish(&messages).await;
    system.wait_until_processed().await;
}

/// Returns the times of the firings, and whether each was notified.
async fn times(system: &System, alert: &Alert) -> Vec<(String, bool)> {
    let firings = system.api.firings(alert).await;
    assert!(firings.iter().enumerate().all(|(index, firing)| firing.number == index as i64 + 1), "{firings:?}");
    let time = |firing: Firing| (firing.fired_at[11..19].to_owned(), firing.suppressed.is_none());
    firings.into_iter().map(time).collect()
}

fn notified(times: &[&str]) -> Vec<(String, bool)> {
    times.iter().map(|time| ((*time).to_owned(), true)).collect()
}

fn assert_as_the_table_says(alert: &Alert, firings: &[Firing], expected: &[Expected]) {
    let shown = |firing: &Firing| {
        (
            firing.fired_at.clone(),
            firing.price,
            firing.reference_price,
            firing.reference_at.clone(),
            firing.change_percent,
        )
    };
    let wanted = |(tick, reference, change): &Expected| {
        let (time, price) = TICKS[tick - 1];
        let reference = reference.map(|number| TICKS[number - 1]);
        let reference_price = reference.map(|(_, price)| decimal(price));
        (at(time), decimal(price), reference_price, reference.map(|(time, _)| at(time)), change.map(decimal))
    };
    let (got, wanted): (Vec<_>, Vec<_>) = (firings.iter().map(shown).collect(), expected.iter().map(wanted).collect());
    assert_eq!(got, wanted);
    for (number, firing) in (1..).zip(firings) {
        assert_eq!((firing.number, firing.id.as_str()), (number, format!("{}-{number}", alert.id).as_str()));
        assert_eq!((firing.rule_id.as_str(), firing.venue.as_str()), (alert.id.as_str(), "test"));
        assert_eq!(firing.suppressed, None);
    }
}

#[tokio::test]
async fn every_kind_of_condition_fires_as_the_specification_says() {
    let mut system = System::start().await;
    the_worked_example(&system).await;
    repeat_cooldown_and_expiry(&system).await;
    venues_and_late_ticks(&system).await;
    pause_resume_delete(&system).await;
    system.stop().await;
}

async fn the_worked_example(system: &System) {
    let mut created = Vec::new();
    for (condition, expected) in worked_example() {
        created.push((system.api.subscribe(json!({ "symbol": "BTC-USD", "condition": condition })).await, expected));
    }
    let short = json!({ "symbol": "BTC-USD", "email": "ada@example.com", "percent": 5 });
    let short = system.api.post("/v1/alerts", &short).await.expect_status(201).json();
    created.push((short, worked_example()[2].1.clone()));
    system.wait_until_processed().await;
    system.ingest(&tape::csv("BTC-USD", &TICKS), "test").await;
    system.wait_until_processed().await;
    for (alert, expected) in &created {
        assert_as_the_table_says(alert, &system.api.firings(alert).await, expected);
    }
    let mails = created.iter().map(|(_, expected)| expected.len()).sum::<usize>();
    assert_eq!(system.mails().len(), mails, "one mail each");
}

async fn repeat_cooldown_and_expiry(system: &System) {
    let rule = |more: Value| {
        let mut rule = json!({ "symbol": "ETH-USD", "condition": price("above", "100") });
        rule.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        rule
    };
    let mails = system.mails().len();
    let once = system.api.subscribe(rule(json!({ "repeat": "once" }))).await;
    let cooled = system.api.subscribe(rule(json!({ "cooldown": "1m" }))).await;
    let anchored_rule = rule(json!({ "condition": change("10", "up", "anchor"), "cooldown": "1m" }));
    let anchored_alert = system.api.subscribe(anchored_rule).await;
    // Ahead of now, as the API wants it, and by less than a tick may be.
    let late = Timestamp::from_micros((clock::now().micros() / 1_000_000 + 9) * 1_000_000).expect("a time");
    let late_time = &late.to_string()[11..19];
    let expiring = system.api.subscribe(rule(json!({ "expires_at": late }))).await;
    system.wait_until_processed().await;
    let rows = [
        ("00:00:00", "90"),
        ("00:00:10", "100"), // fires; the anchor moves to 100
        ("00:00:20", "99"),
        ("00:00:30", "110"), // crosses within the cooldown: suppressed; the anchor stays
        ("00:01:09", "111"),
        ("00:01:10", "110"), // the cooldown is over: the threshold is crossed already, but 10 % above the anchor
        ("00:01:20", "90"),
        ("00:02:30", "120"),
    ];
    let mut tape = ticks("ETH-USD", &rows);
    for (price, at) in [("90", late), ("130", late)] {
        tape.push(Tick { at, ..tape::tick("test", "ETH-USD", "00:00:00", price) });
    }
    publish(system, &tape).await;
    assert_eq!(times(system, &once).await, notified(&["00:00:10"]));
    assert_eq!(system.api.status_of(&once).await, "done");
    let suppressed = |time: &str| (time.to_owned(), false);
    let all = [notified(&["00:00:10"]), vec![suppressed("00:00:30")], notified(&["00:02:30", late_time])].concat();
    assert_eq!(times(system, &cooled).await, all);
    let anchored =
        [notified(&["00:00:10"]), vec![suppressed("00:00:30"), suppressed("00:01:09")], notified(&["00:01:10"])];
    // The anchor is 110: 120 is less than a tenth above it, and 130 is more.
    assert_eq!(times(system, &anchored_alert).await, [anchored.concat(), notified(&[late_time])].concat());
    let firings = system.api.firings(&anchored_alert).await;
    let references: Vec<_> = firings.iter().filter_map(|firing| firing.reference_price).collect();
    assert_eq!(references, ["90", "100", "100", "100", "110"].map(decimal));
    assert_eq!(firings[1].suppressed.as_deref(), Some("cooldown"));
    assert_eq!(times(system, &expiring).await, notified(&["00:00:10", "00:00:30", "00:02:30"]));
    assert_eq!(system.mails().len() - mails, 1 + 3 + 3 + 3, "what is suppressed is not sent");
}

async fn venues_and_late_ticks(system: &System) {
    let above = |venue: Value| json!({ "symbol": "SPY", "venue": venue, "condition": price("above", "100") });
    let primary = system.api.subscribe(above(Value::Null)).await;
    let other = system.api.subscribe(above(json!("other"))).await;
    system.wait_until_processed().await;
    let quotes = [
        ("test", "00:00:00", "90"),
        ("other", "00:00:01", "200"),
        ("test", "00:00:10", "95"),
        ("test", "00:00:05", "150"),  // earlier than the tick before: stored, not evaluated
        ("test", "00:00:10", "101"),  // a tick of the same time is evaluated
        ("other", "00:00:20", "300"), // still above
    ];
    let tape: Vec<_> = quotes.iter().map(|(venue, time, price)| tape::tick(venue, "SPY", time, price)).collect();
    publish(system, &tape).await;
    assert_eq!(times(system, &primary).await, notified(&["00:00:10"]));
    assert_eq!(times(system, &other).await, notified(&["00:00:01"]));
    assert_eq!(system.api.history("SPY", "asc", 1000).await.len(), quotes.len());
}

async fn pause_resume_delete(system: &System) {
    let rule = json!({ "symbol": "LTC-USD", "condition": change("10", "any", "previous") });
    let paused = system.api.subscribe(rule.clone()).await;
    let deleted = system.api.subscribe(rule).await;
    let set = async |status: &str| {
        let answer = system.api.manage(Method::PATCH, &paused, Some(json!({ "status": status }))).await;
        assert_eq!(answer.expect_status(200).json::<Value>()["status"], status);
        system.wait_until_processed().await;
    };
    system.wait_until_processed().await;
    publish(system, &ticks("LTC-USD", &[("00:00:00", "100"), ("00:00:01", "120")])).await;
    set("paused").await;
    system.api.manage(Method::DELETE, &deleted, None).await.expect_status(204);
    system.wait_until_processed().await;
    publish(system, &ticks("LTC-USD", &[("00:00:02", "150")])).await;
    set("active").await;
    publish(system, &ticks("LTC-USD", &[("00:00:03", "120")])).await;
    assert_eq!(times(system, &paused).await, notified(&["00:00:01", "00:00:03"]));
    assert_eq!(times(system, &deleted).await, notified(&["00:00:01"]), "firings stay after the rule is deleted");
    system.api.manage(Method::GET, &deleted, None).await.expect_status(404);
}
