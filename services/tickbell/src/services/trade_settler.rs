//! The trade-settler: orders and ticks in, trades and ledger postings out.

use futures::FutureExt;
use platform::Broker;
use store::Store;

use super::descriptor::{Context, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "trade-settler",
    about: "Fill orders and keep the ledger",
    flags: &[],
    publishes: &["trades.>", "dlq.trade-settler"],
    consumers: &["trade-settler", "trade-settler-alerts", "trade-settler-orders"],
    in_up: InUp::Yes,
    validate: |settings| settings.trade_settler.validate(),
    require: |_| Ok(()),
    run: Run::WithDatabase(run),
};

fn run(context: Context, broker: Broker, store: Store) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    let max_ahead = settings.ticks.max_ahead();
    async move {
        let settings = settings.trade_settler;
        Ok(::trade_settler::run(broker, store, &health, settings, max_ahead, shutdown).await?)
    }
    .boxed()
}
