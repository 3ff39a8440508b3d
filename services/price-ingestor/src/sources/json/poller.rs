//! The requests of one API, and what becomes of their answers.

use events::Venue;
use market_data::MaxAhead;
use platform::{ServiceError, clock, runtime::error::error_chain};
use tracing::warn;

use super::{
    client::{Answer, Client, RequestError},
    config::JsonConfig,
    quotes::{Found, Quotes},
};
use crate::sources::exchange::feed::BadMessage;

/// Polls one API.
pub(super) struct Poller {
    pub(super) quotes: Quotes,
    venue: Venue,
    config: JsonConfig,
    client: Client,
}

/// The outcome of a request.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// The new prices.
    pub(super) found: Found,
    /// The answer, where it cannot be read or has no price of a symbol.
    pub(super) bad: Option<BadMessage>,
    /// Whether the API wants to be left alone.
    pub(super) is_limited: bool,
}

impl Poller {
    /// Reads the keys and returns a poller that has asked nothing yet.
    pub(super) fn new(venue: Venue, config: JsonConfig, max_ahead: MaxAhead) -> Result<Self, ServiceError> {
        let headers = config.headers().map_err(|error| ServiceError::permanent("read the keys of an API", error))?;
        let Some((base, _)) = config.requests.first() else {
            return Err(ServiceError::permanent("poll an API", "it has no symbols"));
        };
        let client = Client::new(base, headers, config.spacing, config.timeout)?;
        let symbols = config.requests.iter().flat_map(|(_, asked)| asked).map(|asked| asked.symbol.clone());
        let freshness = (config.calendar.clone(), config.stale_after);
        let quotes = Quotes::new(venue.clone(), max_ahead, freshness, symbols, clock::now());
        // Registers the counter at zero: `increase()` does not see the step from no counter to one.
        failure_counter(&venue).increment(0);
        Ok(Self { quotes, venue, config, client })
    }

    /// Returns the number of requests of a round.
    pub(super) fn requests(&self) -> usize {
        self.config.requests.len()
    }

    /// Makes a request of the round.
    pub(super) async fn ask(&mut self, request: usize) -> Answered {
        let Some((url, asked)) = self.config.requests.get(request) else { return Answered::default() };
        let body = match self.client.get(url).await {
            Ok(Answer::Body(body)) => body,
            Ok(Answer::NotModified) => {
                self.quotes.not_modified(&self.config.fields, asked, clock::now());
                return Answered::default();
            }
            Err(error) => {
                let why = error_chain(&error);
                warn!(venue = %self.venue, error = why, "a request for prices has failed");
                failure_counter(&self.venue).increment(1);
                let is_limited = matches!(error, RequestError::Limited(..));
                let failed = if is_limited {
                    &self.config.requests[request..]
                } else {
                    &self.config.requests[request..=request]
                };
                failed.iter().for_each(|(_, asked)| self.quotes.failed(asked, &why));
                return Answered { is_limited, ..Answered::default() };
            }
        };
        let answer = match serde_json::from_slice(&body) {
            Ok(answer) => answer,
            Err(error) => {
                self.client.forget(url);
                let why = format!("the answer is no JSON: {error}");
                self.quotes.failed(asked, &why);
                return Answered { bad: Some(BadMessage::new(&body, why)), ..Answered::default() };
            }
        };
        let found = self.quotes.take(&answer, &self.config.fields, asked, clock::now());
        let bad = found.failures.first().map(|(symbol, error)| {
            self.client.forget(url);
            BadMessage::new(&body, format!("{symbol}: {error}"))
        });
        Answered { found, bad, is_limited: false }
    }
}

fn failure_counter(venue: &Venue) -> metrics::Counter {
    metrics::counter!("tickbell_poll_failures_total", "coin" => venue.to_string())
}
