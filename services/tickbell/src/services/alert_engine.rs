//! The alert-engine: ticks and rules in, firings out.

use futures::FutureExt;
use platform::Broker;
use store::Store;

use super::descriptor::{Context, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "alert-engine",
    about: "Evaluate the alert rules on every tick",
    flags: &[],
    publishes: &["alerts.>", "dlq.alert-engine"],
    consumers: &["alert-engine-feeds", "alert-engine-rules", "alert-engine"],
    in_up: InUp::Yes,
    validate: |settings| settings.alert_engine.validate(),
    require: |_| Ok(()),
    run: Run::WithDatabase(run),
};

fn run(context: Context, broker: Broker, store: Store) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    let max_ahead = settings.ticks.max_ahead();
    async move { Ok(::alert_engine::run(broker, store, &health, settings.alert_engine, max_ahead, shutdown).await?) }
        .boxed()
}
