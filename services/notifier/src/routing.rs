//! Routing: which notifications follow from an event, and for which recipients. The functions are pure, so an event that is
//! read twice gives the same notifications with the same delivery ids.

use events::{
    AlertFired, Channel, Event, LateVerdict, OrderStatus, OrderUpdated, RuleChanged, RuleStatus, Target, Timestamp,
    TradeSettled, UserChange, UserNoticed, rule::RuleChange,
};
use platform::{DecodeError, Message};
use serde_json::Value;
use store::notifications::{
    deliveries::{Delivery, Kind},
    recipients::Person,
};
use thiserror::Error;
use uuid::Uuid;

use crate::templates::OrderNews;

/// The namespace of delivery ids (RFC 9562, version 5).
const DELIVERIES: Uuid = Uuid::from_u128(0x6f1d_3c52_8a0b_4e7d_9c41_5b27_e0a8_93f6);

/// The most bytes that an id or an address may have. Both are in a unique key, and an index entry has a limit.
const MAX_TEXT_BYTES: usize = 256;

/// The reason why nobody can be notified of an event.
#[derive(Debug, Error)]
pub(crate) enum RoutingError {
    /// The message cannot be decoded.
    #[error(transparent)]
    Message(#[from] DecodeError),
    /// A text is empty or too long.
    #[error("its {0} has {1} bytes; allowed are 1 to {MAX_TEXT_BYTES}")]
    Length(&'static str, usize),
    /// A text contains a character that text columns and mails cannot hold.
    #[error("its {0} contains a control character, which is not allowed")]
    Character(&'static str),
}

/// The notifications that follow from one event.
pub(crate) struct Routed {
    /// The event's own time.
    pub(crate) at: Timestamp,
    /// The notifications, none for an event that is no news.
    pub(crate) notifications: Vec<Notification>,
}

/// A notification for one or more addresses.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Notification {
    /// The template that renders it.
    pub(crate) kind: Kind,
    /// The id of the event that caused it.
    pub(crate) about: String,
    /// The ids of further events that the same email reports.
    pub(crate) also_covers: Vec<String>,
    /// The rule that caused it; none for news of orders and accounts.
    pub(crate) rule_id: Option<Uuid>,
    /// The event, from which a template renders the email; an array where several events are reported.
    pub(crate) content: Value,
    pub(crate) recipient: Recipient,
}

/// The recipient of a notification.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Recipient {
    /// The addresses that the event itself contains.
    Targets(Vec<Target>),
    /// A person whose address must be looked up.
    Person(Person),
}

impl Routed {
    /// Returns an error when an id or an address cannot be stored.
    pub(crate) fn check(&self) -> Result<(), RoutingError> {
        for notification in &self.notifications {
            check_text("id", &notification.about)?;
            if let Recipient::Targets(targets) = &notification.recipient {
                targets.iter().try_for_each(|target| check_text("address", &target.address))?;
            }
        }
        Ok(())
    }
}

fn check_text(what: &'static str, text: &str) -> Result<(), RoutingError> {
    if text.is_empty() || text.len() > MAX_TEXT_BYTES {
        return Err(RoutingError::Length(what, text.len()));
    }
    if text.chars().any(char::is_control) { Err(RoutingError::Character(what)) } else { Ok(()) }
}

impl Notification {
    /// Adds the content of another notification, so that one email reports both.
    pub(crate) fn add(&mut self, other: Notification) {
        self.also_covers.push(other.about);
        match &mut self.content {
            Value::Array(contents) => contents.push(other.content),
            first => *first = Value::Array(vec![first.take(), other.content]),
        }
    }

