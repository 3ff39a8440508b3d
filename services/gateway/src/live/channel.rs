//! The channels that clients subscribe to, and the streams of the broker that they come from. No I/O.

use std::{fmt, str::FromStr};

use events::Interval;

/// A stream of the broker that the gateway reads. A cursor has a position of each that its connection reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    Ticks,
    Candles,
    Feeds,
    Alerts,
    Trades,
    Deliveries,
}

impl Source {
    /// Every source; a source stands at the place of its [`Source::index`].
    pub(crate) const ALL: [Self; 6] =
        [Self::Ticks, Self::Candles, Self::Feeds, Self::Alerts, Self::Trades, Self::Deliveries];

    /// Returns the name of the stream.
    pub(crate) fn stream(self) -> &'static str {
        match self {
            Self::Ticks => "TICKS",
            Self::Candles => "CANDLES",
            Self::Feeds => "FEEDS",
            Self::Alerts => "ALERTS",
            Self::Trades => "TRADES",
            Self::Deliveries => "DELIVERIES",
        }
    }

    /// Returns the subjects of the stream.
    pub(crate) fn subjects(self) -> &'static str {
        match self {
            Self::Ticks => "ticks.>",
            Self::Candles => "candles.>",
            Self::Feeds => "feeds.>",
            Self::Alerts => "alerts.>",
            Self::Trades => "trades.>",
            Self::Deliveries => "deliveries.>",
        }
    }

    /// Returns the place of the source in an array of all.
    pub(crate) fn index(self) -> usize {
        self as usize
    }
}

/// What a client may subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Channel {
    /// The ticks of every venue.
    Prices,
    /// The candles of one width that have closed, or that a late tick has changed after that.
    Candles(Interval),
    /// The states of the gaps of feeds.
    Gaps,
    /// The firings of the user's alerts, or of one alert.
    Firings,
    /// The changes of the user's orders.
    Orders,
    /// The user's trades.
    Trades,
    /// The outcomes of attempts at the user's deliveries.
    Deliveries,
}

/// Whom the events of a channel are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Audience {
    Public,
    Owner,
}

impl Channel {
    /// Returns the word before a colon.
    fn word(self) -> &'static str {
        match self {
            Self::Prices => "prices",
            Self::Candles(_) => "candles",
            Self::Gaps => "gaps",
            Self::Firings => "firings",
            Self::Orders => "orders",
            Self::Trades => "trades",
            Self::Deliveries => "deliveries",
        }
    }

    /// Returns the stream that the events of the channel come from.
    pub(crate) fn source(self) -> Source {
        match self {
            Self::Prices => Source::Ticks,
            Self::Candles(_) => Source::Candles,
            Self::Gaps => Source::Feeds,
            Self::Firings => Source::Alerts,
            Self::Orders | Self::Trades => Source::Trades,
            Self::Deliveries => Source::Deliveries,
        }
    }

    /// Returns whom the events of the channel are for.
    pub(crate) fn audience(self) -> Audience {
        match self {
            Self::Prices | Self::Candles(_) | Self::Gaps => Audience::Public,
            Self::Firings | Self::Orders | Self::Trades | Self::Deliveries => Audience::Owner,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Candles(interval) => write!(f, "candles:{interval}"),
            _ => f.write_str(self.word()),
        }
    }
}

/// Text that is no channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be one of prices, candles:INTERVAL with 1m, 5m, 15m, 1h, 4h or 1d, gaps, firings, orders, trades and deliveries"
)]
pub(crate) struct UnknownChannel;

impl FromStr for Channel {
    type Err = UnknownChannel;
    fn from_str(text: &str) -> Result<Self, UnknownChannel> {
        if let Some(interval) = text.strip_prefix("candles:") {
            return interval.parse().map(Self::Candles).map_err(|_| UnknownChannel);
        }
        let plain = [Self::Prices, Self::Gaps, Self::Firings, Self::Orders, Self::Trades, Self::Deliveries];
        plain.into_iter().find(|channel| channel.word() == text).ok_or(UnknownChannel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_read_as_it_is_written() {
        for text in ["prices", "candles:1m", "candles:1d", "gaps", "firings", "orders", "trades", "deliveries"] {
            assert_eq!(text.parse::<Channel>().map(|channel| channel.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "candles", "candles:", "candles:2m", "Prices", "prices ", "dlq"] {
            assert_eq!(bad.parse::<Channel>(), Err(UnknownChannel), "{bad:?}");
        }
    }

    #[test]
    fn a_source_stands_at_its_index() {
        assert!(Source::ALL.iter().enumerate().all(|(index, source)| source.index() == index));
    }
}
