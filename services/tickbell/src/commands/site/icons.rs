//! `tickbell assets icon`: the icons of assets beside the page of prices, in a folder that both copies share.

use anyhow::{Context, ensure};
use events::Asset;
use object_archive::target::{Condition, WebFile};
use price_page::IconType;

use super::{Site, files::ICONS};
use crate::{
    commands::connect::{object_target, settings},
    exit::Exit,
    options::GlobalOptions,
    print::print,
};

/// An icon changes seldom; after this time at most a new one is shown.
const CACHE_CONTROL: &str = "max-age=3600";

/// What is done with the icons of a site.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Put the icon of an asset, PNG or WebP of at most 64 KiB, beside the page of prices
    Icon {
        /// Asset, like BTC; a symbol like BTC-USD has the icon of what it is a price of
        asset: Asset,
        /// File of the icon; without it the icon is removed
        #[arg(value_name = "FILE", required_unless_present = "remove")]
        file: Option<std::path::PathBuf>,
        /// Remove the icon
        #[arg(long, conflicts_with = "file")]
        remove: bool,
        #[command(flatten)]
        site: Site,
    },
}

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let Command::Icon { asset, file, site, .. } = command;
    let target = object_target(&settings(options)?.archive, &site.site)?;
    let Some(file) = file else {
        for kind in IconType::ALL {
            target.remove(&path(kind, &asset)).await?;
        }
        print(&format!("{asset} has no icon."));
        return Ok(Exit::Done);
    };
    let shown = file.display();
    let size = std::fs::metadata(&file).with_context(|| format!("read {shown}"))?.len();
    // The rest of a file that is no icon is not read.
    ensure!(size <= 16 << 20, "{shown}: it has {size} bytes, which is no icon");
    let bytes = std::fs::read(&file).with_context(|| format!("read {shown}"))?;
    let kind = IconType::of(&bytes).with_context(|| shown.to_string())?;
    let icon = WebFile { bytes: bytes.into(), content_type: kind.media_type(), cache_control: CACHE_CONTROL };
    target.put_web_file(&path(kind, &asset), icon, Condition::Always).await.context("write the icon")?;
    // One of another type would stay beside it.
    for other in IconType::ALL.into_iter().filter(|other| *other != kind) {
        target.remove(&path(other, &asset)).await?;
    }
    print(&format!("{asset} has the icon {}; the next page shows it.", path(kind, &asset)));
    Ok(Exit::Done)
}

fn path(kind: IconType, asset: &Asset) -> String {
    format!("{ICONS}/{}", kind.file_name(asset))
}
