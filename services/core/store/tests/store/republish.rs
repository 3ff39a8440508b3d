//! Tests of what the broker has lost and the database has: each kind is listed where its effect is missing, and not while it is
//! on its way.

use events::{Asset, OutboundMessage, RuleStatus, envelope::NATS_MSG_ID, order::AlertTrigger, streams::Topology};
use platform::{
    Broker, Health, Shutdown,
    broker::{Settings, stream_position, topology},
};
use store::{
    consumer::position,
    identity::gdpr::ERASED,
    republish::{self, EventKind},
    rules::{self, NewRule},
    trading::{
        deposits::{self, NewDeposit},
        orders,
    },
};
use uuid::Uuid;

use crate::{
    database::Database,
    nats::NatsServer,
    samples::{at, id, order, rule, user},
};

/// Makes every row older than three minutes. Triggers would refuse to change the ledger.
const AGE: &str = "
    SET session_replication_role = replica;
    UPDATE rules SET created_at = now() - interval '4 minutes', updated_at = now() - interval '4 minutes';
    UPDATE firings SET saved_at = now() - interval '4 minutes';
    UPDATE orders SET placed_at = now() - interval '4 minutes';
    UPDATE order_states SET updated_at = now() - interval '4 minutes';
    UPDATE deposits SET requested_at = now() - interval '4 minutes';
    UPDATE posting_batches SET posted_at = now() - interval '4 minutes';
    RESET session_replication_role";

async fn add_rule(database: &Database, number: u128, status: RuleStatus, email: &str) {
    let (rule, created_at) = (rule(number, email), at(0));
    let new = NewRule { rule, status, manage_token: [1; 32], user_id: None, order: None, created_at };
    rules::create(&database.store, new).await.expect("it is saved");
}

/// Returns the ids of the events without an effect, as far as they are those of `id`: `4-2` is revision 2 of rule 4.
async fn found(database: &Database, kind: EventKind) -> Vec<String> {
    let events = republish::find_without_effect(&database.store, kind).await.expect("an answer");
    let short = |event: &OutboundMessage| {
        let (uuid, rest) = event.id.split_at(36);
        format!("{}{rest}", uuid.parse::<Uuid>().expect("an id").as_u128())
    };
    events.iter().map(short).collect()
}

fn uuid(number: u128) -> String {
    format!("'{}'", id(number))
}

fn rule_state(number: u128, revision: i64, status: &str) -> String {
    format!(
        "INSERT INTO rule_states (rule_id, revision, status, active_after, active_since) VALUES ({}, {revision}, '{status}', 0, now());",
        uuid(number)
    )
}

fn firing(rule: u128, number: i64, suppressed: &str) -> String {
    format!(
        "INSERT INTO firings (rule_id, number, symbol, venue, fired_at, price, trade_id, sequence, index, suppressed)
         VALUES ({}, {number}, 'BTC-USD', 'test', '2018-04-05', 5000, 'a trade', 7, 3, {suppressed});",
        uuid(rule)
    )
}

fn delivery(kind: &str, source: &str, address: &str) -> String {
    format!(
        "INSERT INTO deliveries (id, kind, source_id, channel, address, content)
         VALUES (gen_random_uuid(), '{kind}', '{source}', 'email', '{address}', '{{}}');"
    )
}

