//! Several streams, read as one in the order in which the broker stored their messages.
//!
//! Each stream is in order by itself. What is between them is decided by when the broker stored each message, so the same
//! streams give the same order whenever they are read. A message is given out once it is known that no other stream holds
//! an older one: after it was received, the last sequence of every other stream is asked for, and waited for.

use std::{collections::VecDeque, time::Duration};

use events::Timestamp;
use futures::{
    FutureExt,
    future::{select_all, try_join_all},
};
use tokio::time::timeout;
use tracing::warn;

use crate::{Batch, Message, OrderedConsumer, ServiceError};

/// What the broker last_stored_sequence and has not delivered for so long is asked for again: it may have been purged.
const PATIENCE: Duration = Duration::from_millis(500);

/// How many messages of a feed may wait for another's, about: fewer than the broker delivers without an acknowledgement.
const WAITING: usize = 10_000;
/// How many are taken of a feed at once: a batch is acknowledged as a whole, so what waits and one batch must be fewer too.
const BATCH: usize = 4_000;

/// Feeds that are read as one. Which of two messages of one microsecond comes first is decided by the order of the feeds.
pub struct StreamMerge {
    inputs: Vec<Input>,
}

/// One of the feeds, and what it has given out that is older than nothing yet.
struct Input {
    feed: OrderedConsumer,
    waiting: VecDeque<(Timestamp, Message)>,
    /// The end and the acknowledgement of each batch that is not acknowledged.
    batches: VecDeque<Batch>,
    /// The last sequence received.
    received: u64,
    /// No message received is younger; a broker whose clock steps back does not change the order within a stream.
    newest: Timestamp,
}

impl Input {
    fn keep(&mut self, mut batch: Batch) {
        for message in std::mem::take(&mut batch.messages) {
            self.newest = self.newest.max(message.stored_at);
            self.waiting.push_back((self.newest, message));
        }
        self.received = batch.last;
        self.batches.push_back(batch);
    }

    fn has(&self, until: Timestamp) -> bool {
        self.waiting.front().is_some_and(|(at, _)| *at <= until)
    }

    fn has_of(&self, at: Timestamp) -> bool {
        self.waiting.binary_search_by_key(&at, |(at, _)| *at).is_ok()
    }

    /// The last sequence that the stream has stored. A question that is lost is asked again: orders wait for the answer.
    async fn last_stored_sequence(&self) -> Result<u64, ServiceError> {
        loop {
            match timeout(PATIENCE, self.feed.last_stored_sequence()).await {
                Ok(answer) => return answer,
                Err(_) => warn!(stream = self.feed.stream(), "the broker has not said where the stream ends"),
            }
        }
    }

    /// Receives everything up to a sequence that the stream has last_stored_sequence, or as much as may wait. Says up to when nothing
    /// is missing; without end when all of it came.
    async fn receive(&mut self, last_stored_sequence: u64, most: usize) -> Result<Timestamp, ServiceError> {
        while self.received < last_stored_sequence {
            if self.waiting.len() >= WAITING {
                // More may have been stored within the newest microsecond.
                let whole = Timestamp::from_micros(self.newest.micros() - 1).unwrap_or_default();
                return Ok(if self.has(whole) { whole } else { self.newest });
            }
            match timeout(PATIENCE, self.feed.next(most)).await {
                Ok(batch) => self.keep(batch),
                Err(_) if self.feed.is_drained().await? => {
                    let (stream, received) = (self.feed.stream(), self.received);
                    warn!(
                        stream,
                        received,
                        last_stored_sequence,
                        "the stream no longer has messages that it last_stored_sequence"
                    );
                    self.received = last_stored_sequence;
                }
                Err(_) => {}
            }
        }
        Ok(Timestamp::LAST)
    }
}

impl StreamMerge {
    /// Reads these as one.
    pub fn new(feeds: impl IntoIterator<Item = OrderedConsumer>) -> Self {
        let input = |feed: OrderedConsumer| Input {
            received: feed.last(),
            feed,
            waiting: VecDeque::new(),
            batches: VecDeque::new(),
            newest: Timestamp::EPOCH,
        };
        Self { inputs: feeds.into_iter().map(input).collect() }
    }

