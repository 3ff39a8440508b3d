//! Servers that hang: their connections stay open, and nobody answers.

use e2e::{Servers, Service, System, system::Server};
use futures::future::join_all;

/// Every service that runs until it is stopped.
const SERVICES: [&str; 5] = ["alert-engine", "history-writer", "trade-settler", "notifier", "gateway"];

/// Starts one instance of every service.
async fn start_all(servers: &Servers, system: &System) -> Vec<Service> {
    let services: Vec<_> = SERVICES.iter().map(|name| servers.start(system, name, &[name])).collect();
    for service in &services {
        service.wait_until_ready().await;
    }
    services
}

async fn every_service_leaves_while_it_hangs(server: Server) {
    let mut system = System::start().await;
    let servers = Servers::take_over(&mut system, &[]).await;
    let services = start_all(&servers, &system).await;
    let _hangs = servers.freeze(server);
    // Each must end with status 0 within ten seconds.
    join_all(services.into_iter().map(Service::stop)).await;
}

#[tokio::test]
async fn every_service_leaves_while_the_database_hangs() {
    every_service_leaves_while_it_hangs(Server::Postgres).await;
}

#[tokio::test]
async fn every_service_leaves_while_the_broker_hangs() {
    every_service_leaves_while_it_hangs(Server::Nats).await;
}
