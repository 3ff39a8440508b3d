//! Who is told what because of an event: pure, and the same for an event that is read twice.

use std::collections::HashMap;

use events::{
    AlertFired, Channel, Event, OrderStatus, OrderUpdated, RuleChanged, RuleStatus, Target, Timestamp, TradeSettled,
    UserChange, UserNoticed, rule::RuleChange,
};
use platform::broker::ordered_consumer::{DecodeError, Message};
use serde_json::Value;
use store::notifications::{
    deliveries::{Delivery, Kind},
    recipients::Person,
};
use uuid::Uuid;

use crate::letter::Order;

/// The namespace of delivery ids, drawn once.
const DELIVERIES: Uuid = Uuid::from_u128(0x6f1d_3c52_8a0b_4e7d_9c41_5b27_e0a8_93f6);

/// What follows from one message.
pub(crate) struct Decided {
    /// The event's own time.
    pub(crate) at: Timestamp,
    pub(crate) told: Vec<Told>,
}

/// Something that one or more people are told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Told {
    pub(crate) kind: Kind,
    pub(crate) about: String,
    besides: Vec<String>,
    pub(crate) rule_id: Option<Uuid>,
    content: Value,
    pub(crate) to: To,
}

/// Whom.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum To {
    /// Those whose addresses the event says.
    Targets(Vec<Target>),
    /// Somebody whose address must be looked up.
    Person(Person),
}

impl Told {
    fn add(&mut self, other: Told) {
        self.besides.push(other.about);
        match &mut self.content {
            Value::Array(contents) => contents.push(other.content),
            first => *first = Value::Array(vec![first.take(), other.content]),
        }
    }

    /// One delivery for each target.
    pub(crate) fn deliveries(&self, targets: &[Target], traceparent: Option<&str>) -> Vec<Delivery> {
        let delivery = |target: &Target| Delivery {
            id: delivery_id(&self.about, target),
            kind: self.kind,
            about: self.about.clone(),
            besides: self.besides.clone(),
            rule_id: self.rule_id,
            channel: target.channel,
            address: target.address.clone(),
            content: self.content.clone(),
            traceparent: traceparent.map(str::to_owned),
        };
        targets.iter().map(delivery).collect()
    }
}

/// Everybody whom an alert names.
pub(crate) fn of_alert(message: &Message) -> Result<Decided, DecodeError> {
    let alert: AlertFired = message.event()?;
    Ok(Decided { at: alert.ce_time(), told: vec![alerted(&alert)] })
}

fn alerted(alert: &AlertFired) -> Told {
    Told {
        kind: Kind::Alert,
        about: alert.id.clone(),
        besides: Vec::new(),
        rule_id: Some(alert.rule_id),
        content: content(alert),
        to: To::Targets(alert.targets.clone()),
    }
}

/// A new rule whose address has not said yes is asked.
pub(crate) fn of_rule(message: &Message) -> Result<Decided, DecodeError> {
    let change: RuleChanged = message.event()?;
    Ok(Decided { at: change.ce_time(), told: asked(&change).into_iter().collect() })
}

fn asked(change: &RuleChanged) -> Option<Told> {
    let rule = &change.rule;
    let waits = change.happened == RuleChange::Created && change.status == RuleStatus::Pending;
    waits.then(|| Told {
        kind: Kind::Confirmation,
        about: rule.id.to_string(),
        besides: Vec::new(),
        rule_id: Some(rule.id),
        content: content(rule),
        to: To::Targets(vec![Target { channel: Channel::Email, address: rule.notify.email.clone() }]),
    })
}

/// Whoever something happened to that is about an account.
pub(crate) fn of_user(message: &Message) -> Result<Decided, DecodeError> {
    let notice: UserNoticed = message.event()?;
    Ok(Decided { at: notice.ce_time(), told: vec![noticed(&notice)] })
}

fn noticed(notice: &UserNoticed) -> Told {
    let person = match notice.happened {
        UserChange::SignedUp => Person::SignUp(notice.subject_id),
        UserChange::ResetRequested => Person::Reset(notice.subject_id),
        UserChange::SignedUpAgain | UserChange::PasswordChanged | UserChange::SignedOutEverywhere => {
            Person::User(notice.subject_id)
        }
    };
    let about = notice.notice_id.to_string();
    let (content, to) = (content(notice), To::Person(person));
    Told { kind: Kind::Account, about, besides: Vec::new(), rule_id: None, content, to }
}

/// Whose order has traded, or come to nothing without being asked to.
pub(crate) fn of_trade(message: &Message) -> Result<Decided, DecodeError> {
    match message.class() {
        TradeSettled::TYPE => {
            let trade: TradeSettled = message.event()?;
            Ok(Decided { at: trade.ce_time(), told: vec![traded(trade)] })
        }
        OrderUpdated::TYPE => {
            let update: OrderUpdated = message.event()?;
            Ok(Decided { at: update.ce_time(), told: ended(update).into_iter().collect() })
        }
        other => {
            let expected = "trade-settled.v1 or order-updated.v1";
            Err(DecodeError::Type(other.to_owned(), expected))
        }
    }
}

fn traded(trade: TradeSettled) -> Told {
    let (about, user_id) = (trade.id.clone(), trade.user_id);
    order(about, user_id, &Order::Traded(trade))
}

