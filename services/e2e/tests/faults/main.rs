//! Fault injection: two instances of every service run on real servers, faults are injected by a list and by a seed, and a
//! judge compares what comes out with what has gone in.
//!
//! `make faults SEED=… MINUTES=10` walks the whole list first; with `--short` a part of it and a few random compositions.

mod cluster;
mod fault;
mod harness;
mod judge;
mod machine;
mod readiness;
mod record;
mod report;
mod schedule;
mod traffic;

use std::{process::ExitCode, time::Duration};

use rand::{SeedableRng, rngs::StdRng};
use tokio::time::Instant;

use crate::{
    harness::Harness,
    machine::{factor, load, say},
};

/// How long random compositions last in a short run.
const SHORT: Duration = Duration::from_secs(20);

/// What a run is asked for.
struct Options {
    seed: u64,
    /// The duration of the random compositions.
    duration: Duration,
    short: bool,
    /// Only the steps of the list whose descriptions contain this text.
    only: Option<String>,
}

fn main() -> ExitCode {
    let options = options();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    if runtime.expect("a runtime").block_on(run(&options)) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Walks through the schedule, and returns whether nothing was found to be wrong.
async fn run(options: &Options) -> bool {
    say(&format!("seed {}, factor {}, load {}", options.seed, factor(), load()));
    let mut harness = Harness::start(options.seed).await;
    let mut steps = if options.short { schedule::short() } else { schedule::rows() };
    if let Some(only) = &options.only {
        steps.retain(|step| step.to_string().contains(only));
    }
    for step in steps {
        harness.walk(&step).await;
    }
    let (began, mut random) = (Instant::now(), StdRng::seed_from_u64(options.seed));
    while began.elapsed() < options.duration {
        harness.walk(&schedule::random(&mut random)).await;
    }
    harness.finish().await
}

/// Reads `--seed N`, `--minutes N`, `--short` and `--only TEXT`.
fn options() -> Options {
    let mut options = Options {
        seed: rand::random_range(0..1_000_000),
        duration: Duration::from_secs(600),
        short: false,
        only: None,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().filter(|value| !value.is_empty());
        match argument.as_str() {
            "--seed" => {
                if let Some(value) = value() {
                    options.seed = value.parse().expect("--seed takes a whole number");
                }
            }
            "--minutes" => {
                if let Some(value) = value() {
                    let minutes: u64 = value.parse().expect("--minutes takes a whole number");
                    options.duration = Duration::from_secs(60 * minutes);
                }
            }
            "--only" => options.only = value(),
            "--short" => (options.short, options.duration) = (true, SHORT),
            other => panic!("{other}: the options are --seed N, --minutes N, --only TEXT and --short"),
        }
    }
    options
}
