//! What keeps a new alert from firing as asked. A rule on a symbol that nobody quotes is valid, and waits for ever.

use std::cmp::Reverse;

use events::{KnownQuotes, Rule, Symbol, Timestamp, Venue, display};
use store::{
    Store,
    rules::judged::{self, JudgedMarket},
};

use crate::http::problem::Problem;

/// The number of similar names that a warning has at most.
const MAX_NEAR_NAMES: usize = 3;
/// The number of quoted symbols that are looked through at most.
const MAX_SYMBOLS: i64 = 10_000;
/// The age in hours from which on the last price of a pair, which trades around the clock, is a warning.
const SILENT_HOURS: i64 = 24;

/// Returns the warnings for a new rule that is evaluated against `market`.
pub(super) async fn of(
    store: &Store,
    rule: &Rule,
    market: Option<&JudgedMarket>,
    now: Timestamp,
) -> Result<Vec<String>, Problem> {
    if let Some(market) = market {
        return Ok(silent(&rule.symbol, market, now).into_iter().collect());
    }
    let venues = judged::list_venues(store, &rule.symbol).await?;
    let (Some(venue), false) = (&rule.venue, venues.is_empty()) else {
        return Ok(vec![not_quoted(&rule.symbol, &judged::list_symbols(store, MAX_SYMBOLS).await?)]);
    };
    Ok(vec![not_quoted_by(&rule.symbol, venue, &venues)])
}

fn silent(symbol: &Symbol, market: &JudgedMarket, now: Timestamp) -> Option<String> {
    let age_micros = now.micros() - market.evaluated_at.micros();
    (symbol.pair().is_some() && age_micros >= SILENT_HOURS * 3_600_000_000).then(|| {
        format!(
            "The last price of {symbol} at {} came {} ago: the alert waits until there is another one. PATCH can change the venue.",
            market.venue,
            display::elapsed(market.evaluated_at, now)
        )
    })
}

fn not_quoted_by(symbol: &Symbol, venue: &Venue, venues: &[Venue]) -> String {
    let venues = venues.iter().map(Venue::as_str).collect::<Vec<_>>().join(", ");
    format!(
        "{venue} has never quoted {symbol}: the alert waits for its first price there. These venues have: {venues}. PATCH can \
         change the venue."
    )
}

fn not_quoted(symbol: &Symbol, quoted: &[Symbol]) -> String {
    let near = near_names(symbol, quoted).into_iter().map(Symbol::as_str).collect::<Vec<_>>();
    let advice = match (near.is_empty(), symbol.pair(), split(symbol, symbol.as_str())) {
        (false, ..) => format!("Did you mean {}? Then delete this alert and create another one.", near.join(" or ")),
        (true, None, (base, Some(quote))) => {
            format!("If it is a pair, it is written {base}-{quote}. GET /v1/prices lists what is quoted.")
        }
        (true, ..) => "GET /v1/prices lists what is quoted.".to_owned(),
    };
    format!("No venue has ever quoted {symbol}: the alert waits for its first price. {advice}")
}

/// Returns the quoted symbols whose names are similar, the most similar first.
fn near_names<'a>(symbol: &Symbol, quoted: &'a [Symbol]) -> Vec<&'a Symbol> {
    let mut near: Vec<_> = quoted.iter().filter_map(|other| Some((similarity(symbol, other)?, other))).collect();
    near.sort_unstable_by_key(|(similarity, other)| (Reverse(*similarity), *other));
    near.into_iter().take(MAX_NEAR_NAMES).map(|(_, other)| other).collect()
}

/// How similar two names are. Later variants are more similar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Similarity {
    /// The names of the assets differ by few letters; fewer are more similar.
    Edits(Reverse<usize>),
    /// The names are of one asset, in different currencies.
    SameBase,
    /// The names differ by punctuation only, like `BTCUSD` and `BTC-USD`.
    SameLetters,
}

fn similarity(one: &Symbol, other: &Symbol) -> Option<Similarity> {
    let (a, b) = (letters(one), letters(other));
    if a == b {
        return Some(Similarity::SameLetters);
    }
    let ((base, quote), (other_base, other_quote)) = (split(one, &a), split(other, &b));
    if base == other_base {
        return Some(Similarity::SameBase);
    }
    // A third of the letters at most: two names of three letters that differ by two have nothing in common.
    let allowed = (base.len().min(other_base.len()) / 3).min(2);
    let edits = edit_distance(base.as_bytes(), other_base.as_bytes());
    (quote == other_quote && edits <= allowed).then_some(Similarity::Edits(Reverse(edits)))
}

fn letters(symbol: &Symbol) -> String {
    symbol.as_str().chars().filter(char::is_ascii_alphanumeric).collect()
}

