//! `tickbell streams`.

use clap::{Subcommand, ValueEnum};
use events::streams::Topology;
use platform::broker::{nack_export, topology};

use super::{broker, settings};
use crate::{cli::Common, exit::Exit, print::say};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create what is missing and update what differs; refuses what would lose messages
    Apply,
    /// Say what the server has otherwise; exit status 1 when it differs
    Diff,
    /// Write the topology for another tool
    Export {
        /// What for
        #[arg(long, value_enum, default_value_t = Format::Nack)]
        format: Format,
    },
}

/// What the topology is written for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// Resources of the JetStream controller for Kubernetes
    Nack,
}

pub(crate) async fn run(common: &Common, command: Command) -> anyhow::Result<Exit> {
    let declared = Topology::declared()?;
    match command {
        Command::Export { format: Format::Nack } => say(nack_export::export(&declared)?.trim_end()),
        Command::Apply => {
            topology::apply(&broker(&settings(common)?).await?, &declared).await?;
            for (name, stream) in &declared.streams {
                say(&format!("{name}: as declared, {} consumers", stream.consumers.len()));
            }
        }
        Command::Diff => {
            let differences = topology::diff(&broker(&settings(common)?).await?, &declared).await?;
            differences.iter().for_each(|difference| say(difference));
            if !differences.is_empty() {
                return Ok(Exit::Failed);
            }
            say("The server is as schemas/streams.yaml says.");
        }
    }
    Ok(Exit::Done)
}
