//! One client of a WebSocket: what it subscribes to, and what it gets.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use events::{Symbol, Venue};
use futures::{SinkExt, StreamExt};
use platform::runtime::error::error_chain;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{
    Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};
use tracing::warn;

use super::message::{Command, Day, Dialect, FeedChannel, FeedTick};
use crate::{
    compat::market_data::find_market,
    http::{problem::Problem, websocket::Socket},
    live::{
        channel::Channel,
        clients::{End, Slot},
        event::LiveEvent,
        interest::{Interest, Viewer},
        queue::{Conflation, Cut},
        subscription::{Delivery, OpenError, Resume, Subscription},
    },
    state::AppState,
};

/// The most products that a connection subscribes to.
const MOST_PRODUCTS: usize = 100;
/// The number of events that are written before the client's messages are read again.
const EVENTS_AT_ONCE: usize = 256;
/// The time without a message of the client after which it is pinged, and after which it is given up.
const PING_AFTER: Duration = Duration::from_secs(25);
const GIVE_UP_AFTER: Duration = Duration::from_secs(60);
/// The number that is larger than every index of a tick in its page.
const INDEXES: u64 = 1_000;

/// A client, and the protocol that it speaks.
pub(super) struct FeedClient<D> {
    state: AppState,
    slot: Slot,
    socket: Socket,
    dialect: D,
    wanted: BTreeSet<(FeedChannel, Symbol)>,
    /// The primary venue of each product that is wanted.
    venues: BTreeMap<Symbol, Venue>,
    subscription: Option<Subscription>,
    heard_at: Instant,
    is_pinged: bool,
}

/// The reason why a connection ends.
enum Stop {
    /// The client has closed it, or it has failed.
    Closed,
    /// The client connects again.
    End(End),
}

impl<D: Dialect> FeedClient<D> {
    pub(super) fn new(state: AppState, slot: Slot, socket: Socket) -> Self {
        Self {
            state,
            slot,
            socket,
            dialect: D::default(),
            wanted: BTreeSet::new(),
            venues: BTreeMap::new(),
            subscription: None,
            heard_at: Instant::now(),
            is_pinged: false,
        }
    }

    /// Serves the client until one of the two ends the connection.
    pub(super) async fn run(mut self) {
        let Stop::End(end) = self.serve().await else { return };
        self.slot.ended(end);
        let code = if end == End::Shutdown { CloseCode::Away } else { CloseCode::Again };
        let frame = CloseFrame { code, reason: end.as_str().into() };
        // Whoever does not read is not waited for.
        _ = timeout(self.slot.write_timeout(), self.socket.close(Some(frame))).await;
    }

    async fn serve(&mut self) -> Stop {
        let mut drained = Box::pin(self.slot.when_drained());
        loop {
            let silent_until = self.heard_at + if self.is_pinged { GIVE_UP_AFTER } else { PING_AFTER };
            let done = tokio::select! {
                biased;
                () = &mut drained => return Stop::End(End::Shutdown),
                message = self.socket.next() => match message {
                    Some(Ok(message)) => {
                        (self.heard_at, self.is_pinged) = (Instant::now(), false);
                        self.answer(message).await
                    }
                    Some(Err(_)) | None => Err(Stop::Closed),
                },
                delivery = next(&mut self.subscription) => self.deliver(delivery).await,
                () = sleep_until(silent_until) => {
                    if self.is_pinged {
                        return Stop::End(End::Slow);
                    }
                    self.is_pinged = true;
                    self.write(Message::Ping(Vec::new().into())).await
                }
            };
            if let Err(stop) = done {
                return stop;
            }
        }
    }

    async fn answer(&mut self, message: Message) -> Result<(), Stop> {
        let text = match message {
            Message::Text(text) => text,
            Message::Close(_) => return Err(Stop::Closed),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
        };
        let changed = match D::read(&text) {
            Ok(command) => self.change(command).await,
            Err(reason) => Err(reason),
        };
        let answer = match changed {
            Ok(()) => self.dialect.subscriptions(&self.wanted),
            Err(reason) => D::refusal(&reason),
        };
        self.write(Message::text(answer)).await
    }

