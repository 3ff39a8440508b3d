//! The consumer runner: it makes every service that consumes streams lose nothing and apply nothing twice.
//!
//! A service defines what it decides about an event, what it saves, and where its position lives ([`ConsumerService`]);
//! that interface is the file `service.rs` beside this one. The runner owns the order of everything else:
//!
//! 1. **Leadership.** [`lead`] waits until this instance holds the service's lease. The lease only spares two
//!    instances the same work; the fenced position of step 5 prevents an effect from being saved twice.
//! 2. **Outbox.** Events that a run before this one has committed and not published are published first, so that the order
//!    of publication is the order of commits.
//! 3. **Position.** [`ConsumerRun::open`] reads how far each durable consumer has been applied, makes sure that its stream still
//!    is the one that was read ([`platform::broker::stream_position`]), lets the service restore its
//!    state as of these positions, and resets the broker's consumers to them. Messages that a dead process had received
//!    are therefore delivered again, from exactly the next event on. The acknowledgements that the broker has stored are
//!    not used.
//! 4. **Decide.** The events of a batch are decided one at a time, in the order in which the broker stored them. Deciding
//!    changes nothing but the state in memory.
//! 5. **Commit.** One transaction holds the effects, the events that follow from them, the dead letters and the new
//!    positions, on condition that the positions are still where this run had read or committed them. A second instance
//!    that was faster has moved them: the transaction then fails as a whole ([`Error::Fenced`]), and the run ends. So an
//!    effect is saved exactly when its event counts as applied, however often the event is delivered.
//! 6. **Publish.** Committed events are published in the order of their commits, under ids that are derived from their causes, so
//!    that the broker and every reader recognise a repeat: from the outbox before the next batch, or from memory while the next
//!    batches are decided, or by a relay ([`Publish`]).
//! 7. **Acknowledge.** Last, the runner acknowledges the messages at the broker. Only the consumer's lag depends on it.
//!
//! A crash between 5 and 6 leaves events in the outbox, which step 2 of the next run publishes. A crash between 6 and 7
//! leaves an acknowledgement unsent, which costs nothing because of step 3. A message that cannot be read, or requests
//! an effect that is impossible, becomes a dead letter within step 5 and is not tried again. Any other failure ends the
//! run; the caller supervises it and begins a new one, which starts from the committed positions. There is no other
//! recovery path: where the database refuses a batch because of what a message says, or the message makes the program panic,
//! [`ConsumerRun::run`] itself opens the new run, with smaller batches, until the message is found (`narrowing.rs`).

use std::{convert::Infallible, future::Future, mem, panic::AssertUnwindSafe, pin::pin, time::Duration};

use events::{DeadLetter, OutboundMessage, Timestamp};
use futures::{FutureExt, future::OptionFuture};
use platform::{
    Broker, Check, Message, OrderedConsumer, ServiceError, StreamMerge, StreamPosition,
    broker::stream_position::{self, Resumption},
    runtime::{backoff::backoff, error::error_chain},
    telemetry::gauge::set_gauge,
};
use tokio::time::{Instant, Interval, interval, sleep, timeout_at};
use tracing::warn;

use crate::{
    Error, Store,
    consumer::{
        lease,
        narrowing::{Contents, ItemKey, Narrowing},
        position::Advance,
        publish_queue::PublishQueue,
        service::{Commit, ConsumerName, ConsumerService, Decided, Plan, Publish},
        stall::Pending,
        work::{Arrived, Work},
    },
    outbox::relay::{self, CommittedEvents},
};

/// The number of waiting messages from which on none are left with the broker.
const MAX_LEFT: u64 = 500;
/// How often a run is opened anew that has failed while a bad message was looked for.
const REOPEN_ATTEMPTS: usize = 8;
/// How often the outbox is looked at for dead letters that an operator replays, where only batches publish otherwise.
const REPLAY_INTERVAL: Duration = Duration::from_secs(2);

