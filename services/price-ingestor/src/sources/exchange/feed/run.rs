//! The loop of a feed: events of connections and pages of past trades come in, ticks and reports go out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use events::{Symbol, tick::TickSource};
use platform::{ServiceError, Shutdown, runtime::error::error_chain};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval},
};
use tracing::warn;

use super::{
    Checkpoints, FeedChange, FeedConfig, FeedEvent, FeedState,
    fills::{Fill, FillContent, FillProgress},
    followed::{Followed, Trade},
    groups::Groups,
    listing::list,
};
use crate::sources::exchange::{
    connection::{ConnectionEvent, Dialer, EndReason, Occurrence},
    continuity::{Checkpoint, Continuity, FillOutcome, GapReason, Origin},
    history::{FillError, PastTrade, Products, RestClient},
};

/// The most events of connections that wait for the feed. Beyond them the venue waits.
const MAX_WAITING_EVENTS: usize = 1_024;
/// The most pages of past trades that wait for the feed.
const MAX_WAITING_PAGES: usize = 4;
/// The most symbols whose gaps are filled at the same time. They share the venue's budget.
const MAX_FILLS: usize = 4;
/// How often checkpoints are given out.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// How often the list of products is asked for: venues add and remove some each day.
const LIST_INTERVAL: Duration = Duration::from_secs(3_600);
/// The list is asked for at once when it lacks a symbol, unless it is younger than this.
const YOUNG_LIST: Duration = Duration::from_secs(60);

/// Follows the symbols of a venue until shutdown, or until nobody receives the events. `checkpoints` are what an earlier
/// process has stored; `changes` add and remove symbols meanwhile.
///
/// A symbol that the venue does not list is reported as refused, until the list has it.
pub async fn run(
    config: FeedConfig,
    checkpoints: Checkpoints,
    changes: mpsc::Receiver<FeedChange>,
    out: mpsc::Sender<Vec<FeedEvent>>,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let client = Arc::new(RestClient::new(&config.rest_url, config.rest_per_second, config.rest_timeout)?);
    let max_frame_bytes = config.adapter.profile().max_frame_bytes;
    let dialer = Dialer::new(&config.ws_url, config.timing.connect_timeout, max_frame_bytes)
        .map_err(|error| ServiceError::permanent("make connections to an exchange", error))?;
    let Some(products) = list(&config, &client, &shutdown).await else { return Ok(()) };

    let (sender, connection_events) = mpsc::channel(MAX_WAITING_EVENTS);
    let groups = Groups::new(&config, dialer, sender);
    let (past_sender, past) = mpsc::channel(MAX_WAITING_PAGES);
    let mut feed = Feed {
        config,
        client,
        products,
        listed_at: Instant::now(),
        lists: JoinSet::new(),
        followed: Vec::new(),
        by_symbol: BTreeMap::new(),
        by_name: BTreeMap::new(),
        unlisted: BTreeMap::new(),
        groups,
        past_sender,
        fills: JoinSet::new(),
    };
    let mut events = vec![FeedEvent::Listed(feed.products.symbols())];
    let mut checkpoints = checkpoints;
    for symbol in feed.config.symbols.clone() {
        let checkpoint = checkpoints.remove(&symbol);
        feed.follow(symbol, checkpoint, &mut events);
    }
    feed.run(events, Inputs { connection_events, past, changes }, &out, &shutdown).await;
    Ok(())
}

/// What arrives while a feed runs.
struct Inputs {
    connection_events: mpsc::Receiver<ConnectionEvent>,
    past: mpsc::Receiver<FillProgress>,
    changes: mpsc::Receiver<FeedChange>,
}

/// A feed that runs.
struct Feed {
    config: FeedConfig,
    client: Arc<RestClient>,
    products: Products,
    listed_at: Instant,
    /// The request for the list of products, while there is one.
    lists: JoinSet<Option<Products>>,
    /// All symbols that were ever followed. One that is paused or removed keeps its place.
    followed: Vec<Followed>,
    by_symbol: BTreeMap<Symbol, usize>,
    /// The products that are followed now.
    by_name: BTreeMap<String, usize>,
    /// The symbols that are to be followed and that the venue does not list.
    unlisted: BTreeMap<Symbol, Option<Checkpoint>>,
    groups: Groups,
    past_sender: mpsc::Sender<FillProgress>,
    fills: JoinSet<()>,
}

