//! The loop of a feed: events of connections and pages of past trades come in, ticks and reports go out.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use events::tick::TickSource;
use platform::{ServiceError, Shutdown, runtime::error::error_chain};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};
use tracing::{info, warn};

use super::{
    Checkpoints, FeedConfig, FeedEvent, FeedState,
    followed::{Followed, Trade},
    groups::Groups,
};
use crate::sources::exchange::{
    adapter::Product,
    connection::{ConnectionEvent, Dialer, EndReason, Occurrence},
    continuity::{Continuity, FillOutcome, GapReason, Missing, Origin},
    history::{FillError, Pages, PastTrade, Products, RestClient},
};

/// The most events of connections that wait for the feed. Beyond them the venue waits.
const MAX_WAITING_EVENTS: usize = 1_024;
/// The most pages of past trades that wait for the feed.
const MAX_WAITING_PAGES: usize = 4;
/// The most symbols whose gaps are filled at the same time. They share the venue's budget.
const MAX_FILLS: usize = 4;
/// How often checkpoints are given out.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// The longest wait before the list of products is asked for again.
const MAX_PRODUCTS_WAIT: Duration = Duration::from_secs(30);

/// Something about the gap of a symbol.
struct FillProgress {
    followed: usize,
    gap: u64,
    content: FillContent,
}

enum FillContent {
    Trades(Vec<PastTrade>),
    End(Result<FillOutcome, FillError>),
}

/// Follows the symbols of a venue until shutdown, or until nobody receives the events. `checkpoints` are what an earlier
/// process has stored.
///
/// Symbols that the venue does not list are reported as refused; the error is permanent where it lists none of them.
pub async fn run(
    config: FeedConfig,
    mut checkpoints: Checkpoints,
    out: mpsc::Sender<Vec<FeedEvent>>,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    let profile = config.adapter.profile();
    let client = Arc::new(RestClient::new(&config.rest_url, config.rest_per_second, config.rest_timeout)?);
    let dialer = Dialer::new(&config.ws_url, config.timing.connect_timeout, profile.max_frame_bytes)
        .map_err(|error| ServiceError::permanent("make connections to an exchange", error))?;
    let Some(products) = list(&config, &client, &shutdown).await else { return Ok(()) };

    let mut events = Vec::new();
    let mut followed = Vec::new();
    let mut refusals = Vec::new();
    for symbol in &config.symbols {
        match products.find(symbol) {
            Ok(product) => {
                let continuity = match checkpoints.remove(symbol) {
                    Some(checkpoint) => Continuity::restore(profile.trade_ids, checkpoint),
                    None => Continuity::new(profile.trade_ids),
                };
                followed.push(Followed::new(product, continuity));
            }
            Err(error) => {
                warn!(venue = %config.venue, %symbol, error = %error, "the venue refuses a symbol");
                events.push(FeedEvent::State(symbol.clone(), FeedState::Refused(error.to_string())));
                refusals.push(error.to_string());
            }
        }
    }
    drop(products);
    if followed.is_empty() {
        let cause = refusals.join("; ");
        return Err(ServiceError::permanent(format!("{} has none of the symbols", config.venue), cause));
    }

    let names: Vec<String> = followed.iter().map(|followed| followed.product.name.clone()).collect();
    let (sender, connection_events) = mpsc::channel(MAX_WAITING_EVENTS);
    let groups = Groups::new(&config, dialer, &names, sender);
    let by_name = names.into_iter().zip(0..).collect();
    let (past_sender, past) = mpsc::channel(MAX_WAITING_PAGES);
    let feed = Feed { config, client, followed, by_name, groups, past_sender, fills: JoinSet::new() };
    feed.run(events, connection_events, past, &out, &shutdown).await;
    Ok(())
}

