//! Merges several streams into one sequence, in the order in which the broker stored their messages.
//!
//! Each stream is in order by itself. The order between streams is that of the times at which the broker stored the messages,
//! so the same streams give the same sequence whenever they are read. A message is returned once no other stream can hold an
//! older one: after it was received, the merge asks for the last sequence of every other stream and reads up to it.

use std::{collections::VecDeque, time::Duration};

use events::Timestamp;
use futures::{
    FutureExt,
    future::{select_all, try_join_all},
};
use tokio::time::timeout;
use tracing::warn;

use crate::{
    ServiceError,
    broker::{
        message::Message,
        ordered_consumer::{Batch, OrderedConsumer},
    },
};

/// The time after which an answer, or a message that the stream has stored, is asked for again: it may have been purged.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The number of messages of one input that may wait for another input, roughly. It is less than `max_ack_pending`, or the
/// broker would stop delivering.
const MAX_WAITING: usize = 10_000;
/// The bytes of messages of one input that may wait for another input, roughly.
const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// The number of messages of a batch of one input. A batch is acknowledged as a whole, so `MAX_WAITING` and one batch
/// together must be less than `max_ack_pending` too.
const MAX_BATCH: usize = 4_000;

/// Consumers that are read as one. Of two messages of one microsecond the one of the earlier input comes first.
pub struct StreamMerge {
    inputs: Vec<Input>,
}

/// One of the consumers, and the messages that it has delivered but the merge has not returned.
struct Input {
    consumer: OrderedConsumer,
    /// The messages that wait, each with its merge time.
    waiting: VecDeque<(Timestamp, Message)>,
    /// The bytes of their bodies.
    waiting_bytes: usize,
    /// The batches that are not acknowledged, without their messages.
    batches: VecDeque<Batch>,
    /// The stream sequence of the last message received.
    received: u64,
    /// The latest time of the messages received. Times never decrease within an input, so a broker whose clock steps back
    /// does not change the order within a stream.
    newest: Timestamp,
}

impl Input {
    fn push(&mut self, mut batch: Batch) {
        for message in std::mem::take(&mut batch.messages) {
            self.newest = self.newest.max(message.stored_at);
            self.waiting_bytes += message.body.len();
            self.waiting.push_back((self.newest, message));
        }
        self.received = batch.last;
        self.batches.push_back(batch);
    }

    fn has_up_to(&self, until: Timestamp) -> bool {
        self.waiting.front().is_some_and(|(at, _)| *at <= until)
    }

    fn has_at(&self, at: Timestamp) -> bool {
        self.waiting.binary_search_by_key(&at, |(at, _)| *at).is_ok()
    }

    /// Asks for the last sequence that the stream has stored. A request that is lost is repeated soon, because orders wait for
    /// the answer.
    async fn last_stored_sequence(&self) -> Result<u64, ServiceError> {
        loop {
            match timeout(ASK_AGAIN_AFTER, self.consumer.last_stored_sequence()).await {
                Ok(answer) => return answer,
                Err(_) => warn!(
                    stream = self.consumer.stream(),
                    "no answer to the request for the last sequence, asking again"
                ),
            }
        }
    }

    async fn is_drained(&self) -> Result<bool, ServiceError> {
        // Without an answer it is asked again.
        timeout(ASK_AGAIN_AFTER, self.consumer.is_drained()).await.unwrap_or(Ok(false))
    }

    /// Receives everything up to a sequence that the stream has stored, or as much as may wait. Returns the time up to which
    /// nothing is missing, which is [`Timestamp::LAST`] when all was received.
    async fn receive(&mut self, last_stored_sequence: u64, most: usize) -> Result<Timestamp, ServiceError> {
        while self.received < last_stored_sequence {
            if self.waiting.len() >= MAX_WAITING || self.waiting_bytes >= MAX_WAITING_BYTES {
                // The stream may hold more messages of the newest microsecond.
                let complete_until = Timestamp::from_micros(self.newest.micros() - 1).unwrap_or_default();
                return Ok(if self.has_up_to(complete_until) { complete_until } else { self.newest });
            }
            match timeout(ASK_AGAIN_AFTER, self.consumer.next(most)).await {
                Ok(batch) => self.push(batch?),
                Err(_) if self.is_drained().await? => {
                    let (stream, received) = (self.consumer.stream(), self.received);
                    warn!(stream, received, last_stored_sequence, "messages that the stream had stored were deleted");
                    self.received = last_stored_sequence;
                }
                Err(_) => {}
            }
        }
        Ok(Timestamp::LAST)
    }
}

impl StreamMerge {
    /// Merges these consumers, in this order.
    pub fn new(consumers: impl IntoIterator<Item = OrderedConsumer>) -> Self {
        let input = |consumer: OrderedConsumer| Input {
            received: consumer.last(),
            consumer,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            batches: VecDeque::new(),
            newest: Timestamp::EPOCH,
        };
        Self { inputs: consumers.into_iter().map(input).collect() }
    }

