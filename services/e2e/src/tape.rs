//! Makes the ticks of a test from times and prices: as events, as messages, and as the lines of a recording.

use events::{
    OutboundMessage, Price, Size, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};

/// A trade of size 1 at a time of the day 2018-04-05, like `00:00:30`.
pub fn tick(venue: &str, symbol: &str, time: &str, price: &str) -> Tick {
    let at: Timestamp = format!("2018-04-05T{time}Z").parse().expect("a time");
    Tick {
        venue: Venue::parse(venue).expect("a venue"),
        symbol: Symbol::parse(symbol).expect("a symbol"),
        price: price.parse::<Price>().expect("a price"),
        size: Some("1".parse::<Size>().expect("a size")),
        at,
        received_at: at,
        kind: TickKind::Trade,
        source: TickSource::Live,
    }
}

/// The message of a tick, under the id that is derived from its time and price.
pub fn message(tick: &Tick) -> OutboundMessage {
    tick.to_message(&tick.derived_trade_id())
}

/// Times and prices of one symbol as the lines of a recording.
pub fn csv(symbol: &str, rows: &[(&str, &str)]) -> String {
    let lines = rows.iter().map(|(time, price)| format!("2018-04-05T{time}Z,{symbol},{price},1\n"));
    format!("time,symbol,price,size\n{}", lines.collect::<String>())
}
