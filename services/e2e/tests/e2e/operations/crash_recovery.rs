//! Processes are killed at any moment: nothing is lost and nothing happens twice.

use std::time::{Duration, Instant};

use e2e::{Process, System, system::Server, wait_until};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::replay;

/// The longest time until all prices are published, with every interruption.
const REPLAY: Duration = Duration::from_secs(120);

/// Lets the system run for a time. There is no condition to wait for: the kill shall come at an arbitrary moment.
async fn run_for(millis: u64) {
    let began = Instant::now();
    let passed = async || (began.elapsed() >= Duration::from_millis(millis)).then_some(());
    wait_until("the time has passed", Duration::from_secs(10), passed).await;
}

async fn assert_same_as_undisturbed(system: &mut System, mut ingestor: Process, alerts: &[e2e::Alert]) {
    let status = ingestor.wait(REPLAY).await;
    assert!(status.success(), "the ingestor ended with {status}");
    system.wait_until_processed().await;
    let outcome = replay::outcome(system, alerts).await;
    assert_eq!(&outcome, replay::undisturbed().await);
    replay::assert_notified_once(&system.mails(), alerts, &outcome);
}

#[tokio::test]
async fn ten_power_cuts_lose_nothing_and_double_nothing() {
    replay::undisturbed().await;
    let mut random = StdRng::seed_from_u64(10);
    let mut system = System::from_nothing().await;
    let alerts = replay::subscribe(&system).await;
    let ingestor = replay::play(&system);
    for round in 0..10 {
        // Every third time it is killed while it starts.
        if round % 3 != 2 {
            system.ready().await;
        }
        run_for(random.random_range(100..1_500)).await;
        system.kill();
        if round % 2 == 1 {
            system.kill_server(Server::Nats);
            system.kill_server(Server::Postgres);
        }
        system.launch();
    }
    system.ready().await;
    assert_same_as_undisturbed(&mut system, ingestor, &alerts).await;
    system.stop().await;
}

#[tokio::test]
async fn a_server_that_dies_is_started_again_and_nothing_is_lost_or_doubled() {
    replay::undisturbed().await;
    let mut system = System::from_nothing().await;
    let alerts = replay::subscribe(&system).await;
    let ingestor = replay::play(&system);
    for server in [Server::Nats, Server::Postgres, Server::Postgres, Server::Nats] {
        run_for(2_000).await;
        let before = wait_until("the server runs", REPLAY, async || system.server(server)).await;
        system.kill_server(server);
        let another = async || system.server(server).filter(|now| *now != before);
        wait_until("it is started again", Duration::from_secs(15), another).await;
    }
    assert_same_as_undisturbed(&mut system, ingestor, &alerts).await;
    system.ready().await;
    system.stop().await;
}
