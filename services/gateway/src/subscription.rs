//! A request for an alert becomes a rule, or a list of everything that is wrong with it. No I/O.

use email_address::{EmailAddress, Options};
use events::{
    Condition, Direction, Notify, Percent, Rule, Since, Symbol, Timestamp, Venue,
    rule::{Change, Repeat},
    time::Span,
};
use uuid::Uuid;

use crate::{
    fields::Fields,
    problem::{Mistake, Problem},
};

/// The longest address that SMTP can carry (RFC 5321 §4.5.3.1.3, less its brackets).
const LONGEST_ADDRESS: usize = 254;

/// Reads the body of `POST /v1/alerts`, the full form or the short one, as the rule `id`.
///
/// `now` is only compared with `expires_at`.
pub(crate) fn read(body: &[u8], id: Uuid, now: Timestamp) -> Result<Rule, Problem> {
    let mut fields = Fields::parse(body)?;
    let symbol = fields.required::<Symbol>("symbol");
    let (condition, notify) = if fields.has("email") || fields.has("percent") {
        short_form(&mut fields)
    } else {
        (fields.required::<Condition>("condition"), fields.required::<Notify>("notify"))
    };
    let place = if notify.is_some() { "/notify/email" } else { "/email" };
    let venue = fields.optional::<Option<Venue>>("venue").flatten();
    let repeat = fields.optional::<Repeat>("repeat").unwrap_or_default();
    let cooldown = fields.optional::<Span>("cooldown").unwrap_or_default();
    let expires_at = fields.optional::<Option<Timestamp>>("expires_at").flatten();
    if expires_at.is_some_and(|end| end <= now) {
        fields.refuse("/expires_at", "must be in the future");
    }
    let _ = place;
    let mistakes = fields.finish();
    match (symbol, condition, notify) {
        (Some(symbol), Some(condition), Some(notify)) if mistakes.is_empty() => {
            Ok(Rule { id, symbol, venue, condition, repeat, cooldown, expires_at, notify })
        }
        _ => Err(Problem::invalid(mistakes)),
    }
}
