//! A symbol that is followed: its continuity, its state, and the filling of its gaps.

use std::{collections::BTreeMap, time::Duration};

use events::{
    Price, Size, Tick, Timestamp,
    tick::{TickKind, TickSource},
};
use tokio::{task::AbortHandle, time::Instant};

use super::{FeedConfig, FeedEvent, FeedState, Timing};
use crate::sources::exchange::{
    adapter::Product,
    continuity::{Admission, Continuity, FillOutcome, GapReason, Missing, Origin},
    message::TradeId,
};

/// A symbol is stale when it is silent for this many of its usual pauses, and longer than the settings say.
const STALE_PAUSES: u32 = 50;

/// A trade, live or past.
pub(super) struct Trade<'trade> {
    pub(super) id: &'trade TradeId<'static>,
    pub(super) price: Price,
    pub(super) size: Size,
    pub(super) at: Timestamp,
    pub(super) origin: Origin,
    pub(super) source: TickSource,
}

/// The filling of a gap.
#[derive(Debug, Clone, Copy)]
struct Filling {
    gap: u64,
    is_running: bool,
    failures: u32,
    /// How many answers have lacked some of it, and since when they have.
    incomplete: u32,
    incomplete_since: Option<Instant>,
    /// Since when the venue has answered, and with nothing that is of use.
    useless_since: Option<Instant>,
    retry_at: Instant,
}

/// A symbol of a feed.
pub(super) struct Followed {
    pub(super) product: Product,
    pub(super) continuity: Continuity,
    /// The connections on which it is subscribed, and since when.
    connections: BTreeMap<u64, Instant>,
    state: Option<FeedState>,
    /// The gaps that were asked for and are to be asked for again. At most one of them is asked for now.
    fillings: Vec<Filling>,
    /// The task that asks for past trades, or the last one that has.
    request: Option<AbortHandle>,
    /// Counts how often it was removed: what was asked for before that is of no use.
    generation: u64,
    last_trade_at: Instant,
    /// The usual time between two trades.
    usual_pause: Duration,
    is_checkpointed: bool,
    /// Whether it is paused or removed, so that connections have nothing to do with it.
    is_left: bool,
}

impl Followed {
    pub(super) fn new(product: Product, continuity: Continuity) -> Self {
        Self {
            product,
            continuity,
            connections: BTreeMap::new(),
            state: None,
            fillings: Vec::new(),
            request: None,
            generation: 0,
            last_trade_at: Instant::now(),
            usual_pause: Duration::ZERO,
            is_checkpointed: true,
            is_left: false,
        }
    }

    /// Returns whether trades arrive as they happen.
    pub(super) fn is_live(&self) -> bool {
        !self.connections.is_empty()
    }

    /// Admits a trade: adds its tick, unless it is a repeat, and what it says about gaps.
    pub(super) fn admit(&mut self, trade: &Trade<'_>, config: &FeedConfig, events: &mut Vec<FeedEvent>) {
        let Trade { id, price, size, at, origin, source } = trade;
        let admission = self.continuity.admit(id, *at, *origin);
        if *origin == Origin::Live {
            self.note_pause(Instant::now());
            self.change_state(FeedState::Live, events);
        }
        if admission == Admission::New {
            self.is_checkpointed = false;
            let (symbol, received_at) = (self.product.symbol.clone(), (config.clock)());
            if config.max_ahead.check(*at, received_at).is_err() {
                events.push(FeedEvent::FromTheFuture(symbol));
            } else {
                let (venue, kind, size) = (config.venue.clone(), TickKind::Trade, Some(*size));
                let tick = Tick { venue, symbol, price: *price, size, at: *at, received_at, kind, source: *source };
                events.push(FeedEvent::Tick(tick, id.to_string()));
            }
        }
        self.report(events);
    }

    fn note_pause(&mut self, now: Instant) {
        let pause = now - self.last_trade_at;
        self.usual_pause = if self.usual_pause.is_zero() { pause } else { (self.usual_pause * 7 + pause) / 8 };
        self.last_trade_at = now;
    }

    /// Notes the number of the last trade, as a heartbeat names it.
    pub(super) fn hear_last(&mut self, id: u64, events: &mut Vec<FeedEvent>) {
        self.continuity.hear_last(id);
        self.report(events);
    }

    /// Notes that a connection has subscribed it.
    pub(super) fn subscribed(&mut self, connection: u64, events: &mut Vec<FeedEvent>) {
        self.connections.insert(connection, Instant::now());
        self.last_trade_at = Instant::now();
        self.change_state(FeedState::Live, events);
    }

    /// Notes that a connection no longer brings its trades. `alive_until` is when something was received on it last. Where no
    /// other connection has brought the trades since then, a gap opens.
    pub(super) fn unsubscribed(
        &mut self,
        connection: u64,
        alive_until: Option<Instant>,
        reason: GapReason,
        why: &str,
        events: &mut Vec<FeedEvent>,
    ) {
        if self.is_left {
            return;
        }
        let was_live = self.connections.remove(&connection).is_some();
        let is_covered = self.connections.values().any(|since| alive_until.is_some_and(|until| *since <= until));
        if was_live && !is_covered {
            self.continuity.disconnect(reason);
            self.report(events);
        }
        if self.connections.is_empty() && !matches!(self.state, Some(FeedState::Refused(_))) {
            self.change_state(FeedState::Reconnecting(why.to_owned()), events);
        }
    }

    /// Notes that the venue refuses it.
    pub(super) fn refused(&mut self, connection: u64, why: &str, events: &mut Vec<FeedEvent>) {
        self.change_state(FeedState::Refused(why.to_owned()), events);
        self.unsubscribed(connection, Some(Instant::now()), GapReason::Disconnected, why, events);
    }

