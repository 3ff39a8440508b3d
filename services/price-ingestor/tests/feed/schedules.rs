//! Random fault schedules: every trade that the server offers comes out exactly once, every gap is reported with its true bounds and
//! ends as it should, what rests on gaps is right, no task is left, and nothing stays allocated.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use events::{Symbol, Timestamp, Venue, tick::TickSource};
use platform::clock;
use price_ingestor::sources::exchange::{
    continuity::{GapReport, GapState},
    feed::{FeedChange, Timing},
};
use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use tokio::{task::JoinSet, time::Instant};

use crate::{
    candles::{self, Outcome},
    following::{self, Following},
    market::MarketTrade,
    memory::Memory,
    output::{Life, Output},
    server::{Command, Door, Rest, Server},
    venues::{PROTOCOLS, Protocol, SYMBOLS},
    verdicts::{self, Published},
};

/// How many schedules run without `SCHEDULES`.
const DEFAULT_SCHEDULES: u64 = 30;
const STEPS: u32 = 40;
/// How long a schedule may take to become whole after its last fault.
const DEADLINE: Duration = Duration::from_secs(20);

#[expect(clippy::disallowed_methods, reason = "what the command line of a test is")]
fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
#[expect(clippy::print_stdout, reason = "the seeds of the schedules")]
fn whatever_fails_every_trade_comes_out_once_and_every_gap_is_said() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (first, schedules) = match (variable("SEED"), variable("SCHEDULES")) {
        (Some(seed), schedules) => (seed, schedules.unwrap_or(1)),
        (None, schedules) => (0, schedules.unwrap_or(DEFAULT_SCHEDULES)),
    };
    let seeds: Vec<u64> = (first..first + schedules).collect();
    // Each schedule has a runtime of its own, so that a task that outlives it is seen.
    let (count, verdicts) = (seeds.len(), AtomicUsize::new(0));
    let next = std::sync::Mutex::new(seeds.into_iter());
    let memory = Memory::default();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                loop {
                    let seed = next.lock().expect("no panic before").next();
                    let Some(seed) = seed else { return };
                    let of_seed = memory.count(|| {
                        let runtime =
                            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
                        runtime.block_on(Schedule::run(seed))
                    });
                    verdicts.fetch_add(of_seed, Ordering::Relaxed);
                }
            });
        }
    });
    memory.judge();
    let verdicts = verdicts.into_inner();
    println!("the schedules of the {count} seeds from {first} on have {verdicts} late verdicts");
    // Of thirty schedules some have crossings that nobody saw.
    assert!(count < 30 || verdicts > 0, "no gap had a late verdict");
}

struct Schedule {
    seed: u64,
    random: StdRng,
    protocol: Protocol,
    server: Server,
    output: Output,
    now: i64,
    /// The symbols that are paused or removed.
    left: BTreeSet<Symbol>,
}

impl Schedule {
    /// Runs a schedule, and returns how many late verdicts there were.
    async fn run(seed: u64) -> usize {
        let mut random = StdRng::seed_from_u64(seed);
        let protocol = *PROTOCOLS.choose(&mut random).expect("protocols");
        let mut tasks = JoinSet::new();
        let server = Server::start(protocol, &mut tasks).await;
        let now = clock::now().micros() / 1_000_000 * 1_000_000 - 3_600_000_000;
        let mut schedule =
            Self { seed, random, protocol, server, output: Output::default(), now, left: BTreeSet::new() };
        let mut running = schedule.start();
        for _ in 0..STEPS {
            if schedule.random.random_ratio(1, 30) {
                running.stop(&mut schedule.output).await;
                running = schedule.start();
            }
            if schedule.random.random_ratio(1, 15) {
                schedule.leave_or_follow(&running).await;
            }
            schedule.step().await;
            let pause = Instant::now() + Duration::from_millis(schedule.random.random_range(1..25));
            running.receive_until(pause, &mut schedule.output).await;
        }
        schedule.follow_all(&running).await;
        schedule.heal(&mut running).await;
        running.stop(&mut schedule.output).await;
        let verdicts = schedule.judge();
        tasks.shutdown().await;
        let left = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        assert_eq!(left, 0, "seed {seed}: {left} tasks are left");
        verdicts
    }

    fn start(&mut self) -> Following {
        // A process that starts follows all symbols: nobody reads here what operators want.
        self.left.clear();
        let timing = Timing {
            max_age: self.random.random_bool(0.5).then(|| Duration::from_millis(300)),
            settle: Duration::from_millis(self.random.random_range(5..40)),
            ..following::timing()
        };
        Following::start(self.protocol, &self.server, timing, self.output.checkpoints.clone())
    }