/// Splits a name into base and quote. The quote of a name that is not written as a pair is the shortest currency or coin that it
/// ends with: `USD` of `XBTUSD`, and not `TUSD`.
fn split<'a>(symbol: &'a Symbol, letters: &'a str) -> (&'a str, Option<&'a str>) {
    let (base, quote) = match symbol.pair() {
        Some((base, quote)) => (base, Some(quote)),
        None => {
            let quotes = KnownQuotes::default();
            let quote =
                (1..letters.len()).rev().map(|start| letters.split_at(start)).find(|(_, end)| quotes.contains(end));
            quote.map_or((letters, None), |(base, quote)| (base, Some(quote)))
        }
    };
    (if base == "XBT" { "BTC" } else { base }, quote)
}

/// Returns the Levenshtein distance: how many letters must be added, removed or replaced to make one name of the other.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut distances: Vec<usize> = (0..=b.len()).collect();
    for (row, own) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut distances[0], row + 1);
        for (column, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(own != other);
            diagonal = distances[column + 1];
            distances[column + 1] = replaced.min(diagonal + 1).min(distances[column] + 1);
        }
    }
    distances[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).expect("a symbol")
    }

    fn venue(text: &str) -> Venue {
        Venue::parse(text).expect("a venue")
    }

    #[test]
    fn similar_names_are_found_by_their_letters() {
        let quoted: Vec<_> =
            ["ADA-USD", "BRK.B", "BTC-EUR", "BTC-USD", "DOGE-USD", "ETH-BTC", "ETH-USD", "SPY"].map(symbol).into();
        for (wanted, expected) in [
            ("BTCUSD", &["BTC-USD", "BTC-EUR"][..]),
            ("BTCUSDT", &["BTC-EUR", "BTC-USD"]),
            ("BTC-USDT", &["BTC-EUR", "BTC-USD"]),
            ("BTC", &["BTC-EUR", "BTC-USD"]),
            ("XBTUSD", &["BTC-EUR", "BTC-USD"]),
            ("DOGUSD", &["DOGE-USD"]),
            ("DOGEE-USD", &["DOGE-USD"]),
            ("BRKB", &["BRK.B"]),
            ("SPX", &["SPY"]),
            ("ETHBTC", &["ETH-BTC", "ETH-USD"]),
            ("LTC-USD", &["BTC-USD"]),
            ("QQQ", &[]),
            ("AAPL", &[]),
        ] {
            let symbol = symbol(wanted);
            let near: Vec<_> = near_names(&symbol, &quoted).into_iter().map(Symbol::as_str).collect();
            assert_eq!(near, expected, "{wanted}");
        }
    }

    #[test]
    fn the_distance_counts_added_removed_and_replaced_letters() {
        for (a, b, distance) in
            [("", "", 0), ("A", "", 1), ("BTC", "BTC", 0), ("BTC", "BTX", 1), ("KITTEN", "SITTING", 3)]
        {
            assert_eq!(edit_distance(a.as_bytes(), b.as_bytes()), distance, "{a} {b}");
            assert_eq!(edit_distance(b.as_bytes(), a.as_bytes()), distance, "{b} {a}");
        }
    }

    #[test]
    fn a_warning_says_what_the_alert_waits_for_and_what_to_do() {
        assert_eq!(
            not_quoted(&symbol("BTCUSD"), &[symbol("BTC-USD"), symbol("SPY")]),
            "No venue has ever quoted BTCUSD: the alert waits for its first price. Did you mean BTC-USD? Then delete this \
             alert and create another one."
        );
        assert_eq!(
            not_quoted(&symbol("BTCUSD"), &[]),
            "No venue has ever quoted BTCUSD: the alert waits for its first price. If it is a pair, it is written BTC-USD. \
             GET /v1/prices lists what is quoted."
        );
        assert_eq!(
            not_quoted(&symbol("QQQ"), &[symbol("BTC-USD")]),
            "No venue has ever quoted QQQ: the alert waits for its first price. GET /v1/prices lists what is quoted."
        );
        assert_eq!(
            not_quoted_by(&symbol("BTC-USD"), &venue("kraken"), &[venue("coinbase"), venue("binance")]),
            "kraken has never quoted BTC-USD: the alert waits for its first price there. These venues have: coinbase, \
             binance. PATCH can change the venue."
        );
    }

    #[test]
    fn a_pair_without_a_price_for_a_day_is_a_warning_and_a_share_is_not() {
        let at = |text: &str| -> Timestamp { text.parse().expect("a time") };
        let market = JudgedMarket {
            venue: venue("coinbase"),
            last_tick_at: at("2018-04-05T00:00:00Z"),
            evaluated_at: at("2026-01-01T00:00:00Z"),
        };
        let warning = |name: &str, now: &str| silent(&symbol(name), &market, at(now));
        assert_eq!(warning("BTC-USD", "2026-01-01T23:59:59Z"), None);
        let said = warning("BTC-USD", "2026-01-02T01:00:00Z").expect("a warning");
        assert!(said.starts_with("The last price of BTC-USD at coinbase came 1 day and 1 hour ago"), "{said}");
        assert_eq!(warning("SPY", "2026-01-05T00:00:00Z"), None);
    }
}
