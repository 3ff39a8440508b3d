//! `tickbell person`: exports and erases personal data, which the GDPR gives people a right to.

use clap::Subcommand;
use platform::clock;
use store::identity::gdpr::{self, Erased};

use super::connect::{settings, store};
use crate::{
    exit::Exit,
    options::GlobalOptions,
    print::{eprint, print},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print all data stored about a mail address and its account, as JSON
    Export {
        /// Mail address of the person
        address: String,
    },
    /// End the alerts of a mail address, delete its account and replace the address with a pseudonym; cannot be undone
    Erase {
        /// Mail address of the person
        address: String,
        /// Erase; without this flag, only show what would be erased
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let store = store(&settings(options)?).await?;
    match command {
        Command::Export { address } => {
            print(&serde_json::to_string_pretty(&gdpr::export(&store, &address).await?)?);
        }
        Command::Erase { address, yes: true } => {
            let Erased { rules, deliveries, account } = gdpr::erase(&store, address.clone(), clock::now()).await?;
            let account = if account.is_some() { " and the account" } else { "" };
            print(&format!(
                "Erased {address}: {rules} alerts, {deliveries} messages{account}. The streams delete it within 30 days."
            ));
        }
        Command::Erase { address, yes: false } => {
            let found = gdpr::export(&store, &address).await?;
            let count = |list: &str| found[list].as_array().map_or(0, Vec::len);
            let (rules, messages) = (count("rules"), count("messages"));
            let account = if found["account"].is_null() { "" } else { " and the account" };
            eprint(&format!(
                "Would erase {address}: {rules} alerts, {messages} messages{account}. Add --yes to erase."
            ));
            return Ok(Exit::Failed);
        }
    }
    Ok(Exit::Done)
}
