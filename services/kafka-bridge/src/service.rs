//! The service: one run for each mirrored stream.

use futures::future::try_join_all;
use market_data::MaxAhead;
use platform::{Broker, Check, Health, ServiceError, Shutdown, supervise};
use store::Store;

use crate::{
    MIRRORED, Mirrored, SERVICE, Settings,
    consumer_run::{self, Systems},
    kafka,
};

/// Mirrors all streams until shutdown. Each stream has a lease of its own, so that of two instances one mirrors it.
pub async fn run(
    broker: Broker,
    store: Store,
    health: &Health,
    settings: Settings,
    max_ahead: MaxAhead,
    shutdown: Shutdown,
) -> Result<(), ServiceError> {
    register_metrics();
    let check = health.check(SERVICE);
    // All are there before the first is ready. That of the stream of ticks has the name of the service.
    let checks: Vec<(&'static Mirrored, Check)> =
        MIRRORED.iter().map(|mirrored| (mirrored, health.check(mirrored.consumer))).collect();
    let prepare = || async { Ok(kafka::prepare_topics(&settings).await?) };
    supervise(SERVICE, &check, &shutdown, prepare).await?;
    let systems = Systems { broker, store, settings: settings.clone(), max_ahead };
    let (systems, shutdown) = (&systems, &shutdown);
    try_join_all(checks.iter().map(|(mirrored, check)| async move {
        supervise(mirrored.consumer, check, shutdown, || consumer_run::run(systems, mirrored, check)).await
    }))
    .await?;
    Ok(())
}

fn register_metrics() {
    store::consumer::dead_letters::register_metrics(SERVICE);
    for Mirrored { stream, .. } in MIRRORED {
        metrics::counter!("tickbell_kafka_records_total", "stream" => stream).increment(0);
        metrics::counter!("tickbell_kafka_aborts_total", "stream" => stream).increment(0);
        metrics::counter!("tickbell_kafka_open_transactions_total", "stream" => stream).increment(0);
    }
}
