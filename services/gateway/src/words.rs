//! A rule in words, for the pages that ask about it.

use events::{Condition, Direction, Rule, Since, rule::Change, rule::Limit};

/// What a rule waits for, as the rest of a sentence that begins with "when".
pub(crate) fn condition(rule: &Rule) -> String {
    let symbol = &rule.symbol;
    let place = rule.venue.as_ref().map(|venue| format!(" at {venue}")).unwrap_or_default();
    let what = match rule.condition {
        Condition::Price(Limit::Above(price)) => format!("is at or above {price}"),
        Condition::Price(Limit::Below(price)) => format!("is at or below {price}"),
        Condition::Change(change) => self::change(change),
    };
    format!("{symbol}{place} {what}")
}

fn change(Change { percent, direction, since }: Change) -> String {
    let moves = match direction {
        Direction::Up => "rises",
        Direction::Down => "falls",
        Direction::Any => "moves",
    };
    let reference = match since {
        Since::Previous => "from one price to the next".to_owned(),
        Since::Anchor => "since the last alert".to_owned(),
        Since::Window(span) => format!("within {span}"),
    };
    format!("{moves} by {percent} % {reference}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_said_in_words() {
        for (venue, rule, words) in [
            ("null", r#"{"change": {"percent": "5"}}"#, "BTC-USD moves by 5 % since the last alert"),
            ("\"coinbase\"", r#"{"price": {"above": "7000.50"}}"#, "BTC-USD at coinbase is at or above 7000.50"),
            (
                "null",
                r#"{"change": {"percent": "2.5", "direction": "down", "since": "1h"}}"#,
                "BTC-USD falls by 2.5 % within 1h",
            ),
        ] {
            let rule: Rule = serde_json::from_str(&format!(
                r#"{{"id": "00000000-0000-0000-0000-000000000000", "symbol": "BTC-USD", "venue": {venue},
                    "condition": {rule}, "notify": {{"email": "ada@example.com"}}}}"#
            ))
            .expect("a rule");
            assert_eq!(condition(&rule), words);
        }
    }
}