    /// Makes one delivery per target.
    pub(crate) fn deliveries(&self, targets: &[Target], traceparent: Option<&str>) -> Vec<Delivery> {
        let delivery = |target: &Target| Delivery {
            id: delivery_id(&self.about, target),
            kind: self.kind,
            source_id: self.about.clone(),
            also_covers: self.also_covers.clone(),
            rule_id: self.rule_id,
            channel: target.channel,
            address: target.address.clone(),
            content: self.content.clone(),
            traceparent: traceparent.map(str::to_owned),
        };
        targets.iter().map(delivery).collect()
    }
}

/// Routes a firing or a late verdict to the targets that it names.
pub(crate) fn route_alert(message: &Message) -> Result<Routed, DecodeError> {
    if message.class() == LateVerdict::TYPE {
        let verdict: LateVerdict = message.event()?;
        return Ok(Routed { at: verdict.ce_time(), notifications: vec![late_notification(&verdict)] });
    }
    let alert: AlertFired = message.event()?;
    Ok(Routed { at: alert.ce_time(), notifications: vec![alert_notification(&alert)] })
}

/// One mail is about all rules of an address that would have fired in a gap. So it is about the gap, and whichever verdict is read
/// first makes it.
pub(crate) fn late_notification(verdict: &LateVerdict) -> Notification {
    let LateVerdict { gap_id, rule_id, targets, .. } = verdict;
    Notification {
        kind: Kind::Late,
        about: gap_id.clone(),
        also_covers: Vec::new(),
        rule_id: Some(*rule_id),
        content: content(&[LateVerdict { targets: Vec::new(), ..verdict.clone() }]),
        recipient: Recipient::Targets(targets.clone()),
    }
}

pub(crate) fn alert_notification(alert: &AlertFired) -> Notification {
    Notification {
        kind: Kind::Alert,
        about: alert.id.clone(),
        also_covers: Vec::new(),
        rule_id: Some(alert.rule_id),
        content: content(alert),
        recipient: Recipient::Targets(alert.targets.clone()),
    }
}

/// Routes the confirmation request of a new rule whose address is not confirmed.
pub(crate) fn route_rule(message: &Message) -> Result<Routed, DecodeError> {
    let change: RuleChanged = message.event()?;
    Ok(Routed { at: change.ce_time(), notifications: confirmation_request(&change).into_iter().collect() })
}

fn confirmation_request(change: &RuleChanged) -> Option<Notification> {
    let rule = &change.rule;
    let needs_confirmation = change.happened == RuleChange::Created && change.status == RuleStatus::Pending;
    needs_confirmation.then(|| Notification {
        kind: Kind::Confirmation,
        about: rule.id.to_string(),
        also_covers: Vec::new(),
        rule_id: Some(rule.id),
        content: content(rule),
        recipient: Recipient::Targets(vec![Target { channel: Channel::Email, address: rule.notify.email.clone() }]),
    })
}

/// Routes a notice about an account to its owner.
pub(crate) fn route_user(message: &Message) -> Result<Routed, DecodeError> {
    let notice: UserNoticed = message.event()?;
    Ok(Routed { at: notice.ce_time(), notifications: vec![account_notification(&notice)] })
}

fn account_notification(notice: &UserNoticed) -> Notification {
    let person = match notice.happened {
        UserChange::SignedUp => Person::SignUp(notice.subject_id),
        UserChange::ResetRequested => Person::Reset(notice.subject_id),
        UserChange::SignedUpAgain | UserChange::PasswordChanged | UserChange::SignedOutEverywhere => {
            Person::User(notice.subject_id)
        }
    };
    let about = notice.notice_id.to_string();
    let (content, recipient) = (content(notice), Recipient::Person(person));
    Notification { kind: Kind::Account, about, also_covers: Vec::new(), rule_id: None, content, recipient }
}

/// Routes a trade, a rejection or an expiry to the owner of the order. A cancellation that the owner asked for is no news.
pub(crate) fn route_trade(message: &Message) -> Result<Routed, DecodeError> {
    match message.class() {
        TradeSettled::TYPE => {
            let trade: TradeSettled = message.event()?;
            Ok(Routed { at: trade.ce_time(), notifications: vec![trade_notification(trade)] })
        }
        OrderUpdated::TYPE => {
            let update: OrderUpdated = message.event()?;
            Ok(Routed { at: update.ce_time(), notifications: end_notification(update).into_iter().collect() })
        }
        other => {
            let expected = "trade-settled.v1 or order-updated.v1";
            Err(DecodeError::Type(other.to_owned(), expected))
        }
    }
}

pub(crate) fn trade_notification(trade: TradeSettled) -> Notification {
    let (about, user_id) = (trade.id.clone(), trade.user_id);
    order_notification(about, user_id, &OrderNews::Traded(trade))
}

fn end_notification(update: OrderUpdated) -> Option<Notification> {
    let is_news = matches!(update.status, OrderStatus::Rejected | OrderStatus::Expired);
    is_news.then(|| {
        let (about, user_id) = (update.to_message().id, update.user_id);
        order_notification(about, user_id, &OrderNews::Ended(update))
    })
}

fn order_notification(about: String, user_id: Uuid, order: &OrderNews) -> Notification {
    let (content, recipient) = (content(order), Recipient::Person(Person::User(user_id)));
    Notification { kind: Kind::Trade, about, also_covers: Vec::new(), rule_id: None, content, recipient }
}

/// Derives the id from the event and the target, so that an event that is read twice makes one delivery.
fn delivery_id(about: &str, target: &Target) -> Uuid {
    Uuid::new_v5(&DELIVERIES, format!("{about}/{}/{}", target.channel, target.address).as_bytes())
}

/// Writes what a template renders as the content of a notification.
pub(crate) fn content(event: &impl serde::Serialize) -> Value {
    serde_json::to_value(event).expect("wire types have text keys and no failing serializer")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::templates::tests::{fired, late, trade, update};

    fn target(address: &str) -> Target {
        Target { channel: Channel::Email, address: address.into() }
    }

    #[test]
    fn an_alert_is_one_delivery_per_target_under_an_id_derived_from_both() {
        let targets = [target("ada@example.com"), target("eve@example.com")];
        let notification = alert_notification(&fired(json!({ "targets": targets })));
        assert_eq!(notification.recipient, Recipient::Targets(targets.to_vec()));
        let made = notification.deliveries(&targets, None);
        let addresses: Vec<&str> = made.iter().map(|delivery| delivery.address.as_str()).collect();
        assert_eq!(addresses, ["ada@example.com", "eve@example.com"]);
        // The id is fixed, because another id would send again what an older version has sent.
        assert_eq!(made[0].id.to_string(), "d607610d-41ad-5dc6-82b7-b146b8f8eae6");
        assert_ne!(made[0].id, made[1].id);
    }

    #[test]
    fn all_late_verdicts_about_a_gap_are_one_delivery_to_an_address() {
        let targets = [target("ada@example.com")];
        let ids = [7, 8].map(|rule| {
            let verdict = late(json!({ "rule_id": Uuid::from_u128(rule), "targets": targets }));
            let notification = late_notification(&verdict);
            assert!(!notification.content.to_string().contains('@'), "the delivery itself has the address");
            notification.deliveries(&targets, None)[0].id
        });
        assert_eq!(ids[0], ids[1]);
    }

    #[test]
    fn an_id_or_address_that_cannot_be_stored_is_refused_with_a_reason() {
        let check = |id: &str, address: &str| {
            let alert = fired(json!({ "id": id, "targets": [target(address)] }));
            let routed = Routed { at: alert.fired_at, notifications: vec![alert_notification(&alert)] };
            routed.check().map_err(|error| error.to_string())
        };
        let (longest, too_long) = ("7".repeat(256), "7".repeat(257));
        assert_eq!(check(&longest, "ada@example.com"), Ok(()));
        for (id, address, expected) in [
            (too_long.as_str(), "ada@example.com", "its id has 257 bytes; allowed are 1 to 256"),
            ("", "ada@example.com", "its id has 0 bytes; allowed are 1 to 256"),
            ("a\0b", "ada@example.com", "its id contains a control character, which is not allowed"),
            ("7-1", &too_long, "its address has 257 bytes; allowed are 1 to 256"),
            ("7-1", "ada@example.com\r\nBcc: eve", "its address contains a control character, which is not allowed"),
        ] {
            assert_eq!(check(id, address), Err(expected.into()));
        }
    }

    #[test]
    fn only_a_new_rule_that_is_pending_asks_for_confirmation() {
        let changed = |happened: &str, status: &str| -> RuleChanged {
            let rule = json!({
                "id": Uuid::from_u128(7), "symbol": "SPY", "condition": {"price": {"above": "300"}},
                "notify": {"email": "ada@example.com"},
            });
            let change = json!({
                "rule": rule, "revision": 1, "happened": happened, "status": status, "at": "2018-04-05T00:00:00Z",
            });
            serde_json::from_value(change).expect("a change")
        };
        let notification = confirmation_request(&changed("created", "pending")).expect("a confirmation request");
        assert_eq!((notification.kind, notification.about), (Kind::Confirmation, Uuid::from_u128(7).to_string()));
        for (happened, status) in [("created", "active"), ("confirmed", "active"), ("paused", "pending")] {
            assert!(confirmation_request(&changed(happened, status)).is_none(), "{happened} {status}");
        }
    }

    #[test]
    fn a_notice_names_its_recipient_and_no_address() {
        let id = Uuid::from_u128(9);
        for (happened, person) in [
            ("signed_up", Person::SignUp(id)),
            ("signed_up_again", Person::User(id)),
            ("reset_requested", Person::Reset(id)),
            ("password_changed", Person::User(id)),
            ("signed_out_everywhere", Person::User(id)),
        ] {
            let notice = json!({
                "notice_id": Uuid::from_u128(8), "happened": happened, "subject_id": id, "at": "2018-04-05T00:00:00Z",
            });
            let notification = account_notification(&serde_json::from_value(notice).expect("a notice"));
            assert_eq!(
                (notification.kind, notification.rule_id, notification.recipient),
                (Kind::Account, None, Recipient::Person(person)),
                "{happened}"
            );
        }
    }

    #[test]
    fn trades_and_ends_that_nobody_asked_for_are_notified() {
        let notification = trade_notification(trade("buy"));
        assert_eq!(notification.recipient, Recipient::Person(Person::User(Uuid::from_u128(5))));
        assert_eq!(notification.about, TradeSettled::id_of(Uuid::from_u128(3)));
        for (status, is_news) in
            [("open", false), ("filled", false), ("cancelled", false), ("rejected", true), ("expired", true)]
        {
            assert_eq!(end_notification(update(status, None)).is_some(), is_news, "{status}");
        }
    }
}
