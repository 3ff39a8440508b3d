//! `tickbell migrate`: applies the missing migrations.

use crate::{
    commands::connect::{settings, store},
    exit::Exit,
    options::GlobalOptions,
    print::print,
};

pub(crate) async fn run(options: &GlobalOptions) -> anyhow::Result<Exit> {
    let store = store(&settings(options)?).await?;
    let pending = store.pending_migrations().await?;
    store.migrate().await?;
    print(&format!("The database schema is up to date ({pending} migrations applied)."));
    Ok(Exit::Done)
}
