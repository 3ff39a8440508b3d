//! The events of one client: first those behind its cursor, from the stream, and then those that come.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use metrics::counter;
use platform::{ServiceError, broker::stream_position};
use tokio::time::{Instant, sleep_until};

use crate::live::{
    channel::Source,
    cursor::{Cursor, Position, SourcePosition},
    event::LiveEvent,
    hub::{Hub, NotFollowed, Registration},
    interest::Interest,
    queue::{Cut, Queue, Queued},
    replay::Replay,
};

/// The time between two sends of the latest prices.
const CONFLATED_EVERY: Duration = Duration::from_millis(250);
/// The number of messages that a replay may be behind when the queue takes over: what comes meanwhile waits in the queue.
const HAND_OVER: u64 = 256;

/// From where on a client wants the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Resume {
    /// Only those that come.
    Now,
    /// All that the streams hold.
    Earliest,
    /// Those behind a cursor.
    Behind(Cursor),
    /// Those behind a cursor that cannot be read, and is perhaps one of another version: those that come.
    Unknown,
}

/// What became of a request to resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovery {
    /// Nothing was asked for.
    Fresh,
    /// The client gets all that it has missed.
    Complete,
    /// The streams do not hold all that the client has missed any more.
    Expired,
    /// A stream that the client has read was created anew, or an older copy of it was put back.
    Replaced,
}

impl Recovery {
    /// Returns the word for it; none where nothing is lost.
    pub(crate) fn reason(self) -> Option<&'static str> {
        match self {
            Self::Fresh | Self::Complete => None,
            Self::Expired => Some("expired"),
            Self::Replaced => Some("replaced"),
        }
    }
}

/// What a client gets next.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// An event, and the number of earlier prices of its market that it stands for.
    Event(Arc<LiveEvent>, u64),
    /// Nothing more: the client resumes from its cursor.
    Cut(Cut),
    /// The stream cannot be read: the client resumes from its cursor.
    Failed(ServiceError),
}

/// A client's events. The client leaves the hub when this is dropped.
pub(crate) struct Subscription {
    hub: Arc<Hub>,
    interest: Arc<Interest>,
    cursor: Cursor,
    recovery: Recovery,
    phase: Phase,
    /// Conflates the prices of a replay: of each market one is returned, at its end.
    replayed: Queue,
    /// Events that were taken and not returned.
    ready: VecDeque<(Arc<LiveEvent>, u64)>,
    next_flush: Instant,
}

enum Phase {
    /// Parts of the streams are read, one stream after the other. With a registration, these are the last ones.
    Replaying {
        parts: VecDeque<(Source, u64)>,
        current: Option<(Source, u64, Replay)>,
        registered: Option<Registration>,
    },
    Live(Registration),
}

impl Subscription {
    /// Begins a subscription. Fails where the broker cannot be asked.
    pub(crate) async fn open(hub: &Arc<Hub>, interest: Interest, resume: Resume) -> Result<Self, OpenError> {
        let interest = Arc::new(interest);
        let now = Instant::now();
        let (phase, cursor, recovery) = match resume {
            Resume::Now | Resume::Unknown => {
                let (registration, cursor) = hub.register(&interest)?;
                let recovery = if resume == Resume::Now { Recovery::Fresh } else { Recovery::Replaced };
                (Phase::Live(registration), cursor, recovery)
            }
            Resume::Earliest | Resume::Behind(_) => {
                let (cursor, recovery) = find_begin(hub, &interest, resume).await?;
                (Phase::Replaying { parts: VecDeque::new(), current: None, registered: None }, cursor, recovery)
            }
        };
        let (hub, ready) = (Arc::clone(hub), VecDeque::new());
        let replayed = Queue::new(interest.conflation, usize::MAX);
        Ok(Self { hub, interest, cursor, recovery, phase, replayed, ready, next_flush: now })
    }

    /// Returns what became of the request to resume.
    pub(crate) fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Returns the place up to which events have been returned. Before the first event it is the place of the beginning.
    pub(crate) fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// Waits for the next event. The future is cancel safe.
    pub(crate) async fn next(&mut self) -> Delivery {
        loop {
            if let Some(delivery) = self.try_next() {
                return delivery;
            }
            match &mut self.phase {
                Phase::Live(registration) => {
                    let flush = registration.queue.has_latest();
                    tokio::select! {
                        () = registration.queue.changed() => {}
                        () = sleep_until(self.next_flush), if flush => {}
                    }
                }
                Phase::Replaying { .. } => {
                    if let Err(delivery) = self.replay().await {
                        return delivery;
                    }
                }
            }
        }
    }

    /// Returns the next event, if there is one already.
    pub(crate) fn try_next(&mut self) -> Option<Delivery> {
        loop {
            while let Some((event, conflated)) = self.ready.pop_front() {
                // What comes twice, from a replay and the queue, is returned once.
                if self.cursor.advance(event.source, event.position) {
                    return Some(Delivery::Event(event, conflated));
                }
            }
            let Phase::Live(Registration { queue, .. }) = &self.phase else { return None };
            if let Some(Queued { event, conflated }) = queue.pop() {
                self.ready.push_back((event, conflated));
                continue;
            }
            if let Some(cut) = queue.why_cut() {
                return Some(Delivery::Cut(cut));
            }
            let now = Instant::now();
            if now < self.next_flush {
                return None;
            }
            let latest = queue.take_latest();
            if latest.is_empty() {
                return None;
            }
            self.next_flush = now + CONFLATED_EVERY;
            self.ready.extend(latest.into_iter().map(|Queued { event, conflated }| (event, conflated)));
        }
    }

