//! `tickbell person`: what somebody may ask for by law.

use clap::Subcommand;
use platform::clock;
use store::identity::gdpr::{self, Erased};

use super::{settings, store};
use crate::{
    cli::Common,
    exit::Exit,
    print::{complain, say},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write all that is kept about an address and its account, as JSON
    Export {
        /// The person's mail address
        address: String,
    },
    /// End the address's rules, delete its account and put a pseudonym where it was, for good
    Erase {
        /// The person's mail address
        address: String,
        /// Do it; without, only say what would be erased
        #[arg(long)]
        yes: bool,
    },
}

pub(crate) async fn run(common: &Common, command: Command) -> anyhow::Result<Exit> {
    let store = store(&settings(common)?).await?;
    match command {
        Command::Export { address } => {
            say(&serde_json::to_string_pretty(&gdpr::export(&store, &address).await?)?);
        }
        Command::Erase { address, yes: true } => {
            let Erased { rules, deliveries, account } = gdpr::erase(&store, address.clone(), clock::now()).await?;
            let account = if account.is_some() { ", and the account" } else { "" };
            say(&format!(
                "Erased {address}: {rules} rules and {deliveries} messages{account}. Streams forget it within 30 days."
            ));
        }
        Command::Erase { address, yes: false } => {
            let found = gdpr::export(&store, &address).await?;
            let count = |list: &str| found[list].as_array().map_or(0, Vec::len);
            let (rules, messages) = (count("rules"), count("messages"));
            let account = if found["account"].is_null() { "" } else { ", and the account," };
            complain(&format!(
                "{address}: {rules} rules and {messages} messages{account} would be erased. To do it, add --yes."
            ));
            return Ok(Exit::Failed);
        }
    }
    Ok(Exit::Done)
}