fn ended(update: OrderUpdated) -> Option<Told> {
    let told = matches!(update.status, OrderStatus::Rejected | OrderStatus::Expired);
    told.then(|| {
        let (about, user_id) = (update.to_message().id, update.user_id);
        order(about, user_id, &Order::Ended(update))
    })
}

fn order(about: String, user_id: Uuid, order: &Order) -> Told {
    let (content, to) = (content(order), To::Person(Person::User(user_id)));
    Told { kind: Kind::Trade, about, besides: Vec::new(), rule_id: None, content, to }
}

/// How many orders one mail tells of at most.
const TOGETHER: usize = 50;

/// Makes one of what becomes of the same person's orders, under the name and the trace of the first.
pub(crate) fn together(told: Vec<(Told, Option<String>)>) -> Vec<(Told, Option<String>)> {
    let mut gathered: Vec<(Told, Option<String>)> = Vec::with_capacity(told.len());
    let mut open: HashMap<Person, usize> = HashMap::new();
    for (told, traceparent) in told {
        if let (Kind::Trade, To::Person(person)) = (told.kind, &told.to) {
            let next = gathered.len();
            let place = open.entry(*person).or_insert(next);
            match gathered.get_mut(*place) {
                Some((first, _)) if first.besides.len() + 1 < TOGETHER => {
                    first.add(told);
                    continue;
                }
                _ => *place = next,
            }
        }
        gathered.push((told, traceparent));
    }
    gathered
}

/// Derived from what is told to whom, so that an event that is read twice makes one delivery.
fn delivery_id(about: &str, target: &Target) -> Uuid {
    Uuid::new_v5(&DELIVERIES, format!("{about}/{}/{}", target.channel, target.address).as_bytes())
}

fn content(event: &impl serde::Serialize) -> Value {
    serde_json::to_value(event).expect("wire types have text keys and no failing serializer")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::letter::tests::{fired, trade, update};

    fn target(address: &str) -> Target {
        Target { channel: Channel::Email, address: address.into() }
    }

    #[test]
    fn an_alert_is_one_delivery_per_target_under_an_id_derived_from_both() {
        let targets = [target("ada@example.com"), target("eve@example.com")];
        let told = alerted(&fired(json!({ "targets": targets })));
        assert_eq!(told.to, To::Targets(targets.to_vec()));
        let made = told.deliveries(&targets, None);
        let addresses: Vec<&str> = made.iter().map(|delivery| delivery.address.as_str()).collect();
        assert_eq!(addresses, ["ada@example.com", "eve@example.com"]);
        // Written down, because another id would send again what was sent by an older version.
        assert_eq!(made[0].id.to_string(), "d607610d-41ad-5dc6-82b7-b146b8f8eae6");
        assert_ne!(made[0].id, made[1].id);
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
        let told = asked(&changed("created", "pending")).expect("somebody is asked");
        assert_eq!((told.kind, told.about), (Kind::Confirmation, Uuid::from_u128(7).to_string()));
        for (happened, status) in [("created", "active"), ("confirmed", "active"), ("paused", "pending")] {
            assert!(asked(&changed(happened, status)).is_none(), "{happened} {status}");
        }
    }

    #[test]
    fn a_notice_says_whom_it_is_about_and_no_address() {
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
            let told = noticed(&serde_json::from_value(notice).expect("a notice"));
            assert_eq!((told.kind, told.rule_id, told.to), (Kind::Account, None, To::Person(person)), "{happened}");
        }
    }

    #[test]
    fn what_becomes_of_somebodys_orders_is_told_together() {
        let told = |number: u128, user: u128| {
            let trade = TradeSettled { id: number.to_string(), user_id: Uuid::from_u128(user), ..trade("buy") };
            (traded(trade), Some(format!("trace {number}")))
        };
        let alert = (alerted(&fired(json!({}))), None);
        let gathered = together(vec![told(1, 1), told(2, 2), alert.clone(), told(3, 1), told(4, 1)]);
        assert_eq!(gathered[1..], [told(2, 2), alert]);
        let (first, trace) = &gathered[0];
        assert_eq!((first.about.as_str(), trace.as_deref()), ("1", Some("trace 1")));
        assert_eq!(first.besides, ["3", "4"]);
        assert_eq!(first.content, json!([told(1, 1).0.content, told(3, 1).0.content, told(4, 1).0.content]));

        let many = together((0..=2 * TOGETHER as u128).map(|number| told(number, 1)).collect());
        let sizes: Vec<_> = many.iter().map(|(told, _)| told.besides.len() + 1).collect();
        assert_eq!(sizes, [TOGETHER, TOGETHER, 1]);
        assert_eq!(many[2], told(2 * TOGETHER as u128, 1));
    }

    #[test]
    fn a_trade_is_told_and_of_the_rest_only_what_nobody_asked_for() {
        let told = traded(trade("buy"));
        assert_eq!(told.to, To::Person(Person::User(Uuid::from_u128(5))));
        assert_eq!(told.about, TradeSettled::id_of(Uuid::from_u128(3)));
        for (status, is_told) in
            [("open", false), ("filled", false), ("cancelled", false), ("rejected", true), ("expired", true)]
        {
            assert_eq!(ended(update(status, None)).is_some(), is_told, "{status}");
        }
    }
}