impl Feed {
    async fn run(
        mut self,
        mut events: Vec<FeedEvent>,
        Inputs { mut connection_events, mut past, mut changes }: Inputs,
        out: &mpsc::Sender<Vec<FeedEvent>>,
        shutdown: &Shutdown,
    ) {
        let mut gap_timer = interval(self.config.timing.settle);
        let mut checkpoint_timer = interval(CHECKPOINT_INTERVAL);
        let mut list_timer = interval(LIST_INTERVAL);
        gap_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        checkpoint_timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // What was received is passed on before a gap is asked for.
                biased;
                () = shutdown.cancelled() => break,
                Some(event) = connection_events.recv() => {
                    self.on_connection(event, &mut events);
                    // Everything that has arrived meanwhile goes out in one batch.
                    while events.len() < MAX_WAITING_EVENTS && let Ok(event) = connection_events.try_recv() {
                        self.on_connection(event, &mut events);
                    }
                }
                Some(past) = past.recv() => self.on_past(past, &mut events),
                Some(change) = changes.recv() => self.on_change(change, shutdown, &mut events),
                Some(listed) = self.lists.join_next() => {
                    if let Ok(Some(products)) = listed {
                        self.on_listed(products, &mut events);
                    }
                }
                _ = list_timer.tick() => self.ask_for_list(LIST_INTERVAL / 2, shutdown),
                _ = gap_timer.tick() => self.on_gap_timer(&mut events),
                _ = checkpoint_timer.tick() => {
                    self.followed.iter_mut().for_each(|followed| followed.checkpoint(&mut events));
                }
            }
            if !events.is_empty() && out.send(std::mem::take(&mut events)).await.is_err() {
                break;
            }
        }
        self.followed.iter_mut().for_each(|followed| followed.checkpoint(&mut events));
        if !events.is_empty() {
            // Where nobody receives any more, nothing is lost: the ticks have the same ids at the next start.
            let _ = out.send(events).await;
        }
        self.fills.shutdown().await;
        self.lists.shutdown().await;
        drop(connection_events);
        self.groups.leave().await;
    }

    fn on_change(&mut self, change: FeedChange, shutdown: &Shutdown, events: &mut Vec<FeedEvent>) {
        match change {
            FeedChange::Follow(symbol, checkpoint) => {
                self.follow(symbol, checkpoint, events);
                if !self.unlisted.is_empty() {
                    self.ask_for_list(YOUNG_LIST, shutdown);
                }
            }
            FeedChange::Pause(symbol) => {
                if let Some(followed) = self.leave(&symbol) {
                    followed.pause(events);
                }
                events.push(FeedEvent::Paused(symbol));
            }
            FeedChange::Remove(symbol) => {
                self.leave(&symbol);
                if let Some(at) = self.by_symbol.get(&symbol) {
                    self.followed[*at].remove();
                }
                events.push(FeedEvent::Removed(symbol));
            }
        }
    }

    fn follow(&mut self, symbol: Symbol, checkpoint: Option<Checkpoint>, events: &mut Vec<FeedEvent>) {
        let product = match self.products.find(&symbol) {
            Ok(product) => product,
            Err(error) => {
                warn!(venue = %self.config.venue, %symbol, error = %error, "the venue refuses a symbol");
                events.push(FeedEvent::State(symbol.clone(), FeedState::Refused(error.to_string())));
                self.unlisted.insert(symbol, checkpoint);
                return;
            }
        };
        let at = match self.by_symbol.get(&symbol) {
            Some(at) => {
                self.followed[*at].resume();
                *at
            }
            None => {
                let trade_ids = self.config.adapter.profile().trade_ids;
                let continuity = match checkpoint {
                    Some(checkpoint) => Continuity::restore(trade_ids, checkpoint),
                    None => Continuity::new(trade_ids),
                };
                self.followed.push(Followed::new(product.clone(), continuity));
                self.by_symbol.insert(symbol, self.followed.len() - 1);
                self.followed.len() - 1
            }
        };
        if self.by_name.insert(product.name.clone(), at).is_none() {
            self.groups.add([product.name]);
        }
    }

    /// Ends the subscription of a symbol, and returns what was known of it.
    fn leave(&mut self, symbol: &Symbol) -> Option<&mut Followed> {
        self.unlisted.remove(symbol);
        let followed = self.followed.get_mut(*self.by_symbol.get(symbol)?)?;
        self.by_name.remove(&followed.product.name)?;
        self.groups.remove(&followed.product.name);
        Some(followed)
    }

    /// Asks for the list of products unless it is younger than `age`.
    fn ask_for_list(&mut self, age: Duration, shutdown: &Shutdown) {
        if self.lists.is_empty() && self.listed_at.elapsed() >= age {
            let (config, client, shutdown) = (self.config.clone(), Arc::clone(&self.client), shutdown.clone());
            self.lists.spawn(async move { list(&config, &client, &shutdown).await });
        }
    }

    fn on_listed(&mut self, products: Products, events: &mut Vec<FeedEvent>) {
        self.products = products;
        self.listed_at = Instant::now();
        events.push(FeedEvent::Listed(self.products.symbols()));
        let listed = |symbol: &Symbol, _: &mut Option<Checkpoint>| self.products.find(symbol).is_ok();
        let listed: Vec<_> = self.unlisted.extract_if(.., listed).collect();
        for (symbol, checkpoint) in listed {
            self.follow(symbol, checkpoint, events);
        }
    }

    fn on_connection(
        &mut self,
        ConnectionEvent { connection, occurrence }: ConnectionEvent,
        events: &mut Vec<FeedEvent>,
    ) {
        match occurrence {
            Occurrence::Trades(trades) => {
                for trade in trades {
                    let Some(at) = self.by_name.get(&trade.product) else { continue };
                    let source = if trade.is_past { TickSource::Backfill } else { TickSource::Live };
                    let (id, price, size, at_time) = (&trade.id, trade.price, trade.size, trade.at);
                    let trade = Trade { id, price, size, at: at_time, origin: Origin::Live, source };
                    self.followed[*at].admit(&trade, &self.config, events);
                }
            }
            Occurrence::LastTrade { product, id } => {
                if let Some(at) = self.by_name.get(&product) {
                    self.followed[*at].hear_last(id, events);
                }
            }
            Occurrence::Subscribed(products) => {
                for product in products {
                    if let Some(at) = self.by_name.get(&product) {
                        self.followed[*at].subscribed(connection, events);
                    }
                }
            }
            Occurrence::Settled => self.groups.settled(connection),
            Occurrence::Refused(refused) => {
                warn!(venue = %self.config.venue, product = refused.product, reason = refused.reason, "the venue refuses a product");
                if let Some(at) = self.by_name.get(&refused.product) {
                    self.followed[*at].refused(connection, &refused.reason, events);
                }
            }
            Occurrence::EndAnnounced(reason) => self.groups.ending(connection, &reason),
            Occurrence::Bad(bad) => events.push(FeedEvent::BadMessage(bad)),
            Occurrence::Ended { reason, heard_at } => {
                let (gap_reason, why) = match &reason {
                    EndReason::Silent => (GapReason::Stale, "nothing was received for too long"),
                    EndReason::Lost(why) => (GapReason::Disconnected, why.as_str()),
                    EndReason::Left => (GapReason::Disconnected, "the connection was left"),
                };
                for followed in &mut self.followed {
                    followed.unsubscribed(connection, heard_at, gap_reason, why, events);
                }
                self.groups.ended(connection, &reason);
            }
        }
    }

    fn on_gap_timer(&mut self, events: &mut Vec<FeedEvent>) {
        let now = Instant::now();
        while self.fills.try_join_next().is_some() {}
        for (index, followed) in self.followed.iter_mut().enumerate() {
            followed.check_staleness(now, self.config.stale_after, events);
            if self.fills.len() < MAX_FILLS
                && let Some(missing) = followed.next_fill(now, events)
            {
                let task = Fill {
                    followed: index,
                    generation: followed.generation(),
                    client: Arc::clone(&self.client),
                    config: self.config.clone(),
                    product: followed.product.clone(),
                    sender: self.past_sender.clone(),
                };
                followed.set_request(self.fills.spawn(task.run(missing)));
            }
        }
    }

    fn on_past(
        &mut self,
        FillProgress { followed, generation, gap, content }: FillProgress,
        events: &mut Vec<FeedEvent>,
    ) {
        let followed = self.followed.get_mut(followed).filter(|followed| followed.generation() == generation);
        let Some(followed) = followed else { return };
        match content {
            FillContent::Trades(trades) => {
                for PastTrade { id, price, size, at, .. } in &trades {
                    let (origin, source) = (Origin::Rest, TickSource::Backfill);
                    let trade = Trade { id, price: *price, size: *size, at: *at, origin, source };
                    followed.admit(&trade, &self.config, events);
                }
            }
            FillContent::End(Ok(outcome)) => followed.filled(gap, outcome, &self.config.timing, events),
            FillContent::End(Err(FillError::Rest(error))) if error.is_final() => {
                warn!(venue = %self.config.venue, symbol = %followed.product.symbol, error = error_chain(&error), "a gap cannot be filled");
                followed.filled(gap, FillOutcome::NotOffered, &self.config.timing, events);
            }
            FillContent::End(Err(error)) => {
                let symbol = &followed.product.symbol;
                warn!(venue = %self.config.venue, %symbol, error = error_chain(&error), "cannot fill a gap, retrying");
                let is_answered = match &error {
                    FillError::Rest(error) => error.is_answer(),
                    FillError::Decode(_) => true,
                };
                followed.fill_failed(gap, is_answered, &self.config.timing, events);
            }
        }
    }
}
