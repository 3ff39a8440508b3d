//! What is known of the feeds of a venue, in PostgreSQL: read at the beginning, saved as the feed goes on, and followed as operators
//! change it. The feed goes on while the database is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use events::{Symbol, Timestamp, Venue};
use platform::{ServiceError, clock, runtime::error::error_chain};
use store::{
    Store,
    feeds::{
        followed::{self, DesiredState, Followed},
        progress::{self, Position},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout},
};
use tracing::{debug, info, warn};

use super::{
    continuity::Checkpoint,
    feed::{Checkpoints, FeedChange},
    unsaved::Unsaved,
};

/// How often positions and states are saved.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often the database is asked whether an operator has changed something.
const LOOK_EVERY: Duration = Duration::from_millis(400);
/// The longest time that the last save may take.
const LAST_SAVE: Duration = Duration::from_secs(1);
/// How often filled gaps are deleted that are older than they are of use.
const DELETE_EVERY: Duration = Duration::from_secs(3_600);
/// A gap that was filled is known for this long, in seconds, which is a little more than its events are.
const FILLED_FOR: i64 = 31 * 86_400;

/// The rows of one venue.
pub(super) struct FeedRows<'source> {
    pub(super) store: &'source Store,
    pub(super) venue: &'source Venue,
    /// The name of the venue's lease, which this process holds.
    pub(super) lease: &'source str,
    unsaved: Mutex<Unsaved>,
}

/// What is followed at the beginning.
pub(super) struct Beginning {
    /// What operators want to be followed.
    pub(super) followed: Followed,
    /// How far each symbol was published.
    pub(super) checkpoints: Checkpoints,
}

impl<'source> FeedRows<'source> {
    pub(super) fn new(store: &'source Store, venue: &'source Venue, lease: &'source str) -> Self {
        Self { store, venue, lease, unsaved: Mutex::default() }
    }

    /// Reads what is followed and how far it was published. `seeds` are followed where the venue is new.
    pub(super) async fn begin(&self, seeds: &[Symbol]) -> Result<Beginning, ServiceError> {
        let Self { store, venue, .. } = self;
        let followed = followed::seed(store, venue, seeds).await?;
        let wanted: BTreeMap<&Symbol, DesiredState> =
            followed.symbols.iter().map(|(symbol, desired)| (symbol, *desired)).collect();
        for symbol in seeds.iter().filter(|symbol| !wanted.contains_key(symbol)) {
            warn!(
                %venue, %symbol,
                "the settings name a symbol that is not followed, because the database says what is: add it with `tickbell feeds add {venue} {symbol}`"
            );
        }
        if wanted.is_empty() {
            warn!(%venue, "no symbol is followed: add one with `tickbell feeds add {venue} BTC-USD`");
        }
        let mut checkpoints = Checkpoints::new();
        for (symbol, position) in progress::load(store, venue).await? {
            if wanted.contains_key(&symbol) {
                checkpoints.insert(symbol, checkpoint(venue, position));
            } else {
                // It was removed while nobody followed the venue.
                self.unsaved().remove(symbol);
            }
        }
        Ok(Beginning { followed, checkpoints })
    }

    pub(super) fn unsaved(&self) -> MutexGuard<'_, Unsaved> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves what has changed, until another process follows the venue.
    pub(super) async fn save(&self) -> ServiceError {
        let failures = metrics::counter!("tickbell_feed_save_failures_total", "venue" => self.venue.to_string());
        failures.increment(0);
        let (mut is_failing, mut delete_at) = (false, Instant::now());
        loop {
            sleep(SAVE_EVERY).await;
            match self.save_once().await {
                Ok(()) if is_failing => {
                    info!(venue = %self.venue, "the state of the feeds is saved again");
                    is_failing = false;
                }
                Ok(()) => {}
                Err(error @ store::Error::Fenced(_)) => return error.into(),
                Err(error) => {
                    failures.increment(1);
                    if !is_failing {
                        let error = error_chain(&error);
                        warn!(venue = %self.venue, error, "cannot save the state of the feeds; they go on");
                    }
                    is_failing = true;
                }
            }
            if !is_failing && Instant::now() >= delete_at {
                delete_at = Instant::now() + DELETE_EVERY;
                self.delete_filled().await;
            }
        }
    }

    async fn save_once(&self) -> Result<(), store::Error> {
        let progress = self.unsaved().take(clock::now().micros().unsigned_abs() / 1_000_000);
        let saved = progress::save(self.store, self.venue, self.lease, progress.clone()).await;
        if saved.is_err() {
            self.unsaved().put_back(progress);
        }
        saved
    }

