//! The pointer to the live copy, in the target. It is replaced only where it still is what was read.

use anyhow::{Context, ensure};
use events::Timestamp;
use object_archive::target::{Condition, Target, Version, WebFile};
use price_page::{Colour, LivePointer};

/// The page that leads to the live copy.
const POINTER: &str = "index.html";
/// What is said to who comes second.
const SWITCHED: &str =
    "somebody else has switched the pointer meanwhile, so nothing was changed: see `tickbell site status`";
/// A switch shows at once.
const CACHE_CONTROL: &str = "no-cache";

/// The pointer as it was read; none before the first copy is live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pointer(Option<(LivePointer, Version)>);

impl Pointer {
    /// Reads the pointer of a site.
    pub(super) async fn read(target: &Target) -> anyhow::Result<Self> {
        let Some((bytes, version)) = target.get(POINTER).await? else { return Ok(Self(None)) };
        let pointer = LivePointer::parse(&bytes).with_context(|| {
            format!("{POINTER} leads to no colour: the site was written without --colour or by something else; choose another place")
        })?;
        Ok(Self(Some((pointer, version))))
    }

    /// Fails where a site has two copies, to which its page leads: a page without copies would replace that pointer.
    pub(super) async fn require_none(target: &Target) -> anyhow::Result<()> {
        let page = target.get(POINTER).await?;
        let leads_to = page.and_then(|(bytes, _)| LivePointer::parse(&bytes));
        ensure!(
            leads_to.is_none(),
            "this site has two copies, and {POINTER} leads its readers to the live one: add --colour, or choose another place"
        );
        Ok(())
    }

    /// Returns what the pointer says.
    pub(super) fn live(&self) -> Option<LivePointer> {
        self.0.as_ref().map(|(pointer, _)| *pointer)
    }

    /// Fails where somebody else has switched the pointer since it was read.
    pub(super) async fn require_unchanged(&self, target: &Target) -> anyhow::Result<()> {
        ensure!(Self::read(target).await? == *self, SWITCHED);
        Ok(())
    }

    /// Returns the copy that is written next: not the live one, and green at first.
    pub(super) fn idle(&self) -> Colour {
        self.live().map_or(Colour::Green, |pointer| pointer.live.other())
    }

    /// Removes the pointer, so that no copy is live. Only for a first one that has turned out to be unhealthy.
    pub(super) async fn remove(target: &Target) -> anyhow::Result<()> {
        target.remove(POINTER).await.context("remove the pointer")
    }

    /// Makes a copy live. The error says that somebody else has changed the pointer meanwhile.
    pub(super) async fn switch(
        &self,
        target: &Target,
        live: Colour,
        former: Option<Colour>,
        now: Timestamp,
    ) -> anyhow::Result<Self> {
        let pointer = LivePointer { live, former, changed_at: now };
        let file = WebFile {
            bytes: pointer.to_html().into(),
            content_type: "text/html; charset=utf-8",
            cache_control: CACHE_CONTROL,
        };
        let condition = self.0.as_ref().map_or(Condition::New, |(_, version)| Condition::Unchanged(version));
        let written = target.put_web_file(POINTER, file, condition).await.context("switch the pointer")?;
        if let Some(version) = written {
            return Ok(Self(Some((pointer, version))));
        }
        // A request that was repeated because its answer was lost is refused, and finds its own pointer.
        let found = Self::read(target).await?;
        ensure!(found.live() == Some(pointer), SWITCHED);
        Ok(found)
    }
}
