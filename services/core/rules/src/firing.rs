//! A firing with its rule, as it is published.

use std::sync::Arc;

use events::{AlertFired, Channel, Rule, Target};

use crate::state::Firing;

/// A firing with its rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFiring {
    /// The rule that fired.
    pub rule: Arc<Rule>,
    /// The firing, which may be suppressed.
    pub firing: Firing,
}

impl RuleFiring {
    /// Returns the event that reports the firing; none for a suppressed one.
    pub fn event(self) -> Option<AlertFired> {
        let Self { rule, firing } = self;
        firing.suppressed.is_none().then(|| AlertFired {
            id: AlertFired::id_of(rule.id, firing.number),
            rule_id: rule.id,
            number: firing.number,
            symbol: firing.symbol,
            venue: firing.venue,
            condition: rule.condition,
            fired_at: firing.fired_at,
            price: firing.price,
            reference_price: firing.reference.map(|(price, _)| price),
            reference_at: firing.reference.map(|(_, at)| at),
            change_percent: firing.change_percent,
            trade_id: firing.trade_id,
            stream_sequence: firing.position.sequence,
            stream_index: firing.position.index,
            incomplete_since: firing.incomplete_since,
            targets: vec![Target { channel: Channel::Email, address: rule.notify.email.clone() }],
        })
    }
}
