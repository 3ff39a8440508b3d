//! What is known of each symbol of an API: its last price, and whether the next one is missing. No I/O and no clock.

use std::{collections::BTreeMap, fmt, time::Duration};

use events::{
    Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use market_data::{MaxAhead, SessionCalendar};
use serde_json::Value;
use tracing::{info, warn};

use super::{
    config::{Asked, Fields},
    parse::{FieldError, Quote, quote},
};

/// How long after the close of its exchange an API is still asked, for the price of the close.
const AFTER_CLOSE: Duration = Duration::from_secs(300);

/// The state of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum QuoteState {
    /// New prices arrive as they should.
    Live,
    /// The exchange is closed: no price is expected.
    Closed,
    /// The exchange is open, and no new price has arrived for too long.
    Stale,
    /// The answer has no price of it, or there is no answer.
    Failing(String),
}

impl fmt::Display for QuoteState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Live => f.write_str("live"),
            Self::Closed => f.write_str("its exchange is closed"),
            Self::Stale => f.write_str("stale"),
            Self::Failing(why) => write!(f, "failing: {why}"),
        }
    }
}

/// What is known of the symbols of one API.
pub(super) struct Quotes {
    venue: Venue,
    max_ahead: MaxAhead,
    calendar: Option<SessionCalendar>,
    stale_after: Duration,
    symbols: BTreeMap<Symbol, KnownQuote>,
}

struct KnownQuote {
    last: Option<Quote>,
    /// The time of the last price; before the first one, when the process began.
    fresh_at: Timestamp,
    state: Option<QuoteState>,
}

/// The prices that an answer has.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The new prices, and their ids.
    pub(super) ticks: Vec<(Tick, String)>,
    /// The number of them that have fewer digits than the API wrote.
    pub(super) rounded: u64,
    /// The number of prices whose time is in the future.
    pub(super) ahead: u64,
    /// Why the answer has no price of a symbol.
    pub(super) failures: Vec<(Symbol, FieldError)>,
}

impl Quotes {
    /// Returns symbols of which nothing is known. `began_at` is when the process began to ask.
    pub(super) fn new(
        venue: Venue,
        max_ahead: MaxAhead,
        (calendar, stale_after): (Option<SessionCalendar>, Duration),
        symbols: impl Iterator<Item = Symbol>,
        began_at: Timestamp,
    ) -> Self {
        let known = |symbol| (symbol, KnownQuote { last: None, fresh_at: began_at, state: None });
        Self { venue, max_ahead, calendar, stale_after, symbols: symbols.map(known).collect() }
    }

    /// Returns whether the API is asked now: while its exchange is open, until a moment after the close, and until each symbol
    /// has had a price.
    pub(super) fn is_due(&self, interval: Duration, now: Timestamp) -> bool {
        let Some(calendar) = &self.calendar else { return true };
        let span = i64::try_from(interval.saturating_add(AFTER_CLOSE).as_micros()).unwrap_or(i64::MAX);
        let from = Timestamp::from_micros((now.micros() - span).max(0)).unwrap_or(Timestamp::EPOCH);
        let is_new = self.symbols.values().any(|known| known.last.is_none());
        is_new || calendar.is_open(now) || !calendar.open_time(from, now).is_zero()
    }

    /// Takes an answer. A symbol that it has no price of costs the others nothing.
    pub(super) fn take(&mut self, answer: &Value, fields: &Fields, asked: &[Asked], now: Timestamp) -> Found {
        let mut found = Found::default();
        for asked in asked {
            let Some(known) = self.symbols.get_mut(&asked.symbol) else { continue };
            let quote = match quote(answer, fields, asked) {
                Ok(quote) => quote,
                Err(error) => {
                    known.change(QuoteState::Failing(error.to_string()), &self.venue, &asked.symbol);
                    found.failures.push((asked.symbol.clone(), error));
                    continue;
                }
            };
            let at = quote.at.unwrap_or(now);
            if self.max_ahead.check(at, now).is_err() {
                found.ahead += 1;
                known.change(
                    QuoteState::Failing(format!("its time {at} is in the future")),
                    &self.venue,
                    &asked.symbol,
                );
                continue;
            }
            if matches!(known.state, Some(QuoteState::Failing(_))) {
                known.change(QuoteState::Live, &self.venue, &asked.symbol);
            }
            // A cache that answers with an older price has nothing new, and neither has an answer like the one before.
            let is_older = quote.at.is_some() && known.last.as_ref().is_some_and(|last| last.at > quote.at);
            if is_older || quote.at.is_some() && known.last.as_ref() == Some(&quote) {
                continue;
            }
            known.fresh_at = at;
            found.rounded += u64::from(quote.was_rounded);
            found.ticks.push(tick(&self.venue, &asked.symbol, &quote, at, now));
            known.last = Some(quote);
        }
        found
    }

