//! The templates of emails. They are pure, so that an event renders to the same email on every attempt.

mod account;
mod late;
mod orders;
mod silence;

use askama::Template;
use events::link::Purpose;
use events::{
    AlertFired, Baseline, Condition, Period, Repeat, Rule, display,
    rule::{Change, PriceThreshold},
};
use platform::signed_links::Links;

pub use account::account;
pub use late::late;
pub use orders::{OrderNews, orders};
pub use silence::{RuleSilence, silence};

/// The content of an email.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailContent {
    /// The subject, which says what happened.
    pub subject: String,
    /// The plain text, which is complete by itself.
    pub text: String,
    /// The same content as HTML.
    pub html: String,
    /// The link that unsubscribes with one click (RFC 8058); none for an email that is sent once.
    pub unsubscribe: Option<String>,
}

/// Renders the email about a firing.
pub fn alert(alert: &AlertFired, links: &Links) -> EmailContent {
    let unsubscribe = links.url(Purpose::Unsubscribe, alert.rule_id);
    let subject = subject(alert);
    let page = AlertPage {
        subject: &subject,
        symbol: alert.symbol.as_str(),
        tone: tone(alert),
        summary: summary(alert),
        price: display::price(alert.price, &alert.symbol),
        at: display::time_to_the_second(alert.fired_at),
        venue: alert.venue.as_str(),
        reference: reference(alert),
        rule: display::rule(&alert.symbol, &alert.condition),
        number: alert.number,
        incomplete_since: alert.incomplete_since.map(display::time_to_the_second),
        home: links.base_url(),
        unsubscribe: &unsubscribe,
        api: format!("{}/v1/alerts/{}", links.base_url(), alert.rule_id),
    };
    let (text, html) = (render(&AlertText { page: &page }), render(&page));
    EmailContent { subject, text, html, unsubscribe: Some(unsubscribe) }
}

/// Renders the email that asks an address to confirm a rule.
pub fn confirmation(rule: &Rule, links: &Links) -> EmailContent {
    let subject = format!("Confirm your Tickbell alert for {}", rule.symbol);
    let page = ConfirmationPage {
        subject: &subject,
        symbol: rule.symbol.as_str(),
        rule: display::rule(&rule.symbol, &rule.condition),
        terms: terms(rule),
        home: links.base_url(),
        confirm: links.url(Purpose::Confirm, rule.id),
    };
    let (text, html) = (render(&ConfirmationText { page: &page }), render(&page));
    EmailContent { subject, text, html, unsubscribe: None }
}

#[derive(Template)]
#[template(path = "alert.html")]
struct AlertPage<'a> {
    subject: &'a str,
    symbol: &'a str,
    /// The class of the style sheet: `up`, `down` or `plain`.
    tone: &'static str,
    /// What happened, without the symbol and the price.
    summary: String,
    price: String,
    at: String,
    venue: &'a str,
    reference: Option<Reference>,
    rule: String,
    number: i64,
    /// The time since which prices may be incomplete.
    incomplete_since: Option<String>,
    home: &'a str,
    unsubscribe: &'a str,
    api: String,
}

#[derive(Template)]
#[template(path = "alert.txt")]
struct AlertText<'a> {
    page: &'a AlertPage<'a>,
}

/// The price that the change is measured against.
struct Reference {
    price: String,
    at: String,
    elapsed: String,
}

#[derive(Template)]
#[template(path = "confirmation.html")]
struct ConfirmationPage<'a> {
    subject: &'a str,
    symbol: &'a str,
    rule: String,
    terms: String,
    home: &'a str,
    confirm: String,
}

#[derive(Template)]
#[template(path = "confirmation.txt")]
struct ConfirmationText<'a> {
    page: &'a ConfirmationPage<'a>,
}

fn render(page: &impl Template) -> String {
    page.render().expect("writing to a String does not fail, and the templates call nothing that does")
}

