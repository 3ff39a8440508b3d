//! The two files of the page.

use anyhow::{Context, ensure};
use events::Timestamp;
use object_archive::target::{Condition, Target, WebFile};
use price_page::{Colour, Icons, Links, PricePage, PriceRow, PricesDocument, digest};

use super::prices::Prices;
use crate::{print::eprint, version};

/// The name of the page.
pub(super) const PAGE: &str = "index.html";
/// The name of the same prices as JSON. The page names it, so that it stands beside it.
pub(super) const DOCUMENT: &str = "prices.json";
/// The folder of the icons, which is that of both copies.
pub(super) const ICONS: &str = "icons";
/// How long a browser or a distribution may show a page without asking again.
const CACHE_CONTROL: &str = "max-age=60";

/// A folder of a target.
pub(super) struct Folder<'target> {
    pub(super) target: &'target Target,
    /// The path of the folder with a slash at its end; empty for the target itself.
    pub(super) path: String,
}

impl<'target> Folder<'target> {
    /// Returns the folder of a copy.
    pub(super) fn of(target: &'target Target, colour: Colour) -> Self {
        Self { target, path: format!("{colour}/") }
    }

    fn path_of(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// Reads a file; none where there is none.
    pub(super) async fn read(&self, name: &str) -> anyhow::Result<Option<Vec<u8>>> {
        let path = self.path_of(name);
        let Some((bytes, _)) = self.target.get(&path).await? else { return Ok(None) };
        ensure!(bytes.len() <= PricesDocument::MOST_BYTES, "{path} has {} bytes: it is not ours", bytes.len());
        Ok(Some(bytes.into()))
    }

    /// Lists the icons, as a page in this folder names them.
    async fn icons(&self) -> anyhow::Result<Icons> {
        let up = "../".repeat(self.path.matches('/').count());
        let names = self.target.list(ICONS).await.context("list the icons")?;
        Ok(Icons::new(&format!("{up}{ICONS}/"), names))
    }

    async fn write(&self, name: &str, text: String, content_type: &'static str) -> anyhow::Result<usize> {
        let (path, size) = (self.path_of(name), text.len());
        let file = WebFile { bytes: text.into(), content_type, cache_control: CACHE_CONTROL };
        self.target.put_web_file(&path, file, Condition::Always).await.with_context(|| format!("write {path}"))?;
        Ok(size)
    }
}

/// Writes the page, and then the prices, which state the page that belongs to them. Returns the number of bytes.
pub(super) async fn write(folder: &Folder<'_>, prices: &Prices, made_at: Timestamp) -> anyhow::Result<usize> {
    let Prices { rows, omitted } = prices;
    let links = Links { json: DOCUMENT, ..Links::default() };
    let icons = folder.icons().await?;
    let page = PricePage { rows, omitted: *omitted, made_at, links, icons: Some(&icons) }.to_html();
    let document = PricesDocument {
        made_at,
        commit: version::commit().to_owned(),
        page_sha256: digest(page.as_bytes()),
        omitted: *omitted,
        items: rows.clone(),
    };
    let document = document.to_json();
    let page = folder.write(PAGE, page, "text/html; charset=utf-8").await?;
    Ok(page + folder.write(DOCUMENT, document, "application/json").await?)
}

/// Returns the rows of the page that a folder has. Where they cannot be read, what is drawn of the last day begins anew.
pub(super) async fn former_rows(folder: &Folder<'_>) -> anyhow::Result<Vec<PriceRow>> {
    let Some(bytes) = folder.read(DOCUMENT).await? else { return Ok(Vec::new()) };
    let document = PricesDocument::parse(&bytes);
    Ok(document.map(|document| document.items).unwrap_or_else(|error| {
        eprint(&format!("{} is not gone on from: {error}", folder.path_of(DOCUMENT)));
        Vec::new()
    }))
}
