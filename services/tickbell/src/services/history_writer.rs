//! The history-writer: ticks in, price history and candles out.

use futures::FutureExt;
use platform::Broker;
use store::Store;

use super::descriptor::{Context, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "history-writer",
    about: "Write price history and candles",
    flags: &[],
    // Ticks are those that an operator replays.
    publishes: &["candles.>", "ticks.>", "dlq.history-writer"],
    consumers: &["history-writer"],
    in_up: InUp::Yes,
    validate: |settings| settings.history.validate(),
    require: |_| Ok(()),
    run: Run::WithDatabase(run),
};

fn run(context: Context, broker: Broker, store: Store) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    let max_ahead = settings.ticks.max_ahead();
    async move { Ok(::history_writer::run(broker, store, &health, settings.history, max_ahead, shutdown).await?) }
        .boxed()
}
