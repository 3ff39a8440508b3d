//! Options that several commands share.

use std::path::PathBuf;

use clap::Args;

/// Options of every command.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalOptions {
    /// Settings file [default: tickbell.toml, if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Data directory of `tickbell up`; without SMTP, mails are written to its folder `outbox`
    #[arg(long, global = true, value_name = "DIR", default_value = ".tickbell")]
    pub(crate) data_dir: PathBuf,
    /// NATS server to connect to, like nats://127.0.0.1:4222
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) nats_url: Option<String>,
    /// PostgreSQL database to connect to, like postgres://user:password@host:5432/tickbell
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) database_url: Option<String>,
    /// Log filter: error, warn, info, debug or trace; or per module, like info,alert_engine=debug
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// Validate the settings of the command and exit without running it
    #[arg(long, global = true)]
    pub(crate) check_settings: bool,
}

/// The format of a command's answer.
#[derive(Debug, Clone, Args)]
pub(crate) struct OutputOptions {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
