//! The reader of the coinnews API's answers: it does not panic, and what it reads is written and read again the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use market_data::coinnews::{HistoryEntry, Quote, coin_of_symbol, symbol_of_coin};

fuzz_target!(|body: &[u8]| {
    if let Ok(quote) = serde_json::from_slice::<Quote>(body) {
        let written = serde_json::to_string(&quote).expect("a quote is JSON");
        let again: Quote = serde_json::from_str(&written).expect("what was written");
        assert_eq!((again.value.value, again.updated_at), (quote.value.value, quote.updated_at));
        assert!(!again.value.was_rounded);
    }
    let _ = serde_json::from_slice::<Vec<HistoryEntry>>(body);
    let coins = serde_json::from_slice::<std::collections::BTreeSet<String>>(body).unwrap_or_default();
    for symbol in coins.iter().filter_map(|coin| symbol_of_coin(coin).ok()) {
        if let Some(coin) = coin_of_symbol(&symbol) {
            assert_eq!(symbol_of_coin(&coin).as_ref(), Ok(&symbol));
        }
    }
});
