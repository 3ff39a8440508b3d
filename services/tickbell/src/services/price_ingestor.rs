//! The price-ingestor: prices in, ticks out.

use futures::FutureExt;
use platform::Broker;

use super::descriptor::{Context, Flag, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "price-ingestor",
    about: "Publish ticks from the simulator, a recorded file or the coinnews API",
    flags: &[
        Flag {
            name: "source",
            setting: "price_ingestor.source",
            value: Some("SOURCE"),
            help: "simulator, file:PATH (CSV or NDJSON, may be gzipped) or coinnews:URL [default: simulator]",
        },
        Flag {
            name: "speed",
            setting: "price_ingestor.speed",
            value: Some("SPEED"),
            help: "Replay speed of a file: max, or a multiple of the recorded pace, like 60x [default: max]",
        },
        Flag {
            name: "venue",
            setting: "price_ingestor.venue",
            value: Some("NAME"),
            help: "Venue of the ticks [default: simulator, file or coinnews, by source]",
        },
        Flag {
            name: "once",
            setting: "price_ingestor.once",
            value: None,
            help: "Poll once, or simulate one round, then exit",
        },
    ],
    consumers: &[],
    in_up: InUp::WithPrices,
    validate: |settings| settings.price_ingestor.validate(),
    require: |_| Ok(()),
    run: Run::WithBroker(run),
};

fn run(context: Context, broker: Broker) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    async move {
        let check = health.check(SERVICE.name);
        ::price_ingestor::run(broker, check, settings.price_ingestor, shutdown).await?;
        Ok(())
    }
    .boxed()
}
