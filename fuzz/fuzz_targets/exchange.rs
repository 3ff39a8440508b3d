//! The messages of exchanges: whatever a frame or a body says, decoding ends, does not panic, and gives trades that make ticks.
//! The first byte chooses the venue, so that one target reaches all decoders; `-- -only_ascii=1` finds more in less time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use price_ingestor::sources::exchange::{
    adapter::{Product, Window},
    message::Trades,
    venues::VENUES,
};

fuzz_target!(|input: &[u8]| {
    let [choice, text @ ..] = input else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    let adapter = VENUES[usize::from(*choice) % VENUES.len()];
    let mut trades = Trades::new();
    if adapter.decode(text, &mut trades).is_ok() {
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
});
