//! What becomes of a gap while the REST API answers with what is of no use.

use std::time::Duration;

use events::Symbol;
use price_ingestor::sources::exchange::{
    continuity::GapState,
    feed::{Checkpoints, FeedChange, Timing},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    following::{self, Following},
    market::MarketTrade,
    output::Output,
    server::{Command, Rest, Server},
    venues::{Protocol, SYMBOLS},
};

const DEADLINE: Duration = Duration::from_secs(20);
const PROTOCOL: Protocol = Protocol::Coinbase;

/// Returns waits that end no connection by themselves, however slow the machine is.
fn timing() -> Timing {
    let never = 2 * DEADLINE;
    Timing { connect_timeout: never, answer_timeout: never, silence: never, ..following::timing() }
}

/// A feed whose connection has lost the trades 1003 and 1004.
struct Gap {
    server: Server,
    tasks: JoinSet<()>,
    feed: Following,
    output: Output,
}

impl Gap {
    async fn open(rest: Rest, timing: Timing) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut tasks = JoinSet::new();
        let server = Server::start(PROTOCOL, &mut tasks).await;
        let feed = Following::start(PROTOCOL, &server, timing, Checkpoints::new());
        let mut gap = Self { server, tasks, feed, output: Output::default() };
        gap.wait_until("it is subscribed", |gap| gap.server.is_subscribed(SYMBOLS[0])).await;
        gap.server.set_rest(rest);
        let at = platform::clock::now().micros() - 3_600_000_000;
        let trades: Vec<_> = (0..6).map(|number| gap.trade(at + number)).collect();
        gap.server.send(SYMBOLS[0], &[&trades[..3], &trades[5..]].concat()).await;
        // Where it ends at once, it is open at no time at which somebody looks.
        gap.wait_until("there is a gap", |gap| gap.output.lives.values().any(|life| !life.reports.is_empty())).await;
        gap
    }

    fn trade(&self, at: i64) -> MarketTrade {
        self.server.market(|market| market.trade(SYMBOLS[0], at))
    }

    async fn wait_until(&mut self, what: &str, is_met: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !is_met(self) {
            assert!(Instant::now() < deadline, "not after {DEADLINE:?}: {what}");
            self.feed.receive_until(Instant::now() + Duration::from_millis(5), &mut self.output).await;
        }
    }

    /// Sends a trade of another symbol, and waits until it has come out.
    async fn send_other(&mut self) {
        self.wait_until("the other symbol is subscribed", |gap| gap.server.is_subscribed(SYMBOLS[1])).await;
        let at = platform::clock::now().micros() - 3_600_000_000;
        let trade = self.server.market(|market| market.trade(SYMBOLS[1], at));
        self.server.send(SYMBOLS[1], std::slice::from_ref(&trade)).await;
        self.wait_until("it has come out", |gap| gap.output.published(SYMBOLS[1]).contains(&trade.id)).await;
    }

    /// Asserts that all trades come out, and that the gap ends as filled.
    async fn assert_filled(mut self) {
        self.wait_until("all is filled in", |gap| gap.output.open_gaps().is_empty()).await;
        let mut published = self.output.published(SYMBOLS[0]).to_vec();
        published.sort_unstable();
        assert_eq!(published, [1_000, 1_001, 1_002, 1_003, 1_004, 1_005]);
        assert_eq!(self.end().await, [GapState::Open, GapState::Filling, GapState::Filled]);
    }

    async fn end(mut self) -> Vec<GapState> {
        self.feed.stop(&mut self.output).await;
        self.tasks.shutdown().await;
        self.output.lives.into_values().flat_map(|life| life.reports).map(|report| report.state).collect()
    }
}

#[tokio::test]
async fn a_gap_is_asked_for_until_the_venue_is_of_use_again() {
    for rest in [Rest::NoJson, Rest::Forbidden, Rest::Down, Rest::TooMany] {
        let mut gap = Gap::open(rest, timing()).await;
        gap.wait_until("the venue was asked often", |gap| gap.server.requests() > 20).await;
        gap.server.set_rest(Rest::Up);
        gap.assert_filled().await;
    }
}

#[tokio::test]
async fn a_gap_is_asked_for_until_the_rest_api_has_the_newest_trades() {
    // It is behind for longer than a few requests take.
    let timing = Timing { incomplete_answers: DEADLINE, ..timing() };
    let gap = Gap::open(Rest::Behind(Duration::from_millis(500)), timing).await;
    let server = gap.server.clone();
    gap.assert_filled().await;
    assert!(server.requests() > 4, "{} requests", server.requests());
}

#[tokio::test]
async fn a_gap_ends_when_the_rest_api_has_not_offered_a_trade_for_long() {
    let timing = Timing { incomplete_answers: Duration::from_millis(400), ..timing() };
    let begun = Instant::now();
    let mut gap = Gap::open(Rest::Behind(2 * DEADLINE), timing).await;
    gap.wait_until("it is given up", |gap| gap.output.open_gaps().is_empty()).await;
    // The waits grow, so that not more than the first, the four of 75 ms and those of the longest wait fit.
    let requests = gap.server.requests();
    assert!(begun.elapsed() >= Duration::from_millis(400) && (3..=14).contains(&requests), "{requests} requests");
    assert_eq!(gap.end().await, [GapState::Open, GapState::Filling, GapState::Unfillable]);
}

