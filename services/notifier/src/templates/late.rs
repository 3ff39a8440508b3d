//! The email about rules that would have fired while trades were missed.

use askama::Template;
use events::{Condition, LateVerdict, display, link::Purpose, rule::PriceThreshold};
use platform::signed_links::Links;

use super::{EmailContent, render};

/// Renders the email about all rules of an address that would have fired in one gap.
pub fn late(verdicts: &[LateVerdict], links: &Links) -> EmailContent {
    let first = verdicts.first();
    let subject = match verdicts {
        [] => "Tickbell has missed trades".to_owned(),
        [only] => {
            let (symbol, at) = (&only.symbol, display::time_to_the_second(only.crossed_at));
            format!("{symbol}: your {} was crossed at {at}", threshold(only))
        }
        [first, ..] => format!("{}: {} of your alerts were crossed while we were blind", first.symbol, verdicts.len()),
    };
    let sections: Vec<Section> = verdicts.iter().map(|verdict| section(verdict, links)).collect();
    let unsubscribe = match sections.as_slice() {
        [only] => Some(only.unsubscribe.clone()),
        _ => None,
    };
    let page = LatePage {
        subject: &subject,
        symbol: first.map_or("", |first| first.symbol.as_str()),
        lead: first.map(lead).unwrap_or_default(),
        sections,
        home: links.base_url(),
    };
    let (text, html) = (render(&LateText { page: &page }), render(&page));
    EmailContent { subject, text, html, unsubscribe }
}

/// Says when nobody could see what, and what is known of it now.
fn lead(verdict: &LateVerdict) -> String {
    let LateVerdict { symbol, venue, blind_from, blind_to, is_complete, .. } = verdict;
    let (from, to) = (display::time_to_the_second(*blind_from), display::time_to_the_second(*blind_to));
    let known = match is_complete {
        true => "They are filled in now.".to_owned(),
        false => format!("Some of them are filled in now; {venue} does not offer the others."),
    };
    format!("We were blind from {from} to {to}: trades of {symbol} at {venue} did not reach us. {known}")
}

fn section(verdict: &LateVerdict, links: &Links) -> Section {
    let LateVerdict { symbol, .. } = verdict;
    let price = |price| display::price(price, symbol);
    let mut rows = vec![
        Row::new("Crossed at", display::time_to_the_second(verdict.crossed_at)),
        Row::new("Price then", price(verdict.price)),
    ];
    if let (Some(percent), Some(reference), Some(at)) =
        (verdict.change_percent, verdict.reference_price, verdict.reference_at)
    {
        let (change, reference, at) = (display::change(percent), price(reference), display::time_to_the_second(at));
        rows.push(Row::new("Change", format!("{change} from {reference}, {at}")));
    }
    if verdict.crossings > 1 {
        rows.push(Row::new("Crossings", verdict.crossings.to_string()));
    }
    let farthest = |at, amount| format!("{}, {}", price(amount), display::time_to_the_second(at));
    rows.push(Row::new("Farthest", farthest(verdict.extreme_at, verdict.extreme_price)));
    rows.push(Row::new("Price now", farthest(verdict.last_at, verdict.last_price)));
    Section {
        rule: display::rule(symbol, &verdict.condition),
        rows,
        unsubscribe: links.url(Purpose::Unsubscribe, verdict.rule_id),
        api: format!("{}/v1/alerts/{}", links.base_url(), verdict.rule_id),
    }
}

/// Returns what was crossed, like `5 %` or `6,800`.
fn threshold(verdict: &LateVerdict) -> String {
    match verdict.condition {
        Condition::Change(change) => format!("{} %", display::number(change.percent.decimal())),
        Condition::Price(PriceThreshold::Above(limit) | PriceThreshold::Below(limit)) => {
            display::number(limit.decimal())
        }
    }
}

#[derive(Template)]
#[template(path = "late.html")]
struct LatePage<'a> {
    subject: &'a str,
    symbol: &'a str,
    lead: String,
    sections: Vec<Section>,
    home: &'a str,
}

#[derive(Template)]
#[template(path = "late.txt")]
struct LateText<'a> {
    page: &'a LatePage<'a>,
}

/// What is said about one rule.
struct Section {
    rule: String,
    rows: Vec<Row>,
    unsubscribe: String,
    api: String,
}

struct Row {
    name: &'static str,
    value: String,
}

impl Row {
    fn new(name: &'static str, value: String) -> Self {
        Self { name, value }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::templates::tests::{late as verdict, links};

    #[test]
    fn the_text_is_complete_by_itself() {
        let email = late(&[verdict(json!({}))], &links());
        let unsubscribe = email.unsubscribe.expect("a link");
        let expected = format!(
            "BTC-USD: your 5 % was crossed at 5 Apr 2018 10:03:00 UTC

We were blind from 5 Apr 2018 10:00:00 UTC to 5 Apr 2018 10:05:00 UTC: trades of BTC-USD at coinbase did not reach us. They are filled in now.

You asked for an alert when BTC-USD changes by 5 % or more since the last alert.
Crossed at: 5 Apr 2018 10:03:00 UTC
Price then: 6,804.91 USD
Change: +5.2 % from 6,468.00 USD, 5 Apr 2018 08:40:00 UTC
Farthest: 6,850 USD, 5 Apr 2018 10:03:30 UTC
Price now: 6,500 USD, 5 Apr 2018 10:05:12 UTC
Unsubscribe from this rule:
{unsubscribe}
See, pause or delete it with its manage token:
https://bell.example.com/v1/alerts/00000000-0000-0000-0000-000000000007

This is not a firing: it has no number, and it has placed no order.
You get no other mail about these minutes.

--
Tickbell at https://bell.example.com"
        );
        assert_eq!(email.text, expected);
    }

    #[test]
    fn the_page_says_what_the_text_says_about_each_rule() {
        let limit = json!({
            "rule_id": "00000000-0000-0000-0000-000000000008", "condition": {"price": {"above": "6800"}},
            "reference_price": null, "reference_at": null, "change_percent": null, "crossings": 3, "is_complete": false,
        });
        let email = late(&[verdict(json!({})), verdict(limit)], &links());
        assert_eq!(
            (email.subject.as_str(), email.unsubscribe),
            ("BTC-USD: 2 of your alerts were crossed while we were blind", None)
        );
        for said in [
            "We were blind from 5 Apr 2018 10:00:00 UTC to 5 Apr 2018 10:05:00 UTC",
            "BTC-USD changes by 5 % or more since the last alert",
            "BTC-USD reaches 6,800 USD or more",
            "+5.2 % from 6,468.00 USD",
            "alerts/00000000-0000-0000-0000-000000000007",
            "alerts/00000000-0000-0000-0000-000000000008",
        ] {
            assert!(email.html.contains(said), "{said} in {}", email.html);
            assert!(email.text.contains(said), "{said} in {}", email.text);
        }
        assert!(email.text.contains("Crossings: 3"), "{}", email.text);
        assert!(!email.html.contains("<img") && !email.html.contains("<script"));
    }

    #[test]
    fn what_the_venue_does_not_offer_is_said_to_be_missing() {
        let email = late(&[verdict(json!({ "is_complete": false }))], &links());
        let said = "Some of them are filled in now; coinbase does not offer the others.";
        assert!(email.text.contains(said) && email.html.contains(said), "{}", email.text);
    }
}
