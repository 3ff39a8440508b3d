//! What the gateway reads from streams: ticks, for the latest prices, candles that late ticks have changed, and gaps.

use std::{convert::Infallible, time::Duration};

use events::{CandleClosed, FeedGap};
use futures::{StreamExt, stream::BoxStream};
use market_data::MaxAhead;
use platform::{
    Broker, Message, ServiceError, StreamPosition,
    broker::{stream_follow, stream_position, stream_scan},
    runtime::{backoff::backoff, error::error_chain},
};
use store::{Store, consumer::position};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::{
    live::{channel::Source, cursor::SourcePosition, event, hub::Hub},
    market::{candle_pages::CandlePages, latest_prices::LatestPrices},
};

const TICKS: (&str, &str) = ("TICKS", "ticks.>");
/// The consumer of the history, behind whose position the stream is read.
const HISTORY: &str = "history-writer";

/// The time without a connection after which prices are those of the history: other gateways and the history-writer may go on.
const LOST_AFTER: Duration = Duration::from_millis(500);

/// What is kept in memory.
pub(crate) struct Memory<'a> {
    pub(crate) prices: &'a LatestPrices,
    pub(crate) candle_pages: &'a CandlePages,
    pub(crate) max_ahead: MaxAhead,
    /// Live clients get what is read here.
    pub(crate) hub: &'a Hub,
}

impl Memory<'_> {
    /// Keeps the memory current for ever. While the broker is away, the prices are those of the history.
    pub(crate) async fn follow(&self, broker: &Broker, store: &Store) -> Infallible {
        let lost = || ServiceError::transient("follow the ticks", "the connection to the broker was lost");
        let mut waits = backoff();
        loop {
            broker.connected().await;
            let began = Instant::now();
            let ended = tokio::select! {
                ended = self.follow_connection(broker, store) => ended,
                () = broker.reconnected() => Err(lost()),
                () = broker.disconnected_for(LOST_AFTER) => Err(lost()),
            };
            self.prices.clear();
            let Err(error) = ended;
            let wait = waits.next().unwrap_or_default();
            if began.elapsed() > wait {
                waits = backoff();
            }
            warn!(
                error = error_chain(&error),
                "the latest prices are those of the history until ticks can be followed again"
            );
            sleep(wait).await;
        }
    }

    /// Reads the ticks that the history lacks, and then those that come.
    async fn follow_connection(&self, broker: &Broker, store: &Store) -> Result<Infallible, ServiceError> {
        let history = position::read(store, HISTORY).await?;
        let mut candles = self.follow_live(broker, Source::Candles).await?;
        let mut gaps = self.follow_live(broker, Source::Feeds).await?;
        let live = position_of(self.hub.begin(Source::Ticks, stream_position::bounds(broker, TICKS.0).await?));
        // Both the history and the live clients may lack ticks.
        let is_same = |history: &StreamPosition| history.stream_created == live.stream_created;
        let behind =
            history.map(|history| if is_same(&history) && live.sequence < history.sequence { live } else { history });
        let mut ticks = stream_follow::follow_behind(broker, TICKS.0, TICKS.1, behind).await?;
        let last = stream_scan::last_sequence(broker, TICKS.0, TICKS.1).await?;
        let mut is_current = last.is_none();
        if is_current {
            self.prices.set_current();
        }
        let ended = |stream: &str| ServiceError::transient(format!("read stream {stream}"), "it ended");
        loop {
            tokio::select! {
                message = ticks.next() => {
                    let message = message.ok_or_else(|| ended(TICKS.0))??;
                    self.apply_ticks(&message);
                    if !is_current && last.is_none_or(|last| message.sequence >= last) {
                        is_current = true;
                        self.prices.set_current();
                    }
                }
                message = candles.next() => self.apply_candle(&message.ok_or_else(|| ended(Source::Candles.stream()))??),
                message = gaps.next() => self.apply_gap(&message.ok_or_else(|| ended(Source::Feeds.stream()))??),
            }
        }
    }

    /// Reads a stream from where the live clients have been served.
    async fn follow_live(
        &self,
        broker: &Broker,
        source: Source,
    ) -> Result<BoxStream<'static, Result<Message, ServiceError>>, ServiceError> {
        let begins = self.hub.begin(source, stream_position::bounds(broker, source.stream()).await?);
        stream_follow::follow_behind(broker, source.stream(), source.subjects(), Some(position_of(begins))).await
    }

    /// A message that cannot be read is given up by the history-writer, and so are the ticks that nobody may use.
    fn apply_ticks(&self, message: &Message) {
        let (sequence, stored_at) = (message.sequence, message.stored_at);
        match event::page(message, self.max_ahead) {
            Ok(page) => {
                self.prices.apply(&page);
                self.hub.publish_page(&page, sequence, stored_at);
            }
            Err(error) => {
                self.hub.skip(Source::Ticks, sequence);
                debug!(sequence, %error, "skipped a message that is no page of ticks");
            }
        }
    }

    fn apply_candle(&self, message: &Message) {
        self.hub.publish_message(Source::Candles, message);
        match message.event::<CandleClosed>() {
            Ok(candle) if candle.revision > 0 => {
                let CandleClosed { venue, symbol, interval, start, .. } = candle;
                self.prices.forget(&symbol);
                self.candle_pages.drop_changed(&(symbol, venue), interval, start);
            }
            Ok(_) => {}
            Err(error) => debug!(sequence = message.sequence, %error, "skipped a message that is no candle"),
        }
    }

    /// What is known of a gap is in the database when it is published.
    fn apply_gap(&self, message: &Message) {
        self.hub.publish_message(Source::Feeds, message);
        match message.event::<FeedGap>() {
            Ok(gap) => self.prices.forget(&gap.symbol),
            Err(error) => debug!(sequence = message.sequence, %error, "skipped a message that is no gap"),
        }
    }
}

fn position_of(SourcePosition { created, position }: SourcePosition) -> StreamPosition {
    StreamPosition { stream_created: created, sequence: position.sequence, stored_at: None }
}