    /// Subscribes or unsubscribes. The error says why nothing has changed.
    async fn change(&mut self, command: Command) -> Result<(), String> {
        let mut wanted = self.wanted.clone();
        match command {
            Command::Subscribe(added) => {
                for (channel, name) in added {
                    let unknown = || format!("{name} is not a product");
                    let symbol = Symbol::parse(&name).map_err(|_| unknown())?;
                    if !self.venues.contains_key(&symbol) {
                        let found = find_market(&self.state, &symbol).await;
                        let market = found.map_err(
                            |problem: Problem| {
                                if problem.cause.is_some() { problem.detail } else { unknown() }
                            },
                        )?;
                        self.venues.insert(symbol.clone(), market.venue);
                    }
                    wanted.insert((channel, symbol));
                }
            }
            Command::Unsubscribe(removed) => {
                wanted.retain(|(channel, symbol)| !removed.contains(&(*channel, symbol.to_string())));
            }
        }
        let symbols: BTreeSet<&Symbol> = wanted.iter().map(|(_, symbol)| symbol).collect();
        self.venues.retain(|symbol, _| symbols.contains(symbol) || self.wanted.iter().any(|(_, old)| old == symbol));
        if symbols.len() > MOST_PRODUCTS {
            return Err(format!("a connection has at most {MOST_PRODUCTS} products"));
        }
        let symbols: Vec<Symbol> = symbols.into_iter().cloned().collect();
        self.subscription = if symbols.is_empty() {
            None
        } else {
            let interest = Interest {
                channels: vec![Channel::Prices],
                symbols: Some(symbols),
                viewer: Viewer::Anonymous,
                conflation: Conflation::Off,
            };
            // What is wanted already goes on without a gap.
            let resume = self.subscription.as_mut().map_or(Resume::Now, |before| {
                before.move_on();
                Resume::Behind(*before.cursor())
            });
            let opened = Subscription::open(&self.state.hub, interest, resume).await;
            let away = |_: OpenError| "the broker cannot be read at the moment; subscribe again".to_owned();
            Some(opened.map_err(away)?)
        };
        self.wanted = wanted;
        Ok(())
    }

    /// Sends an event and those behind it that are there.
    async fn deliver(&mut self, first: Delivery) -> Result<(), Stop> {
        let mut delivery = Some(first);
        for _ in 0..EVENTS_AT_ONCE {
            match delivery {
                Some(Delivery::Event(event, _)) => self.feed(&event).await?,
                Some(Delivery::Cut(Cut::Slow)) => return Err(Stop::End(End::Slow)),
                Some(Delivery::Cut(Cut::StreamReplaced)) => return Err(Stop::End(End::StreamReplaced)),
                Some(Delivery::Failed(error)) => {
                    warn!(error = error_chain(&error), "a stream cannot be read for a client");
                    return Err(Stop::End(End::Unavailable));
                }
                None => break,
            }
            delivery = self.subscription.as_mut().and_then(Subscription::try_next);
        }
        if let Some(Delivery::Event(event, _)) = delivery {
            self.feed(&event).await?;
        }
        self.flush().await
    }

    /// Writes an event, which is not sent before the buffer is full or flushed. Other venues than the primary one are left out.
    async fn feed(&mut self, event: &LiveEvent) -> Result<(), Stop> {
        let (Some(product), Some(tick)) = (&event.symbol, &event.tick) else { return Ok(()) };
        if self.venues.get(product) != Some(&tick.venue) {
            return Ok(());
        }
        let position = event.position;
        let sequence = position.sequence * INDEXES + u64::from(position.index);
        let tick = FeedTick {
            product,
            id: &tick.id,
            price: tick.price,
            size: tick.size,
            at: tick.at,
            kind: tick.kind,
            sequence,
        };
        for channel in [FeedChannel::Ticker, FeedChannel::Matches] {
            if !self.wanted.contains(&(channel, product.clone())) {
                continue;
            }
            let day = if channel == FeedChannel::Ticker { day(&self.state, product).await } else { None };
            if let Some(text) = self.dialect.tick(channel, &tick, day.as_ref()) {
                self.put(Message::text(text)).await?;
            }
        }
        Ok(())
    }

    async fn write(&mut self, message: Message) -> Result<(), Stop> {
        self.put(message).await?;
        self.flush().await
    }

    async fn put(&mut self, message: Message) -> Result<(), Stop> {
        match timeout(self.slot.write_timeout(), self.socket.feed(message)).await {
            Ok(fed) => fed.map_err(|_| Stop::Closed),
            Err(_) => Err(Stop::End(End::Slow)),
        }
    }

    async fn flush(&mut self) -> Result<(), Stop> {
        match timeout(self.slot.write_timeout(), self.socket.flush()).await {
            Ok(flushed) => flushed.map_err(|_| Stop::Closed),
            Err(_) => Err(Stop::End(End::Slow)),
        }
    }
}

/// Returns what the day of a product is like; none while that cannot be read.
async fn day(state: &AppState, product: &Symbol) -> Option<Day> {
    let latest = state.latest_prices.read(&state.store, product).await.ok().flatten()?;
    let range = state.day_ranges.read(&state.store, &latest).await.ok()?;
    Some(Day { open: latest.day_ago.map(|(price, _)| price), range })
}

/// Waits for the next event, for ever where there is no subscription.
async fn next(subscription: &mut Option<Subscription>) -> Delivery {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}
