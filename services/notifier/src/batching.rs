//! Batching: order news of one user that arrives together goes out as one email.

use std::collections::HashMap;

use store::notifications::{deliveries::Kind, recipients::Person};

use crate::routing::{Notification, Recipient};

/// The number of orders that one email reports at most.
const MAX_ORDERS_PER_EMAIL: usize = 50;

/// A notification with the trace context of its event.
pub(crate) type TracedNotification = (Notification, Option<String>);

/// Joins order news of the same user into one notification, under the id and the trace context of the first.
pub(crate) fn batch_by_user(notifications: Vec<TracedNotification>) -> Vec<TracedNotification> {
    let mut batched: Vec<TracedNotification> = Vec::with_capacity(notifications.len());
    let mut open: HashMap<Person, usize> = HashMap::new();
    for (notification, traceparent) in notifications {
        if let (Kind::Trade, Recipient::Person(person)) = (notification.kind, &notification.recipient) {
            let next = batched.len();
            let index = open.entry(*person).or_insert(next);
            match batched.get_mut(*index) {
                Some((first, _)) if first.also_covers.len() + 1 < MAX_ORDERS_PER_EMAIL => {
                    first.add(notification);
                    continue;
                }
                _ => *index = next,
            }
        }
        batched.push((notification, traceparent));
    }
    batched
}

#[cfg(test)]
mod tests {
    use events::TradeSettled;
    use serde_json::json;
    use uuid::Uuid;

    use super::*;
    use crate::{
        routing::{alert_notification, trade_notification},
        templates::tests::{fired, trade},
    };

    #[test]
    fn order_news_of_one_user_is_one_notification() {
        let news = |number: u128, user: u128| {
            let trade = TradeSettled { id: number.to_string(), user_id: Uuid::from_u128(user), ..trade("buy") };
            (trade_notification(trade), Some(format!("trace {number}")))
        };
        let alert = (alert_notification(&fired(json!({}))), None);
        let batched = batch_by_user(vec![news(1, 1), news(2, 2), alert.clone(), news(3, 1), news(4, 1)]);
        assert_eq!(batched[1..], [news(2, 2), alert]);
        let (first, trace) = &batched[0];
        assert_eq!((first.about.as_str(), trace.as_deref()), ("1", Some("trace 1")));
        assert_eq!(first.also_covers, ["3", "4"]);
        let contents = [news(1, 1), news(3, 1), news(4, 1)].map(|(notification, _)| notification.content);
        assert_eq!(first.content, json!(contents));

        let many = batch_by_user((0..=2 * MAX_ORDERS_PER_EMAIL as u128).map(|number| news(number, 1)).collect());
        let sizes: Vec<_> = many.iter().map(|(notification, _)| notification.also_covers.len() + 1).collect();
        assert_eq!(sizes, [MAX_ORDERS_PER_EMAIL, MAX_ORDERS_PER_EMAIL, 1]);
        assert_eq!(many[2], news(2 * MAX_ORDERS_PER_EMAIL as u128, 1));
    }
}