    /// Moves the cursor on to where the hub is, if the client has been given everything up to there. Without this, a client that
    /// gets little could not resume once the stream has dropped what its last event stands for.
    pub(crate) fn move_on(&mut self) {
        if !self.ready.is_empty() {
            return;
        }
        let Phase::Live(registration) = &self.phase else { return };
        if let Some(served) = self.hub.served(registration, &self.interest) {
            for source in self.interest.sources() {
                if let Some(SourcePosition { position, .. }) = served.get(source) {
                    self.cursor.advance(source, position);
                }
            }
        }
    }

    /// Reads the next events of a replay, or begins the next part, or ends the replay. The error is the last delivery.
    async fn replay(&mut self) -> Result<(), Delivery> {
        let Phase::Replaying { parts, current, registered } = &mut self.phase else { return Ok(()) };
        if let Some((source, until, replay)) = current {
            match replay.next().await {
                Some(Ok(events)) => {
                    counter!("tickbell_stream_replayed_events_total").increment(events.len() as u64);
                    events.into_iter().for_each(|event| self.replayed.push(&Arc::new(event)));
                    while let Some(Queued { event, conflated }) = self.replayed.pop() {
                        self.ready.push_back((event, conflated));
                    }
                }
                Some(Err(error)) => return Err(Delivery::Failed(error)),
                None => {
                    let latest = self.replayed.take_latest();
                    if !latest.is_empty() {
                        // Only when these are returned has the client all of the part.
                        self.ready.extend(latest.into_iter().map(|Queued { event, conflated }| (event, conflated)));
                        return Ok(());
                    }
                    self.cursor.advance(*source, Position::end_of(*until));
                    *current = None;
                }
            }
            return Ok(());
        }
        if let Some((source, until)) = parts.pop_front() {
            if let Some(SourcePosition { position: behind, .. }) = self.cursor.get(source)
                && behind < Position::end_of(until)
            {
                let replay = Replay::start(&self.hub, &self.interest, source, (behind, until));
                *current = Some((source, until, replay));
            }
            return Ok(());
        }
        if let Some(registration) = registered.take() {
            self.phase = Phase::Live(registration);
            return Ok(());
        }
        let failed = |_| Delivery::Failed(ServiceError::transient("read the streams", "they are not followed yet"));
        let mut reached = self.hub.positions(&self.interest).map_err(failed)?;
        if behind(&self.cursor, &reached) <= HAND_OVER {
            let (registration, place) = self.hub.register(&self.interest).map_err(failed)?;
            (*registered, reached) = (Some(registration), place);
        }
        let parts_to = |source| Some((source, reached.get(source)?.position.sequence));
        parts.extend(self.interest.sources().filter_map(parts_to));
        Ok(())
    }
}

/// Returns how many messages a cursor is behind another.
fn behind(cursor: &Cursor, other: &Cursor) -> u64 {
    let sequence = |cursor: &Cursor, source| cursor.get(source).map_or(0, |place| place.position.sequence);
    Source::ALL.into_iter().map(|source| sequence(other, source).saturating_sub(sequence(cursor, source))).sum()
}

/// Why a subscription cannot begin now.
#[derive(Debug)]
pub(crate) enum OpenError {
    NotFollowed,
    Broker(ServiceError),
}

impl From<NotFollowed> for OpenError {
    fn from(NotFollowed: NotFollowed) -> Self {
        Self::NotFollowed
    }
}

/// Finds the place behind which a client gets events, and whether something is lost before it.
async fn find_begin(hub: &Hub, interest: &Interest, resume: Resume) -> Result<(Cursor, Recovery), OpenError> {
    let mut cursor = hub.positions(interest)?;
    let mut recovery = Recovery::Complete;
    for source in interest.sources() {
        let bounds = stream_position::bounds(&hub.broker, source.stream()).await.map_err(OpenError::Broker)?;
        let first = Position::end_of(bounds.first_sequence.saturating_sub(1));
        let earliest = SourcePosition { created: bounds.created, position: first };
        let asked = match resume {
            Resume::Now | Resume::Unknown => continue,
            Resume::Earliest => Some(earliest),
            Resume::Behind(asked) => asked.get(source),
        };
        // A channel that the cursor does not know begins now.
        let Some(asked) = asked else { continue };
        let is_other = asked.created != bounds.created || asked.position.sequence > bounds.last_sequence;
        if is_other {
            recovery = Recovery::Replaced;
            cursor.set(source, earliest);
        } else if asked.position.next_sequence() < bounds.first_sequence {
            recovery = if recovery == Recovery::Replaced { recovery } else { Recovery::Expired };
            cursor.set(source, earliest);
        } else {
            cursor.set(source, asked);
        }
    }
    Ok((cursor, recovery))
}
