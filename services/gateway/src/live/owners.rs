//! Whose firings and deliveries are: the database says so, as it does for the lists of the API.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use store::{Error, Store, identity::owners};
use tokio::time::Instant;
use uuid::Uuid;

/// The most owners that are remembered.
const MOST_OWNERS: usize = 20_000;
/// The time for which an owner is remembered: an alert without one may be adopted, and a user may be erased.
const REMEMBERED: Duration = Duration::from_secs(2);

/// The owners of rules and orders that were asked for lately.
#[derive(Debug, Default)]
pub(crate) struct Owners(Mutex<HashMap<Uuid, (Option<Uuid>, Instant)>>);

impl Owners {
    /// Returns the users to whom rules and orders belong. What belongs to nobody is left out.
    pub(crate) async fn find(&self, store: &Store, ids: &[Uuid]) -> Result<HashMap<Uuid, Uuid>, Error> {
        let now = Instant::now();
        let (mut found, mut unknown) = (HashMap::new(), Vec::new());
        {
            let remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for id in ids {
                match remembered.get(id) {
                    Some((owner, since)) if now - *since < REMEMBERED => found.extend(owner.map(|owner| (*id, owner))),
                    _ => unknown.push(*id),
                }
            }
        }
        if unknown.is_empty() {
            return Ok(found);
        }
        let owners = owners::find(store, &unknown).await?;
        let mut remembered = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() + unknown.len() > MOST_OWNERS {
            remembered.retain(|_, (_, since)| now - *since < REMEMBERED);
        }
        if remembered.len() + unknown.len() <= MOST_OWNERS {
            remembered.extend(unknown.iter().map(|id| (*id, (owners.get(id).copied(), now))));
        }
        found.extend(owners);
        Ok(found)
    }
}
