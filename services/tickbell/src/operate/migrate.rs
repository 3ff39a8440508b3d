//! `tickbell migrate`.

use super::{settings, store};
use crate::{cli::Common, exit::Exit, print::say};

pub(crate) async fn run(common: &Common) -> anyhow::Result<Exit> {
    let store = store(&settings(common)?).await?;
    let pending = store.pending_migrations().await?;
    store.migrate().await?;
    say(&format!("The database is up to date; {pending} migrations were applied."));
    Ok(Exit::Done)
}
