//! What a client wants to see, and what it may see. No I/O.

use events::Symbol;
use uuid::Uuid;

use crate::live::{
    channel::{Audience, Channel, Source},
    event::{LiveEvent, Owner},
    queue::Conflation,
};

/// What a client wants to see, and what it may see.
#[derive(Debug, Clone)]
pub(crate) struct Interest {
    /// The channels, each once. Those with an owner need a [`Viewer`] that is not [`Viewer::Anonymous`].
    pub(crate) channels: Vec<Channel>,
    /// The symbols; none means all.
    pub(crate) symbols: Option<Vec<Symbol>>,
    pub(crate) viewer: Viewer,
    pub(crate) conflation: Conflation,
}

/// On whose behalf a client sees events that are not for everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Viewer {
    Anonymous,
    User(Uuid),
    /// Whoever has the manage token of a rule sees its firings.
    Rule(Uuid),
}

impl Interest {
    /// Returns whether an event is among what the client wants and may see.
    pub(crate) fn includes(&self, event: &LiveEvent) -> bool {
        self.channels.contains(&event.channel) && self.includes_symbol(event.symbol.as_ref()) && self.may_see(event)
    }

    /// Returns the streams that the channels come from, each once.
    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        let reads = move |source: &Source| self.channels.iter().any(|channel| channel.source() == *source);
        Source::ALL.into_iter().filter(reads)
    }

    /// An event without a symbol is for all symbols.
    fn includes_symbol(&self, symbol: Option<&Symbol>) -> bool {
        match (&self.symbols, symbol) {
            (Some(symbols), Some(symbol)) => symbols.contains(symbol),
            _ => true,
        }
    }

    fn may_see(&self, event: &LiveEvent) -> bool {
        match (event.channel.audience(), event.owner, self.viewer) {
            (Audience::Public, None, _) => true,
            (Audience::Owner, Some(Owner { user: Some(owner), .. }), Viewer::User(user)) => owner == user,
            (Audience::Owner, Some(Owner { about: Some(about), .. }), Viewer::Rule(rule)) => {
                event.channel == Channel::Firings && about == rule
            }
            _ => false,
        }
    }

    /// Returns the keys under which the hub finds the client. No event has two keys of one client.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        for channel in &self.channels {
            match (channel.audience(), self.viewer, &self.symbols) {
                (Audience::Public, _, None) => keys.push(Key::All(*channel)),
                (Audience::Public, _, Some(symbols)) => {
                    keys.extend(symbols.iter().map(|symbol| Key::Symbol(*channel, symbol.clone())));
                }
                (Audience::Owner, Viewer::User(user), _) => keys.push(Key::User(*channel, user)),
                (Audience::Owner, Viewer::Rule(rule), _) => keys.push(Key::Rule(*channel, rule)),
                (Audience::Owner, Viewer::Anonymous, _) => {}
            }
        }
        keys
    }
}

/// Where the hub finds the clients of an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Key {
    All(Channel),
    Symbol(Channel, Symbol),
    User(Channel, Uuid),
    Rule(Channel, Uuid),
}

impl Key {
    /// Returns the keys of an event.
    pub(super) fn of(event: &LiveEvent) -> impl Iterator<Item = Self> {
        let channel = event.channel;
        let (keys, owner_keys) = match event.owner {
            None => {
                let symbol = event.symbol.clone().map(|symbol| Self::Symbol(channel, symbol));
                ([Some(Self::All(channel)), symbol], [None, None])
            }
            Some(Owner { user, about }) => {
                let user = user.map(|user| Self::User(channel, user));
                ([None, None], [user, about.map(|rule| Self::Rule(channel, rule))])
            }
        };
        keys.into_iter().chain(owner_keys).flatten()
    }
}

#[cfg(test)]
mod tests {
    use events::Timestamp;

    use super::*;
    use crate::live::cursor::Position;

    const CHANNELS: [Channel; 6] =
        [Channel::Prices, Channel::Gaps, Channel::Firings, Channel::Orders, Channel::Trades, Channel::Deliveries];

    fn id(number: u128) -> Uuid {
        Uuid::from_u128(number)
    }

    fn event(channel: Channel, symbol: &str, owner: Option<Owner>) -> LiveEvent {
        LiveEvent {
            source: channel.source(),
            position: Position::end_of(1),
            channel,
            symbol: Symbol::parse(symbol).ok(),
            owner,
            stored_at: Timestamp::EPOCH,
            tick: None,
            json: "{}".into(),
        }
    }

    fn interest(viewer: Viewer, symbols: Option<&[&str]>) -> Interest {
        let parse = |symbol: &&str| Symbol::parse(symbol).expect("a symbol");
        let symbols = symbols.map(|symbols| symbols.iter().map(parse).collect());
        Interest { channels: CHANNELS.to_vec(), symbols, viewer, conflation: Conflation::Off }
    }

    /// Returns whether the hub finds the client by the event, and whether the client then gets it. Where it gets it, it must be
    /// found, and only once.
    fn gets(interest: &Interest, event: &LiveEvent) -> bool {
        let keys = interest.keys();
        let found = Key::of(event).filter(|key| keys.contains(key)).count();
        let includes = interest.includes(event);
        assert!(found <= 1 && (found == 1 || !includes), "found {found} times: {event:?}");
        found == 1 && includes
    }

    #[test]
    fn what_belongs_to_somebody_is_seen_by_nobody_else() {
        let (ada, bob, rule, other) = (id(1), id(2), id(3), id(4));
        let owner = |user, about| Some(Owner { user, about });
        let viewers =
            [Viewer::Anonymous, Viewer::User(ada), Viewer::User(bob), Viewer::Rule(rule), Viewer::Rule(other)];
        for channel in CHANNELS {
            let is_public = channel.audience() == Audience::Public;
            let is_firing = channel == Channel::Firings;
            for (owner, expected) in [
                (None, [is_public; 5]),
                (owner(Some(ada), None), [false, !is_public, false, false, false]),
                (owner(Some(ada), Some(rule)), [false, !is_public, false, is_firing, false]),
                (owner(None, Some(rule)), [false, false, false, is_firing, false]),
                (owner(None, None), [false; 5]),
            ] {
                let event = event(channel, "BTC-USD", owner);
                let seen = viewers.map(|viewer| gets(&interest(viewer, None), &event));
                assert_eq!(seen, expected, "{channel} {owner:?}");
            }
        }
    }

    #[test]
    fn a_symbol_restricts_what_has_one() {
        let ada = Viewer::User(id(1));
        let owner = Some(Owner { user: Some(id(1)), about: None });
        for (symbols, price, trade) in
            [(None, true, true), (Some(&["BTC-USD", "SPY"][..]), true, true), (Some(&["SPY"]), false, false)]
        {
            let interest = interest(ada, symbols);
            assert_eq!(gets(&interest, &event(Channel::Prices, "BTC-USD", None)), price);
            assert_eq!(gets(&interest, &event(Channel::Trades, "BTC-USD", owner)), trade);
            assert!(gets(&interest, &event(Channel::Deliveries, "", owner)), "a delivery has no symbol");
        }
    }

    #[test]
    fn each_stream_is_read_once() {
        let sources: Vec<Source> = interest(Viewer::Anonymous, None).sources().collect();
        assert_eq!(sources, [Source::Ticks, Source::Feeds, Source::Alerts, Source::Trades, Source::Deliveries]);
    }
}
