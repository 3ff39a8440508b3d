//! `tickbell feeds`: the symbols that are followed at exchanges.

use clap::{Args, Subcommand};
use events::{Symbol, Venue};
use serde_json::json;
use store::feeds::{
    followed::{self, AddedFeed, DesiredState},
    status::{self, FeedStatus},
};

use crate::{
    commands::connect::{settings, store},
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::{eprint, print, print_table},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List what is followed: the state of each symbol, its last trade, and what is missing of it
    List(OutputOptions),
    /// Follow a symbol that the exchange lists
    Add(Feed),
    /// Do not follow a symbol any more; what is missing of it stays missing
    Remove(Feed),
    /// Do not follow a symbol for now; what happens meanwhile is fetched when it is resumed
    Pause(Feed),
    /// Follow a symbol again that was paused
    Resume(Feed),
}

/// One symbol at one exchange.
#[derive(Debug, Args)]
pub(crate) struct Feed {
    /// Name of the exchange, like coinbase
    #[arg(value_parser = |text: &str| Venue::parse(text))]
    venue: Venue,
    /// Symbol, like BTC-USD
    #[arg(value_parser = |text: &str| Symbol::from_spelling(text))]
    symbol: Symbol,
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let store = store(&settings(options)?).await?;
    match command {
        Command::List(output) => {
            list(&status::list(&store, None).await?, &output);
            Ok(Exit::Done)
        }
        Command::Add(Feed { venue, symbol }) => {
            let added = followed::add(&store, &venue, &symbol).await?;
            Ok(say_added(&venue, &symbol, &added))
        }
        Command::Remove(Feed { venue, symbol }) => {
            let was_there = followed::remove(&store, &venue, &symbol).await?;
            Ok(say(&venue, &symbol, "is not followed any more", was_there))
        }
        Command::Pause(Feed { venue, symbol }) => {
            let is_there = followed::set(&store, &venue, &symbol, DesiredState::Paused).await?;
            Ok(say(&venue, &symbol, "is paused", is_there))
        }
        Command::Resume(Feed { venue, symbol }) => {
            let is_there = followed::set(&store, &venue, &symbol, DesiredState::Followed).await?;
            Ok(say(&venue, &symbol, "is followed again", is_there))
        }
    }
}

fn say_added(venue: &Venue, symbol: &Symbol, added: &AddedFeed) -> Exit {
    match added {
        AddedFeed::New => print(&format!("{symbol} at {venue} is followed from now on.")),
        AddedFeed::Known => print(&format!("{symbol} at {venue} was added before.")),
        AddedFeed::UnknownVenue(_) | AddedFeed::NotListed(_) => {
            if let Some(refusal) = added.refusal(venue, symbol) {
                eprint(&refusal);
            }
            return Exit::Failed;
        }
    }
    Exit::Done
}

fn say(venue: &Venue, symbol: &Symbol, what: &str, is_there: bool) -> Exit {
    if !is_there {
        eprint(&format!("{symbol} at {venue} is not followed; `tickbell feeds list` shows what is."));
        return Exit::Failed;
    }
    print(&format!("{symbol} at {venue} {what}."));
    Exit::Done
}

fn list(feeds: &[FeedStatus], OutputOptions { json }: &OutputOptions) {
    if *json {
        let items: Vec<_> = feeds
            .iter()
            .map(|feed| {
                json!({
                    "venue": feed.venue, "symbol": feed.symbol, "state": feed.state().as_str(), "detail": feed.detail(),
                    "last_trade_at": feed.last_trade_at, "trades_per_minute": feed.trades_per_minute,
                    "open_gaps": feed.open_gaps, "gap_from": feed.gap_from,
                })
            })
            .collect();
        return print(&json!({ "items": items }).to_string());
    }
    if feeds.is_empty() {
        return print("No symbol is followed at an exchange.");
    }
    let rows = feeds.iter().map(|feed| {
        let last = feed.last_trade_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
        let gaps = feed.gap_from.map_or_else(|| "-".to_owned(), |from| format!("{} since {from}", feed.open_gaps));
        let state = feed
            .detail()
            .map_or_else(|| feed.state().as_str().to_owned(), |detail| format!("{}: {detail}", feed.state().as_str()));
        [feed.venue.to_string(), feed.symbol.to_string(), last, feed.trades_per_minute.to_string(), gaps, state]
    });
    print_table(&["VENUE", "SYMBOL", "LAST TRADE", "TRADES/MIN", "OPEN GAPS", "STATE"], &rows.collect::<Vec<_>>());
}
