//! The latest prices, which the gateway keeps current from the stream of ticks.
//!
//! The history has the price of each symbol, and what its change is measured from. Once it was read, a newer tick replaces the
//! price: from the stream, before the history has it. While the stream is not followed, nothing is served from here.
//!
//! The list of all prices needs to know which symbols there are. The history says so, and it stays true until the stream has a
//! symbol that is not among them. From then on the list is read from the history, until that has the symbol too.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    ops::Bound,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use events::{Price, Symbol, Timestamp, Venue, money::change_percent};
use market_data::{StoredPage, StoredTick, TickFilter, TickPosition};
use rust_decimal::Decimal;
use serde::Serialize;
use store::{
    Store,
    market::queries::{self, DayAgo, Latest},
};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::http::{problem::Problem, validators::Tagged};

/// The most symbols whose answer is in memory, with about 3 KiB each. Those beyond are read from the history.
const MOST_SYMBOLS: usize = 10_000;
/// The history is asked so seldom which symbols there are, while that cannot be known: it has too many, or lacks one of the stream. Meanwhile the
/// list is read from it.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The latest price of a symbol, at its primary venue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LatestPrice {
    symbol: Symbol,
    venue: Venue,
    price: Price,
    /// The time of the tick.
    at: Timestamp,
    /// The change in percent since the last price that was between 24 and 25 hours older, to 4 decimal places; null when none
    /// is known.
    #[schema(value_type = Option<String>, example = "-1.2345")]
    change_24h_percent: Option<Decimal>,
    /// The time of the price that the change is measured from; null when none is known.
    change_24h_since: Option<Timestamp>,
    /// The gap in which trades are missing now; null where none is known to be.
    gap: Option<OpenGap>,
}

/// A gap in the trades of a venue, which is being filled.
#[derive(Debug, Serialize, ToSchema)]
struct OpenGap {
    /// The time of the last trade before it.
    from: Timestamp,
}

impl From<Latest> for LatestPrice {
    fn from(latest: Latest) -> Self {
        let Latest { symbol, venue, price, at, day_ago, gap_from, .. } = latest;
        let change_24h_percent = day_ago.map(|(reference, _)| change_percent(price, reference));
        let (change_24h_since, gap) = (day_ago.map(|(_, at)| at), gap_from.map(|from| OpenGap { from }));
        Self { symbol, venue, price, at, change_24h_percent, change_24h_since, gap }
    }
}

/// The prices that are known, or none while the stream is not followed.
#[derive(Debug, Default)]
pub(crate) struct LatestPrices(Mutex<Prices>);

#[derive(Debug, Default)]
struct Prices {
    is_current: bool,
    /// Counts how often all was forgotten.
    generation: u64,
    /// Counts how often the answer about a symbol was forgotten.
    forgotten: u64,
    /// What was counted when each symbol was forgotten last.
    forgotten_at: HashMap<Symbol, u64>,
    /// Tells which ticks are repeated or late.
    filter: TickFilter,
    /// The newest tick of each market since the stream is followed.
    newest: HashMap<Symbol, BTreeMap<Venue, Newest>>,
    /// All symbols that are quoted; none where that is not known.
    quoted: Option<BTreeSet<Symbol>>,
    /// The time from which on the history may be asked for them again; none where it was not asked since they became unknown.
    ask_again_at: Option<Instant>,
    /// The symbols that were asked for.
    answers: HashMap<Symbol, Answer>,
    /// The symbols whose change within a day is wanted for a tick and not in memory.
    unknown_changes: HashSet<Symbol>,
}

/// A line of the list of prices.
#[derive(Debug, Clone)]
pub(crate) struct ListedPrice {
    pub(crate) symbol: Symbol,
    /// The answer about the symbol.
    pub(crate) answer: Tagged,
}

impl ListedPrice {
    fn new(latest: Latest) -> Result<Self, Problem> {
        Ok(Self { symbol: latest.symbol.clone(), answer: Tagged::of(&LatestPrice::from(latest))? })
    }
}