/// Returns the subject, like `BTC-USD +5.2 % to 6,804.91` or `BTC-USD above 6,800: now 6,804.91`.
fn subject(alert: &AlertFired) -> String {
    let (symbol, price, summary) = (&alert.symbol, display::number(alert.price.decimal()), summary(alert));
    match (&alert.condition, alert.change_percent) {
        (Condition::Price(_), _) => format!("{symbol} {summary}: now {price}"),
        (Condition::Change(_), Some(_)) => format!("{symbol} {summary} to {price}"),
        (Condition::Change(_), None) => format!("{symbol} {summary}: {price}"),
    }
}

fn summary(alert: &AlertFired) -> String {
    match (&alert.condition, alert.change_percent) {
        (Condition::Price(PriceThreshold::Above(limit)), _) => format!("above {}", display::number(limit.decimal())),
        (Condition::Price(PriceThreshold::Below(limit)), _) => format!("below {}", display::number(limit.decimal())),
        (Condition::Change(_), Some(percent)) => display::change(percent),
        // The engine always gives the change; an older producer may not.
        (Condition::Change(_), None) => "changed".into(),
    }
}

fn tone(alert: &AlertFired) -> &'static str {
    match (&alert.condition, alert.change_percent) {
        (Condition::Price(PriceThreshold::Above(_)), _) => "up",
        (Condition::Price(PriceThreshold::Below(_)), _) => "down",
        (Condition::Change(_), Some(percent)) if percent.is_sign_negative() => "down",
        (Condition::Change(_), Some(_)) => "up",
        (Condition::Change(_), None) => "plain",
    }
}

fn reference(alert: &AlertFired) -> Option<Reference> {
    let (price, at) = (alert.reference_price?, alert.reference_at?);
    Some(Reference {
        price: display::price(price, &alert.symbol),
        at: display::time_to_the_second(at),
        elapsed: display::elapsed(at, alert.fired_at),
    })
}

/// Describes how often the rule sends alerts, in sentences.
fn terms(rule: &Rule) -> String {
    let mut terms = match rule.repeat {
        Repeat::Once => "You will get one alert".to_owned(),
        Repeat::Every => "You will get an alert every time".to_owned(),
    };
    if rule.repeat == Repeat::Every && rule.cooldown != Period::ZERO {
        terms.push_str(&format!(", but at most one per {}", display::period(rule.cooldown)));
    }
    if let Some(venue) = &rule.venue {
        terms.push_str(&format!(", by prices of {venue}"));
    }
    if let Some(end) = rule.expires_at {
        terms.push_str(&format!(", until {}", display::time_to_the_second(end)));
    }
    terms.push('.');
    if matches!(rule.condition, Condition::Change(Change { since: Baseline::Anchor, .. })) {
        terms.push_str(" Changes are measured from the price at the moment you confirm.");
    }
    terms
}

#[cfg(test)]
pub(crate) mod tests {
    use events::{LateVerdict, OrderUpdated, TradeSettled};
    use platform::signed_links;
    use serde_json::{Value, json};

    use super::*;

    pub(crate) fn links() -> Links {
        let settings =
            signed_links::Settings { secret: "0123456789abcdef".into(), base_url: "https://bell.example.com".into() };
        Links::new(&settings).expect("links")
    }

    /// The alert of the issue, with `changes` to it.
    pub(crate) fn fired(changes: Value) -> AlertFired {
        let mut alert = json!({
            "id": "00000000-0000-0000-0000-000000000007-3", "rule_id": "00000000-0000-0000-0000-000000000007", "number": 3,
            "symbol": "BTC-USD", "venue": "coinbase",
            "condition": {"change": {"percent": "5"}},
            "fired_at": "2018-04-05T13:45:00Z", "price": "6804.91",
            "reference_price": "6468.00", "reference_at": "2018-04-05T11:40:00Z", "change_percent": "5.2089",
            "trade_id": "7", "stream_sequence": 42, "stream_index": 0, "targets": [{"channel": "email", "address": "ada@example.com"}],
        });
        let Value::Object(changes) = changes else { panic!("an object") };
        alert.as_object_mut().expect("an object").extend(changes);
        serde_json::from_value(alert).expect("an alert")
    }

