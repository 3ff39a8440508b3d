//! Tests of positions, dead letters and leadership.

use events::{DeadLetter, dead_letter::Body};
use platform::{Health, StreamPosition};
use store::{
    Error,
    consumer::{
        dead_letters::{self, ReplayOutcome},
        lease,
        position::{self, Advance, Progress},
    },
};
use uuid::Uuid;

use crate::{
    database::{DEADLINE, Database},
    samples::at,
};

/// Returns the position of a message, which was stored as many seconds after the stream's creation as its number says.
fn position(sequence: u64) -> StreamPosition {
    StreamPosition { stream_created: at(0), sequence, stored_at: (sequence > 0).then(|| at(sequence as i64)) }
}

fn advance(consumer: &'static str, from: u64, to: u64) -> Advance {
    Advance { consumer: consumer.into(), from: position(from), to: position(to), last_event_at: None }
}

async fn begin(database: &Database, consumer: &str) {
    position::begin(&database.store, consumer, None, position(0), None).await.expect("it begins");
}

async fn move_on(database: &Database, advances: Vec<Advance>) -> Result<(), Error> {
    database.transaction(move |tx| Box::pin(async move { position::advance(tx, &advances).await })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_read_where_it_was_committed() {
    let database = Database::new().await;
    assert_eq!(position::progress(&database.store, "a").await.expect("an answer"), Progress::default());
    assert_eq!(position::read(&database.store, "a").await.expect("an answer"), None);
    begin(&database, "a").await;
    assert_eq!(position::read(&database.store, "a").await.expect("an answer"), Some(position(0)));
    let dated = Advance { last_event_at: Some(at(5)), ..advance("a", 0, 7) };
    move_on(&database, vec![dated]).await.expect("it moves");
    move_on(&database, vec![advance("a", 7, 9)]).await.expect("it moves on");
    assert_eq!(position::read(&database.store, "a").await.expect("an answer"), Some(position(9)));
    let progress = position::progress(&database.store, "a").await.expect("an answer");
    assert_eq!(progress, Progress { position: 9, last_event_at: Some(at(5)) });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_instance_is_fenced_and_moves_no_other_consumer() {
    let database = Database::new().await;
    for consumer in ["a", "b"] {
        begin(&database, consumer).await;
    }
    move_on(&database, vec![advance("a", 0, 5)]).await.expect("the first instance commits");
    let fenced = move_on(&database, vec![advance("b", 0, 3), advance("a", 0, 4)]).await.expect_err("it is stale");
    assert!(matches!(fenced, Error::Fenced(_)) && fenced.is_transient(), "{fenced:?}");
    assert_eq!(position::progress(&database.store, "a").await.expect("an answer").position, 5);
    let listed = position::list(&database.store).await.expect("a list");
    let listed: Vec<_> = listed.iter().map(|consumer| (&*consumer.name, consumer.progress.position)).collect();
    assert_eq!(listed, [("a", 5), ("b", 0)]);
    assert_eq!(position::progress(&database.store, "b").await.expect("an answer").position, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_has_read_another_stream_is_fenced() {
    let database = Database::new().await;
    begin(&database, "a").await;
    move_on(&database, vec![advance("a", 0, 5)]).await.expect("it moves");
    let store = &database.store;
    // An older copy of the stream was put back, and then the stream was created anew.
    let put_back = StreamPosition { stored_at: Some(at(99)), ..position(5) };
    let anew = StreamPosition { stream_created: at(100), ..put_back };
    for (was, begins) in [(position(5), put_back), (put_back, anew)] {
        position::begin(store, "a", Some(was), begins, None).await.expect("it begins there");
        assert_eq!(position::read(store, "a").await.expect("an answer"), Some(begins));
        let again = position::begin(store, "a", Some(was), begins, None).await.expect_err("it has begun");
        assert!(matches!(again, Error::Fenced(_)), "{again:?}");
        let stale = Advance { from: was, ..advance("a", 5, 6) };
        let fenced = move_on(&database, vec![stale]).await.expect_err("it is stale");
        assert!(matches!(fenced, Error::Fenced(_)), "{fenced:?}");
    }
    let to = StreamPosition { sequence: 6, ..anew };
    move_on(&database, vec![Advance { from: anew, to, ..advance("a", 5, 6) }]).await.expect("it moves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_becomes_one_dead_letter_in_whichever_service() {
    let database = Database::new().await;
    for service in ["notifier", "history-writer"] {
        dead_letters::register_metrics(service);
        let dead_letter = DeadLetter {
            service: service.into(),
            stream: "TICKS".into(),
            sequence: 7,
            index: None,
            subject: "ticks.x".into(),
            headers: Vec::new(),
            body: Body::Text("{".into()),
            reason: "it is no JSON".into(),
            attempts: 1,
            at: at(0),
            frame: None,
        };
        let add = database
            .transaction(move |tx| Box::pin(async move { dead_letters::add(tx, service, &[dead_letter]).await }));
        add.await.expect("it is recorded");
    }
    let found: (String, i64) = database.row("SELECT service, sequence FROM dead_letters").await;
    assert_eq!(found, ("notifier".into(), 7));
    assert_eq!(database.outbox_subjects().await.len(), 1, "one dead letter is published");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_published_again_as_it_was_given_up_and_in_no_other_form() {
    let database = Database::new().await;
    let given_up = DeadLetter {
        service: "alert-engine".into(),
        stream: "TICKS".into(),
        sequence: 7,
        index: Some(2),
        subject: "ticks.test.BTC-USD".into(),
        headers: vec![("ce-id".into(), "a \u{e9}\u{1}".into()), ("Nats-Msg-Id".into(), "b".into())],
        body: Body::new(&[0, 0xff]),
        reason: "it is not a tick".into(),
        attempts: 1,
        at: at(0),
        frame: None,
    };
    let added = given_up.clone();
    let add =
        database.transaction(move |tx| Box::pin(async move { dead_letters::add(tx, "alert-engine", &[added]).await }));
    add.await.expect("it is recorded");
    database.run("DELETE FROM outbox").await;

    let (gateway, operator) = (database.store_as("tickbell_gateway").await, Uuid::from_u128(7));
    let forged = [
        DeadLetter { body: Body::Text("forged".into()), ..given_up.clone() },
        DeadLetter { subject: "ticks.test.ETH-USD".into(), ..given_up.clone() },
        DeadLetter { subject: "ticks.\0".into(), ..given_up.clone() },
        DeadLetter { headers: vec![("ce-id".into(), "c".into())], ..given_up.clone() },
        DeadLetter { sequence: 8, ..given_up.clone() },
        DeadLetter { index: None, ..given_up.clone() },
        DeadLetter { body: Body::Base64("?".into()), ..given_up.clone() },
    ];
    for forged in forged {
        let outcome = dead_letters::replay(&gateway, &forged, operator).await.expect("an answer");
        assert_eq!(outcome, ReplayOutcome::NotGivenUp, "{forged:?}");
    }
    assert!(database.outbox_subjects().await.is_empty());

    let outcome = dead_letters::replay(&gateway, &given_up, operator).await.expect("an answer");
    assert_eq!(outcome, ReplayOutcome::Committed { publisher: "history-writer".into() });
    let added: (String, String, Vec<u8>) = database.row("SELECT service, message_id, body FROM outbox").await;
    assert_eq!(added, ("history-writer".into(), "replay-TICKS:7:2".into(), vec![0, 0xff]));
    let query = "SELECT count(*) FROM dead_letters WHERE replayed_at IS NOT NULL AND replayed_by = '00000000-0000-0000-0000-000000000007'";
    assert_eq!(database.count(query).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_of_a_stream_that_no_service_publishes_is_refused_and_stays_as_it_is() {
    let database = Database::new().await;
    let given_up = DeadLetter {
        service: "kafka-bridge".into(),
        stream: "DLQ".into(),
        sequence: 3,
        index: None,
        subject: "dlq.history-writer".into(),
        headers: Vec::new(),
        body: Body::Text("{".into()),
        reason: "it is no dead letter".into(),
        attempts: 1,
        at: at(0),
        frame: None,
    };
    let added = given_up.clone();
    let add =
        database.transaction(move |tx| Box::pin(async move { dead_letters::add(tx, "kafka-bridge", &[added]).await }));
    add.await.expect("it is recorded");
    database.run("DELETE FROM outbox").await;

    let gateway = database.store_as("tickbell_gateway").await;
    let outcome = dead_letters::replay(&gateway, &given_up, Uuid::from_u128(7)).await.expect("an answer");
    assert_eq!(outcome, ReplayOutcome::NoPublisher);
    let without_publisher = dead_letters::without_publisher(&gateway, &["TICKS", "DLQ", "a\0"]).await;
    assert_eq!(without_publisher.expect("an answer"), ["DLQ", "a\0"].map(str::to_owned).into());
    assert!(database.outbox_subjects().await.is_empty());
    let untouched = "SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL AND replayed_by IS NULL";
    assert_eq!(database.count(untouched).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_instance_leads_until_its_lease_is_dropped() {
    let database = Database::new().await;
    let check = || Health::default().check("leader");
    let first = lease::acquire(&database.store, "trade-settler", &check()).await.expect("the lease is free");
    let standby = {
        let (store, check) = (database.store_as("tickbell_trade_settler").await, check());
        tokio::spawn(async move { lease::acquire(&store, "trade-settler", &check).await.map(drop) })
    };
    let other = lease::acquire(&database.store_as("tickbell_notifier").await, "notifier", &check()).await;
    other.expect("another service's leadership is free");
    assert!(!standby.is_finished());
    drop(first);
    tokio::time::timeout(DEADLINE, standby).await.expect("in time").expect("no panic").expect("it leads");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_takes_a_lease_that_nobody_has_and_no_other() {
    let database = Database::new().await;
    let leader = database.store_as("tickbell_trade_settler").await;
    let held = lease::acquire(&leader, "trade-settler", &Health::default().check("leader")).await.expect("it is free");
    assert!(lease::try_acquire(&database.store, "trade-settler").await.expect("an answer").is_none());
    assert!(lease::try_acquire(&database.store, "notifier").await.expect("an answer").is_some());
    drop(held);
    leader.close().await;
    let taken = lease::try_acquire(&database.store, "trade-settler").await.expect("an answer");
    assert!(taken.is_some());
    let other = database.store_as("tickbell_trade_settler").await;
    assert!(lease::try_acquire(&other, "trade-settler").await.expect("an answer").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_is_taken_and_not_before_it_has_expired() {
    let database = Database::new().await;
    let check = Health::default().check("leader");
    database
        .run(
            "INSERT INTO leases (service, holder, program, acquired_at, expires_at)
             VALUES ('settler', gen_random_uuid(), 'tickbell', now(), clock_timestamp() + interval '300 milliseconds')",
        )
        .await;
    let _lease = lease::acquire(&database.store, "settler", &check).await.expect("the lease has expired");
    let (renewed, early): (bool, bool) = database
        .row("SELECT expires_at > clock_timestamp() + interval '3 seconds', acquired_at < now() - interval '1 minute' FROM leases")
        .await;
    assert!(renewed && !early);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leases_of_a_process_end_when_it_closes_its_connections() {
    let database = Database::new().await;
    let check = Health::default().check("leader");
    let leader = database.store_as("tickbell_trade_settler").await;
    let _lease = lease::acquire(&leader, "trade-settler", &check).await.expect("the lease is free");
    leader.close().await;
    assert_eq!(database.count("SELECT count(*) FROM leases WHERE expires_at > clock_timestamp()").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seized_leader_loses_its_lease() {
    let database = Database::new().await;
    let check = Health::default().check("leader");
    let leader = database.store_as("tickbell_trade_settler").await;
    let mut first = lease::acquire(&leader, "trade-settler", &check).await.expect("the lease is free");
    let _seized = lease::seize(&database.store, "trade-settler").await.expect("it is seized");
    let lost = tokio::time::timeout(DEADLINE, first.lost()).await.expect("it notices");
    assert!(lost.to_string().contains("lost"), "{lost}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_loses_the_lease_of_a_database_that_was_put_back() {
    let database = Database::new().await;
    let check = Health::default().check("leader");
    let mut lease = lease::acquire(&database.store, "trade-settler", &check).await.expect("the lease is free");
    // The copy has the lease of the same process, as it was when the copy was made.
    database.run("UPDATE leases SET expires_at = expires_at - interval '1 second'").await;
    let lost = tokio::time::timeout(DEADLINE, lease.lost()).await.expect("in time").to_string();
    assert!(lost.contains("trade-settler"), "{lost}");
    let again = lease::acquire(&database.store, "trade-settler", &check).await;
    again.expect("the process may lead again, with what the copy has");
}