    /// Notes that the API has nothing new.
    pub(super) fn not_modified(&mut self, fields: &Fields, asked: &[Asked], now: Timestamp) {
        for Asked { symbol, .. } in asked {
            let Some(known) = self.symbols.get_mut(symbol) else { continue };
            if fields.time.is_none() {
                known.fresh_at = now;
            }
            if matches!(known.state, Some(QuoteState::Failing(_))) {
                known.change(QuoteState::Live, &self.venue, symbol);
            }
        }
    }

    /// Notes that a request has failed.
    pub(super) fn failed(&mut self, asked: &[Asked], why: &str) {
        for Asked { symbol, .. } in asked {
            if let Some(known) = self.symbols.get_mut(symbol) {
                known.change(QuoteState::Failing(why.to_owned()), &self.venue, symbol);
            }
        }
    }

    /// Judges which symbols are stale, and which exchanges are closed. Returns which symbols fail, and why; none where none
    /// does. A closed exchange and a quiet market are no failures.
    pub(super) fn judge(&mut self, now: Timestamp) -> Option<String> {
        let mut failures = Vec::new();
        for (symbol, known) in &mut self.symbols {
            if let Some(QuoteState::Failing(why)) = &known.state {
                failures.push(format!("{symbol}: {why}"));
                continue;
            }
            let (is_open, silent) = match &self.calendar {
                Some(calendar) => (calendar.is_open(now), calendar.open_time(known.fresh_at, now)),
                None => {
                    let micros = u64::try_from(now.micros() - known.fresh_at.micros()).unwrap_or(0);
                    (true, Duration::from_micros(micros))
                }
            };
            let state = match (is_open, silent > self.stale_after) {
                (false, _) => QuoteState::Closed,
                (true, true) => QuoteState::Stale,
                (true, false) => QuoteState::Live,
            };
            known.change(state, &self.venue, symbol);
        }
        (!failures.is_empty()).then(|| failures.join("; "))
    }
}

impl KnownQuote {
    fn change(&mut self, state: QuoteState, venue: &Venue, symbol: &Symbol) {
        if self.state.as_ref() == Some(&state) {
            return;
        }
        match state {
            QuoteState::Live | QuoteState::Closed => info!(%venue, %symbol, %state, "a symbol has another state"),
            QuoteState::Stale | QuoteState::Failing(_) => {
                warn!(%venue, %symbol, %state, "a symbol has another state");
            }
        }
        self.state = Some(state);
    }
}