/// Waits for the leadership of `service` and runs `work` until it ends or the leadership is lost.
pub async fn lead<T>(
    store: &Store,
    broker: &Broker,
    service: &'static str,
    check: &Check,
    work: impl Future<Output = Result<T, ServiceError>>,
) -> Result<T, ServiceError> {
    let work = async {
        relay::publish_pending(store, service, broker).await?;
        work.await
    };
    lease::lead(store, broker, service, check, work).await
}

/// One run of a service's consumers, from the committed positions on, until a failure ends it.
pub struct ConsumerRun<'a, S: ConsumerService> {
    service: &'a S,
    store: &'a Store,
    broker: &'a Broker,
    plan: Plan,
    state: S::State,
    streams: StreamMerge,
    /// The position of each consumer at the end of the last batch, which is committed or being committed.
    positions: Vec<StreamPosition>,
    narrowing: Narrowing,
    /// The items of the batch that is being decided or was decided last.
    deciding: Contents,
    /// The messages that the streams have returned beyond the batch.
    arrived: Arrived,
    pending: Pending,
    /// The batches whose events are being published while the next ones are decided.
    publish_queue: PublishQueue,
}

/// The failure of a run, and the batch that failed; of no items when it was no batch.
struct Failure {
    error: ServiceError,
    batch: Contents,
}

impl From<ServiceError> for Failure {
    fn from(error: ServiceError) -> Self {
        Self { error, batch: Contents::default() }
    }
}

/// A batch that is decided and not yet committed.
struct Batch<E> {
    decided: Decided<E>,
    dead_letters: Vec<DeadLetter>,
    progress: Vec<Option<Progress>>,
    messages: usize,
    /// The last item, where it is not the last one of its message.
    part: Option<ItemKey>,
    began: Instant,
}

/// The last message of a batch from one consumer.
#[derive(Debug, Clone, Copy)]
struct Progress {
    sequence: u64,
    stored_at: Timestamp,
    event_time: Option<Timestamp>,
}

/// A committed batch that must still be published and acknowledged.
struct Committed<T> {
    saved: T,
    progress: Vec<Option<Progress>>,
    publishes: bool,
    /// The events, where they are published from memory.
    events: Vec<OutboundMessage>,
    messages: usize,
    contents: Contents,
    part: Option<ItemKey>,
    began: Instant,
}

