//! Where settings come from, the weakest first: defaults, `<data-dir>/env`, `tickbell.toml`, `NATS_URL` and
//! `DATABASE_URL`, `TICKBELL_SECTION__KEY`, flags.

use std::path::Path;

use platform::settings::{Pair, SettingsError, Sources, load, variables};

use super::Settings;
use crate::{options::GlobalOptions, services};

/// Reads and validates all settings. `defaults` are those of the command; `flags` are the command line's own.
pub(crate) fn read(
    options: &GlobalOptions,
    mut defaults: Vec<Pair>,
    mut flags: Vec<Pair>,
) -> Result<Settings, SettingsError> {
    let data_dir = &options.data_dir;
    defaults.extend(env_file(&data_dir.join("env")));
    defaults.push(("notifier.outbox_dir", data_dir.join("outbox").display().to_string()));
    let conventional = [("nats.url", "NATS_URL"), ("database.url", "DATABASE_URL")];
    let conventional = conventional.iter().filter_map(|(key, name)| Some((*key, variable(name)?))).collect();
    flags.extend(options.nats_url.clone().map(|url| ("nats.url", url)));
    flags.extend(options.database_url.clone().map(|url| ("database.url", url)));
    flags.extend(options.log.clone().map(|filter| ("telemetry.log", filter)));
    if let Some(file) = options.config.as_deref()
        && !file.is_file()
    {
        return Err(SettingsError(format!("--config {}: no such file", file.display())));
    }
    let file = options.config.as_deref().unwrap_or(Path::new("tickbell.toml"));
    let lists = &["gateway.cors_origins", "price_ingestor.sources"];
    let variables = variables(std::env::vars_os())?;
    let sources = Sources { defaults, file: Some(file), conventional, variables, flags, lists };
    let settings: Settings = load(&sources)?;
    let validated = settings.ticks.validate();
    let validated =
        validated.and_then(|()| services::SERVICES.iter().try_for_each(|service| (service.validate)(&settings)));
    validated.map_err(|error| name_variable(error, &sources))?;
    Ok(settings)
}

/// Adds to an error about a value, which begins with the key, the variable that the value comes from.
fn name_variable(SettingsError(error): SettingsError, sources: &Sources) -> SettingsError {
    let key = error.split(' ').next().unwrap_or_default();
    let is_flag = sources.flags.iter().any(|(flag, _)| *flag == key);
    match sources.variables.iter().find(|variable| variable.key == key && !is_flag) {
        Some(variable) => SettingsError(format!("the environment variable {}: {error}", variable.name)),
        None => SettingsError(error),
    }
}

/// Returns an environment variable; an empty one counts as absent.
pub(crate) fn variable(name: &str) -> Option<String> {
    #[expect(clippy::disallowed_methods, reason = "this module is where settings come from")]
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads the addresses that a running `tickbell up` has written into its data directory; an absent file has none.
fn env_file(file: &Path) -> Vec<Pair> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(line.to_owned())
    };
    let names = [
        ("nats.url", "NATS_URL"),
        ("database.url", "DATABASE_URL"),
        ("nats.monitor_url", "NATS_MONITOR_URL"),
        ("client.url", "HTTP_URL"),
    ];
    names.iter().filter_map(|(key, name)| Some((*key, value(name)?))).collect()
}
