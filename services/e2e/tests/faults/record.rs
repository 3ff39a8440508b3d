//! What has gone in and what has come out: the ticks that the broker has acknowledged, the alerts and orders that a gateway
//! has accepted, and the mails that have arrived.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use e2e::{Alert, Mail};
use tokio::time::sleep;

use crate::machine::say;

const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The record, which all parts share.
#[derive(Clone, Default)]
pub(crate) struct Record(Arc<Mutex<Entries>>);

/// Everything that has been recorded.
#[derive(Default)]
pub(crate) struct Entries {
    /// The acknowledged ticks of each symbol in the order of their acknowledgement: trade id and price.
    pub(crate) ticks: BTreeMap<String, Vec<(String, u32)>>,
    /// The accepted alerts, each with what must fire it.
    pub(crate) alerts: Vec<(Alert, Expectation)>,
    /// The addresses of alerts whose creation was not answered: each may exist or not.
    pub(crate) unanswered: BTreeSet<String>,
    /// The ids of the trades that came late and would have fired an alert.
    pub(crate) late: BTreeSet<u64>,
    /// The ids of the accepted orders.
    pub(crate) orders: Vec<String>,
    /// The mails by the file that they arrived in.
    pub(crate) mails: BTreeMap<PathBuf, Mail>,
    /// What was found to be wrong.
    pub(crate) violations: Vec<String>,
}

/// Says when an alert must fire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Expectation {
    /// Once, on a tick above the threshold; the ticks are repeated until it does.
    Once,
    /// As a naive computation over the ticks of the symbol says.
    Computed { symbol: String, condition: Condition },
    /// It must not fire: each trade of [`Entries::late`] has a late verdict and a mail.
    Late,
}

/// The conditions of the alerts that watch the feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    Above(u32),
    Below(u32),
    /// A change in percent since the previous tick.
    SincePrevious(u32),
    /// A change in percent since the last firing.
    SinceAnchor(u32),
}

impl Record {
    /// Begins to read the mails of a folder.
    pub(crate) fn start(mails: PathBuf) -> Self {
        let record = Self::default();
        tokio::spawn(record.clone().read_mails(mails));
        record
    }

    async fn read_mails(self, folder: PathBuf) {
        loop {
            let files = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            for file in files.filter(|file| file.extension().is_some_and(|ending| ending == "eml")) {
                self.entries()
                    .mails
                    .entry(file)
                    .or_insert_with_key(|file| Mail::parse(&fs::read(file).expect("a file")));
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Whether a mail has arrived at an address.
    pub(crate) fn has_mail_to(&self, address: &str) -> bool {
        self.entries().mails.values().any(|mail| mail.to == address)
    }

    /// Records an acknowledged tick.
    pub(crate) fn add_tick(&self, symbol: &str, trade_id: &str, price: u32) {
        self.entries().ticks.entry(symbol.to_owned()).or_default().push((trade_id.to_owned(), price));
    }

    /// Records something that must not be.
    pub(crate) fn add_violation(&self, violation: String) {
        say(&format!("VIOLATION: {violation}"));
        self.entries().violations.push(violation);
    }

    /// Gives access to everything. No await may happen meanwhile.
    pub(crate) fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
