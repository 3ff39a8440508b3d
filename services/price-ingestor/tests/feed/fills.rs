//! What becomes of a gap while the REST API answers with what is of no use.

use std::time::Duration;

use price_ingestor::sources::exchange::{
    continuity::GapState,
    feed::{Checkpoints, Timing},
};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    following::{self, Following},
    market::MarketTrade,
    output::Output,
    server::{Rest, Server},
    venues::{Protocol, SYMBOLS},
};

const DEADLINE: Duration = Duration::from_secs(20);
const PROTOCOL: Protocol = Protocol::Coinbase;

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
        gap.wait_until("there is a gap", |gap| !gap.output.open_gaps().is_empty()).await;
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
        self.output.reports.into_values().flatten().map(|report| report.state).collect()
    }
}

#[tokio::test]
async fn a_gap_is_asked_for_until_the_venue_is_of_use_again() {
    for rest in [Rest::NoJson, Rest::Forbidden, Rest::Down, Rest::TooMany] {
        let mut gap = Gap::open(rest, following::timing()).await;
        gap.wait_until("the venue was asked often", |gap| gap.server.requests() > 20).await;
        gap.server.set_rest(Rest::Up);
        gap.assert_filled().await;
    }
}

#[tokio::test]
async fn a_gap_is_asked_for_until_the_rest_api_has_the_newest_trades() {
    // The last of four requests comes 0.7 seconds after the first one.
    let timing = Timing { first_wait: Duration::from_millis(100), longest_wait: DEADLINE, ..following::timing() };
    Gap::open(Rest::Behind(Duration::from_millis(300)), timing).await.assert_filled().await;
}

#[tokio::test]
async fn a_gap_ends_when_the_rest_api_does_not_offer_a_trade() {
    let mut gap = Gap::open(Rest::Behind(2 * DEADLINE), following::timing()).await;
    gap.wait_until("it is given up", |gap| gap.output.open_gaps().is_empty()).await;
    assert_eq!(gap.server.requests(), 4);
    assert_eq!(gap.end().await, [GapState::Open, GapState::Filling, GapState::Unfillable]);
}

#[tokio::test]
async fn a_gap_is_given_up_when_the_venue_has_been_of_no_use_for_long() {
    for rest in [Rest::NoJson, Rest::Forbidden] {
        let timing = Timing { useless_answers: Duration::from_millis(50), ..following::timing() };
        let mut gap = Gap::open(rest, timing).await;
        gap.wait_until("it is given up", |gap| gap.output.open_gaps().is_empty()).await;
        assert_eq!(gap.end().await, [GapState::Open, GapState::Filling, GapState::Unfillable], "{rest:?}");
    }
}