/// A time since which the stream is followed without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Following {
    generation: u64,
    forgotten: u64,
}

#[derive(Debug, Clone, Copy)]
struct Newest {
    price: Price,
    at: Timestamp,
    position: TickPosition,
}

#[derive(Debug)]
struct Answer {
    latest: Latest,
    day_ago: DayAgo,
    /// The body, until the price changes.
    page: Option<Tagged>,
}

impl LatestPrices {
    /// Returns the answer about a symbol, if it is known without the history.
    pub(crate) fn answer(&self, symbol: &Symbol) -> Option<Tagged> {
        let mut prices = self.lock();
        if !prices.is_current {
            return None;
        }
        prices.answers.get_mut(symbol)?.page()
    }

    /// Returns the latest price of a symbol at its primary venue, with what its change is measured from; none of a symbol that
    /// nobody has quoted. It may be newer than the history.
    pub(crate) async fn read(&self, store: &Store, symbol: &Symbol) -> Result<Option<Latest>, Problem> {
        if let Some(latest) = self.latest(symbol) {
            return Ok(Some(latest));
        }
        let following = self.following();
        let Some(latest) = queries::latest(store, symbol).await? else { return Ok(None) };
        let Some(following) = following else { return Ok(Some(latest)) };
        Ok(self.complete(store, following, vec![latest]).await?.pop())
    }

    /// Returns the latest prices of at most `limit` symbols after `after`, in the order of the symbols.
    pub(crate) async fn list(
        &self,
        store: &Store,
        after: Option<&Symbol>,
        limit: usize,
    ) -> Result<Vec<ListedPrice>, Problem> {
        let following = self.following();
        if let Some(following) = following
            && let Some(mut lines) = self.lines(store, following, (after, limit)).await?
        {
            let missing: Vec<Symbol> =
                lines.iter().filter(|line| line.1.is_none()).map(|line| line.0.clone()).collect();
            let found = if missing.is_empty() { Vec::new() } else { queries::latest_of(store, &missing).await? };
            for latest in self.complete(store, following, found).await? {
                let line = lines.binary_search_by(|line| line.0.cmp(&latest.symbol));
                if let Some(line) = line.ok().and_then(|index| lines.get_mut(index)) {
                    line.1 = Some(ListedPrice::new(latest)?.answer);
                }
            }
            let listed = |(symbol, answer): (Symbol, Option<Tagged>)| Some(ListedPrice { symbol, answer: answer? });
            return Ok(lines.into_iter().filter_map(listed).collect());
        }
        let latest = queries::list_latest(store, after, limit as i64).await?;
        latest.into_iter().map(ListedPrice::new).collect()
    }

    /// Returns the symbols of a part of the list, each with the answer that is in memory; none where it is not known which symbols
    /// there are.
    async fn lines(
        &self,
        store: &Store,
        following: Following,
        part: (Option<&Symbol>, usize),
    ) -> Result<Option<Vec<(Symbol, Option<Tagged>)>>, Problem> {
        if let Some(lines) = self.known_lines(part) {
            return Ok(Some(lines));
        }
        if !self.may_ask() {
            return Ok(None);
        }
        self.keep_quoted(following, queries::quoted_symbols(store, MOST_SYMBOLS as i64 + 1).await?);
        Ok(self.known_lines(part))
    }

    fn known_lines(&self, (after, limit): (Option<&Symbol>, usize)) -> Option<Vec<(Symbol, Option<Tagged>)>> {
        let mut prices = self.lock();
        if !prices.is_current {
            return None;
        }
        let Prices { quoted, answers, .. } = &mut *prices;
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let symbols = quoted.as_ref()?.range::<Symbol, _>((first, Bound::Unbounded)).take(limit);
        Some(symbols.map(|symbol| (symbol.clone(), answers.get_mut(symbol).and_then(Answer::page))).collect())
    }

