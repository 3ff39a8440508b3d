//! The email about a rule whose market does not tick.

use askama::Template;
use events::{Condition, Symbol, Timestamp, Venue, display, link::Purpose};
use platform::signed_links::Links;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{EmailContent, render};

/// A rule whose market has not ticked for a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSilence {
    /// The id of the rule.
    pub rule_id: Uuid,
    /// The symbol that the rule watches.
    pub symbol: Symbol,
    /// The condition of the rule.
    pub condition: Condition,
    /// The venue whose prices are evaluated; none when the rule names none and no venue has quoted the symbol.
    pub venue: Option<Venue>,
    /// The time of the last price of that venue; none when there never was one.
    pub last_tick_at: Option<Timestamp>,
    /// The venues that quote the symbol now.
    pub quoted_by: Vec<Venue>,
}

/// Renders the email about a rule whose market does not tick.
pub fn silence(silence: &RuleSilence, links: &Links) -> EmailContent {
    let unsubscribe = links.url(Purpose::Unsubscribe, silence.rule_id);
    let subject = format!("No prices of {}: your alert cannot fire", silence.symbol);
    let page = SilencePage {
        subject: &subject,
        symbol: silence.symbol.as_str(),
        lead: lead(silence),
        last: silence.last_tick_at.map(display::time_to_the_second),
        rule: display::rule(&silence.symbol, &silence.condition),
        quoted_by: silence.quoted_by.iter().map(Venue::as_str).collect::<Vec<_>>().join(", "),
        choice: silence.quoted_by.first().map(Venue::as_str),
        home: links.base_url(),
        unsubscribe: &unsubscribe,
        api: format!("{}/v1/alerts/{}", links.base_url(), silence.rule_id),
    };
    let (text, html) = (render(&SilenceText { page: &page }), render(&page));
    EmailContent { subject, text, html, unsubscribe: Some(unsubscribe) }
}

/// Says who is silent, in one sentence.
fn lead(silence: &RuleSilence) -> String {
    let symbol = &silence.symbol;
    match (&silence.venue, silence.last_tick_at) {
        (Some(venue), Some(_)) => {
            format!("Your alert watches the prices of {symbol} at {venue}, and none has come for a day.")
        }
        (Some(venue), None) => {
            format!("Your alert watches the prices of {symbol} at {venue}, and there has never been one.")
        }
        (None, _) => format!("Your alert watches the prices of {symbol}, and no venue has ever quoted it."),
    }
}

#[derive(Template)]
#[template(path = "silence.html")]
struct SilencePage<'a> {
    subject: &'a str,
    symbol: &'a str,
    lead: String,
    /// The time of the last price.
    last: Option<String>,
    rule: String,
    quoted_by: String,
    /// The venue that the owner may choose, as an example.
    choice: Option<&'a str>,
    home: &'a str,
    unsubscribe: &'a str,
    api: String,
}

#[derive(Template)]
#[template(path = "silence.txt")]
struct SilenceText<'a> {
    page: &'a SilencePage<'a>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::templates::tests::links;

    fn email(changes: Value) -> EmailContent {
        let mut content = json!({
            "rule_id": "00000000-0000-0000-0000-000000000007", "symbol": "BTC-USD",
            "condition": {"change": {"percent": "5"}}, "venue": "coinbase", "last_tick_at": "2018-04-05T13:45:00Z",
            "quoted_by": ["kraken", "binance"],
        });
        let Value::Object(changes) = changes else { panic!("an object") };
        content.as_object_mut().expect("an object").extend(changes);
        silence(&serde_json::from_value(content).expect("a silence"), &links())
    }

    #[test]
    fn the_text_is_complete_by_itself() {
        let email = email(json!({}));
        let unsubscribe = email.unsubscribe.expect("a link");
        let expected = format!(
            "No prices of BTC-USD: your alert cannot fire

Your alert watches the prices of BTC-USD at coinbase, and none has come for a day.
Its last price is of 5 Apr 2018 13:45:00 UTC.

You asked for an alert when BTC-USD changes by 5 % or more since the last alert.

These venues quote BTC-USD now: kraken, binance.
To watch another venue, change your alert with its manage token:
PATCH https://bell.example.com/v1/alerts/00000000-0000-0000-0000-000000000007
{{\"venue\": \"kraken\"}}

You need not do anything if you want to wait: the alert goes on by itself once prices come again.
You get no other mail about this silence.

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
    fn the_page_says_what_the_text_says() {
        let email = email(json!({}));
        for said in [
            "No prices of BTC-USD: your alert cannot fire",
            "at coinbase, and none has come for a day",
            "5 Apr 2018 13:45:00 UTC",
            "kraken, binance",
            "BTC-USD changes by 5 % or more since the last alert",
            "https://bell.example.com/v1/alerts/00000000-0000-0000-0000-000000000007",
            email.unsubscribe.as_deref().expect("a link"),
        ] {
            assert!(email.html.contains(said), "{said} in {}", email.html);
        }
        assert!(!email.html.contains("<img") && !email.html.contains("<script"));
    }

    #[test]
    fn a_market_that_never_had_a_price_is_said_to_have_none() {
        let lead = |changes| email(changes).text.lines().nth(2).map(str::to_owned);
        let never = json!({ "last_tick_at": null, "quoted_by": [] });
        let expected = "Your alert watches the prices of BTC-USD at coinbase, and there has never been one.";
        assert_eq!(lead(never.clone()).as_deref(), Some(expected));
        let nobody = json!({ "last_tick_at": null, "quoted_by": [], "venue": null });
        let expected = "Your alert watches the prices of BTC-USD, and no venue has ever quoted it.";
        assert_eq!(lead(nobody).as_deref(), Some(expected));
        let text = email(never).text;
        assert!(
            !text.contains("last price") && !text.contains("PATCH") && !text.contains("quote BTC-USD now"),
            "{text}"
        );
    }
}
