//! The messages of exchanges: whatever a frame or a body says, decoding ends, does not panic, and gives trades that make ticks. Each
//! exchange has a target; `-- -only_ascii=1` finds more in less time.

use price_ingestor::sources::exchange::{
    adapter::{Product, Window},
    message::Trades,
    venues::venue,
};

/// Reads an input as each message of a venue.
pub fn decode(name: &str, input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let adapter = venue(name).expect("a venue");
    // With a tab before it, a message is not read by the reader of plain JSON but by `serde_json`: it must mean the same.
    let with_tab = format!("\t{text}");
    let (mut trades, mut same_trades) = (Trades::new(), Trades::new());
    let decoded = adapter.decode(text, &mut trades).ok();
    let same = adapter.decode(&with_tab, &mut same_trades).ok();
    if text.trim_ascii_start() != "pong" {
        assert_eq!(decoded, same);
        assert!(decoded.is_none() || trades == same_trades, "{trades:?} {same_trades:?}");
    }
    if decoded.is_some() {
        for trade in &trades {
            assert!(!trade.id.to_string().is_empty() && trade.price.decimal().is_sign_positive());
            // What is written is read again the same.
            assert_eq!(trade.price.to_string().parse().ok(), Some(trade.price));
        }
    }
    for product in adapter.parse_products(text).unwrap_or_default() {
        assert!(events::Symbol::parse(product.symbol.as_str()).is_ok());
    }
    let symbol = events::Symbol::parse("BTC-USD").expect("a symbol");
    let product = Product { name: "BTC-USD".to_owned(), rest_name: "BTC-USD".to_owned(), symbol };
    if let Ok(page) = adapter.parse_trades(&product, text) {
        let (from, now) = (events::Timestamp::EPOCH, events::Timestamp::LAST);
        let window = Window { first_id: Some(u64::MAX), last_id: Some(u64::MAX), from, to: None, now, cursor: None };
        let _ = adapter.trades_query(&product, &window);
        assert!(page.trades.len() <= text.len());
    }
}