    /// Returns whether to ask the history which symbols there are: nobody does, or has done so without success a short time ago.
    fn may_ask(&self) -> bool {
        let (mut prices, now) = (self.lock(), Instant::now());
        let may_ask = prices.ask_again_at.is_none_or(|at| at <= now);
        if may_ask {
            prices.ask_again_at = Some(now + ASK_AGAIN_AFTER);
        }
        may_ask
    }

    /// Keeps which symbols the history has, if there is none beside them on the stream.
    fn keep_quoted(&self, following: Following, symbols: BTreeSet<Symbol>) {
        let mut prices = self.lock();
        let is_all = symbols.len() <= MOST_SYMBOLS && prices.newest.keys().all(|symbol| symbols.contains(symbol));
        if is_all && prices.generation == following.generation {
            (prices.quoted, prices.ask_again_at) = (Some(symbols), None);
        }
    }

    /// Completes prices of the history by what the stream has newer and by what their changes are measured from, and keeps them.
    async fn complete(&self, store: &Store, following: Following, found: Vec<Latest>) -> Result<Vec<Latest>, Problem> {
        if found.is_empty() {
            return Ok(found);
        }
        let found: Vec<Latest> = found.into_iter().map(|latest| self.newest(following, latest)).collect();
        let newest: Vec<_> = found.iter().map(|latest| (latest.instrument, latest.at)).collect();
        let days_ago = queries::days_ago(store, &newest).await?;
        found.into_iter().zip(days_ago).map(|(latest, day_ago)| self.keep(following, latest, day_ago)).collect()
    }

    /// Returns the latest price of a symbol, if it is known without the history.
    fn latest(&self, symbol: &Symbol) -> Option<Latest> {
        let prices = self.lock();
        if !prices.is_current {
            return None;
        }
        prices.answers.get(symbol)?.latest()
    }

    /// Returns what must be known before the history is read, so that no tick is missing between the history and the stream; none
    /// while the stream is not followed.
    fn following(&self) -> Option<Following> {
        let prices = self.lock();
        let Prices { generation, forgotten, .. } = *prices;
        prices.is_current.then_some(Following { generation, forgotten })
    }

    /// Returns what the stream has newer than the history's latest price.
    fn newest(&self, following: Following, latest: Latest) -> Latest {
        let prices = self.lock();
        match prices.newest.get(&latest.symbol).and_then(|venues| venues.get(&latest.venue)) {
            Some(newest) if prices.generation == following.generation => newer(latest, *newest),
            _ => latest,
        }
    }

    /// Completes a latest price that [`LatestPrices::newest`] has returned, and keeps it. `day_ago` was read for it.
    fn keep(&self, following: Following, latest: Latest, day_ago: DayAgo) -> Result<Latest, Problem> {
        let mut answer = Answer { latest, day_ago, page: None };
        let latest = answer.latest().ok_or_else(|| Problem::internal("the day before a price was not read".into()))?;
        let mut prices = self.lock();
        let Prices { generation, forgotten_at, newest, answers, .. } = &mut *prices;
        let symbol = answer.latest.symbol.clone();
        // What was forgotten meanwhile may have been read before it changed.
        let is_true = forgotten_at.get(&symbol).is_none_or(|count| *count <= following.forgotten);
        let is_known = is_true && *generation == following.generation;
        if is_known && (answers.len() < MOST_SYMBOLS || answers.contains_key(&symbol)) {
            // The stream may have gone on meanwhile.
            if let Some(newest) = newest.get(&symbol).and_then(|venues| venues.get(&answer.latest.venue)) {
                answer.replace(*newest);
            }
            answers.insert(symbol, answer);
        }
        Ok(latest)
    }

