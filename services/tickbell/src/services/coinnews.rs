//! The coinnews sandbox: a stand-in for the coinnews API.

use futures::FutureExt;

use super::descriptor::{Context, Flag, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "coinnews",
    about: "Serve a sandbox of the coinnews API, for demos and tests without internet access",
    flags: &[
        Flag {
            name: "source",
            setting: "coinnews.source",
            value: Some("SOURCE"),
            help: "Source of the prices: walk, or file:PATH (CSV or NDJSON, may be gzipped) [default: walk]",
        },
        Flag {
            name: "http",
            setting: "coinnews.listen",
            value: Some("ADDR"),
            help: "Address of the coinnews API [default: 127.0.0.1:8090]",
        },
    ],
    publishes: &[],
    consumers: &[],
    in_up: InUp::No,
    validate: |settings| settings.coinnews.validate(),
    require: |_| Ok(()),
    run: Run::Alone(run),
};

fn run(context: Context) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    async move { Ok(::coinnews::run(settings.coinnews, health.check(SERVICE.name), shutdown).await?) }.boxed()
}
