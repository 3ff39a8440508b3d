//! The page of prices as files: `tickbell export site` writes it, and `tickbell site` says which of two copies is live.

mod check;
pub(crate) mod export;
mod files;
pub(crate) mod icons;
mod pointer;
mod prices;
mod switch;

use std::time::Duration;

use clap::{Args, Subcommand};
use object_archive::target::Target;
use price_page::{Colour, PricesDocument};
use reqwest::Url;
use serde_json::json;

use self::{check::HealthCheck, pointer::Pointer, switch::Switched};
use crate::{
    commands::connect::{object_target, settings},
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::{eprint, print},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show which copy is live, and whether each is healthy
    Status {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        checks: Checks,
        #[command(flatten)]
        output: OutputOptions,
    },
    /// Check the idle copy, make it live, check it as readers see it, and take that back when a check fails
    Promote {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        checks: Checks,
        /// Commit of the program that must have written the copy; one that is live already stays so
        #[arg(long, value_name = "COMMIT")]
        release: Option<String>,
    },
    /// Make the copy live again that was live before the last promotion
    Rollback {
        #[command(flatten)]
        site: Site,
        #[command(flatten)]
        checks: Checks,
    },
}

/// The site that is asked about.
#[derive(Debug, Args)]
pub(crate) struct Site {
    /// The site: a folder, or a bucket like s3://bucket/prefix (archive.endpoint, archive.region)
    #[arg(long, value_name = "WHERE")]
    site: String,
}

/// How a copy is checked.
#[derive(Debug, Clone, Args)]
pub(crate) struct Checks {
    /// Public address of the site, which must show the copy too [default: only the files are checked]
    #[arg(long, value_name = "URL")]
    url: Option<Url>,
    /// Greatest age of a copy; 0 allows any age [default: 900, and any age for a rollback]
    #[arg(long, value_name = "SECONDS")]
    fresh: Option<u64>,
    /// Longest time until the public address shows what was written; caches have pages for 60 s
    #[arg(long, value_name = "SECONDS", default_value_t = 150)]
    wait: u64,
}

/// The greatest age of a copy in seconds, where nothing else is asked for.
const FRESH: u64 = 900;

impl Checks {
    fn of(self, target: &Target) -> HealthCheck<'_> {
        self.with(target, FRESH)
    }

    /// Returns the checks of a copy that nobody writes any more, as the former one is when somebody needs it: its age says nothing.
    fn of_former(self, target: &Target) -> HealthCheck<'_> {
        self.with(target, 0)
    }

    fn with(self, target: &Target, default_fresh: u64) -> HealthCheck<'_> {
        let Self { url, fresh, wait } = self;
        let fresh = Duration::from_secs(fresh.unwrap_or(default_fresh));
        HealthCheck { target, url, fresh, wait: Duration::from_secs(wait) }
    }
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let settings = settings(options)?;
    let open = |site: &Site| object_target(&settings.archive, &site.site);
    match command {
        Command::Status { site, checks, output } => status(&checks.of(&open(&site)?), &output).await,
        Command::Promote { site, checks, release } => {
            let target = open(&site)?;
            let pointer = Pointer::read(&target).await?;
            Ok(say(&switch::promote(&checks.of(&target), &pointer, release.as_deref()).await?))
        }
        Command::Rollback { site, checks } => Ok(say(&switch::roll_back(&checks.of_former(&open(&site)?)).await?)),
    }
}

/// Says what came of a switch.
fn say(switched: &Switched) -> Exit {
    match switched {
        Switched::Live(colour) => print(&format!("{colour} is live.")),
        Switched::Already(colour) => print(&format!("{colour} is live already.")),
        Switched::Unhealthy { live, error } => {
            let stays = live.map_or_else(|| "no copy is live".to_owned(), |live| format!("{live} stays live"));
            eprint(&format!("Nothing was switched, and {stays}: {error:#}"));
            return Exit::Failed;
        }
        Switched::TakenBack { live, error } => {
            let live = live.map_or_else(|| "no copy is live".to_owned(), |live| format!("{live} is live again"));
            eprint(&format!("The check after the switch has failed, so {live}: {error:#}"));
            return Exit::Failed;
        }
    }
    Exit::Done
}

async fn status(check: &HealthCheck<'_>, output: &OutputOptions) -> anyhow::Result<Exit> {
    let pointer = Pointer::read(check.target).await?;
    let live = pointer.live();
    let mut copies = serde_json::Map::new();
    let mut live_is_healthy = false;
    for colour in Colour::ALL {
        let is_live = live.is_some_and(|pointer| pointer.live == colour);
        let checked = check.check(colour).await;
        live_is_healthy |= is_live && checked.is_ok();
        let copy = match &checked {
            Ok(PricesDocument { made_at, commit, items, .. }) => {
                json!({ "healthy": true, "made_at": made_at, "commit": commit, "symbols": items.len(), "problem": null })
            }
            Err(error) => json!({ "healthy": false, "problem": format!("{error:#}") }),
        };
        if !output.json {
            let role = if is_live { "live" } else { "idle" };
            let state = match &checked {
                Ok(PricesDocument { made_at, items, .. }) => {
                    format!("healthy, {} symbols, made {made_at}", items.len())
                }
                Err(error) => format!("not healthy: {error:#}"),
            };
            print(&format!("{colour:<6} {role}  {state}"));
        }
        copies.insert(colour.to_string(), copy);
    }
    if output.json {
        let answer = json!({
            "live": live.map(|pointer| pointer.live.as_str()),
            "idle": pointer.idle().as_str(),
            "former": live.and_then(|pointer| pointer.former).map(Colour::as_str),
            "changed_at": live.map(|pointer| pointer.changed_at),
            "copies": copies,
        });
        print(&answer.to_string());
    }
    Ok(if live_is_healthy { Exit::Done } else { Exit::Failed })
}
