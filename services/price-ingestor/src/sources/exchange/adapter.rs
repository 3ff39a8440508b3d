//! What each venue has to say about itself: the fixed shape of a venue's folder, behind one trait.
//!
//! A venue's folder has `messages.rs` (its JSON, borrowed), `parse.rs` (from JSON to trades), `subscribe.rs` (what is sent
//! to it) and `rest.rs` (its product list, and trades that were missed). Nothing here does I/O.

use std::time::Duration;

use events::{Symbol, Timestamp};
use reqwest::Url;

use super::message::{DecodeError, Message, Trades, VenueTrade};

/// A venue as the connection, the product list and the mending of gaps see it.
pub trait Adapter: Send + Sync {
    /// Returns the limits and habits of the venue.
    fn profile(&self) -> &'static Profile;

    /// Returns the whole address of the live messages, of the one that the settings name.
    fn socket_url(&self, base: &Url) -> Url {
        base.clone()
    }

    /// Decodes a frame. Its trades are added to `trades`, oldest first. After an error `trades` may hold some of them, which
    /// must not be used.
    fn decode<'frame>(&self, frame: &'frame str, trades: &mut Trades<'frame>) -> Result<Message<'frame>, DecodeError>;

    /// Returns the messages that subscribe to products, or end their subscriptions. `request` numbers the first of them, the
    /// next ones follow.
    fn subscription(&self, action: Action, products: &[&str], request: u64) -> Vec<Request>;

    /// Returns the path and query of the list of products.
    fn products_query(&self) -> &'static str;

    /// Decodes the list of products. A product whose name cannot be a symbol is left out.
    fn parse_products(&self, body: &str) -> Result<Vec<Product>, DecodeError>;

    /// Returns the path and query of the page of trades that begins a window; `None` where the venue offers no past trades.
    fn trades_query(&self, product: &Product, window: &Window) -> Option<String>;

    /// Decodes a page of past trades, oldest first.
    fn parse_trades<'body>(&self, product: &'body Product, body: &'body str) -> Result<TradePage<'body>, DecodeError>;
}

/// Whether products are added to a connection or removed from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Products are added to the connection.
    Subscribe,
    /// End the subscription.
    Unsubscribe,
}

/// A message to the venue, and the products that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The number of the request, which some venues repeat in their answers.
    pub number: u64,
    /// The message as it is sent.
    pub text: String,
    /// The products whose subscription the venue confirms after it. Empty where no trades depend on the request.
    pub products: Vec<String>,
}

/// A product that the venue trades.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// The name in live messages.
    pub name: String,
    /// The name in the paths of the REST API.
    pub rest_name: String,
    /// The symbol that we give it.
    pub symbol: Symbol,
}

/// A span of trades that are asked for by REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first number that is asked for; none where the venue has no consecutive numbers.
    pub first_id: Option<u64>,
    /// The last number that is asked for; none for all up to now.
    pub last_id: Option<u64>,
    /// The time of the last trade before the window.
    pub from: Timestamp,
    /// The time of the first trade after it; none for all up to now.
    pub to: Option<Timestamp>,
    /// The time now.
    pub now: Timestamp,
    /// The venue's own cursor, which the page before has returned.
    pub cursor: Option<u64>,
}

/// A page of past trades.
#[derive(Debug, PartialEq, Eq)]
pub struct TradePage<'body> {
    /// The trades, oldest first.
    pub trades: Vec<VenueTrade<'body>>,
    /// Where the next page begins.
    pub next: NextPage,
}

/// What follows a page of past trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextPage {
    /// Pages are cut by numbers: the next one begins behind the last number that was asked for.
    ByNumber,
    /// The next page has newer trades and is asked for with this cursor.
    Cursor(u64),
    /// The next page has older trades and is asked for with this cursor.
    Older(u64),
    /// The page has everything that the venue offers of the window.
    End,
}

/// How a venue numbers its trades.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TradeIds {
    /// By consecutive numbers for each product: a number that is missing is a trade that was missed.
    Contiguous,
    /// In a way that says nothing about what was missed: gaps have only their times.
    TimeBased,
}

/// How the connection is shown to be alive where the venue wants more than answers to its pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// The venue sends pings or heartbeats by itself.
    ByVenue,
    /// This text is sent when nothing was received for the interval; the venue answers it.
    WhenSilent(&'static str, Duration),
    /// This text is sent at each interval.
    Every(&'static str, Duration),
}

/// The limits and habits of a venue.
#[derive(Debug)]
pub struct Profile {
    /// The name of the venue, which its ticks and settings have.
    pub venue: &'static str,
    /// The address of the live messages.
    pub ws_url: &'static str,
    /// The base address of the REST API.
    pub rest_url: &'static str,
    /// Whether a missing number is a missing trade.
    pub trade_ids: TradeIds,
    /// The most products of one connection.
    pub max_products: usize,
    /// The shortest time between two messages to the venue.
    pub send_interval: Duration,
    /// The connection counts as dead when nothing was received for this long.
    pub silence: Duration,
    /// What the venue wants to hear.
    pub keep_alive: KeepAlive,
    /// A connection is replaced when it is this old, before the venue cuts it; none where the venue sets no limit.
    pub max_age: Option<Duration>,
    /// The most attempts to connect in a minute.
    pub connects_per_minute: u32,
    /// The most REST requests in a second.
    pub rest_per_second: u32,
    /// The most trades of one page of the REST API.
    pub page_trades: u64,
    /// The most bytes of a frame.
    pub max_frame_bytes: usize,
}
