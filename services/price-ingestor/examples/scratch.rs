//! scratch
#![allow(clippy::print_stdout)]
use platform::{Broker, Health, Shutdown, broker, settings, telemetry, topology};
#[tokio::main]
async fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let telemetry = telemetry::init("scratch", &telemetry::Settings::default()).unwrap();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let overrides: Vec<(&str, String)> = args.iter().map(|a| { let (k, v) = a.split_once('=').unwrap(); (k, v.to_owned()) }).collect();
    let settings: price_ingestor::Settings = settings::load(std::path::Path::new("/nowhere"), &overrides).unwrap_or_else(|e| { println!("{e}"); std::process::exit(64) });
    settings.validate().unwrap();
    let health = Health::default();
    let shutdown = Shutdown::new();
    let stop = shutdown.clone();
    tokio::spawn(async move { tokio::signal::ctrl_c().await.unwrap(); stop.cancel() });
    let url = std::env::var("NATS_URL").unwrap();
    let broker = Broker::connect(&broker::Settings { url, ..Default::default() }, "scratch", health.check("broker"), shutdown.clone()).await.unwrap();
    topology::apply(&broker, &events::streams::Topology::declared().unwrap()).await.unwrap();
    let began = std::time::Instant::now();
    let task = tokio::spawn(price_ingestor::run(broker, health.check("price-ingestor"), settings, shutdown));
    let out = task.await.unwrap();
    println!("{:?} in {:?}", out.as_ref().map_err(|e| platform::fault::chain(e)), began.elapsed());
    println!("{}", telemetry.metrics.render().lines().filter(|l| l.contains("tickbell")).collect::<Vec<_>>().join("\n"));
}
