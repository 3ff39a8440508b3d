//! Tests of events that are committed and not yet published.

use events::OutboundMessage;
use store::outbox;

use crate::database::{DEADLINE, Database};

fn message(number: usize) -> OutboundMessage {
    OutboundMessage { subject: format!("test.{number}"), id: number.to_string(), headers: Vec::new(), body: vec![1] }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_wait_in_order_for_their_own_service() {
    let database = Database::new().await;
    let mut listener = sqlx::postgres::PgListener::connect_with(&database.pool).await.expect("a connection");
    listener.listen("outbox/gateway").await.expect("it listens");
    let add = database.transaction(|tx| {
        Box::pin(async move {
            outbox::add(tx, "gateway", &[message(1), message(2)]).await?;
            outbox::add(tx, "gateway", &[]).await?;
            outbox::add_without_notify(tx, "notifier", &[message(3)]).await
        })
    });
    add.await.expect("they are added");
    assert_eq!(database.outbox_subjects().await, ["test.1", "test.2", "test.3"]);
    assert_eq!(outbox::len(&database.store, "gateway").await.expect("a number"), 2);
    assert_eq!(outbox::len(&database.store, "notifier").await.expect("a number"), 1);
    assert_eq!(outbox::len(&database.store, "operator").await.expect("a number"), 0);
    tokio::time::timeout(DEADLINE, listener.recv()).await.expect("in time").expect("a notification");
}
