//! Streams that are deleted, created anew or put back to an older copy while a run reads them, and consumers that are deleted.

use platform::{
    ServiceError, StreamPosition,
    broker::stream_position::{self, Continuity},
};
use tokio::time::timeout;

use super::*;

impl Servers {
    /// Runs a counter until it has decided `messages` messages, then does `meanwhile`, and returns the error that ends the run.
    async fn run_and(&self, messages: usize, meanwhile: impl Future<Output = ()>) -> ServiceError {
        let counter = Counter::new(&self.database.store, u64::MAX);
        let mut decided = counter.decided.subscribe();
        let (error, ()) = tokio::join!(self.run(&counter), async {
            let all = decided.wait_for(|decided| decided.len() >= messages);
            timeout(DEADLINE, all).await.expect("in time").expect("the counter lives");
            meanwhile.await;
        });
        error
    }

    async fn apply_streams(&self) {
        topology::apply(&self.broker, &Topology::declared().expect("streams.yaml")).await.expect("they are created");
    }

    async fn publish_numbers(&self, numbers: std::ops::RangeInclusive<u64>) {
        self.publish(numbers.map(|number| number.to_string())).await;
    }

    fn request(&self, subject: &str) {
        tokio::task::block_in_place(|| self.nats.request(subject));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_created_anew_ends_the_run_and_is_read_from_its_beginning() {
    let servers = Servers::with_messages().await;
    let error = servers
        .run_and(MESSAGES as usize, async {
            servers.request("$JS.API.STREAM.DELETE.ALERTS");
            servers.apply_streams().await;
            servers.publish_numbers(MESSAGES + 1..=MESSAGES + 3).await;
        })
        .await;
    // The run may look while the stream is not there.
    let said = format!("{error:?}");
    let is_said = said.contains("anew") || said.contains("stream ALERTS is missing");
    assert!(matches!(error, ServiceError::Transient(..)) && is_said, "{said}");
    assert_eq!(servers.run_until(3).await, [1, 2, 3]);
    servers.assert_counted_once(MESSAGES + 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_is_deleted_is_created_again_only_where_the_process_may() {
    let servers = Servers::with_messages().await;
    let delete = async || servers.request("$JS.API.CONSUMER.DELETE.ALERTS.notifier");
    let error = servers.run_and(MESSAGES as usize, delete()).await;
    assert!(matches!(error, ServiceError::Transient(..)), "{error:?}");
    let counter = Counter::new(&servers.database.store, u64::MAX);
    let error = servers.run(&counter).await;
    let ServiceError::Transient(what, cause) = &error else { panic!("{error:?}") };
    assert_eq!(format!("{what}: {cause}"), "consumer ALERTS/notifier is missing: run `tickbell streams apply`");
    servers.broker.allow_stream_management();
    servers.publish_numbers(MESSAGES + 1..=MESSAGES + 1).await;
    assert_eq!(servers.run_until(MESSAGES + 1).await, [MESSAGES + 1]);
    servers.assert_counted_once(MESSAGES + 1).await;

    servers.request("$JS.API.STREAM.DELETE.ALERTS");
    assert!(servers.run_until(0).await.is_empty(), "the stream is there again and empty");
    servers.publish_numbers(MESSAGES + 2..=MESSAGES + 2).await;
    assert_eq!(servers.run_until(1).await, [1]);
    servers.assert_counted_once(MESSAGES + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_put_back_to_an_older_copy_is_read_again() {
    let servers = Servers::with_messages().await;
    servers.run_until(MESSAGES).await;
    // As after a restore: the consumer has read more messages than the stream has, or others under the same numbers.
    for lost in ["stream_position = 90", "stored_at = stored_at - interval '1 millisecond'"] {
        servers.database.run("DELETE FROM counted").await;
        servers.database.run(&format!("UPDATE consumer_positions SET {lost}")).await;
        assert_eq!(servers.run_until(MESSAGES).await, (1..=MESSAGES).collect::<Vec<_>>(), "{lost}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_position_before_a_time_is_found() {
    let servers = Servers::start().await;
    for number in 1..=9 {
        servers.publish_numbers(number..=number).await;
    }
    let stored: Vec<(u64, events::Timestamp)> = stored_times(&servers).await;
    let created = created(&servers).await;
    for (sequence, at) in &stored {
        let before =
            stream_position::position_before(&servers.broker, "ALERTS", created, *at).await.expect("a position");
        let stored_at = (*sequence > 1).then(|| stored[*sequence as usize - 2].1);
        assert_eq!(before, StreamPosition { stream_created: created, sequence: sequence - 1, stored_at });
    }
    let after = stream_position::position_before(&servers.broker, "ALERTS", created, events::Timestamp::LAST).await;
    assert_eq!(after.expect("a position").sequence, 9);
}

async fn stored_times(servers: &Servers) -> Vec<(u64, events::Timestamp)> {
    let messages = stream_scan::messages(&servers.broker, "ALERTS", ..).await.expect("the stream exists");
    messages.map_ok(|message| (message.sequence, message.stored_at)).try_collect().await.expect("messages")
}

/// Returns when the stream was created.
async fn created(servers: &Servers) -> events::Timestamp {
    let resumption = stream_position::resume(&servers.broker, CONSUMER, None).await.expect("the consumer exists");
    assert_eq!((resumption.continuity, resumption.position.sequence), (Continuity::Continue, 0));
    resumption.position.stream_created
}