#[tokio::test]
async fn a_gap_is_filled_while_an_earlier_one_lacks_a_trade() {
    let timing = Timing { incomplete_answers: 2 * DEADLINE, ..timing() };
    let mut gap = Gap::open(Rest::Down, timing).await;
    gap.server.market(|market| market.not_offered.insert(SYMBOLS[0].to_owned(), vec![1_003]));
    gap.server.set_rest(Rest::Up);
    gap.wait_until("the first gap was asked for", |gap| gap.output.published(SYMBOLS[0]).contains(&1_004)).await;
    let at = platform::clock::now().micros() - 3_600_000_000 + 10;
    let trades = [gap.trade(at), gap.trade(at + 1)];
    gap.server.send(SYMBOLS[0], &trades[1..]).await;
    gap.wait_until("the next gap is filled", |gap| gap.output.published(SYMBOLS[0]).contains(&1_006)).await;
    gap.wait_until("only the first gap is open", |gap| gap.output.open_gaps().len() == 1).await;
    gap.end().await;
}

#[tokio::test]
async fn a_gap_without_an_end_is_asked_for_once_where_the_venue_has_no_past_trades() {
    let mut gap = Gap::open(Rest::NotFound, timing()).await;
    gap.wait_until("it is given up", |gap| gap.output.open_gaps().is_empty()).await;
    gap.server.command(&Command::Close).await;
    gap.wait_until("the gap has no end", |gap| !gap.output.open_gaps().is_empty()).await;
    gap.wait_until("it is asked for", |gap| gap.server.requests() == 2).await;
    for _ in 0..20 {
        gap.send_other().await;
    }
    assert_eq!(gap.server.requests(), 2);
    let at = platform::clock::now().micros() - 3_600_000_000 + 10;
    let trade = gap.trade(at);
    gap.server.send(SYMBOLS[0], &[trade]).await;
    gap.wait_until("the next trade ends it", |gap| gap.output.open_gaps().is_empty()).await;
    let expected = [GapState::Open, GapState::Filling, GapState::Unfillable, GapState::Open, GapState::Filling];
    assert_eq!(gap.end().await, [&expected[..], &[GapState::Filled]].concat());
}

#[tokio::test]
async fn a_symbol_that_is_removed_is_asked_for_no_more_and_begins_anew() {
    let mut gap = Gap::open(Rest::Held, timing()).await;
    gap.wait_until("it is asked for", |gap| gap.server.requests() > 0).await;
    let symbol = Symbol::parse(SYMBOLS[0]).expect("a symbol");
    gap.feed.changes.send(FeedChange::Remove(symbol.clone())).await.expect("the feed runs");
    gap.wait_until("it is removed", |gap| !gap.output.left.is_empty()).await;
    gap.wait_until("its subscription has ended", |gap| !gap.server.is_subscribed(SYMBOLS[0])).await;
    gap.feed.changes.send(FeedChange::Follow(symbol, None)).await.expect("the feed runs");
    gap.wait_until("it is subscribed again", |gap| gap.server.is_subscribed(SYMBOLS[0])).await;
    // The answer to what was asked before would come now.
    gap.server.set_rest(Rest::Up);
    for _ in 0..20 {
        gap.send_other().await;
    }
    assert!(gap.output.lives.keys().all(|symbol| symbol.as_str() != SYMBOLS[0]), "nothing is said about it");
    let at = platform::clock::now().micros() - 3_600_000_000 + 10;
    let trades: Vec<_> = (0..3).map(|number| gap.trade(at + number)).collect();
    gap.server.send(SYMBOLS[0], &[&trades[..1], &trades[2..]].concat()).await;
    gap.wait_until("the gap is filled", |gap| gap.output.published(SYMBOLS[0]).contains(&1_007)).await;
    gap.wait_until("the gap has ended", |gap| gap.output.open_gaps().is_empty()).await;
    assert_eq!(gap.output.published(SYMBOLS[0]), [1_006, 1_008, 1_007]);
    assert!(gap.output.lives.values().flat_map(|life| &life.reports).all(|report| report.lower_bound == 1_007));
    gap.end().await;
}

#[tokio::test]
async fn a_gap_is_given_up_when_the_venue_has_been_of_no_use_for_long() {
    for rest in [Rest::NoJson, Rest::Forbidden] {
        let timing = Timing { useless_answers: Duration::from_millis(50), ..timing() };
        let mut gap = Gap::open(rest, timing).await;
        gap.wait_until("it is given up", |gap| gap.output.open_gaps().is_empty()).await;
        assert_eq!(gap.end().await, [GapState::Open, GapState::Filling, GapState::Unfillable], "{rest:?}");
    }
}
