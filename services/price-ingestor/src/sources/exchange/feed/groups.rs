//! The connections of a feed. A venue limits the products of one connection, so that they are divided into groups; each group
//! has one connection, and two while it is replaced: the new one is subscribed before the old one is left, so that no trade
//! falls between them.

use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::FeedConfig;
use crate::sources::exchange::connection::{Attempts, Connection, ConnectionEvent, Dialer, EndReason, WantedProduct};

/// A connection that runs.
struct Running {
    number: u64,
    leave: CancellationToken,
    /// Whether its end is near, so that another one takes its place.
    is_ending: bool,
}

/// The connections of some products.
struct Group {
    products: watch::Sender<Vec<WantedProduct>>,
    current: Option<Running>,
    next: Option<Running>,
}

/// All connections of a feed.
pub(super) struct Groups {
    config: FeedConfig,
    dialer: Dialer,
    events: mpsc::Sender<ConnectionEvent>,
    groups: Vec<Group>,
    attempts: Attempts,
    random: StdRng,
    next_number: u64,
    /// Counts the products that were added.
    generation: u64,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Groups {
    /// Returns no group. Each product that is added is put into one.
    pub(super) fn new(config: &FeedConfig, dialer: Dialer, events: mpsc::Sender<ConnectionEvent>) -> Self {
        let timing = &config.timing;
        let attempts = Attempts::new(timing.first_wait, timing.longest_wait, timing.connects_per_minute);
        Self {
            config: config.clone(),
            dialer,
            events,
            groups: Vec::new(),
            attempts,
            random: StdRng::from_rng(&mut rand::rng()),
            next_number: 1,
            generation: 0,
            stop: CancellationToken::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Subscribes products, on connections that have room for them and on new ones.
    pub(super) fn add(&mut self, products: impl IntoIterator<Item = String>) {
        let mut products = products.into_iter().peekable();
        let max_products = self.config.adapter.profile().max_products;
        while products.peek().is_some() {
            let at = self.groups.iter().position(|group| group.products.borrow().len() < max_products);
            let at = at.unwrap_or_else(|| {
                self.groups.push(Group { products: watch::Sender::new(Vec::new()), current: None, next: None });
                self.groups.len() - 1
            });
            let generation = self.generation + 1;
            self.generation = generation;
            self.groups[at].products.send_modify(|wanted| {
                let room = max_products - wanted.len();
                wanted.extend(products.by_ref().take(room).map(|name| WantedProduct { name, generation }));
            });
            if self.groups[at].current.is_none() {
                let running = self.connect(at);
                self.groups[at].current = Some(running);
            }
        }
    }

    /// Ends the subscription of a product. A connection without products is left.
    pub(super) fn remove(&mut self, product: &str) {
        for group in &self.groups {
            group
                .products
                .send_if_modified(|wanted| wanted.extract_if(.., |wanted| wanted.name == product).count() > 0);
        }
        let empty: Vec<Group> = self.groups.extract_if(.., |group| group.products.borrow().is_empty()).collect();
        for running in empty.into_iter().flat_map(|group| [group.current, group.next]).flatten() {
            running.leave.cancel();
        }
    }

    /// Notes that all of a connection's products are subscribed. Where it takes the place of another, that one is left.
    pub(super) fn settled(&mut self, number: u64) {
        self.attempts.succeeded();
        let Some(group) = self.groups.iter_mut().find(|group| is(&group.next, number)) else { return };
        let old = std::mem::replace(&mut group.current, group.next.take());
        if let Some(old) = old {
            info!(venue = %self.config.venue, old = old.number, new = number, "replaced a connection");
            old.leave.cancel();
        }
    }

    /// Notes that a connection will end soon: another one takes its place.
    pub(super) fn ending(&mut self, number: u64, reason: &str) {
        let Some(at) = self.groups.iter().position(|group| is(&group.current, number)) else { return };
        if let Some(current) = &mut self.groups[at].current {
            current.is_ending = true;
        }
        if self.groups[at].next.is_none() {
            info!(venue = %self.config.venue, connection = number, reason, "a connection ends soon, replacing it");
            let running = self.connect(at);
            self.groups[at].next = Some(running);
        }
    }

    /// Notes that a connection has ended, and connects again where it was needed.
    pub(super) fn ended(&mut self, number: u64, reason: &EndReason) {
        while self.tasks.try_join_next().is_some() {}
        if let Some(at) = self.groups.iter().position(|group| is(&group.current, number)) {
            warn!(venue = %self.config.venue, connection = number, ?reason, "a connection has ended");
            let next = self.groups[at].next.take();
            let running = next.unwrap_or_else(|| self.connect(at));
            self.groups[at].current = Some(running);
        } else if let Some(at) = self.groups.iter().position(|group| is(&group.next, number)) {
            debug!(venue = %self.config.venue, connection = number, ?reason, "a connection could not take another's place");
            let still_needed = self.groups[at].current.as_ref().is_some_and(|current| current.is_ending);
            let running = still_needed.then(|| self.connect(at));
            self.groups[at].next = running;
        }
    }

    /// Leaves all connections and waits for their end. The caller goes on to receive their events meanwhile.
    pub(super) async fn leave(mut self) {
        self.stop.cancel();
        drop(self.events);
        while self.tasks.join_next().await.is_some() {}
    }

    fn connect(&mut self, group: usize) -> Running {
        let number = self.next_number;
        self.next_number += 1;
        let leave = CancellationToken::new();
        let connection = Connection {
            number,
            adapter: self.config.adapter,
            dialer: self.dialer.clone(),
            url: self.config.adapter.socket_url(&self.config.ws_url),
            products: self.groups[group].products.subscribe(),
            timing: self.config.timing.clone(),
            events: self.events.clone(),
            leave: leave.clone(),
            stop: self.stop.clone(),
        };
        let start = self.attempts.next(Instant::now(), &mut self.random);
        self.tasks.spawn(connection.run(start));
        Running { number, leave, is_ending: false }
    }
}

fn is(running: &Option<Running>, number: u64) -> bool {
    running.as_ref().is_some_and(|running| running.number == number)
}