    /// Waits for the next messages and returns at least one, each with the index of its input. About `most` are read of each
    /// input at a time.
    ///
    /// A broker that cannot be asked, and a stream that is another one than the one that was read, are transient errors. The future is cancel safe: a later call returns what was received.
    pub async fn next(&mut self, most: usize) -> Result<Vec<(usize, Message)>, ServiceError> {
        let most = most.min(MAX_BATCH);
        if self.inputs.iter().all(|input| input.waiting.is_empty()) {
            self.receive_first(most).await?;
        }
        // Messages of the other inputs that are ready are merged at once.
        for input in &mut self.inputs {
            if input.waiting.is_empty()
                && let Some(batch) = input.consumer.next(most).now_or_never()
            {
                input.push(batch?);
            }
        }
        let until = self.inputs.iter().filter_map(|input| Some(input.waiting.back()?.0)).max().unwrap_or_default();
        let behind: Vec<bool> = self.inputs.iter().map(|input| input.newest < until).collect();
        let complete_until = self.complete(&behind, most).await?;
        let newest: Vec<_> = self.inputs.iter().map(|input| (input.newest, input.has_at(until))).collect();
        let needs_tie_check: Vec<bool> = needs_tie_check(until, &newest)
            .zip(behind)
            .map(|(needs_tie_check, asked)| needs_tie_check && !asked)
            .collect();
        let complete_until = complete_until.min(self.complete(&needs_tie_check, most).await?);
        Ok(self.take(until.min(complete_until)))
    }

    /// Waits until an input other than those in `left` has a message. The messages of those stay with the broker, as far as it has
    /// not delivered them. The future is cancel safe.
    pub async fn other_than(&mut self, left: &[usize], most: usize) -> Result<(), ServiceError> {
        if self.inputs.iter().enumerate().any(|(index, input)| !left.contains(&index) && !input.waiting.is_empty()) {
            return Ok(());
        }
        let inputs = self.inputs.iter_mut().enumerate().filter(|(index, _)| !left.contains(index));
        let batches: Vec<_> =
            inputs.map(|(index, input)| Box::pin(async move { (index, input.consumer.next(most).await) })).collect();
        if batches.is_empty() {
            return std::future::pending().await;
        }
        let ((index, batch), _, others) = select_all(batches).await;
        drop(others);
        self.inputs[index].push(batch?);
        Ok(())
    }

    /// Receives what the broker has stored for these inputs. Returns the time up to which nothing is missing.
    async fn complete(&mut self, which: &[bool], most: usize) -> Result<Timestamp, ServiceError> {
        let asked = self.inputs.iter_mut().zip(which).filter(|(_, asked)| **asked);
        let received = asked.map(async |(input, _)| {
            let last_stored_sequence = input.last_stored_sequence().await?;
            input.receive(last_stored_sequence, most).await
        });
        Ok(try_join_all(received).await?.into_iter().min().unwrap_or(Timestamp::LAST))
    }

    async fn receive_first(&mut self, most: usize) -> Result<(), ServiceError> {
        let batches = self.inputs.iter_mut().map(|input| Box::pin(input.consumer.next(most)));
        let (batch, index, others) = select_all(batches).await;
        drop(others);
        self.inputs[index].push(batch?);
        Ok(())
    }

    /// Returns everything that was stored up to a time, in order.
    fn take(&mut self, until: Timestamp) -> Vec<(usize, Message)> {
        let mut taken = Vec::new();
        let oldest = |inputs: &[Input]| {
            let heads = inputs.iter().enumerate().filter(|(_, input)| input.has_up_to(until));
            heads
                .min_by_key(|(index, input)| (input.waiting.front().map(|(at, _)| *at), *index))
                .map(|(index, _)| index)
        };
        while let Some(index) = oldest(&self.inputs) {
            let input = &mut self.inputs[index];
            let Some((_, message)) = input.waiting.pop_front() else { break };
            input.waiting_bytes -= message.body.len();
            taken.push((index, message));
        }
        taken
    }

    /// Reports to the broker that an input's messages up to a sequence are committed.
    pub async fn acknowledge(&mut self, index: usize, sequence: u64) {
        let input = &mut self.inputs[index];
        let mut done = None;
        while input.batches.front().is_some_and(|batch| batch.last <= sequence) {
            done = input.batches.pop_front();
        }
        if let Some(batch) = done {
            input.consumer.acknowledge(&batch).await;
        }
    }

    /// Returns the number of messages of an input that are stored but not returned.
    pub fn lag(&self, index: usize) -> u64 {
        let input = &self.inputs[index];
        input.consumer.pending() + input.waiting.len() as u64
    }

    /// Returns the name of an input's stream.
    pub fn stream(&self, index: usize) -> &str {
        self.inputs[index].consumer.stream()
    }
}

/// Returns which inputs must be asked for more messages of the microsecond `until`. `inputs` gives for each the time of its
/// last message received, and whether it has a message of that microsecond.
///
/// A stream may store several batches within a microsecond, and all messages of an input go before those of the inputs behind
/// it. Where no later input has a message of that microsecond nothing can be overtaken, so nothing is asked.
fn needs_tie_check(until: Timestamp, inputs: &[(Timestamp, bool)]) -> impl Iterator<Item = bool> {
    inputs
        .iter()
        .enumerate()
        .map(move |(index, (newest, _))| *newest == until && inputs[index + 1..].iter().any(|(_, has)| *has))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_asked_for_more_of_a_microsecond_only_when_a_later_input_has_a_message_of_it() {
        let at = |micros| Timestamp::from_micros(micros).expect("a time");
        let asked = |inputs: [(i64, bool); 3]| {
            let inputs = inputs.map(|(newest, has)| (at(newest), has));
            needs_tie_check(at(5), &inputs).collect::<Vec<_>>()
        };
        assert_eq!(asked([(4, false), (3, false), (5, true)]), [false; 3], "a single order costs no further request");
        assert_eq!(asked([(5, true), (3, false), (4, false)]), [false; 3], "the first input has the oldest message");
        assert_eq!(asked([(5, true), (4, false), (5, true)]), [true, false, false]);
        assert_eq!(asked([(5, false), (5, true), (9, true)]), [true, true, false], "also when all of it was returned");
    }
}
