//! The Kafka bridge: events in, records of Kafka out.

use futures::FutureExt;
use platform::{Broker, settings::SettingsError};
use store::Store;

use super::descriptor::{Context, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "kafka-bridge",
    about: "Mirror ticks, candles, gaps, firings, trades, deliveries and dead letters to Kafka, each once",
    flags: &[],
    publishes: &["dlq.kafka-bridge"],
    consumers: &[
        "kafka-bridge",
        "kafka-bridge-candles",
        "kafka-bridge-feeds",
        "kafka-bridge-alerts",
        "kafka-bridge-trades",
        "kafka-bridge-deliveries",
        "kafka-bridge-dlq",
    ],
    in_up: InUp::No,
    validate: |settings| settings.kafka.validate(),
    require: |settings| {
        if cfg!(not(feature = "kafka")) {
            let error = "tickbell kafka-bridge: this program was built without Kafka; build it with --features kafka, or take the image \
                 whose tag ends with -kafka";
            return Err(SettingsError(error.into()).into());
        }
        Ok(settings.kafka.require()?)
    },
    run: Run::WithDatabase(run),
};

#[cfg(feature = "kafka")]
fn run(context: Context, broker: Broker, store: Store) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    let max_ahead = settings.ticks.max_ahead();
    async move { Ok(::kafka_bridge::run(broker, store, &health, settings.kafka, max_ahead, shutdown).await?) }.boxed()
}

#[cfg(not(feature = "kafka"))]
fn run(_: Context, _: Broker, _: Store) -> Task {
    // What the service requires says so before.
    async move { Ok(()) }.boxed()
}
