//! The task that asks for the trades of one gap.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::FeedConfig;
use crate::sources::exchange::{
    adapter::Product,
    continuity::{FillOutcome, Missing},
    history::{FillError, Pages, PastTrade, RestClient},
};

/// Something about the gap of a symbol.
pub(super) struct FillProgress {
    pub(super) followed: usize,
    /// The generation of the symbol in which the gap was asked for.
    pub(super) generation: u64,
    pub(super) gap: u64,
    pub(super) content: FillContent,
}

/// Some trades of the gap, or the end of the requests.
pub(super) enum FillContent {
    Trades(Vec<PastTrade>),
    End(Result<FillOutcome, FillError>),
}

/// The task that asks for the trades of a gap.
pub(super) struct Fill {
    pub(super) followed: usize,
    pub(super) generation: u64,
    pub(super) client: Arc<RestClient>,
    pub(super) config: FeedConfig,
    pub(super) product: Product,
    pub(super) sender: mpsc::Sender<FillProgress>,
}

impl Fill {
    pub(super) async fn run(self, missing: Missing) {
        let Self { followed, generation, client, config, product, sender } = self;
        let gap = missing.gap;
        let mut pages = Pages::new(&client, config.adapter, &product, missing, (config.clock)());
        loop {
            let content = match pages.next().await {
                Ok(Ok(trades)) => FillContent::Trades(trades),
                Ok(Err(outcome)) => FillContent::End(Ok(outcome)),
                Err(error) => FillContent::End(Err(error)),
            };
            let is_last = matches!(content, FillContent::End(_));
            // The receiver is gone only where the feed has ended.
            if sender.send(FillProgress { followed, generation, gap, content }).await.is_err() || is_last {
                return;
            }
        }
    }
}
