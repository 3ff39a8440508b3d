//! Notifications become deliveries: one per address, and none for what was notified before.

use std::{
    collections::{BTreeSet, HashMap, hash_map::Entry},
    time::Duration,
};

use events::{Channel, LateVerdict, Target};
use store::{
    Error, Tx,
    consumer::missing_rows::{Row, count_without_row},
    notifications::{
        deliveries::{self, Claim, Delivery, Kind},
        recipients::{RuleRecipient, addresses, of_rules},
    },
    rules::late,
};
use tracing::warn;
use uuid::Uuid;

use crate::{
    SERVICE,
    batching::{TracedNotification, batch_by_user},
    routing::{Recipient, content},
};

/// The number of rules that one log line names.
const MAX_NAMED: usize = 10;
/// The number of late verdicts about a gap that one email has at most.
const MAX_VERDICTS_PER_EMAIL: i64 = 50;

/// Registers the counters at zero, so that their first count is a step.
pub(crate) fn register_metrics() {
    count_without_row(SERVICE, Row::Rule, 0);
}

/// The deliveries that a process may attempt as soon as they are saved.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Room {
    /// Their number at most.
    pub(crate) attempts: usize,
    /// The time for which they are claimed.
    pub(crate) lease: Duration,
}

/// The deliveries that were made of notifications.
#[derive(Debug, Default)]
pub(crate) struct NewDeliveries {
    /// Those that this process attempts.
    pub(crate) claims: Vec<Claim>,
    /// Whether there are others, which are due.
    pub(crate) are_due: bool,
}

/// Saves the deliveries that follow from notifications, those that are not saved yet, and claims those for which there is room.
pub(crate) async fn save(
    tx: &mut Tx,
    notifications: Vec<TracedNotification>,
    room: Room,
) -> Result<NewDeliveries, Error> {
    if notifications.is_empty() {
        return Ok(NewDeliveries::default());
    }
    let unsent = drop_already_sent(tx, notifications).await?;
    let mut made = resolve_addresses(tx, batch_by_user(unsent)).await?;
    add_other_verdicts(tx, &mut made).await?;
    let attempts = i64::try_from(room.attempts).unwrap_or(i64::MAX);
    let claims = deliveries::add_claimed(tx, &made, attempts, room.lease).await?;
    Ok(NewDeliveries { are_due: claims.len() < made.len(), claims })
}

/// Completes deliveries about gaps. All verdicts about a gap were saved by one transaction, before the first of them was published.
async fn add_other_verdicts(tx: &mut Tx, deliveries: &mut [Delivery]) -> Result<(), Error> {
    let mut completed: HashMap<Uuid, Vec<LateVerdict>> = HashMap::new();
    for delivery in deliveries.iter_mut().filter(|delivery| delivery.kind == Kind::Late) {
        let verdicts = match completed.entry(delivery.id) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let (gap, address) = (&delivery.source_id, &delivery.address);
                new.insert(late::list_of_address(tx, gap, address, MAX_VERDICTS_PER_EMAIL).await?)
            }
        };
        if !verdicts.is_empty() {
            delivery.content = content(verdicts);
        }
    }
    Ok(())
}

/// Drops order news that an earlier email has reported, by itself or in a batch.
async fn drop_already_sent(
    tx: &mut Tx,
    mut notifications: Vec<TracedNotification>,
) -> Result<Vec<TracedNotification>, Error> {
    let news = notifications.iter().filter(|(notification, _)| notification.kind == Kind::Trade);
    let abouts: Vec<_> = news.map(|(notification, _)| notification.about.as_str()).collect();
    if !abouts.is_empty() {
        let mut sent = deliveries::already_notified(tx, &abouts).await?;
        notifications
            .retain(|(notification, _)| notification.kind != Kind::Trade || sent.insert(notification.about.clone()));
    }
    Ok(notifications)
}

/// Resolves recipients to addresses and makes the deliveries. A recipient that was deleted gets none, and neither does that
/// of a rule without a row: the links in the message would lead to nothing.
async fn resolve_addresses(tx: &mut Tx, notifications: Vec<TracedNotification>) -> Result<Vec<Delivery>, Error> {
    let person = |(notification, _): &TracedNotification| match notification.recipient {
        Recipient::Person(person) => Some(person),
        Recipient::Targets(_) => None,
    };
    let people: Vec<_> = notifications.iter().filter_map(person).collect();
    let found = if people.is_empty() { Vec::new() } else { addresses(tx, &people).await? };
    let mut found = found.into_iter();
    // An event contains the address of when it was written; its rule knows whether that was erased since.
    let rules: Vec<_> = notifications.iter().filter_map(|(notification, _)| notification.rule_id).collect();
    let of_rules = if rules.is_empty() { HashMap::new() } else { of_rules(tx, &rules).await? };
    report_without_row(rules.into_iter().filter(|rule| !of_rules.contains_key(rule)));
    let mut made = Vec::with_capacity(notifications.len());
    for (notification, traceparent) in &notifications {
        let targets = match &notification.recipient {
            Recipient::Targets(targets) => {
                let of_rule = notification.rule_id.map(|rule| of_rules.get(&rule));
                if matches!(of_rule, None | Some(Some(RuleRecipient::Present))) { targets.clone() } else { Vec::new() }
            }
            Recipient::Person(_) => {
                let address = found.next().flatten();
                address.map(|address| Target { channel: Channel::Email, address }).into_iter().collect()
            }
        };
        made.extend(notification.deliveries(&targets, traceparent.as_deref()));
    }
    Ok(made)
}

/// Counts notifications about rules without a row, and names the first of these rules in one line.
fn report_without_row(missing: impl Iterator<Item = Uuid>) {
    let missing: Vec<Uuid> = missing.collect();
    if missing.is_empty() {
        return;
    }
    let rules: BTreeSet<Uuid> = missing.iter().copied().collect();
    let named: Vec<String> = rules.iter().take(MAX_NAMED).map(Uuid::to_string).collect();
    warn!(
        notifications = missing.len(),
        rules = rules.len(),
        named = named.join(" "),
        "passed over notifications about rules that the database does not have: it was restored from a backup that is older"
    );
    count_without_row(SERVICE, Row::Rule, missing.len() as u64);
}