impl<'a, S: ConsumerService> ConsumerRun<'a, S> {
    /// Reads the positions, restores the state and opens the consumers. The caller holds the service's leadership.
    pub async fn open(
        service: &'a S,
        store: &'a Store,
        broker: &'a Broker,
        plan: Plan,
    ) -> Result<ConsumerRun<'a, S>, ServiceError> {
        let mut positions = Vec::with_capacity(plan.consumers.len());
        for consumer in &plan.consumers {
            positions.push(resume(service, store, broker, consumer).await?);
        }
        let sequences: Vec<u64> = positions.iter().map(|position| position.sequence).collect();
        let mut state = service.restore(&sequences).await?;
        let mut consumers = Vec::with_capacity(plan.consumers.len());
        for (consumer, position) in plan.consumers.iter().zip(&positions) {
            consumers.push(OrderedConsumer::open(broker, consumer, *position).await?);
        }
        tracing::debug!(service = plan.service, consumers = ?plan.consumers, ?sequences, "state restored");
        let streams = StreamMerge::new(consumers);
        let waiting: Vec<u64> = (0..positions.len()).map(|index| streams.lag(index)).collect();
        service.opened(&mut state, &waiting);
        let narrowing = Narrowing::new(plan.batch, plan.on_broken_constraint);
        let (deciding, arrived, pending) = (Contents::default(), Arrived::default(), Pending::default());
        let publish_queue = PublishQueue::default();
        Ok(Self {
            service,
            store,
            broker,
            plan,
            state,
            streams,
            positions,
            narrowing,
            deciding,
            arrived,
            pending,
            publish_queue,
        })
    }

    /// Processes messages until a failure that opening the run anew does not mend. `check` fails while messages wait and no
    /// batch is finished.
    pub async fn run(mut self, check: &Check) -> Result<Infallible, ServiceError> {
        let mut failures = 0;
        loop {
            let stalls = self.pending.report(check);
            let publish = Box::pin(self.publish_queue.publish(self.store, self.plan.service, self.broker));
            // Boxed, as the opening below: this future would else be too large for the stack of a thread.
            let process = Box::pin(AssertUnwindSafe(self.process()).catch_unwind());
            let ended = tokio::select! {
                ended = process => ended,
                ended = publish => Ok(ended.map_err(Failure::from)),
                never = stalls => match never {},
            };
            let Failure { error, batch } = match ended {
                Ok(Ok(never)) => match never {},
                Ok(Err(failure)) => failure,
                Err(panic) => Failure { error: Error::panicked(&*panic).into(), batch: self.deciding },
            };
            let (service, ServiceError::Transient(_, cause) | ServiceError::Permanent(_, cause)) =
                (self.plan.service, &error);
            match cause.downcast_ref().and_then(Error::refusal) {
                Some(refusal) => {
                    let reason = format!("the message was refused: {}", error_chain(&error));
                    if !self.narrowing.refuse(refusal, batch, reason) {
                        return Err(error);
                    }
                    metrics::counter!("tickbell_batches_refused_total", "service" => service).increment(1);
                    let (items, limit) = (batch.items, self.narrowing.limit());
                    warn!(
                        service,
                        items,
                        limit,
                        error = error_chain(&error),
                        "a batch was refused; restoring the state"
                    );
                    failures = 0;
                }
                // What is known of the bad message would be lost with this run.
                None if self.narrowing.is_narrowed() && failures < REOPEN_ATTEMPTS && is_transient(&error) => {
                    warn!(
                        service,
                        error = error_chain(&error),
                        "failed while looking for a bad message; restoring the state"
                    );
                    failures += 1;
                }
                None => return Err(error),
            }
            let Self { service, store, broker, plan, narrowing, streams, .. } = self;
            // What the broker delivers to these would be missing in the new ones.
            drop(streams);
            // Events that were to be published from memory are left in the outbox.
            if plan.publish == Publish::WhileDeciding {
                relay::publish_pending(store, plan.service, broker).await?;
            }
            self = Self { narrowing, ..Self::reopen(service, store, broker, plan).await? };
        }
    }

    /// Opens a run, and tries again for a while: a message that cannot be delivered, which ends the connection, may be close
    /// behind the one that was refused.
    async fn reopen(
        service: &'a S,
        store: &'a Store,
        broker: &'a Broker,
        plan: Plan,
    ) -> Result<ConsumerRun<'a, S>, ServiceError> {
        for wait in backoff().take(REOPEN_ATTEMPTS) {
            match Box::pin(Self::open(service, store, broker, plan.clone())).await {
                Err(error) if is_transient(&error) => {
                    let (service, error) = (plan.service, error_chain(&error));
                    warn!(service, error, wait_ms = wait.as_millis() as u64, "cannot restore the state, retrying");
                }
                opened => return opened,
            }
            sleep(wait).await;
        }
        Box::pin(Self::open(service, store, broker, plan)).await
    }

    /// Processes batch after batch, up to the acknowledgement. Messages that arrive during a commit form the next
    /// batch, which is decided during the commit only when many messages wait.
    async fn process(&mut self) -> Result<Infallible, Failure> {
        let mut commit = pin!(OptionFuture::from(None));
        let mut gather_until = Instant::now();
        let mut maintenance = self.plan.maintain_every.map(interval);
        let mut replays = (self.plan.publish != Publish::ByRelay).then(|| interval(REPLAY_INTERVAL));
        let mut published = self.publish_queue.published.subscribe();
        loop {
            if !self.decides_ahead()
                && let Some(committed) = commit.as_mut().await
            {
                commit.set(None.into());
                self.finish(committed?).await?;
            }
            tokio::select! {
                // A commit begins when it is polled first: in another order, the next batch may be decided before that.
                biased;
                Some(committed) = &mut commit => {
                    commit.set(None.into());
                    self.finish(committed?).await?;
                    continue;
                }
                () = tick(&mut maintenance), if self.plan.decide_ahead_from.is_none() => {
                    if self.service.maintain(&mut self.state).await? {
                        self.publish_added().await?;
                    }
                    continue;
                }
                () = tick(&mut replays) => {
                    self.publish_added().await?;
                    continue;
                }
                Ok(()) = published.changed() => {
                    self.acknowledge_published().await;
                    continue;
                }
                received = self.receive() => received?,
            }
            self.pending.began();
            let decided = self.decide(gather_until).await;
            let batch = decided.map_err(|error| Failure { error, batch: self.deciding })?;
            gather_until = batch.began + self.plan.gather;
            if let Some(committed) = commit.as_mut().await {
                commit.set(None.into());
                self.finish(committed?).await?;
            }
            commit.set(Some(self.commit(batch)).into());
        }
    }

    fn decides_ahead(&self) -> bool {
        !self.narrowing.is_narrowed() && self.plan.decide_ahead_from.is_some_and(|waiting| self.lag() >= waiting)
    }

    /// Returns the number of messages that are stored and not yet decided, as far as the broker has reported it.
    fn lag(&self) -> u64 {
        (0..self.positions.len()).map(|consumer| self.streams.lag(consumer)).sum()
    }

    /// Waits until messages have arrived. The future is cancel safe.
    async fn receive(&mut self) -> Result<(), ServiceError> {
        if self.arrived.is_empty() {
            self.arrived.extend(self.streams.next(self.narrowing.limit()).await?);
        }
        Ok(())
    }

    /// Decides the messages that have arrived, and those that arrive until `gather_until`. Each is decided when it arrives, so
    /// that no burst of work delays other tasks of the process.
    async fn decide(&mut self, gather_until: Instant) -> Result<Batch<S::Effects>, ServiceError> {
        let mut batch = Batch {
            decided: Decided { effects: S::Effects::default(), events: Vec::new(), rejected_items: Vec::new() },
            dead_letters: Vec::new(),
            progress: vec![None; self.positions.len()],
            messages: 0,
            part: None,
            began: Instant::now(),
        };
        self.deciding = Contents::default();
        self.decide_arrived(&mut batch).await?;
        while !self.plan.gather.is_zero()
            && batch.part.is_none()
            && self.deciding.items < self.narrowing.limit()
            && !self.service.is_waited_for(&self.state, &batch.decided)
        {
            self.leave_messages(gather_until).await?;
            match timeout_at(gather_until, self.receive()).await {
                Ok(received) => received?,
                Err(_) => break,
            }
            self.decide_arrived(&mut batch).await?;
        }
        self.service.finish(&mut self.state, &mut batch.decided);
        if !self.plan.gather.is_zero() {
            batch.began = Instant::now();
        }
        Ok(batch)
    }

    /// Leaves the messages of some consumers with the broker until others arrive or the batch is to be committed. A run that is
    /// behind reads on.
    async fn leave_messages(&mut self, until: Instant) -> Result<(), ServiceError> {
        let left = self.plan.leave;
        if left.is_empty() || !self.arrived.is_empty() || self.lag() >= MAX_LEFT {
            return Ok(());
        }
        match timeout_at(until, self.streams.other_than(left, self.narrowing.limit())).await {
            Ok(arrived) => arrived,
            Err(_) => Ok(()),
        }
    }

    async fn decide_arrived(&mut self, batch: &mut Batch<S::Effects>) -> Result<(), ServiceError> {
        let most = self.narrowing.limit() - self.deciding.items.min(self.narrowing.limit());
        let works = self.arrived.take(self.service, &self.narrowing, most, &mut self.deciding);
        let readable: Vec<_> = works.iter().filter_map(|work| work.event.as_ref().ok()).collect();
        self.service.prepare(&mut self.state, &readable).await?;
        batch.messages += works.len();
        for Work { consumer, message, event, items, is_item, ends } in works {
            let event_time = event.as_ref().ok().and_then(|event| self.service.event_time(event));
            if ends {
                let before = batch.progress[consumer].and_then(|progress| progress.event_time);
                let (sequence, stored_at) = (message.sequence, message.stored_at);
                batch.progress[consumer] = Some(Progress { sequence, stored_at, event_time: event_time.or(before) });
            }
            batch.part = if ends { None } else { self.deciding.last };
            self.service.observe(&mut self.state, consumer, &message);
            let decided = event.and_then(|event| {
                let decided = self.service.decide(&mut self.state, event, &message, &mut batch.decided);
                decided.map_err(|reason| reason.to_string())
            });
            for (item, reason) in batch.decided.rejected_items.drain(..) {
                batch.dead_letters.push(self.dead_letter(consumer, &message, Some(item), &reason));
            }
            if let Err(reason) = decided {
                let item = is_item.then_some(items.start);
                batch.dead_letters.push(self.dead_letter(consumer, &message, item, &reason));
            }
        }
        Ok(())
    }

    /// Makes the dead letter of a message, or of one item of it.
    fn dead_letter(&self, consumer: usize, message: &Message, item: Option<usize>, reason: &str) -> DeadLetter {
        let dead_letter = message.dead_letter(self.plan.service, self.streams.stream(consumer), &reason);
        let body = item.and_then(|item| Some((u16::try_from(item).ok()?, self.service.item(message, item)?)));
        match body {
            Some((index, page)) => dead_letter.of_tick(index, &page),
            None => dead_letter,
        }
    }

    /// Starts the commit of a batch, after which the next batch may be decided.
    fn commit(
        &mut self,
        batch: Batch<S::Effects>,
    ) -> impl Future<Output = Result<Committed<S::Saved>, Failure>> + use<S> {
        let Batch { decided: Decided { effects, events, .. }, dead_letters, progress, messages, part, began } = batch;
        let mut advances = Vec::with_capacity(progress.len());
        for (index, progress) in progress.iter().enumerate() {
            if let Some(Progress { sequence, stored_at, event_time }) = *progress {
                let to = StreamPosition { sequence, stored_at: Some(stored_at), ..self.positions[index] };
                let from = mem::replace(&mut self.positions[index], to);
                let consumer = self.plan.consumers[index].clone();
                advances.push(Advance { consumer, from, to, last_event_at: event_time });
            } else if part.is_some_and(|part| part.consumer == index) {
                // A part of a message moves nothing. The position is the fence all the same.
                let (consumer, position) = (self.plan.consumers[index].clone(), self.positions[index]);
                advances.push(Advance { consumer, from: position, to: position, last_event_at: None });
            }
        }
        let publishes = !events.is_empty() || !dead_letters.is_empty();
        let from_memory = if self.plan.publish == Publish::WhileDeciding { events.clone() } else { Vec::new() };
        let commit = Commit { service: self.plan.service, advances, effects, events, dead_letters };
        let saving = self.service.commit(&mut self.state, commit);
        let contents = self.deciding;
        async move {
            let saved = saving.await.map_err(|error| Failure { error: error.into(), batch: contents })?;
            Ok(Committed { saved, progress, publishes, events: from_memory, messages, contents, part, began })
        }
    }

    /// Publishes and acknowledges a committed batch.
    async fn finish(&mut self, committed: Committed<S::Saved>) -> Result<(), ServiceError> {
        let Committed { saved, progress, publishes, events, messages, contents, part, began } = committed;
        let publishes = publishes || self.service.has_added_events(&saved);
        let rows = self.service.outbox_rows(&saved);
        self.service.committed(&mut self.state, saved);
        self.narrowing.committed(contents.items, part);
        let sequences: Vec<_> = progress.iter().map(|progress| progress.map(|progress| progress.sequence)).collect();
        if self.plan.publish == Publish::WhileDeciding {
            let committed = publishes.then_some(CommittedEvents { rows, events, room: None });
            self.publish_queue.add(committed, sequences).await?;
            self.acknowledge_published().await;
        } else {
            if publishes && self.plan.publish == Publish::BeforeAcknowledge {
                relay::publish_pending(self.store, self.plan.service, self.broker).await?;
            }
            self.acknowledge(&sequences).await;
        }
        let consumer = &self.plan.consumers[0];
        metrics::histogram!("tickbell_batch_duration_seconds", "consumer" => consumer.clone()).record(began.elapsed());
        metrics::histogram!("tickbell_batch_messages", "consumer" => consumer.clone()).record(messages as f64); // float: a histogram takes no other
        self.pending.finished();
        Ok(())
    }

    /// Publishes what was added to the outbox by others than a batch.
    async fn publish_added(&mut self) -> Result<(), ServiceError> {
        match self.plan.publish {
            Publish::WhileDeciding => {
                self.publish_queue.add(Some(CommittedEvents::default()), vec![None; self.positions.len()]).await
            }
            Publish::BeforeAcknowledge => {
                relay::publish_pending(self.store, self.plan.service, self.broker).await.map(|_| ())
            }
            Publish::ByRelay => Ok(()),
        }
    }

    /// Acknowledges the batches whose events are published.
    async fn acknowledge_published(&mut self) {
        while let Some(sequences) = self.publish_queue.next_published() {
            self.acknowledge(&sequences).await;
        }
    }

    /// Acknowledges what a batch has applied: the last sequence of each consumer.
    async fn acknowledge(&mut self, sequences: &[Option<u64>]) {
        for (index, sequence) in sequences.iter().enumerate() {
            if let Some(sequence) = sequence {
                self.streams.acknowledge(index, *sequence).await;
            }
            let consumer = self.plan.consumers[index].clone();
            set_gauge(
                &metrics::gauge!("tickbell_consumer_lag_messages", "consumer" => consumer),
                self.streams.lag(index),
            );
        }
    }
}