    /// Takes the ticks of a page.
    pub(crate) fn apply(&self, page: &StoredPage) {
        let mut prices = self.lock();
        let prices = &mut *prices;
        let Some(last) = page.ticks().filter(|tick| prices.filter.admits(tick)).last() else { return };
        let StoredTick { symbol, venue, price, at, position, .. } = last;
        let newest = Newest { price, at, position };
        match prices.newest.get_mut(symbol).and_then(|venues| venues.get_mut(venue)) {
            Some(known) => *known = newest,
            None => {
                prices.newest.entry(symbol.clone()).or_default().insert(venue.clone(), newest);
                // The history may not have the symbol yet, and what it will have is not known.
                prices.quoted.take_if(|quoted| !quoted.contains(symbol));
            }
        }
        if let Some(answer) = prices.answers.get_mut(symbol)
            && answer.latest.venue == *venue
        {
            answer.replace(newest);
        }
    }

    /// Returns the change in percent since the price of a day before a tick, and the time of that price; none where it is not
    /// in memory, and for a tick of another venue than the primary one.
    pub(crate) fn day_change(&self, tick: &StoredTick<'_>) -> Option<(Decimal, Timestamp)> {
        let mut prices = self.lock();
        let answer = prices.answers.get(tick.symbol);
        if answer.is_some_and(|answer| answer.latest.venue != *tick.venue) {
            return None;
        }
        let Some(Ok(reference)) = answer.map(|answer| answer.day_ago.reference(tick.at)) else {
            if prices.unknown_changes.len() < MOST_SYMBOLS {
                prices.unknown_changes.insert(tick.symbol.clone());
            }
            return None;
        };
        let (reference, since) = reference?;
        Some((change_percent(tick.price, reference), since))
    }

    /// Takes some of the symbols for which [`LatestPrices::day_change`] has found nothing in memory.
    pub(crate) fn take_unknown_changes(&self, most: usize) -> Vec<Symbol> {
        let mut prices = self.lock();
        let symbols: Vec<Symbol> = prices.unknown_changes.iter().take(most).cloned().collect();
        symbols.iter().for_each(|symbol| _ = prices.unknown_changes.remove(symbol));
        symbols
    }

    /// Serves from memory from now on: all ticks that the history lacked have been applied.
    pub(crate) fn set_current(&self) {
        self.lock().is_current = true;
    }

    /// Forgets all, because ticks may be missed from now on.
    pub(crate) fn clear(&self) {
        let mut prices = self.lock();
        *prices = Prices { generation: prices.generation + 1, ..Prices::default() };
    }

    /// Forgets the answers about a symbol: a late tick may be what its change is measured from, or a gap was opened or filled.
    pub(crate) fn forget(&self, symbol: &Symbol) {
        let mut prices = self.lock();
        prices.forgotten += 1;
        let count = prices.forgotten;
        prices.forgotten_at.insert(symbol.clone(), count);
        prices.answers.remove(symbol);
    }

    fn lock(&self) -> MutexGuard<'_, Prices> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answer {
    fn replace(&mut self, newest: Newest) {
        let before = self.latest.position;
        self.latest = newer(self.latest.clone(), newest);
        if self.latest.position != before {
            self.page = None;
        }
    }

    /// Returns the body; none when the price of a day ago must be read anew.
    fn page(&mut self) -> Option<Tagged> {
        if self.page.is_none() {
            self.page = Tagged::of(&LatestPrice::from(self.latest()?)).ok();
        }
        self.page.clone()
    }

    /// Returns the price and what its change is measured from; none when that must be read anew.
    fn latest(&self) -> Option<Latest> {
        let day_ago = self.day_ago.reference(self.latest.at).ok()?;
        Some(Latest { day_ago, ..self.latest.clone() })
    }
}

