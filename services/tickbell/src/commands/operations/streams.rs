//! `tickbell streams`: creates, compares and exports the JetStream topology.

use clap::{Subcommand, ValueEnum};
use events::streams::Topology;
use platform::broker::{nack_export, topology};

use crate::commands::connect::{broker, settings};
use crate::{exit::Exit, options::GlobalOptions, print::print};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create missing streams and consumers and update those that differ; refuses changes that would lose messages
    Apply,
    /// List the differences between the server and schemas/streams.yaml; exits with status 1 if there are any
    Diff,
    /// Print the streams and consumers in the format of another tool
    Export {
        /// Output format
        #[arg(long, value_enum, default_value_t = Format::Nack)]
        format: Format,
    },
}

/// A format that the topology can be exported in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Format {
    /// Resources for NACK, the JetStream controller for Kubernetes
    Nack,
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let declared = Topology::declared()?;
    match command {
        Command::Export { format: Format::Nack } => print(nack_export::export(&declared)?.trim_end()),
        Command::Apply => {
            topology::apply(&broker(&settings(options)?).await?, &declared).await?;
            for (name, stream) in &declared.streams {
                print(&format!("{name}: up to date, {} consumers", stream.consumers.len()));
            }
        }
        Command::Diff => {
            let differences = topology::diff(&broker(&settings(options)?).await?, &declared).await?;
            differences.iter().for_each(|difference| print(difference));
            if !differences.is_empty() {
                return Ok(Exit::Failed);
            }
            print("All streams and consumers match schemas/streams.yaml.");
        }
    }
    Ok(Exit::Done)
}