    /// An operator pauses or removes a symbol, also one that is paused, or follows it again.
    async fn leave_or_follow(&mut self, running: &Following) {
        let symbol = Symbol::parse(SYMBOLS.choose(&mut self.random).expect("symbols")).expect("a symbol");
        let is_left = !self.left.insert(symbol.clone());
        let change = match self.random.random_range(0..4) {
            0 => FeedChange::Remove(symbol),
            _ if is_left => {
                self.left.remove(&symbol);
                FeedChange::Follow(symbol, None)
            }
            1 => FeedChange::Remove(symbol),
            _ => FeedChange::Pause(symbol),
        };
        running.changes.send(change).await.expect("the feed runs");
    }

    async fn follow_all(&mut self, running: &Following) {
        for symbol in std::mem::take(&mut self.left) {
            running.changes.send(FeedChange::Follow(symbol, None)).await.expect("the feed runs");
        }
    }

    fn trades(&mut self, product: &str, count: u64) -> Vec<MarketTrade> {
        let grain = self.protocol.grain();
        (0..count)
            .map(|_| {
                self.now += self.random.random_range(1..5_000_000);
                let at = self.now / grain * grain;
                self.server.market(|market| market.trade(product, at))
            })
            .collect()
    }

    async fn step(&mut self) {
        let symbol = SYMBOLS.choose(&mut self.random).expect("symbols");
        let product = self.protocol.product(symbol);
        match self.random.random_range(0..22) {
            0..9 => {
                let count = self.random.random_range(1..6);
                let trades = self.trades(&product, count);
                self.server.send(&product, &trades).await;
            }
            9 => {
                let mut trades = self.trades(&product, 3);
                trades.reverse();
                for trade in trades {
                    self.server.send(&product, &[trade]).await;
                }
            }
            10 => {
                let trades = self.trades(&product, 2);
                self.server.send(&product, &trades).await;
                self.server.send(&product, &trades).await;
            }
            // The connection loses trades.
            11 | 12 => drop(self.trades(&product, 3)),
            13 => {
                // And the venue does not offer one of them.
                let lost = self.trades(&product, 3);
                self.server.market(|market| market.not_offered.entry(product).or_default().push(lost[1].id));
            }
            14 => drop(self.server.command(&Command::CutMidFrame).await),
            15 => drop(self.server.command(&Command::Close).await),
            16 => drop(self.server.command(&Command::Hang).await),
            17 => {
                let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(1_000_000));
                for text in ["{\"type\":", "", "null", "<html>", &long] {
                    self.server.command(&Command::Text(text.to_owned())).await;
                }
                self.server.command(&Command::Binary(vec![0xff; 100])).await;
            }
            18 if self.protocol == Protocol::Binance => {
                let shutdown = r#"{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1}}"#;
                self.server.command(&Command::Text(shutdown.to_owned())).await;
            }
            18 | 19 => {
                let useless = [Rest::Down, Rest::TooMany, Rest::Forbidden, Rest::Redirect, Rest::NoJson];
                let rest = [Rest::Up, Rest::Slow, Rest::Behind(Duration::from_millis(25))].into_iter().chain(useless);
                let rest = rest.collect::<Vec<_>>();
                self.server.set_rest(*rest.choose(&mut self.random).expect("some"));
            }
            20 => self.server.set_door(*[Door::TooMany, Door::Closed].choose(&mut self.random).expect("some")),
            _ => {
                self.server.set_door(Door::Open);
                self.server.set_rest(Rest::Up);
            }
        }
    }

    /// Ends all faults, and waits until everything is known.
    async fn heal(&mut self, running: &mut Following) {
        self.server.set_door(Door::Open);
        self.server.set_rest(Rest::Up);
        let deadline = Instant::now() + DEADLINE;
        let products: Vec<String> = SYMBOLS.iter().map(|symbol| self.protocol.product(symbol)).collect();
        let mut has_traded = false;
        let mut trade_at = Instant::now();
        loop {
            running.receive_until(Instant::now() + Duration::from_millis(10), &mut self.output).await;
            let is_subscribed = products.iter().all(|product| self.server.is_subscribed(product));
            // The market goes on: a trade that is lost with a connection is shown by the next one.
            if is_subscribed && Instant::now() >= trade_at {
                has_traded = true;
                trade_at = Instant::now() + Duration::from_millis(400);
                for product in &products {
                    let trades = self.trades(product, 1);
                    self.server.send(product, &trades).await;
                }
            }
            if has_traded && self.unpublished().is_empty() && self.output.open_gaps().is_empty() {
                return;
            }
            let (unpublished, open) = (self.unpublished(), self.output.open_gaps());
            assert!(
                Instant::now() < deadline,
                "seed {}, {:?}: {unpublished:?} not published, open: {open:?}, {:?}, traded: {has_traded}, running: {}",
                self.seed,
                self.protocol,
                self.output.states,
                !running.is_finished()
            );
        }
    }

    /// Returns the trades that the venue offers and that did not come out, from the first one on that did.
    fn unpublished(&self) -> Vec<(&'static str, u64)> {
        let of_symbol = |symbol: &'static str| {
            let published: BTreeSet<u64> = self.output.published(symbol).iter().copied().collect();
            let offered = self.server.market(|market| market.offered(&self.protocol.product(symbol)));
            let first = published.first().copied().unwrap_or(u64::MAX);
            let last = offered.last().map_or(0, |trade| trade.id);
            let ids = offered.into_iter().map(|trade| trade.id);
            let missing: Vec<_> =
                ids.filter(move |id| (*id >= first || *id == last) && !published.contains(id)).collect();
            missing.into_iter().map(move |id| (symbol, id))
        };
        SYMBOLS.into_iter().flat_map(of_symbol).collect()
    }

    fn judge(&self) -> usize {
        let now = self.output.lives.iter();
        now.clone().for_each(|(symbol, life)| self.judge_outcome(symbol, life));
        now.chain(self.output.ended.iter().map(|(symbol, life)| (symbol, life)))
            .map(|(symbol, life)| self.judge_life(symbol, life))
            .sum()
    }

    /// Returns the times of all trades of a symbol, by their ids.
    fn times(&self, symbol: &Symbol) -> BTreeMap<u64, Timestamp> {
        let all = self.server.market(|market| market.trades.get(&self.protocol.product(symbol.as_str())).cloned());
        let time = |trade: MarketTrade| (trade.id, Timestamp::from_micros(trade.at).expect("a time"));
        all.unwrap_or_default().into_iter().map(time).collect()
    }

    /// Judges what came out of a symbol that is followed to the end: what is missing, and what rests on it.
    fn judge_outcome(&self, symbol: &Symbol, Life { ids, filled_in, reports, .. }: &Life) {
        let (seed, all) = (self.seed, self.times(symbol));
        let once: BTreeSet<u64> = ids.iter().copied().collect();
        let first = once.first().copied().unwrap_or(u64::MAX);
        let outcome = |(id, at): (&u64, &Timestamp)| {
            let (came_out, was_filled_in) = (once.contains(id), filled_in.contains(id));
            (*id, Outcome { at: *at, came_out, was_filled_in })
        };
        candles::judge(seed, symbol.as_str(), &all.range(first..).map(outcome).collect(), reports);
        let unfillable: Vec<&GapReport> =
            reports.iter().filter(|report| report.state == GapState::Unfillable).collect();
        for id in all.keys().filter(|id| **id > first && !once.contains(id)) {
            let is_said =
                |report: &&GapReport| report.first_missing_id <= Some(*id) && report.last_missing_id >= Some(*id);
            assert!(unfillable.iter().any(is_said), "seed {seed}: nothing says that {symbol} {id} is missing");
        }
    }

    /// Judges what came out of a symbol until it was removed, or until the end. Returns the number of late verdicts.
    fn judge_life(&self, symbol: &Symbol, Life { ids, published, reports, .. }: &Life) -> usize {
        let (seed, all) = (self.seed, self.times(symbol));
        let venue = Venue::parse(self.protocol.venue()).expect("a venue");
        let once: BTreeSet<u64> = ids.iter().copied().collect();
        assert_eq!(once.len(), ids.len(), "seed {seed}: a trade of {symbol} came out twice");
        assert!(once.iter().all(|id| all.contains_key(id)), "seed {seed}: a trade that never was");
        // A trade that was filled in is one that was missed after the first one.
        let begins_live = match published.first() {
            Some(Published::Tick(tick, _)) => tick.source == TickSource::Live,
            Some(Published::Gap(_)) => false,
            None => true,
        };
        assert!(begins_live, "seed {seed}: {symbol} begins with {:?}", published.first());
        for report in reports {
            let time = |id: u64| all.get(&id).copied();
            // A heartbeat may have named the trade before, which was missed too.
            let is_seen = self.protocol != Protocol::Coinbase;
            let before = time(report.lower_bound - 1);
            let is_true = if is_seen { Some(report.from) == before } else { Some(report.from) <= before };
            assert!(is_true, "seed {seed}: {report:?} after {before:?}");
            let is_final = matches!(report.state, GapState::Unfillable | GapState::Filled);
            assert!(!is_final || report.to >= Some(report.from), "seed {seed}: {report:?}");
            if report.state == GapState::Unfillable {
                let last = report.last_missing_id.expect("ids");
                assert!(report.to >= time(last + 1), "seed {seed}: {report:?}");
                assert!(!once.contains(&report.first_missing_id.expect("ids")), "seed {seed}: {report:?}");
            }
        }
        verdicts::judge(seed, (&venue, symbol), published)
    }
}
