//! The gateway: the HTTP API.

use futures::FutureExt;
use platform::{Broker, signed_links::Links};
use store::Store;
use tick_history::TickHistory;

use super::descriptor::{Context, Flag, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "gateway",
    about: "Serve the HTTP API",
    flags: &[Flag {
        name: "http",
        setting: "gateway.listen",
        value: Some("ADDR"),
        help: "Address of the HTTP API [default: 127.0.0.1:8080]",
    }],
    publishes: &["rules.>", "orders.>", "users.>"],
    consumers: &[],
    in_up: InUp::First,
    validate: |settings| settings.gateway.validate(),
    // It verifies the signed links in mails.
    require: |settings| Ok(Links::new(&settings.links).map(drop)?),
    // It answers queries and accepts rules and orders while the broker is away.
    run: Run::WithOptionalBroker(run),
};

fn run(context: Context, broker: Broker, store: Store) -> Task {
    async move {
        let shutdown = context.shutdown.clone();
        Ok(bind(context, broker, store).await?.serve(shutdown).await?)
    }
    .boxed()
}

/// Binds the gateway's address, so that the caller knows its port before the gateway answers.
pub(crate) async fn bind(context: Context, broker: Broker, store: Store) -> anyhow::Result<::gateway::Gateway> {
    let Context { settings, health, metrics, .. } = context;
    let history = TickHistory::open(store, &settings.archive.target())?;
    let (links, max_ahead) = (Links::new(&settings.links)?, settings.ticks.max_ahead());
    Ok(::gateway::Gateway::bind(settings.gateway, max_ahead, links, history, broker, health, metrics).await?)
}
