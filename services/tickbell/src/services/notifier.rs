//! The notifier: firings and updates of orders and accounts in, mails out.

use futures::FutureExt;
use platform::{Broker, signed_links::Links};
use store::Store;

use super::descriptor::{Context, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "notifier",
    about: "Send notifications by mail",
    flags: &[],
    publishes: &["deliveries.>", "dlq.notifier"],
    consumers: &["notifier-rules", "notifier-users", "notifier-trades", "notifier"],
    in_up: InUp::Yes,
    validate: |settings| settings.notifier.validate().and_then(|()| settings.smtp.validate()),
    // Mails have links to the gateway, signed with the secret that both know.
    require: |settings| Ok(Links::new(&settings.links).map(drop)?),
    run: Run::WithDatabase(run),
};

fn run(context: Context, broker: Broker, store: Store) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    async move {
        let links = Links::new(&settings.links)?;
        Ok(::notifier::run(broker, store, links, &health, settings.notifier, settings.smtp, shutdown).await?)
    }
    .boxed()
}
