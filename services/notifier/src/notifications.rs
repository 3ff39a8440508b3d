//! Notifications become deliveries: one per address, and none for what was notified before.

use std::collections::HashSet;

use events::{Channel, Target};
use store::{
    Error, Tx,
    notifications::{
        deliveries::{self, Delivery, Kind},
        recipients::{addresses, erased},
    },
};

use crate::{
    batching::{TracedNotification, batch_by_user},
    routing::Recipient,
};

/// Saves the deliveries that follow from notifications, those that are not saved yet.
pub(crate) async fn save(tx: &mut Tx, notifications: Vec<TracedNotification>) -> Result<(), Error> {
    if notifications.is_empty() {
        return Ok(());
    }
    let unsent = drop_already_sent(tx, notifications).await?;
    let made = resolve_addresses(tx, batch_by_user(unsent)).await?;
    deliveries::add(tx, &made).await
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

/// Resolves recipients to addresses and makes the deliveries. A recipient that was deleted gets none.
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
    let erased = if rules.is_empty() { HashSet::new() } else { erased(tx, &rules).await? };
    let mut made = Vec::with_capacity(notifications.len());
    for (notification, traceparent) in &notifications {
        let targets = match &notification.recipient {
            Recipient::Targets(_) if notification.rule_id.is_some_and(|rule| erased.contains(&rule)) => Vec::new(),
            Recipient::Targets(targets) => targets.clone(),
            Recipient::Person(_) => {
                let address = found.next().flatten();
                address.map(|address| Target { channel: Channel::Email, address }).into_iter().collect()
            }
        };
        made.extend(notification.deliveries(&targets, traceparent.as_deref()));
    }
    Ok(made)
}