/// Returns the position from which a consumer goes on, and reports a stream that is not the one that was read.
async fn resume<S: ConsumerService>(
    service: &S,
    store: &Store,
    broker: &Broker,
    consumer: &ConsumerName,
) -> Result<StreamPosition, ServiceError> {
    let rewinds =
        |reason| metrics::counter!("tickbell_stream_rewinds_total", "consumer" => consumer.clone(), "reason" => reason);
    ["anew", "put_back"].into_iter().for_each(|reason| rewinds(reason).increment(0));
    let was = service.read_position(store, consumer).await?;
    let Resumption { position, continuity, stream } = stream_position::resume(broker, consumer, was).await?;
    if was == Some(position) {
        return Ok(position);
    }
    service.begin(store, consumer, was, position).await?;
    if let Some(was) = was {
        rewinds(continuity.as_str()).increment(1);
        tracing::warn!(
            consumer = &**consumer,
            stream,
            position = was.sequence,
            read_again_behind = position.sequence,
            "{}; reading it again, where repeats change nothing",
            continuity.sentence(),
        );
    }
    Ok(position)
}

fn is_transient(error: &ServiceError) -> bool {
    matches!(error, ServiceError::Transient(..))
}

/// Waits for the next tick of an interval, or forever if there is no interval.
async fn tick(interval: &mut Option<Interval>) {
    match interval {
        Some(interval) => _ = interval.tick().await,
        None => std::future::pending().await,
    }
}