fn tick(venue: &Venue, symbol: &Symbol, quote: &Quote, at: Timestamp, received_at: Timestamp) -> (Tick, String) {
    // An API that says the size or the id of a trade says the last trade; any other one says a price.
    let kind = if quote.size.is_some() || quote.id.is_some() { TickKind::Trade } else { TickKind::Poll };
    let (venue, symbol, price, size) = (venue.clone(), symbol.clone(), quote.price, quote.size);
    let tick = Tick { venue, symbol, price, size, at, received_at, kind, source: TickSource::Live };
    let id = quote.id.clone().unwrap_or_else(|| tick.derived_trade_id());
    (tick, id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn asked() -> Vec<Asked> {
        ["AAPL", "MSFT"]
            .map(|name| Asked { symbol: Symbol::parse(name).expect("a symbol"), name: name.to_owned() })
            .into()
    }

    fn fields(time: Option<&str>) -> Fields {
        Fields {
            items: None,
            item_name: String::new(),
            price: "/{name}/p".to_owned(),
            size: None,
            time: time.map(ToOwned::to_owned),
            time_unit: None,
            id: None,
        }
    }

    fn quotes(calendar: Option<&str>, began_at: Timestamp) -> Quotes {
        let calendar =
            calendar.map(|name| SessionCalendar::parse(&SessionCalendar::known()[name]).expect("a calendar"));
        let venue = Venue::parse("quotes").expect("a venue");
        let freshness = (calendar, Duration::from_secs(300));
        Quotes::new(venue, MaxAhead::DEFAULT, freshness, asked().into_iter().map(|asked| asked.symbol), began_at)
    }

    fn ids(found: &Found) -> Vec<&str> {
        found.ticks.iter().map(|(_, id)| id.as_str()).collect()
    }

    #[test]
    fn a_price_is_published_once_and_one_symbol_costs_the_other_nothing() {
        let (now, fields) = (at("2026-11-27T15:00:00Z"), fields(Some("/{name}/t")));
        let mut quotes = quotes(None, now);
        let answer = json!({ "AAPL": { "p": "261.74", "t": 1_795_791_600 } });
        let found = quotes.take(&answer, &fields, &asked(), now);
        assert_eq!(ids(&found), ["1795791600000000/261.74//0"]);
        assert_eq!((found.ticks[0].0.kind, found.failures.len()), (TickKind::Poll, 1));
        assert_eq!(quotes.judge(now).as_deref(), Some("MSFT: the answer has no price at \"/MSFT/p\""));
        for (price, time, count) in [
            ("261.74", 1_795_791_600, 0),
            ("261.75", 1_795_791_600, 1),
            ("1", 1_795_791_599, 0),
            ("261.75", 1_795_791_601, 1),
        ] {
            let answer = json!({ "AAPL": { "p": price, "t": time }, "MSFT": { "p": 5, "t": time } });
            let found = quotes.take(&answer, &fields, &asked()[..1], now);
            assert_eq!(found.ticks.len(), count, "{price} {time}");
        }
        let answer =
            json!({ "AAPL": { "p": 1, "t": "2099-01-01T00:00:00Z" }, "MSFT": { "p": 5, "t": "2026-11-27T15:00:00Z" } });
        let found = quotes.take(&answer, &fields, &asked(), now);
        assert_eq!((found.ahead, ids(&found)), (1, vec!["1795791600000000/5//0"]));
        assert!(quotes.judge(now).is_some_and(|why| why.starts_with("AAPL: its time 2099")));
    }

    #[test]
    fn a_price_without_a_time_is_that_of_the_moment() {
        let (now, later, fields) = (at("2026-11-27T15:00:00Z"), at("2026-11-27T15:01:00Z"), fields(None));
        let mut quotes = quotes(None, now);
        let answer = json!({ "AAPL": { "p": 5 }, "MSFT": { "p": 5 } });
        assert_eq!(quotes.take(&answer, &fields, &asked(), now).ticks.len(), 2);
        assert_eq!(ids(&quotes.take(&answer, &fields, &asked()[..1], later)), ["1795791660000000/5//0"]);
    }

    #[test]
    fn a_closed_exchange_is_not_stale_and_an_open_one_is() {
        let closed_on_friday = at("2026-11-27T18:00:00Z");
        let fields = fields(Some("/{name}/t"));
        let mut quotes = quotes(Some("nyse"), closed_on_friday);
        let answer =
            json!({ "AAPL": { "p": 5, "t": "2026-11-27T17:59:00Z" }, "MSFT": { "p": 5, "t": "2026-11-27T17:59:00Z" } });
        assert_eq!(quotes.take(&answer, &fields, &asked(), closed_on_friday).ticks.len(), 2);
        let state = |quotes: &mut Quotes, now: &str| {
            assert_eq!(quotes.judge(at(now)), None, "{now}");
            quotes.symbols.values().map(|known| known.state.clone().expect("a state")).next().expect("a symbol")
        };
        for (now, expected) in [
            ("2026-11-27T18:01:00Z", QuoteState::Closed),
            ("2026-11-28T15:00:00Z", QuoteState::Closed),
            ("2026-11-30T14:30:00Z", QuoteState::Live),
            ("2026-11-30T14:33:59Z", QuoteState::Live),
            ("2026-11-30T14:34:01Z", QuoteState::Stale),
        ] {
            assert_eq!(state(&mut quotes, now), expected, "{now}");
        }
        quotes.not_modified(&fields, &asked(), at("2026-11-30T14:35:00Z"));
        assert_eq!(state(&mut quotes, "2026-11-30T14:35:00Z"), QuoteState::Stale, "the API still has Friday's price");
    }

    #[test]
    fn an_api_is_asked_while_its_exchange_is_open_and_a_moment_longer() {
        let began = at("2026-11-28T15:00:00Z");
        let mut quotes = quotes(Some("nyse"), began);
        let minute = Duration::from_secs(60);
        assert!(quotes.is_due(minute, began), "there is no price yet");
        let answer = json!({ "AAPL": { "p": 5 }, "MSFT": { "p": 5 } });
        quotes.take(&answer, &fields(None), &asked(), began);
        for (now, is_due) in [
            ("2026-11-28T15:01:00Z", false),
            ("2026-11-30T14:29:59Z", false),
            ("2026-11-30T14:30:00Z", true),
            ("2026-11-30T21:05:59Z", true),
            ("2026-11-30T21:06:01Z", false),
        ] {
            assert_eq!(quotes.is_due(minute, at(now)), is_due, "{now}");
        }
    }

    #[test]
    fn a_request_that_fails_is_named_until_the_next_answer() {
        let (now, fields) = (at("2026-11-27T15:00:00Z"), fields(None));
        let mut quotes = quotes(None, now);
        quotes.failed(&asked(), "the API did not answer");
        assert_eq!(quotes.judge(now).as_deref(), Some("AAPL: the API did not answer; MSFT: the API did not answer"));
        quotes.not_modified(&fields, &asked(), now);
        assert_eq!(quotes.judge(now), None);
    }
}