    /// The late verdict of the same rule, with `changes` to it.
    pub(crate) fn late(changes: Value) -> LateVerdict {
        let mut verdict = json!({
            "id": "00000000-0000-0000-0000-000000000007/coinbase:BTC-USD:1003",
            "rule_id": "00000000-0000-0000-0000-000000000007", "gap_id": "coinbase:BTC-USD:1003",
            "symbol": "BTC-USD", "venue": "coinbase", "condition": {"change": {"percent": "5"}},
            "blind_from": "2018-04-05T10:00:00Z", "blind_to": "2018-04-05T10:05:00Z", "is_complete": true,
            "crossed_at": "2018-04-05T10:03:00Z", "price": "6804.91",
            "reference_price": "6468.00", "reference_at": "2018-04-05T08:40:00Z", "change_percent": "5.2089",
            "trade_id": "1007", "crossings": 1, "extreme_price": "6850", "extreme_at": "2018-04-05T10:03:30Z",
            "last_price": "6500", "last_at": "2018-04-05T10:05:12Z", "targets": [],
        });
        let Value::Object(changes) = changes else { panic!("an object") };
        verdict.as_object_mut().expect("an object").extend(changes);
        serde_json::from_value(verdict).expect("a verdict")
    }

    /// What became of an order of 0.1 BTC-USD.
    pub(crate) fn trade(side: &str) -> TradeSettled {
        let trade = json!({
            "id": "00000000-0000-0000-0000-000000000003-1", "order_id": "00000000-0000-0000-0000-000000000003",
            "user_id": "00000000-0000-0000-0000-000000000005", "symbol": "BTC-USD", "side": side, "size": "0.1",
            "price": "6804.91", "quote_amount": "680.49", "fee": "0.68", "tick_id": "7", "tick_sequence": 42, "tick_index": 0,
            "tick_price": "6801.51", "posting_id": 9, "at": "2018-04-05T13:45:00Z",
        });
        serde_json::from_value(trade).expect("a trade")
    }

    /// A change of the same order.
    pub(crate) fn update(status: &str, reason: Option<&str>) -> OrderUpdated {
        let update = json!({
            "order_id": "00000000-0000-0000-0000-000000000003", "revision": 1,
            "user_id": "00000000-0000-0000-0000-000000000005", "symbol": "BTC-USD", "status": status, "reason": reason,
            "tick_sequence": 42, "at": "2018-04-05T13:45:00Z",
        });
        serde_json::from_value(update).expect("a change")
    }

    fn limit(condition: Value) -> AlertFired {
        let price = json!({ "price": condition });
        fired(json!({ "condition": price, "reference_price": null, "reference_at": null, "change_percent": null }))
    }

    #[test]
    fn the_subject_says_what_happened() {
        let subject = |changes| alert(&fired(changes), &links()).subject;
        assert_eq!(subject(json!({})), "BTC-USD +5.2 % to 6,804.91");
        assert_eq!(subject(json!({ "change_percent": "-0.2549" })), "BTC-USD -0.25 % to 6,804.91");
        assert_eq!(subject(json!({ "symbol": "SPY", "price": "278.4900" })), "SPY +5.2 % to 278.49");
        assert_eq!(subject(json!({ "change_percent": null })), "BTC-USD changed: 6,804.91");
        let subject = |condition| alert(&limit(condition), &links()).subject;
        assert_eq!(subject(json!({ "above": "6800" })), "BTC-USD above 6,800: now 6,804.91");
        assert_eq!(subject(json!({ "below": "6900.5" })), "BTC-USD below 6,900.5: now 6,804.91");
    }

    #[test]
    fn the_text_of_a_change_is_complete_by_itself() {
        let email = alert(&fired(json!({})), &links());
        let unsubscribe = email.unsubscribe.expect("a link");
        assert!(unsubscribe.starts_with("https://bell.example.com/unsubscribe/"));
        let expected = format!(
            "BTC-USD +5.2 % to 6,804.91

Price now:  6,804.91 USD
            5 Apr 2018 13:45:00 UTC, coinbase
Price then: 6,468.00 USD
            5 Apr 2018 11:40:00 UTC, 2 hours and 5 minutes before

You asked for an alert when BTC-USD changes by 5 % or more since the last alert.
This was firing number 3 of your rule.

--
You get this mail because this address is subscribed to BTC-USD at
https://bell.example.com

Unsubscribe from this rule:
{unsubscribe}

See, pause or delete the rule with its manage token:
https://bell.example.com/v1/alerts/00000000-0000-0000-0000-000000000007"
        );
        assert_eq!(email.text, expected);
    }

