//! The history-writer: ticks in, price history and candles out.

use ::history_writer::ArchiveRule;
use futures::FutureExt;
use platform::{Broker, settings::SettingsError};
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
    require: |settings| {
        if settings.history.archive == ArchiveRule::Required && settings.archive.url.is_empty() {
            let error = "archive.url is empty: history.archive = \"required\" drops a month only when that archive has it, so name a folder, \
                         or a bucket like s3://bucket/prefix, as the archiver has it";
            return Err(SettingsError(error.into()).into());
        }
        Ok(())
    },
    run: Run::WithDatabase(run),
};

fn run(context: Context, broker: Broker, store: Store) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    let (max_ahead, archive) = (settings.ticks.max_ahead(), settings.archive.target().address());
    let run = async move {
        Ok(::history_writer::run(broker, store, &health, settings.history, archive, max_ahead, shutdown).await?)
    };
    run.boxed()
}