fn order_state(number: u128, user: Uuid, status: &str, more: &str) -> String {
    let reason = if status == "rejected" { "'no_price'" } else { "NULL" };
    let held = if status == "open" { 5 } else { 0 };
    let rule = if more.is_empty() { "NULL".to_owned() } else { more.to_owned() };
    format!(
        "INSERT INTO order_states (order_id, user_id, revision, status, reason, queue_rank, held_asset, held,
             awaiting_alert_rule_id, tick_sequence, updated_at)
         VALUES ({}, '{user}', 2, '{status}', {reason}, 1, 'USD', {held}, {rule}, 7, now());",
        uuid(number)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_rule_is_missing_until_the_engine_has_applied_it() {
    let database = Database::new().await;
    for number in 1..=8 {
        add_rule(&database, number, RuleStatus::Active, "ada@example.com").await;
    }
    database.run(AGE).await;
    let revise = |number, revision, status| {
        format!("UPDATE rules SET revision = {revision}, status = '{status}' WHERE id = {};", uuid(number))
    };
    let statements = [
        rule_state(2, 1, "active"),
        format!("UPDATE rules SET updated_at = now() WHERE id = {};", uuid(3)),
        revise(4, 2, "deleted"),
        revise(5, 2, "paused") + &rule_state(5, 1, "active"),
        revise(6, 2, "paused") + &rule_state(6, 1, "done"),
        revise(7, 2, "deleted") + &rule_state(7, 1, "expired"),
        revise(8, 3, "deleted") + &rule_state(8, 2, "deleted"),
    ];
    database.run(&statements.concat()).await;
    assert_eq!(found(&database, EventKind::Rules).await, ["1-1", "5-2", "7-2"]);
    let events = republish::find_without_effect(&database.store, EventKind::Rules).await.expect("events");
    let body: serde_json::Value = serde_json::from_slice(&events[1].body).expect("JSON");
    assert_eq!((&body["revision"], &body["status"]), (&2.into(), &"paused".into()));
    assert_eq!(events[1].subject, format!("rules.BTC-USD.{}", id(5)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_rule_is_missing_until_its_address_is_asked_for_a_confirmation() {
    let database = Database::new().await;
    for (number, email) in [(1, "ada"), (2, "ada"), (3, "ada"), (4, "eve")] {
        add_rule(&database, number, RuleStatus::Pending, &format!("{email}@example.com")).await;
    }
    add_rule(&database, 5, RuleStatus::Active, "ada@example.com").await;
    database.run(AGE).await;
    let asked = |source: &str| delivery("confirmation", source, "EVE@example.com");
    let statements = [
        delivery("confirmation", &id(2).to_string(), "ada@example.com"),
        format!("UPDATE rules SET updated_at = now() WHERE id = {};", uuid(3)),
        ["a", "b", "c", "d", "e"].map(asked).concat(),
    ];
    database.run(&statements.concat()).await;
    assert_eq!(found(&database, EventKind::Confirmations).await, ["1-1"], "a stranger is not asked more often for it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_firing_is_missing_until_somebody_is_notified_of_it() {
    let database = Database::new().await;
    add_rule(&database, 1, RuleStatus::Active, "ada@example.com").await;
    add_rule(&database, 2, RuleStatus::Deleted, ERASED).await;
    let firings = [1, 3, 4, 5].map(|number| firing(1, number, "NULL")).concat();
    database.run(&(firings + &firing(1, 2, "'cooldown'") + &firing(2, 1, "NULL"))).await;
    database.run(AGE).await;
    let statements = [
        delivery("alert", &format!("{}-3", id(1)), "ada@example.com"),
        "UPDATE firings SET saved_at = now() WHERE number = 4;".to_owned(),
        "UPDATE firings SET saved_at = now() - interval '31 days' WHERE number = 5;".to_owned(),
    ];
    database.run(&statements.concat()).await;
    assert_eq!(found(&database, EventKind::Firings).await, ["1-1"]);
    let events = republish::find_without_effect(&database.store, EventKind::Firings).await.expect("events");
    let body: serde_json::Value = serde_json::from_slice(&events[0].body).expect("JSON");
    assert_eq!((&body["price"], &body["trade_id"]), (&"5000".into(), &"a trade".into()));
    assert_eq!((&body["stream_sequence"], &body["stream_index"]), (&7.into(), &3.into()));
    assert_eq!(body["targets"], serde_json::json!([{ "channel": "email", "address": "ada@example.com" }]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_is_missing_until_it_is_decided_and_a_deposit_until_it_is_posted() {
    let database = Database::new().await;
    let store = &database.store;
    let (ada, gone) = (user(store, "ada@example.com").await, user(store, "gone@example.com").await);
    for (number, owner) in [(1, ada), (2, ada), (3, ada), (4, gone)] {
        orders::place(store, order(number, owner)).await.expect("it is saved");
        let deposit = NewDeposit {
            id: id(number + 10),
            user_id: owner,
            asset: Asset::parse("USD").expect("an asset"),
            amount: "12.50".parse().expect("an amount"),
            reference: None,
            requested_by: "test".into(),
            requested_at: at(0),
        };
        deposits::request(store, "operator", deposit).await.expect("it is saved");
    }
    database.run(AGE).await;
    let statements = [
        order_state(2, ada, "rejected", ""),
        format!("UPDATE orders SET placed_at = now() WHERE id = {};", uuid(3)),
        format!("UPDATE deposits SET requested_at = now() WHERE id = {};", uuid(13)),
        "DELETE FROM users WHERE email = 'gone@example.com';".to_owned(),
        "SET session_replication_role = replica;".to_owned(),
        format!("INSERT INTO postings VALUES (1, 'deposit', '{ada}', {}, now(), '', '\\x01');", uuid(12)),
        "RESET session_replication_role".to_owned(),
    ];
    database.run(&statements.concat()).await;
    assert_eq!(found(&database, EventKind::Orders).await, ["1"]);
    assert_eq!(found(&database, EventKind::Deposits).await, ["11"]);
    let again = |kind| republish::find_without_effect(store, kind);
    let found =
        [again(EventKind::Orders).await.expect("events"), again(EventKind::Deposits).await.expect("events")].concat();
    let first: Vec<(String, String)> = sqlx::query_as(
        "SELECT message_id, convert_from(body, 'UTF8') FROM outbox WHERE message_id = ANY($1) ORDER BY message_id",
    )
    .bind(found.iter().map(|event| event.id.as_str()).collect::<Vec<_>>())
    .fetch_all(&database.pool)
    .await
    .expect("rows");
    // But for the time, which this test has changed, the events are what they were.
    let comparable = |text: &str| {
        let mut body: serde_json::Value = serde_json::from_str(text).expect("JSON");
        body["placed_at"].take();
        body["requested_at"].take();
        body
    };
    let made: Vec<_> = found.iter().map(|event| comparable(str::from_utf8(&event.body).expect("text"))).collect();
    assert_eq!(made, first.iter().map(|(_, body)| comparable(body)).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_a_rule_waits_for_its_first_firing_or_the_end_of_the_rule() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    for number in 1..=7 {
        let mut order = order(number + 10, ada);
        order.after_alert = Some(AlertTrigger { rule_id: id(number), expires_at: None });
        let rule = rule(number, "ada@example.com");
        let new = NewRule {
            rule,
            status: RuleStatus::Active,
            manage_token: [1; 32],
            user_id: Some(ada),
            order: Some(order),
            created_at: at(0),
        };
        rules::create(store, new).await.expect("it is saved");
    }
    let gone = user(store, "gone@example.com").await;
    orders::place(store, order(20, gone)).await.expect("it is saved");
    let waits = |number: u128| order_state(number + 10, ada, "open", &uuid(number));
    let statements = [
        // It waits and has fired twice, the first time suppressed.
        waits(1) + &firing(1, 1, "'cooldown'") + &firing(1, 2, "NULL") + &firing(1, 3, "NULL"),
        // Its order is lost too.
        firing(2, 1, "NULL"),
        // It was placed by its firing.
        order_state(13, ada, "open", "") + &firing(3, 1, "NULL"),
        // It waits, and nothing has happened.
        waits(4),
        // It waits, and its rule is deleted.
        waits(5),
        order_state(16, ada, "open", ""),
        waits(7) + &firing(7, 1, "NULL"),
        order_state(20, gone, "open", ""),
        "UPDATE rules SET status = 'deleted' WHERE id::text ~ '[56]$';".to_owned(),
        "DELETE FROM users WHERE email = 'gone@example.com';".to_owned(),
    ];
    database.run(&statements.concat()).await;
    database.run(AGE).await;
    database.run(&format!("UPDATE firings SET saved_at = now() WHERE rule_id = {}", uuid(7))).await;
    assert_eq!(found(&database, EventKind::Triggers).await, ["1-2", "2-1"]);
    let cancelled = |number: u128, name: &[u8]| Uuid::new_v5(&id(number), name).as_u128().to_string();
    let expected = [cancelled(15, b"cancel with alert"), cancelled(20, b"cancel")];
    assert_eq!(found(&database, EventKind::Cancellations).await, expected);
    database.run("UPDATE rules SET updated_at = now()").await;
    assert_eq!(found(&database, EventKind::Cancellations).await, expected[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn news_of_an_order_are_missing_until_its_owner_is_notified() {
    let database = Database::new().await;
    let store = &database.store;
    let ada = user(store, "ada@example.com").await;
    for number in 1..=7 {
        orders::place(store, order(number, ada)).await.expect("it is saved");
    }
    let trade = |number: u128| {
        format!(
            "INSERT INTO posting_batches (first_posting, last_posting) VALUES ({number}, {number});
             INSERT INTO trades VALUES ({}, {number}, '{ada}', 'BTC-USD', 'buy', 1, 4000, 4000, 4, 10, 'a tick', 7, 3, 4000,
                 '2018-04-05', '2018-04-05', '\\x01');",
            uuid(number)
        )
    };
    let states = ["filled", "filled", "filled", "filled", "rejected", "expired", "cancelled"];
    let states = (1..).zip(states).map(|(number, status)| order_state(number, ada, status, ""));
    let trades = (1..=4).map(trade).collect::<String>();
    let fill = format!("SET session_replication_role = replica; {trades} RESET session_replication_role;");
    database.run(&(fill + &states.collect::<String>())).await;
    database.run(AGE).await;
    let statements = [
        delivery("trade", &format!("{}-1", id(2)), "ada@example.com"),
        format!("INSERT INTO batched_sources VALUES ('{}-1', gen_random_uuid());", id(3)),
        delivery("trade", &format!("{}-r2", id(6)), "ada@example.com"),
        "SET session_replication_role = replica;".to_owned(),
        "UPDATE posting_batches SET posted_at = now() WHERE first_posting = 4;".to_owned(),
        "RESET session_replication_role".to_owned(),
    ];
    database.run(&statements.concat()).await;
    assert_eq!(found(&database, EventKind::OrderNews).await, ["1-1", "5-r2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_the_outbox_or_yet_to_be_read_is_not_lost() {
    let database = Database::new().await;
    let nats = tokio::task::block_in_place(NatsServer::start);
    let settings = Settings { url: nats.url.clone(), ..Settings::default() };
    let check = Health::default().check("broker");
    let broker = Broker::connect(&settings, "test", check, Shutdown::new()).await.expect("the broker answers");
    topology::apply(&broker, &Topology::declared().expect("streams.yaml")).await.expect("the streams are created");
    let lost = async || -> Vec<u128> {
        let events = republish::find_lost(&database.store, &broker, EventKind::Rules).await.expect("an answer");
        events.iter().map(|event| event.id[..36].parse::<Uuid>().expect("an id").as_u128()).collect()
    };
    assert_eq!(lost().await, [] as [u128; 0]);
    for number in 1..=3 {
        add_rule(&database, number, RuleStatus::Active, "ada@example.com").await;
    }
    database.run(AGE).await;
    assert_eq!(lost().await, [] as [u128; 0], "they are in the outbox");
    database.run("DELETE FROM outbox").await;
    assert_eq!(lost().await, [1, 2, 3]);

    // One is published, and read by nobody yet.
    let events = republish::find_lost(&database.store, &broker, EventKind::Rules).await.expect("events");
    broker.publish(&events[..1]).await.expect("it is stored");
    assert_eq!(lost().await, [2, 3]);
    // The consumer has read past it without an effect, as of an older copy of the stream.
    let resumption = stream_position::resume(&broker, "alert-engine-rules", None).await.expect("a stream");
    let end = platform::StreamPosition { sequence: 1, ..resumption.position };
    position::begin(&database.store, "alert-engine-rules", None, end, None).await.expect("it is saved");
    assert_eq!(lost().await, [1, 2, 3]);

    republish::add(&database.store, "operator", events[1..].to_vec()).await.expect("they are added");
    assert_eq!(lost().await, [1], "those are on their way again");
    let message_id = events[1].headers.iter().find(|(name, _)| name == NATS_MSG_ID).map(|(_, id)| id.as_str());
    assert_eq!(message_id, Some(format!("{}-1", id(2)).as_str()), "the id is what it was");
    for kind in EventKind::ALL {
        assert_eq!(EventKind::parse(kind.as_str()), Some(kind));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_may_look_for_every_kind_and_the_gateway_for_those_that_it_publishes_itself() {
    let database = Database::new().await;
    let operator = database.store_as("tickbell_operator").await;
    for kind in EventKind::ALL {
        republish::find_without_effect(&operator, kind).await.expect("the operator may");
    }
    let gateway = database.store_as("tickbell_gateway").await;
    for kind in EventKind::AUTOMATIC {
        republish::find_without_effect(&gateway, kind).await.expect("the gateway may");
    }
    for role in ["tickbell_operator", "tickbell_gateway", "tickbell_notifier"] {
        store::notifications::outages::find(&database.store_as(role).await).await.expect(role);
    }
}