    #[test]
    fn a_firing_on_incomplete_prices_says_so() {
        let said = "Prices since 5 Apr 2018 13:30:00 UTC may be incomplete";
        let email = alert(&fired(json!({ "incomplete_since": "2018-04-05T13:30:00Z" })), &links());
        assert!(email.text.contains(said) && email.html.contains(said), "{}", email.text);
        assert!(!alert(&fired(json!({})), &links()).text.contains("incomplete"));
    }

    #[test]
    fn the_text_of_a_limit_has_no_price_then() {
        let email = alert(&limit(json!({ "above": "6800" })), &links());
        assert!(
            email.text.starts_with(
                "BTC-USD above 6,800: now 6,804.91

Price now:  6,804.91 USD
            5 Apr 2018 13:45:00 UTC, coinbase

You asked for an alert when BTC-USD reaches 6,800 USD or more.
"
            ),
            "{}",
            email.text
        );
        assert!(!email.html.contains("Price then"));
    }

    #[test]
    fn the_page_says_what_the_text_says() {
        let email = alert(&fired(json!({ "change_percent": "-5.2089" })), &links());
        for said in [
            "class=\"down\"",
            "-5.2 %",
            "6,804.91 USD",
            "5 Apr 2018 13:45:00 UTC",
            "6,468.00 USD",
            "2 hours and 5 minutes before",
            "You asked for an alert when BTC-USD changes by 5 % or more since the last alert.",
            "firing number 3",
            "https://bell.example.com/v1/alerts/00000000-0000-0000-0000-000000000007",
            email.unsubscribe.as_deref().expect("a link"),
        ] {
            assert!(email.html.contains(said), "{said} in {}", email.html);
        }
        assert!(!email.html.contains("<img") && !email.html.contains("<script"));
    }

    #[test]
    fn a_confirmation_says_what_is_confirmed() {
        let rule = |changes: Value| -> Rule {
            let mut rule = json!({
                "id": "00000000-0000-0000-0000-000000000007", "symbol": "BTC-USD",
                "condition": {"change": {"percent": "5"}}, "notify": {"email": "ada@example.com"},
            });
            let Value::Object(changes) = changes else { panic!("an object") };
            rule.as_object_mut().expect("an object").extend(changes);
            serde_json::from_value(rule).expect("a rule")
        };
        let email = confirmation(&rule(json!({})), &links());
        let confirm = links().url(Purpose::Confirm, uuid::Uuid::from_u128(7));
        assert_eq!((email.subject.as_str(), email.unsubscribe), ("Confirm your Tickbell alert for BTC-USD", None));
        let expected = format!(
            "Confirm your Tickbell alert for BTC-USD

Somebody, hopefully you, asked Tickbell to send an alert to this address when
BTC-USD changes by 5 % or more since the last alert.
You will get an alert every time. Changes are measured from the price at the moment you confirm.

Yes, send me these alerts:
{confirm}

If it was not you, do nothing: without your confirmation no alert is sent to this address.

--
Tickbell at https://bell.example.com"
        );
        assert_eq!(email.text, expected);
        assert!(email.html.contains(&format!("href=\"{confirm}\"")));

        let limit = json!({ "price": { "below": "6000" } });
        let often =
            json!({ "condition": limit, "cooldown": "10m", "venue": "kraken", "expires_at": "2018-05-01T00:00:00Z" });
        let said = "every time, but at most one per 10 minutes, by prices of kraken, until 1 May 2018 00:00:00 UTC.";
        assert_eq!(terms(&rule(often)), format!("You will get an alert {said}"));
        assert_eq!(terms(&rule(json!({ "condition": limit, "repeat": "once" }))), "You will get one alert.");
    }
}