    /// The next messages, each with the number of its feed; at least one. About `most` are read of each feed at a time.
    ///
    /// Passing when the broker cannot be asked. Cancel safe: what was received is given out by a later call.
    pub async fn next(&mut self, most: usize) -> Result<Vec<(usize, Message)>, ServiceError> {
        let most = most.min(BATCH);
        if self.inputs.iter().all(|input| input.waiting.is_empty()) {
            self.first(most).await;
        }
        // What is ready at the others comes along.
        for input in &mut self.inputs {
            if input.waiting.is_empty()
                && let Some(batch) = input.feed.next(most).now_or_never()
            {
                input.keep(batch);
            }
        }
        let until = self.inputs.iter().filter_map(|input| Some(input.waiting.back()?.0)).max().unwrap_or_default();
        let behind: Vec<bool> = self.inputs.iter().map(|input| input.newest < until).collect();
        let whole = self.complete(&behind, most).await?;
        let feeds: Vec<_> = self.inputs.iter().map(|input| (input.newest, input.has_of(until))).collect();
        let needs_tie_check: Vec<bool> = needs_tie_check(until, &feeds)
            .zip(behind)
            .map(|(needs_tie_check, asked)| needs_tie_check && !asked)
            .collect();
        let whole = whole.min(self.complete(&needs_tie_check, most).await?);
        Ok(self.take(until.min(whole)))
    }

    /// Receives what the broker has stored for these feeds. Says up to when nothing is missing.
    async fn complete(&mut self, which: &[bool], most: usize) -> Result<Timestamp, ServiceError> {
        let asked = self.inputs.iter_mut().zip(which).filter(|(_, asked)| **asked);
        let received = asked.map(async |(input, _)| {
            let last_stored_sequence = input.last_stored_sequence().await?;
            input.receive(last_stored_sequence, most).await
        });
        Ok(try_join_all(received).await?.into_iter().min().unwrap_or(Timestamp::LAST))
    }

    async fn first(&mut self, most: usize) {
        let feeds = self.inputs.iter_mut().map(|input| Box::pin(input.feed.next(most)));
        let (batch, index, others) = select_all(feeds).await;
        drop(others);
        self.inputs[index].keep(batch);
    }

    /// Everything that was stored up to a time, in order.
    fn take(&mut self, until: Timestamp) -> Vec<(usize, Message)> {
        let mut taken = Vec::new();
        let oldest = |inputs: &[Input]| {
            let heads = inputs.iter().enumerate().filter(|(_, input)| input.has(until));
            heads
                .min_by_key(|(index, input)| (input.waiting.front().map(|(at, _)| *at), *index))
                .map(|(index, _)| index)
        };
        while let Some(index) = oldest(&self.inputs) {
            taken.extend(self.inputs[index].waiting.pop_front().map(|(_, message)| (index, message)));
        }
        taken
    }

    /// Tells the broker that a feed's messages up to a sequence are committed.
    pub async fn acknowledge(&mut self, index: usize, sequence: u64) {
        let input = &mut self.inputs[index];
        let mut done = None;
        while input.batches.front().is_some_and(|batch| batch.last <= sequence) {
            done = input.batches.pop_front();
        }
        if let Some(batch) = done {
            input.feed.acknowledge(&batch).await;
        }
    }

    /// How many messages of a feed are stored and not given out.
    pub fn lag(&self, index: usize) -> u64 {
        let input = &self.inputs[index];
        input.feed.pending() + input.waiting.len() as u64
    }

    /// The name of a feed's stream.
    pub fn stream(&self, index: usize) -> &str {
        self.inputs[index].feed.stream()
    }
}

/// Which feeds must be asked for more of the newest microsecond, by the time of the last message received of each and
/// whether it has one of that microsecond. Several batches may be stored within it, and all of a feed's messages go before
/// those of the feeds behind it. Without a message behind there is nothing to ask for: what comes later is given out later.
fn needs_tie_check(until: Timestamp, feeds: &[(Timestamp, bool)]) -> impl Iterator<Item = bool> {
    feeds
        .iter()
        .enumerate()
        .map(move |(index, (newest, _))| *newest == until && feeds[index + 1..].iter().any(|(_, has)| *has))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feed_is_asked_for_more_of_a_microsecond_only_when_a_later_feed_has_a_message_of_it() {
        let at = |micros| Timestamp::from_micros(micros).expect("a time");
        let asked = |feeds: [(i64, bool); 3]| {
            let feeds = feeds.map(|(newest, has)| (at(newest), has));
            needs_tie_check(at(5), &feeds).collect::<Vec<_>>()
        };
        assert_eq!(asked([(4, false), (3, false), (5, true)]), [false; 3], "a lone order costs no more questions");
        assert_eq!(asked([(5, true), (3, false), (4, false)]), [false; 3], "what is first may go");
        assert_eq!(asked([(5, true), (4, false), (5, true)]), [true, false, false]);
        assert_eq!(asked([(5, false), (5, true), (9, true)]), [true, true, false], "also when all of it is given out");
    }
}
