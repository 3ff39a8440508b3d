//! The command line.

use clap::{Parser, Subcommand};

#[cfg(feature = "export")]
use crate::commands::history;
#[cfg(feature = "kafka")]
use crate::commands::operations::kafka;
use crate::{
    commands::{
        history::export,
        operations::{dlq, doctor, feeds, healthcheck, migrate, record, smoke, status, streams, ticks},
        person, site,
        trading::{accounts, ledger, orders},
        watch,
    },
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::print,
    process,
    service_command::ServiceCommand,
    settings::sources,
    up, version,
};

/// Market price alerts, history and trading over NATS JetStream.
///
/// `tickbell up` runs everything on this machine. In production each service runs on its own, with a NATS server and a
/// PostgreSQL database. Settings come from tickbell.toml, then from TICKBELL_SECTION__KEY variables, then from flags.
#[derive(Debug, Parser)]
#[command(name = "tickbell", version = version::display(), propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    options: GlobalOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run all services in one process, with a NATS server and a PostgreSQL of their own
    Up(up::Arguments),
    #[command(flatten)]
    Service(ServiceCommand),
    /// Apply the missing migrations to the database, and grant the services' roles their rights
    Migrate,
    /// Create, compare or export the streams and consumers of schemas/streams.yaml
    #[command(subcommand)]
    Streams(streams::Command),
    /// Show the position and the lag of each consumer, and the number of deliveries
    Status(OutputOptions),
    /// Write what exchanges send to disk, to be played with `--source tape:PATH`
    Record(record::Arguments),
    /// List dead letters (messages that could not be processed), show them and publish them again
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Show the ticks of the stream
    #[command(subcommand)]
    Ticks(ticks::Command),
    /// List the symbols that are followed at exchanges and how that goes, and change which they are
    #[command(subcommand)]
    Feeds(feeds::Command),
    /// Write ticks or candles as files or to standard output, or the page of prices
    #[command(subcommand)]
    Export(export::Command),
    /// Show which of the two copies of the page of prices is live, and switch to the other
    #[command(subcommand)]
    Site(site::Command),
    /// Put icons of assets beside the page of prices
    #[command(subcommand)]
    Assets(site::icons::Command),
    /// Compare the archive of the history with the database
    #[cfg(feature = "export")]
    #[command(subcommand)]
    Archive(history::archive::Command),
    /// Create or compare the topics of the Kafka bridge, and show or choose its positions
    #[cfg(feature = "kafka")]
    #[command(subcommand)]
    Kafka(kafka::Command),
    /// Check the broker, the database, the streams and the services, with a remedy for each problem
    Doctor(OutputOptions),
    /// Place, list, show and cancel orders over the API
    #[command(subcommand)]
    Orders(orders::Command),
    /// Show balances, make deposits, and manage assets and user roles
    #[command(subcommand)]
    Accounts(accounts::Command),
    /// Show prices, and with an API key firings, as they happen
    Watch(watch::Arguments),
    /// Export or erase the personal data of a mail address
    #[command(subcommand)]
    Person(person::Command),
    /// Verify the ledger
    #[command(subcommand)]
    Ledger(ledger::Command),
    /// Ask a service on this machine whether it is ready; for a container's health check
    Healthcheck(healthcheck::Arguments),
    /// Test a running API from outside: health, documentation, prices, history, candles, errors
    Smoke(smoke::Arguments),
}

