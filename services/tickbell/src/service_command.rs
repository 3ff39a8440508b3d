//! The subcommands of the services, made from their descriptors.

use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches, Subcommand, error::ErrorKind};
use platform::settings::Pair;

use crate::services::{Flag, SERVICES, Service};

/// A service that was chosen on the command line.
#[derive(Debug)]
pub(crate) struct ServiceCommand {
    pub(crate) service: &'static Service,
    /// The settings that its options override.
    pub(crate) flags: Vec<Pair>,
}

impl Subcommand for ServiceCommand {
    fn augment_subcommands(command: Command) -> Command {
        SERVICES.iter().fold(command, |command, service| command.subcommand(subcommand(service)))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        Self::augment_subcommands(command)
    }

    fn has_subcommand(name: &str) -> bool {
        SERVICES.iter().any(|service| service.name == name)
    }
}

impl FromArgMatches for ServiceCommand {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let chosen = matches.subcommand().and_then(|(name, matches)| {
            let service = SERVICES.iter().find(|service| service.name == name)?;
            Some(Self { service, flags: flags(service, matches) })
        });
        chosen.ok_or_else(|| Error::new(ErrorKind::InvalidSubcommand))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn subcommand(service: &Service) -> Command {
    let flag = |flag: &Flag| {
        let arg = Arg::new(flag.name).long(flag.name).help(flag.help);
        match flag.value {
            Some(placeholder) => arg.value_name(placeholder),
            None => arg.action(ArgAction::SetTrue),
        }
    };
    Command::new(service.name).about(service.about).args(service.flags.iter().map(flag))
}

fn flags(service: &Service, matches: &ArgMatches) -> Vec<Pair> {
    let value = |flag: &Flag| match flag.value {
        Some(_) => matches.get_one::<String>(flag.name).cloned(),
        None => matches.get_flag(flag.name).then(|| "true".to_owned()),
    };
    service.flags.iter().filter_map(|flag| Some((flag.setting, value(flag)?))).collect()
}
