//! Rules whose market does not tick: what they say of themselves, and what their owners are mailed.

use e2e::{Alert, Database, System, tape, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

/// How long it may take until the notifier, which checks when it starts, has written a mail.
const MAIL: std::time::Duration = std::time::Duration::from_secs(30);

/// Publishes ticks: the venue, the symbol, the time and the price of each.
async fn publish(system: &System, ticks: &[(&str, &str, &str, &str)]) {
    let tick = |(venue, symbol, time, price): &(&str, &str, &str, &str)| tape::tick(venue, symbol, time, price);
    let messages: Vec<_> = ticks.iter().map(|given| tape::message(&tick(given))).collect();
    system.publish(&messages).await;
    system.wait_until_processed().await;
}

#[tokio::test]
async fn a_rule_says_what_it_waits_for_and_begins_anew_at_another_venue() {
    let mut system = System::start().await;
    publish(&system, &[("test", "BTC-USD", "00:00:00", "90"), ("other", "BTC-USD", "00:00:01", "200")]).await;
    let create = async |symbol: &str, venue: Option<&str>| -> Value {
        let rule = json!({ "symbol": symbol, "venue": venue, "condition": { "price": { "above": "100" } },
            "notify": { "email": "ada@example.com" } });
        system.api.post("/v1/alerts", &rule).await.expect_status(201).json()
    };
    let shown = |alert: &Value| -> [Value; 4] {
        ["venue", "follows_primary_venue", "last_tick_at", "waiting_for"].map(|field| alert[field].clone())
    };
    let at = |time: &str| json!(format!("2018-04-05T{time}.000000Z"));
    let alert_of = |created: &Value| -> Alert { serde_json::from_value(created.clone()).expect("an alert") };
    let get =
        async |alert: &Alert| -> Value { system.api.manage(Method::GET, alert, None).await.expect_status(200).json() };

    let misspelt = create("BTCUSD", None).await;
    let [warning] = misspelt["warnings"].as_array().expect("warnings").as_slice() else { panic!("{misspelt}") };
    assert!(warning.as_str().is_some_and(|said| said.contains("Did you mean BTC-USD?")), "{warning}");
    let nothing = [json!(null), json!(true), json!(null), json!("first_price")];
    assert_eq!(shown(&get(&alert_of(&misspelt)).await), nothing);
    let elsewhere = create("BTC-USD", Some("nobody")).await;
    assert!(elsewhere["warnings"].to_string().contains("test, other"), "{elsewhere}");

    let created = create("BTC-USD", None).await;
    assert_eq!(created["warnings"], json!([]));
    let alert = alert_of(&created);
    assert_eq!(shown(&get(&alert).await), [json!("test"), json!(true), at("00:00:00"), json!(null)]);
    let patch = async |venue: Value| -> Value {
        let body = json!({ "venue": venue });
        let changed = system.api.manage(Method::PATCH, &alert, Some(body)).await.expect_status(200).json();
        system.wait_until_processed().await;
        changed
    };
    let changed = patch(json!("other")).await;
    assert_eq!(shown(&changed), [json!("other"), json!(false), at("00:00:01"), json!(null)]);
    // The other venue was above the threshold before: the first tick after the change counts as an edge all the same.
    publish(&system, &[("test", "BTC-USD", "00:00:02", "150"), ("other", "BTC-USD", "00:00:03", "201")]).await;
    patch(json!(null)).await;
    publish(&system, &[("other", "BTC-USD", "00:00:04", "300"), ("test", "BTC-USD", "00:00:05", "151")]).await;
    let firings: Vec<_> = system.api.firings(&alert).await;
    let firings: Vec<_> =
        firings.iter().map(|firing| (firing.number, firing.venue.as_str(), &firing.fired_at[11..19])).collect();
    assert_eq!(firings, [(1, "other", "00:00:03"), (2, "test", "00:00:05")]);
    system.stop().await;
}

#[tokio::test]
async fn the_owner_of_a_rule_is_mailed_once_when_its_market_is_silent_for_a_day() {
    let mut system = System::start().await;
    let rule = |symbol: &str| json!({ "symbol": symbol, "condition": { "price": { "above": "1000000" } } });
    let alert = system.api.subscribe(rule("BTC-USD")).await;
    for symbol in ["ETH-USD", "SPY"] {
        system.api.subscribe(rule(symbol)).await;
    }
    let paused = system.api.subscribe(rule("BTC-USD")).await;
    system.api.manage(Method::PATCH, &paused, Some(json!({ "status": "paused" }))).await.expect_status(200);
    publish(&system, &[("test", "BTC-USD", "00:00:00", "90"), ("test", "SPY", "00:00:00", "90")]).await;

    let day_later = |system: &System| {
        Database::of(system).value(
            "UPDATE market_states SET evaluated_at = evaluated_at - interval '25 hours';
             UPDATE rules SET updated_at = updated_at - interval '25 hours'",
        )
    };
    day_later(&system);
    // The notifier checks when it begins to lead, and then every minute.
    system.stop().await;
    system.up().await;
    wait_until("both are mailed", MAIL, async || (system.mails().len() == 2).then_some(())).await;
    let mails = system.mails();
    let mail_of = |symbol: &str| mails.iter().find(|mail| mail.subject.contains(symbol)).expect("a mail").clone();
    let (bitcoin, ether) = (mail_of("BTC-USD"), mail_of("ETH-USD"));
    assert_eq!(bitcoin.subject, "No prices of BTC-USD: your alert cannot fire");
    assert_eq!(bitcoin.header("X-Tickbell-Rule"), Some(alert.id.clone()), "the paused rule gets none");
    for said in ["at test, and none has come for a day", "5 Apr 2018 00:00:00 UTC"] {
        assert!(bitcoin.text.contains(said) && bitcoin.html.contains(said.split(',').next().unwrap_or(said)), "{said}");
    }
    assert!(ether.text.contains("no venue has ever quoted it"), "{}", ether.text);
    let link = bitcoin.unsubscribe_link();
    system.api.get(&link).await.expect_status(200);

    // Prices come back and cease anew; the silence of ETH-USD is still the same.
    publish(&system, &[("test", "BTC-USD", "00:00:01", "91")]).await;
    day_later(&system);
    system.stop().await;
    system.up().await;
    wait_until("the second silence is mailed", MAIL, async || (system.mails().len() > 2).then_some(())).await;
    system.wait_until_processed().await;
    let subjects: Vec<_> = system.mails().into_iter().map(|mail| mail.subject).collect();
    let about = |symbol: &str| subjects.iter().filter(|subject| subject.contains(symbol)).count();
    assert_eq!((about("BTC-USD"), about("ETH-USD"), subjects.len()), (2, 1, 3), "{subjects:?}");
    system.stop().await;
}