    /// Notes that it is followed again.
    pub(super) fn resume(&mut self) {
        self.is_left = false;
    }

    /// Notes that nobody is to follow it for now.
    pub(super) fn pause(&mut self, events: &mut Vec<FeedEvent>) {
        self.connections.clear();
        (self.state, self.is_left) = (None, true);
        self.continuity.disconnect(GapReason::Down);
        self.is_checkpointed = false;
        self.report(events);
    }

    /// Returns how often it was removed.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Notes the task that asks for what [`Followed::next_fill`] has returned.
    pub(super) fn set_request(&mut self, request: AbortHandle) {
        self.request = Some(request);
    }

    /// Notes that nobody follows it any more, and asks for nothing more. What follows is a new beginning.
    pub(super) fn remove(&mut self) {
        if let Some(request) = self.request.take() {
            request.abort();
        }
        self.generation += 1;
        self.connections.clear();
        (self.state, self.is_left) = (None, true);
        self.continuity.begin_anew();
        self.fillings.clear();
        self.is_checkpointed = true;
    }

    /// Becomes stale when the time for it has come.
    pub(super) fn check_staleness(&mut self, now: Instant, stale_after: Duration, events: &mut Vec<FeedEvent>) {
        let limit = stale_after.max(self.usual_pause * STALE_PAUSES);
        if self.state == Some(FeedState::Live) && now > self.last_trade_at + limit {
            self.change_state(FeedState::Stale, events);
        }
    }

    fn change_state(&mut self, state: FeedState, events: &mut Vec<FeedEvent>) {
        if self.state.as_ref() != Some(&state) {
            events.push(FeedEvent::State(self.product.symbol.clone(), state.clone()));
            self.state = Some(state);
        }
    }

    fn report(&mut self, events: &mut Vec<FeedEvent>) {
        let reports = self.continuity.take_reports();
        self.is_checkpointed &= reports.is_empty();
        events.extend(reports.into_iter().map(|report| FeedEvent::Gap(self.product.symbol.clone(), report)));
    }

    /// Adds what is to be stored, where it has changed.
    pub(super) fn checkpoint(&mut self, events: &mut Vec<FeedEvent>) {
        if !std::mem::replace(&mut self.is_checkpointed, true)
            && let Some(checkpoint) = self.continuity.checkpoint()
        {
            events.push(FeedEvent::Checkpoint(self.product.symbol.clone(), checkpoint));
        }
    }

    /// Returns what to ask for now, if anything. It then counts as being asked for.
    pub(super) fn next_fill(&mut self, now: Instant, events: &mut Vec<FeedEvent>) -> Option<Missing> {
        // Where a request has failed, the one for another gap would fail too.
        if self.fillings.iter().any(|filling| filling.is_running || filling.failures > 0 && now < filling.retry_at) {
            return None;
        }
        // Live trades may have filled one meanwhile.
        self.fillings.retain(|filling| self.continuity.still_missing(filling.gap).is_some());
        if let Some(filling) = self.fillings.iter_mut().find(|filling| now >= filling.retry_at) {
            filling.is_running = true;
            return self.continuity.still_missing(filling.gap);
        }
        let is_live = self.is_live();
        let missing = self.continuity.begin_filling(is_live)?;
        self.fillings.push(Filling {
            gap: missing.gap,
            is_running: true,
            failures: 0,
            incomplete: 0,
            incomplete_since: None,
            useless_since: None,
            retry_at: now,
        });
        self.report(events);
        Some(missing)
    }

    /// Notes that all that the venue offers of a gap now has arrived. Where some is still missing, it is asked for again.
    pub(super) fn filled(&mut self, gap: u64, outcome: FillOutcome, timing: &Timing, events: &mut Vec<FeedEvent>) {
        let is_incomplete = outcome == FillOutcome::Exhausted && self.continuity.is_incomplete(gap);
        if is_incomplete && self.asks_again(gap, timing) {
            return;
        }
        self.fillings.retain(|filling| filling.gap != gap);
        self.continuity.end_filling(gap, outcome);
        self.report(events);
    }

    /// Returns whether a gap is asked for once more after an answer that lacks some of it. The last time is at the end of the time for
    /// it.
    fn asks_again(&mut self, gap: u64, timing: &Timing) -> bool {
        let Some(filling) = self.fillings.iter_mut().find(|filling| filling.gap == gap) else { return false };
        let now = Instant::now();
        let until = *filling.incomplete_since.get_or_insert(now) + timing.incomplete_answers;
        (filling.is_running, filling.failures) = (false, 0);
        filling.retry_at = until.min(now + wait(timing, filling.incomplete));
        filling.incomplete = filling.incomplete.saturating_add(1);
        now < until
    }

    /// Notes that a gap could not be asked for. It is asked for again after a growing wait. `is_answered` says whether the venue has
    /// answered with something else than trades; where it goes on like that, the gap counts as not offered.
    pub(super) fn fill_failed(&mut self, gap: u64, is_answered: bool, timing: &Timing, events: &mut Vec<FeedEvent>) {
        let Some(filling) = self.fillings.iter_mut().find(|filling| filling.gap == gap) else { return };
        let now = Instant::now();
        filling.useless_since = is_answered.then(|| filling.useless_since.unwrap_or(now));
        if filling.useless_since.is_some_and(|since| now >= since + timing.useless_answers) {
            return self.filled(gap, FillOutcome::NotOffered, timing, events);
        }
        filling.is_running = false;
        filling.retry_at = now + wait(timing, filling.failures);
        filling.failures += 1;
    }
}

/// Returns the wait before a gap is asked for again, after so many waits.
fn wait(timing: &Timing, waits: u32) -> Duration {
    timing.first_wait.saturating_mul(1 << waits.min(16)).min(timing.longest_wait)
}