/// Asks for the list of products until it arrives; none after shutdown.
async fn list(config: &FeedConfig, client: &RestClient, shutdown: &Shutdown) -> Option<Products> {
    let mut wait = config.timing.first_wait;
    loop {
        let request = async {
            let body = client.get(config.adapter.products_query()).await?;
            Ok::<_, FillError>(config.adapter.parse_products(&body)?)
        };
        let answer = tokio::select! {
            answer = request => answer,
            () = shutdown.cancelled() => return None,
        };
        match answer {
            Ok(listed) => {
                info!(venue = %config.venue, products = listed.len(), "read the list of products");
                return Some(Products::new(config.adapter.profile().venue, listed));
            }
            Err(error) => {
                let (error, wait_ms) = (error_chain(&error), wait.as_millis() as u64);
                warn!(venue = %config.venue, error, wait_ms, "cannot read the list of products, retrying");
            }
        }
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(MAX_PRODUCTS_WAIT),
            () = shutdown.cancelled() => return None,
        }
    }
}

/// A feed that runs.
struct Feed {
    config: FeedConfig,
    client: Arc<RestClient>,
    followed: Vec<Followed>,
    by_name: BTreeMap<String, usize>,
    groups: Groups,
    past_sender: mpsc::Sender<FillProgress>,
    fills: JoinSet<()>,
}

impl Feed {
    async fn run(
        mut self,
        mut events: Vec<FeedEvent>,
        mut connection_events: mpsc::Receiver<ConnectionEvent>,
        mut past: mpsc::Receiver<FillProgress>,
        out: &mpsc::Sender<Vec<FeedEvent>>,
        shutdown: &Shutdown,
    ) {
        self.groups.start();
        let mut gap_timer = interval(self.config.timing.settle);
        let mut checkpoint_timer = interval(CHECKPOINT_INTERVAL);
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
        drop(connection_events);
        self.groups.leave().await;
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
                    client: Arc::clone(&self.client),
                    config: self.config.clone(),
                    product: followed.product.clone(),
                    sender: self.past_sender.clone(),
                };
                self.fills.spawn(task.run(missing));
            }
        }
    }

    fn on_past(&mut self, FillProgress { followed, gap, content }: FillProgress, events: &mut Vec<FeedEvent>) {
        let Some(followed) = self.followed.get_mut(followed) else { return };
        match content {
            FillContent::Trades(trades) => {
                for PastTrade { id, price, size, at, .. } in &trades {
                    let (origin, source) = (Origin::Rest, TickSource::Backfill);
                    let trade = Trade { id, price: *price, size: *size, at: *at, origin, source };
                    followed.admit(&trade, &self.config, events);
                }
            }
            FillContent::End(Ok(outcome)) => followed.filled(gap, outcome, events),
            FillContent::End(Err(FillError::Rest(error))) if error.is_final() => {
                warn!(venue = %self.config.venue, symbol = %followed.product.symbol, error = error_chain(&error), "a gap cannot be filled");
                followed.filled(gap, FillOutcome::NotOffered, events);
            }
            FillContent::End(Err(error)) => {
                let symbol = &followed.product.symbol;
                warn!(venue = %self.config.venue, %symbol, error = error_chain(&error), "cannot fill a gap, retrying");
                let is_readable = !matches!(error, FillError::Decode(_));
                followed.fill_failed(gap, is_readable, &self.config.timing, events);
            }
        }
    }
}

/// The task that asks for the trades of a gap.
struct Fill {
    followed: usize,
    client: Arc<RestClient>,
    config: FeedConfig,
    product: Product,
    sender: mpsc::Sender<FillProgress>,
}

impl Fill {
    async fn run(self, missing: Missing) {
        let Self { followed, client, config, product, sender } = self;
        let gap = missing.gap;
        let mut pages = Pages::new(&client, config.adapter, &product, missing, (config.clock)());
        loop {
            let content = match pages.next().await {
                Ok(Ok(trades)) => FillContent::Trades(trades),
                Ok(Err(outcome)) => FillContent::End(Ok(outcome)),
                Err(error) => FillContent::End(Err(error)),
            };
            let is_last = matches!(content, FillContent::End(_));
            // The receiver is gone only where the feed has ended.
            if sender.send(FillProgress { followed, gap, content }).await.is_err() || is_last {
                return;
            }
        }
    }
}