fn newer(latest: Latest, Newest { price, at, position }: Newest) -> Latest {
    if (at, position) <= (latest.at, latest.position) {
        return latest;
    }
    Latest { price, at, position, ..latest }
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use market_data::MaxAhead;

    use super::*;
    use crate::http::validators::IfNoneMatch;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(1_900_000_000_000_000 + second * 1_000_000).expect("a time")
    }

    fn symbol() -> Symbol {
        Symbol::parse("BTC-USD").expect("a symbol")
    }

    /// Makes a page of ticks, each of a second and with a price.
    fn page(venue: &str, sequence: u64, ticks: &[(i64, &str)]) -> StoredPage {
        let tick = |(index, (second, price)): (usize, &(i64, &str))| serde_json::json!({"id": format!("{sequence}-{index}"), "at": at(*second), "price": price, "size": null});
        let ticks: Vec<_> = ticks.iter().enumerate().map(tick).collect();
        let body = serde_json::json!({
            "venue": venue, "symbol": "BTC-USD", "kind": "trade", "source": "live", "received_at": at(0), "ticks": ticks
        });
        let body = body.to_string();
        StoredPage::read(body.as_bytes(), sequence, at(1_000_000), MaxAhead::DEFAULT).expect("a page")
    }

    /// Returns what the history has.
    fn latest(second: i64, sequence: u64, price: &str) -> Latest {
        Latest {
            instrument: 1,
            symbol: symbol(),
            venue: Venue::parse("coinbase").expect("a venue"),
            price: price.parse().expect("a price"),
            at: at(second),
            position: TickPosition { sequence, index: 0 },
            day_ago: None,
            gap_from: None,
        }
    }

    fn day_ago(prices: &[(i64, &str)], until: i64) -> DayAgo {
        let price = |(second, text): &(i64, &str)| (at(second - 86_400), text.parse().expect("a price"));
        DayAgo { prices: prices.iter().map(price).collect(), until: at(until) }
    }

    async fn body(page: Option<Tagged>) -> Option<serde_json::Value> {
        let body = to_bytes(page?.answer(&IfNoneMatch::default()).into_body(), 1 << 20).await.expect("a body");
        Some(serde_json::from_slice(&body).expect("JSON"))
    }

    /// The price, and what it has changed by, of the answer from memory.
    async fn answered(prices: &LatestPrices) -> Option<(String, Option<String>)> {
        let body = body(prices.answer(&symbol())).await?;
        let text = |name: &str| body[name].as_str().map(str::to_owned);
        Some((text("price").expect("a price"), text("change_24h_percent")))
    }

    fn current() -> (LatestPrices, Following) {
        let prices = LatestPrices::default();
        prices.set_current();
        let following = prices.following().expect("the stream is followed");
        (prices, following)
    }

    #[test]
    fn the_change_of_a_tick_is_known_once_it_was_read_for_its_primary_venue() {
        let (prices, following) = current();
        let change = |venue: &str, second: i64| {
            let page = page(venue, 9, &[(second, "110")]);
            let tick = page.ticks().next().expect("a tick");
            prices.day_change(&tick).map(|(percent, since)| (percent.to_string(), since))
        };
        assert_eq!(change("coinbase", 10), None);
        assert_eq!((prices.take_unknown_changes(5), prices.take_unknown_changes(5)), (vec![symbol()], vec![]));
        prices.keep(following, latest(10, 5, "100"), day_ago(&[(0, "50")], 60)).expect("an answer");
        assert_eq!(change("coinbase", 11), Some(("120.0000".to_owned(), at(-86_400))));
        assert_eq!(change("kraken", 11), None, "another venue");
        assert_eq!(prices.take_unknown_changes(5), []);
        assert_eq!(change("coinbase", 61), None, "behind what was read");
        assert_eq!(prices.take_unknown_changes(5), [symbol()]);
    }

    #[tokio::test]
    async fn a_tick_of_the_stream_replaces_the_price_of_the_history_when_it_is_newer() {
        let (prices, following) = current();
        assert_eq!(answered(&prices).await, None, "nobody has asked yet");
        prices.keep(following, latest(10, 5, "100"), day_ago(&[(0, "50")], 60)).expect("an answer");
        assert_eq!(answered(&prices).await, Some(("100".into(), Some("100.0000".into()))));
        for (sequence, venue, ticks, expected) in [
            (6, "coinbase", &[(9, "1")][..], "100"),
            (7, "kraken", &[(20, "2")], "100"),
            (4, "coinbase", &[(10, "3")], "100"),
            (8, "coinbase", &[(10, "101")], "101"),
            (9, "coinbase", &[(12, "102"), (13, "103"), (11, "4")], "103"),
        ] {
            prices.apply(&page(venue, sequence, ticks));
            assert_eq!(answered(&prices).await.map(|(price, _)| price).as_deref(), Some(expected), "{sequence}");
        }
        // A repeat of a page changes nothing.
        prices.apply(&page("coinbase", 8, &[(10, "101")]));
        assert_eq!(answered(&prices).await.map(|(price, _)| price).as_deref(), Some("103"));
    }

    #[tokio::test]
    async fn a_price_that_the_history_does_not_have_yet_is_shown() {
        let (prices, following) = current();
        prices.apply(&page("coinbase", 9, &[(20, "110")]));
        let newest = prices.newest(following, latest(10, 5, "100"));
        assert_eq!((newest.at, newest.price.to_string().as_str()), (at(20), "110"));
        // The stream goes on while the history is read.
        prices.apply(&page("coinbase", 10, &[(30, "120")]));
        let answer = prices.keep(following, newest, day_ago(&[(0, "50")], 60)).expect("an answer");
        assert_eq!(answer.price.to_string(), "110");
        assert_eq!(answered(&prices).await.map(|(price, _)| price).as_deref(), Some("120"));
    }

    #[tokio::test]
    async fn the_change_is_measured_from_the_price_of_a_day_before_or_read_anew() {
        let (prices, following) = current();
        prices.keep(following, latest(10, 5, "100"), day_ago(&[(0, "50"), (15, "200")], 60)).expect("an answer");
        prices.apply(&page("coinbase", 6, &[(15, "100")]));
        assert_eq!(answered(&prices).await, Some(("100".into(), Some("-50.0000".into()))));
        prices.apply(&page("coinbase", 7, &[(60, "100")]));
        assert_eq!(answered(&prices).await, None, "what it is measured from is not known");
        prices.keep(following, latest(60, 7, "100"), day_ago(&[], 120)).expect("an answer");
        assert_eq!(answered(&prices).await, Some(("100".into(), None)));
        prices.forget(&symbol());
        assert_eq!(answered(&prices).await, None);
    }

    #[tokio::test]
    async fn the_gap_of_a_symbol_is_shown_until_it_is_forgotten() {
        let (prices, following) = current();
        let in_gap = || Latest { gap_from: Some(at(9)), ..latest(10, 5, "100") };
        let answer = prices.keep(following, in_gap(), day_ago(&[], 60)).expect("an answer");
        assert_eq!(answer.gap_from, Some(at(9)));
        prices.apply(&page("coinbase", 8, &[(11, "101")]));
        assert_eq!(body(prices.answer(&symbol())).await.expect("a body")["gap"]["from"], serde_json::json!(at(9)));
        prices.forget(&symbol());
        assert_eq!(answered(&prices).await, None);
        // The history was read before the gap was filled.
        prices.keep(following, in_gap(), day_ago(&[], 60)).expect("an answer");
        assert_eq!(answered(&prices).await, None);
        let following = prices.following().expect("the stream is followed");
        prices.keep(following, latest(10, 5, "100"), day_ago(&[], 60)).expect("an answer");
        assert!(body(prices.answer(&symbol())).await.expect("a body")["gap"].is_null());
    }

    #[tokio::test]
    async fn the_list_has_the_answers_about_all_symbols_that_are_quoted() {
        let (prices, following) = current();
        let name = |text: &str| Symbol::parse(text).expect("a symbol");
        let all: BTreeSet<Symbol> = ["SPY", "BTC-USD", "BRK.B"].map(name).into();
        let lines = |after: Option<&str>, limit| {
            let lines = prices.known_lines((after.map(name).as_ref(), limit))?;
            Some(lines.iter().map(|(symbol, answer)| format!("{symbol} {}", answer.is_some())).collect::<Vec<_>>())
        };
        assert_eq!(lines(None, 9), None, "nobody has asked the history which there are");
        prices.keep_quoted(following, all.clone());
        prices.keep(following, latest(10, 5, "100"), day_ago(&[], 60)).expect("an answer");
        assert_eq!(lines(None, 9).expect("lines"), ["BRK.B false", "BTC-USD true", "SPY false"]);
        assert_eq!(lines(None, 2).expect("lines"), ["BRK.B false", "BTC-USD true"]);
        assert_eq!(lines(Some("BTC-USD"), 9).expect("lines"), ["SPY false"]);
        assert_eq!(lines(Some("A"), 1).expect("lines"), ["BRK.B false"]);
        let listed = prices.known_lines((None, 9)).expect("lines").swap_remove(1).1;
        assert_eq!(body(listed).await, body(prices.answer(&symbol())).await);
        // A tick of a symbol of the list changes nothing about it, but for the price.
        prices.apply(&page("coinbase", 6, &[(11, "101")]));
        assert_eq!(lines(Some("BRK.B"), 1).expect("lines"), ["BTC-USD true"]);
        prices.forget(&symbol());
        assert_eq!(lines(Some("BRK.B"), 1).expect("lines"), ["BTC-USD false"]);
    }

    #[test]
    fn the_list_is_that_of_the_history_while_the_stream_has_a_symbol_beside_it() {
        let (prices, following) = current();
        let is_known = || prices.known_lines((None, 9)).is_some();
        prices.keep_quoted(following, BTreeSet::new());
        assert!(is_known());
        prices.apply(&page("coinbase", 6, &[(11, "101")]));
        assert!(!is_known());
        prices.keep_quoted(following, BTreeSet::new());
        assert!(!is_known(), "the history does not have it yet");
        prices.keep_quoted(following, [symbol()].into());
        assert!(is_known());
        prices.clear();
        prices.set_current();
        prices.keep_quoted(following, [symbol()].into());
        assert!(!is_known(), "the history was read before");
    }

    #[tokio::test(start_paused = true)]
    async fn the_history_is_not_asked_again_and_again_which_symbols_there_are() {
        let (prices, following) = current();
        assert!(prices.may_ask());
        assert!(!prices.may_ask(), "somebody asks");
        // There are too many.
        let many = (0..=MOST_SYMBOLS).map(|number| Symbol::parse(&format!("A{number}")).expect("a symbol")).collect();
        prices.keep_quoted(following, many);
        assert!(!prices.may_ask());
        tokio::time::advance(ASK_AGAIN_AFTER).await;
        assert!(prices.may_ask());
        prices.keep_quoted(following, BTreeSet::new());
        // The history does not have the symbol of a tick yet: it is asked at once, and then seldom.
        prices.apply(&page("coinbase", 6, &[(11, "101")]));
        assert!(prices.may_ask());
        prices.keep_quoted(following, BTreeSet::new());
        assert!(!prices.may_ask());
        prices.clear();
        prices.set_current();
        assert!(prices.may_ask(), "it is another reading of the stream");
    }

    #[tokio::test]
    async fn nothing_is_answered_from_memory_while_the_stream_is_not_followed() {
        let (prices, following) = current();
        prices.keep(following, latest(10, 5, "100"), day_ago(&[], 60)).expect("an answer");
        prices.clear();
        assert_eq!((answered(&prices).await, prices.following()), (None, None));
        prices.set_current();
        // The history was read before: a tick may be missing between it and the stream.
        prices.keep(following, latest(10, 5, "100"), day_ago(&[], 60)).expect("an answer");
        assert_eq!(answered(&prices).await, None);
        prices.apply(&page("coinbase", 9, &[(20, "110")]));
        assert_eq!(prices.newest(following, latest(10, 5, "100")).at, at(10));
    }
}
