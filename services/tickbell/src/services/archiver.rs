//! The archiver: closed history in, files out.

use futures::FutureExt;
use platform::settings::SettingsError;
use store::Store;

use super::descriptor::{Context, InUp, Run, Service, Task};

pub(super) const SERVICE: Service = Service {
    name: "archiver",
    about: "Write closed days of the history as Parquet to a folder or an object store",
    flags: &[],
    publishes: &[],
    consumers: &[],
    in_up: InUp::No,
    validate: |settings| settings.archive.validate(),
    require: |settings| {
        if cfg!(not(feature = "export")) {
            let error =
                "tickbell archiver: this program was built without the archive; build it with --features export";
            return Err(SettingsError(error.into()).into());
        }
        if settings.archive.url.is_empty() {
            let error = "archive.url is empty: name a folder, or a bucket like s3://bucket/prefix";
            return Err(SettingsError(error.into()).into());
        }
        Ok(())
    },
    run: Run::WithDatabaseAlone(run),
};

#[cfg(feature = "export")]
fn run(context: Context, store: Store) -> Task {
    let Context { settings, health, shutdown, .. } = context;
    async move { Ok(::archiver::run(store, &health, settings.archive, shutdown).await?) }.boxed()
}

#[cfg(not(feature = "export"))]
fn run(_: Context, _: Store) -> Task {
    // What the service requires says so before.
    async move { Ok(()) }.boxed()
}