/// Runs the command that was chosen.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let Cli { options, command } = cli;
    if options.check_settings {
        return check_settings(&options, &command);
    }
    match command {
        Command::Up(arguments) => up::run(&options, &arguments).await,
        Command::Service(ServiceCommand { service, flags }) => process::run(&options, service, flags).await,
        Command::Migrate => migrate::run(&options).await,
        Command::Streams(command) => streams::run(&options, command).await,
        Command::Status(output) => status::run(&options, &output).await,
        Command::Record(arguments) => record::run(&options, &arguments).await,
        Command::Dlq(command) => dlq::run(&options, command).await,
        Command::Ticks(command) => ticks::run(&options, command).await,
        Command::Feeds(command) => feeds::run(&options, command).await,
        Command::Export(command) => export::run(&options, command).await,
        Command::Site(command) => site::run(&options, command).await,
        Command::Assets(command) => site::icons::run(&options, command).await,
        #[cfg(feature = "export")]
        Command::Archive(command) => history::archive::run(&options, command).await,
        #[cfg(feature = "kafka")]
        Command::Kafka(command) => kafka::run(&options, command).await,
        Command::Doctor(output) => doctor::run(&options, &output).await,
        Command::Orders(command) => orders::run(&options, command).await,
        Command::Accounts(command) => accounts::run(&options, command).await,
        Command::Watch(arguments) => watch::run(&options, &arguments).await,
        Command::Person(command) => person::run(&options, command).await,
        Command::Ledger(command) => ledger::run(&options, command).await,
        Command::Healthcheck(arguments) => healthcheck::run(&options, &arguments).await,
        Command::Smoke(arguments) => smoke::run(&arguments).await,
    }
}

fn check_settings(options: &GlobalOptions, command: &Command) -> anyhow::Result<Exit> {
    let settings = match command {
        Command::Service(ServiceCommand { service, flags }) => process::settings(options, service, flags.clone())?,
        Command::Up(arguments) => sources::read(options, vec![], arguments.flags())?,
        _ => sources::read(options, vec![], vec![])?,
    };
    print(&format!("The settings are valid (telemetry.environment is {:?}).", settings.telemetry.environment));
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use clap::CommandFactory;
    use events::streams::Topology;

    use super::*;
    use crate::services::SERVICES;

    /// Folders under `services/` that are not run by a subcommand: libraries, tests, the program itself.
    const OTHER_FOLDERS: [&str; 3] = ["core", "e2e", "tickbell"];

    fn names() -> BTreeSet<String> {
        SERVICES.iter().map(|service| service.name.to_owned()).collect()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_service_has_a_subcommand_and_a_folder() {
        assert_eq!(names().len(), SERVICES.len(), "a name is listed twice");
        let cli = Cli::command();
        let subcommands: BTreeSet<String> =
            cli.get_subcommands().map(|command| command.get_name().to_owned()).collect();
        assert!(names().is_subset(&subcommands), "{subcommands:?}");

        let services = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let folders = fs::read_dir(services).expect("the folder services").map(|entry| entry.expect("an entry").path());
        let crates = folders.filter(|folder| folder.join("Cargo.toml").is_file());
        let crates = crates.filter_map(|folder| Some(folder.file_name()?.to_str()?.to_owned()));
        let crates: BTreeSet<String> = crates.filter(|name| !OTHER_FOLDERS.contains(&name.as_str())).collect();
        assert_eq!(crates, names(), "a crate under services/ and the list in services/registry.rs differ");
    }

    #[test]
    fn every_consumer_belongs_to_one_service() {
        let topology = Topology::declared().expect("a topology");
        let declared = topology.streams.values().flat_map(|stream| stream.consumers.keys().cloned());
        let mut declared: Vec<String> = declared.collect();
        let mut listed: Vec<String> =
            SERVICES.iter().flat_map(|service| service.consumers).map(|name| (*name).to_owned()).collect();
        declared.sort();
        listed.sort();
        assert_eq!(listed, declared, "schemas/streams.yaml and the descriptors of the services differ");
    }

    #[test]
    fn a_flag_of_a_service_overrides_its_setting() {
        let parse = |line: &str| Cli::try_parse_from(line.split(' ')).map(|cli| cli.command);
        let Ok(Command::Service(ServiceCommand { service, flags })) =
            parse("tickbell price-ingestor --source file:a.csv --once")
        else {
            panic!("a service");
        };
        assert_eq!(service.name, "price-ingestor");
        let set = [("price_ingestor.source", "file:a.csv".to_owned()), ("price_ingestor.once", "true".to_owned())];
        assert_eq!(flags, set);
        assert!(parse("tickbell alert-engine --once").is_err());
    }
}
