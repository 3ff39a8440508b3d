//! The health check of a copy of the page: whole, fresh, with prices, and readable at its public address.

use std::{fmt, time::Duration};

use anyhow::{Context, anyhow, bail, ensure};
use events::Timestamp;
use object_archive::target::Target;
use platform::{clock, http::client};
use price_page::{Colour, LivePointer, PricesDocument};
use reqwest::{Client, Url};
use tokio::time::Instant;

use super::files::{DOCUMENT, Folder, PAGE};

/// The time-out of one request.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The wait between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_secs(1);

/// What a healthy copy is.
pub(super) struct HealthCheck<'site> {
    pub(super) target: &'site Target,
    /// The public address of the site; without it only the target is asked.
    pub(super) url: Option<Url>,
    /// How old the page may be; zero allows any age.
    pub(super) fresh: Duration,
    /// How long the public address may take to show what was written.
    pub(super) wait: Duration,
}

impl HealthCheck<'_> {
    /// Checks a copy where it is written, and then where it is read. Returns its prices.
    pub(super) async fn check(&self, colour: Colour) -> anyhow::Result<PricesDocument> {
        let folder = Folder::of(self.target, colour);
        let missing = |name: &str| anyhow!("{colour}/{name} is not there");
        let page = folder.read(PAGE).await?.ok_or_else(|| missing(PAGE))?;
        let document = folder.read(DOCUMENT).await?.ok_or_else(|| missing(DOCUMENT))?;
        let document = self.judge(colour, &page, &document)?;
        let Some(public) = self.public()? else { return Ok(document) };
        let expected = document.made_at;
        self.retry(async || {
            let page = public.get(&format!("{colour}/{PAGE}")).await?;
            let shown = self.judge(colour, &page, &public.get(&format!("{colour}/{DOCUMENT}")).await?)?;
            ensure!(
                shown.made_at >= expected,
                "{} shows the page of {}, not that of {expected}",
                public.base,
                shown.made_at
            );
            Ok(())
        })
        .await?;
        Ok(document)
    }

    /// Checks that readers are led to a copy, and that it is healthy.
    pub(super) async fn check_live(&self, colour: Colour) -> anyhow::Result<()> {
        if let Some(public) = self.public()? {
            self.retry(async || {
                let pointer = LivePointer::parse(&public.get("").await?);
                let live = pointer.with_context(|| format!("{} leads to no colour", public.base))?.live;
                ensure!(live == colour, "{} leads to {live}, not to {colour}", public.base);
                Ok(())
            })
            .await?;
        }
        self.check(colour).await.map(drop)
    }

    /// Judges the two files of a copy.
    fn judge(&self, colour: Colour, page: &[u8], document: &[u8]) -> anyhow::Result<PricesDocument> {
        let document =
            PricesDocument::parse(document).with_context(|| format!("{colour}/{DOCUMENT} cannot be read"))?;
        ensure!(
            document.has_page(page),
            "{colour}/{PAGE} is not the page that {colour}/{DOCUMENT} belongs to: it was cut, changed, or not written to its end"
        );
        ensure!(!document.items.is_empty(), "{colour} has no prices");
        let age = Age::of(document.made_at);
        ensure!(self.fresh.is_zero() || age.0 <= self.fresh, "{colour} was made {age} ago, which is too old");
        Ok(document)
    }

    fn public(&self) -> anyhow::Result<Option<Public>> {
        let Some(url) = &self.url else { return Ok(None) };
        let client = client::builder(url).timeout(TIMEOUT).build().context("create an HTTP client")?;
        let base = Url::parse(&format!("{}/", url.as_str().trim_end_matches('/')))?;
        Ok(Some(Public { client, base }))
    }

    /// Repeats a step until it succeeds or the wait is over.
    async fn retry(&self, step: impl AsyncFn() -> anyhow::Result<()>) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.wait;
        loop {
            match step().await {
                Err(_) if Instant::now() + RETRY_INTERVAL < deadline => tokio::time::sleep(RETRY_INTERVAL).await,
                outcome => return outcome,
            }
        }
    }
}

/// The site as its readers see it.
struct Public {
    client: Client,
    base: Url,
}

impl Public {
    async fn get(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let url = self.base.join(path)?;
        let mut response = self.client.get(url.clone()).send().await.with_context(|| format!("ask {url}"))?;
        ensure!(response.status().is_success(), "{url} answers {}", response.status());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.with_context(|| format!("read {url}"))? {
            if body.len() + chunk.len() > PricesDocument::MOST_BYTES {
                bail!("{url} has more than {} bytes", PricesDocument::MOST_BYTES);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

/// The age of a page.
struct Age(Duration);

impl Age {
    fn of(made_at: Timestamp) -> Self {
        Self(Duration::from_micros(u64::try_from(clock::now().micros() - made_at.micros()).unwrap_or(0)))
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(Duration::from_secs(self.0.as_secs())).fmt(f)
    }
}