    /// Saves what has changed before the process ends, where that takes no long time.
    pub(super) async fn save_last(&self) {
        match timeout(LAST_SAVE, self.save_once()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                debug!(venue = %self.venue, error = error_chain(&error), "could not save the last positions");
            }
            Err(_) => debug!(venue = %self.venue, "the database did not save the last positions in time"),
        }
    }

    async fn delete_filled(&self) {
        let before = clock::now().micros() - FILLED_FOR * 1_000_000;
        let before = Timestamp::from_micros(before.max(0)).unwrap_or(Timestamp::EPOCH);
        if let Err(error) = progress::delete_filled(self.store, self.venue, before).await {
            debug!(venue = %self.venue, error = error_chain(&error), "could not delete old gaps");
        }
    }

    /// Saves what the venue lists.
    pub(super) async fn save_listed(&self, symbols: &[Symbol]) {
        if let Err(error) = followed::save_listed(self.store, self.venue, symbols).await {
            warn!(venue = %self.venue, error = error_chain(&error), "could not save what the venue lists");
        }
    }

    /// Tells the feed what operators change.
    pub(super) async fn watch(&self, mut known: Followed, changes: mpsc::Sender<FeedChange>) -> Infallible {
        loop {
            sleep(LOOK_EVERY).await;
            if let Err(error) = self.look(&mut known, &changes).await {
                debug!(venue = %self.venue, error = error_chain(&error), "could not look for changes of the feeds");
            }
        }
    }

    async fn look(&self, known: &mut Followed, changes: &mpsc::Sender<FeedChange>) -> Result<(), store::Error> {
        if followed::revision(self.store, self.venue).await? == Some(known.revision) {
            return Ok(());
        }
        let followed = followed::read(self.store, self.venue).await?;
        let mut positions: BTreeMap<Symbol, Position> =
            progress::load(self.store, self.venue).await?.into_iter().collect();
        for change in differences(known, &followed) {
            info!(venue = %self.venue, ?change, "an operator has changed a feed");
            let change = match change {
                FeedChange::Follow(symbol, _) => {
                    let checkpoint = positions.remove(&symbol).map(|position| checkpoint(self.venue, position));
                    FeedChange::Follow(symbol, checkpoint)
                }
                change => change,
            };
            // The receiver is gone only where the feed has ended.
            let _ = changes.send(change).await;
        }
        *known = followed;
        Ok(())
    }
}

/// Returns what has to be done so that what was followed becomes what is to be.
fn differences(before: &Followed, after: &Followed) -> Vec<FeedChange> {
    let desired_states: BTreeMap<&Symbol, DesiredState> =
        before.symbols.iter().map(|(symbol, desired)| (symbol, *desired)).collect();
    let there: BTreeSet<&Symbol> = after.symbols.iter().map(|(symbol, _)| symbol).collect();
    let removed = desired_states.keys().filter(|symbol| !there.contains(**symbol));
    let removed = removed.map(|symbol| FeedChange::Remove((*symbol).clone()));
    let changed = after.symbols.iter().filter_map(|(symbol, desired)| match (desired_states.get(symbol), desired) {
        (Some(DesiredState::Followed), DesiredState::Followed)
        | (Some(DesiredState::Paused) | None, DesiredState::Paused) => None,
        (_, DesiredState::Followed) => Some(FeedChange::Follow(symbol.clone(), None)),
        (Some(DesiredState::Followed), DesiredState::Paused) => Some(FeedChange::Pause(symbol.clone())),
    });
    removed.chain(changed).collect()
}

fn checkpoint(venue: &Venue, position: Position) -> Checkpoint {
    let Position { last_id, last_at, gaps } = position;
    let read = |gap| match serde_json::from_value(gap) {
        Ok(gap) => Some(gap),
        Err(error) => {
            warn!(%venue, error = error_chain(&error), "a stored gap cannot be read, and stays as it is");
            None
        }
    };
    Checkpoint { last_id, last_at, gaps: gaps.into_iter().filter_map(read).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_changes_is_done_and_nothing_else() {
        let followed = |text: &str| {
            let symbol = |word: &str| {
                let desired = if word.starts_with('-') { DesiredState::Paused } else { DesiredState::Followed };
                (Symbol::parse(word.trim_start_matches('-')).expect("a symbol"), desired)
            };
            Followed { revision: 1, symbols: text.split_whitespace().map(symbol).collect() }
        };
        for (before, after, expected) in [
            ("", "", ""),
            ("A -B", "A -B", ""),
            ("A", "A B", "follow B"),
            ("A B", "A", "remove B"),
            ("A", "-A", "pause A"),
            ("-A", "A", "follow A"),
            ("-A", "", "remove A"),
            ("", "-A", ""),
            ("A -B C", "-A B D", "remove C, pause A, follow B, follow D"),
        ] {
            let said: Vec<String> = differences(&followed(before), &followed(after))
                .iter()
                .map(|change| match change {
                    FeedChange::Follow(symbol, _) => format!("follow {symbol}"),
                    FeedChange::Pause(symbol) => format!("pause {symbol}"),
                    FeedChange::Remove(symbol) => format!("remove {symbol}"),
                })
                .collect();
            assert_eq!(said.join(", "), expected, "{before} to {after}");
        }
    }
}
