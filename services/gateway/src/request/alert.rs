//! A request for an alert becomes a rule, or a problem with every error. No I/O.

use events::{
    Baseline, Condition, Direction, LateHandling, Notify, Percent, Period, Repeat, Rule, Timestamp, Venue,
    rule::{Change, OnFire, RuleChange},
};
use serde::{Deserialize, Serialize};
use store::rules::{RuleUpdate, VenueChoice};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{OneOfBuilder, Ref, RefOr, Schema},
};
use uuid::Uuid;

use crate::{
    http::problem::Problem,
    request::{
        email::Address,
        json_body::Fields,
        order::{self, AlertOrderRequest},
        symbol::SymbolInput,
    },
};

/// Reads the body of `POST /v1/alerts`, the full form or the short one, as the rule `id`.
///
/// `own` is the address of a signed-in user, which is notified when the body names none. `now` is only compared with
/// `expires_at`.
pub(crate) fn read(body: &[u8], id: Uuid, own: Option<&str>, now: Timestamp) -> Result<Rule, Problem> {
    let mut fields = Fields::parse(body)?;
    let symbol = fields.required::<SymbolInput>("symbol").map(|SymbolInput(symbol)| symbol);
    let (condition, email) = condition_and_address(&mut fields, own);
    let venue = fields.optional::<Option<Venue>>("venue").flatten();
    let repeat = fields.optional::<Repeat>("repeat").unwrap_or_default();
    let cooldown = fields.optional::<Period>("cooldown").unwrap_or_default();
    let expires_at = fields.optional::<Option<Timestamp>>("expires_at").flatten();
    if expires_at.is_some_and(|end| end <= now) {
        fields.reject("/expires_at", "must be in the future");
    }
    let late = fields.optional::<LateHandling>("late").unwrap_or_default();
    let order = fields.optional_object("then", |then| order::read_alert_order(then, symbol.as_ref()));
    let errors = fields.finish();
    match (symbol, condition, email) {
        (Some(symbol), Some(condition), Some(email)) if errors.is_empty() => {
            let notify = Notify { email };
            Ok(Rule {
                id,
                symbol,
                venue,
                condition,
                repeat,
                cooldown,
                expires_at,
                late,
                notify,
                then: order.map(|order| OnFire { order }),
            })
        }
        _ => Err(Problem::invalid(errors)),
    }
}

/// The field `notify`. [`Notify`] trusts its address; this type checks it.
#[derive(Serialize, Deserialize)]
struct Recipient {
    email: Address,
}

fn condition_and_address(fields: &mut Fields, own: Option<&str>) -> (Option<Condition>, Option<String>) {
    let short = ["email", "percent"].iter().any(|name| fields.has(name));
    let mixed: Vec<_> = ["condition", "notify"].into_iter().filter(|name| short && fields.has(name)).collect();
    for name in mixed {
        fields.reject(format!("/{name}"), "is not allowed beside email or percent: use the full form or the short one");
        fields.skip(name);
    }
    if short {
        let percent = fields.required::<Percent>("percent");
        let change =
            |percent| Condition::Change(Change { percent, direction: Direction::Any, since: Baseline::Anchor });
        let email = match own {
            Some(own) if !fields.has("email") => Some(own.to_owned()),
            _ => fields.required::<Address>("email").map(Address::into_string),
        };
        (percent.map(change), email)
    } else {
        let condition = fields.required("condition");
        let email = match own {
            Some(own) if !fields.has("notify") => Some(own.to_owned()),
            _ => fields.required::<Recipient>("notify").map(|recipient| recipient.email.into_string()),
        };
        (condition, email)
    }
}

/// The change of status that `PATCH /v1/alerts/{id}` takes: pause or resume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertUpdateStatus)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StatusChange {
    /// Evaluate no ticks until the alert is resumed.
    Paused,
    /// Evaluate ticks again.
    Active,
}

/// A change of an alert: of its status, of its venue, or of both.
#[derive(ToSchema)]
#[schema(as = AlertUpdate, min_properties = 1)]
#[expect(dead_code, reason = "only described")]
pub(crate) struct AlertUpdate {
    #[schema(required = false)]
    status: StatusChange,
    /// The venue whose prices count; null means the primary venue of the symbol. Another venue than before begins the alert
    /// anew, as if it was created now.
    venue: Option<Venue>,
}

/// Reads the body of `PATCH /v1/alerts/{id}`.
pub(crate) fn read_update(body: &[u8]) -> Result<RuleUpdate, Problem> {
    let mut fields = Fields::parse(body)?;
    if !fields.has("status") && !fields.has("venue") {
        fields.reject("/status", "is required, unless the body has a venue");
    }
    let status = fields.optional::<StatusChange>("status").map(|status| match status {
        StatusChange::Paused => RuleChange::Paused,
        StatusChange::Active => RuleChange::Resumed,
    });
    let venue = fields.optional::<Option<Venue>>("venue");
    let venue = venue.map(|venue| venue.map_or(VenueChoice::Primary, VenueChoice::Named));
    fields.all(Some(RuleUpdate { status, venue }))
}

/// A new alert, in one of its two forms.
pub(crate) struct Subscription;

impl PartialSchema for Subscription {
    fn schema() -> RefOr<Schema> {
        OneOfBuilder::new()
            .description(Some("A new alert, in one of its two forms."))
            .item(Ref::from_schema_name(FullSubscription::name()))
            .item(Ref::from_schema_name(ShortSubscription::name()))
            .into()
    }
}

impl ToSchema for Subscription {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((FullSubscription::name().into(), FullSubscription::schema()));
        schemas.push((ShortSubscription::name().into(), ShortSubscription::schema()));
        FullSubscription::schemas(schemas);
        ShortSubscription::schemas(schemas);
    }
}

/// The full form of an alert.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: the body is read field by field, so that every error is reported")]
struct FullSubscription {
    #[schema(inline)]
    symbol: SymbolInput,
    condition: Condition,
    notify: Notify,
    /// The venue whose prices count; null means the primary venue of the symbol, the first that quoted it.
    venue: Option<Venue>,
    /// The default is `every`.
    #[schema(required = false)]
    repeat: Repeat,
    /// The time after a firing in which further firings are suppressed; the default is `0s`.
    #[schema(required = false)]
    cooldown: Period,
    /// The time, in the future, from which on the alert evaluates no ticks.
    expires_at: Option<Timestamp>,
    /// What follows when the alert would have fired while prices were missed, and they were filled in afterwards; the default is
    /// `tell`.
    #[schema(required = false)]
    late: LateHandling,
    then: Option<AlertAction>,
}

/// A change in any direction since the anchor. The optional fields of the full form may be added.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct ShortSubscription {
    email: Address,
    #[schema(inline)]
    symbol: SymbolInput,
    /// The change in percent, 0.01 to 1000.
    #[schema(value_type = events::openapi::PercentInput)]
    percent: Percent,
    venue: Option<Venue>,
    #[schema(required = false)]
    repeat: Repeat,
    #[schema(required = false)]
    cooldown: Period,
    expires_at: Option<Timestamp>,
    #[schema(required = false)]
    late: LateHandling,
    then: Option<AlertAction>,
}

/// What the first firing does besides notifying: it places an order, whose funds are held from when the alert is created.
/// Only for signed-in users, where the server allows it (setting `gateway.orders_from_alerts`).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described")]
struct AlertAction {
    order: AlertOrderRequest,
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ID: Uuid = Uuid::from_u128(7);

    fn now() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().expect("a time")
    }

    fn accepted(body: &str) -> Rule {
        read(body.as_bytes(), ID, None, now()).unwrap_or_else(|problem| panic!("{body}: {}", problem.detail))
    }

    /// Where the errors are, in order.
    fn rejected(body: &str) -> Vec<String> {
        let problem = read(body.as_bytes(), ID, None, now()).expect_err(body);
        let written: Value = serde_json::from_slice(&problem.to_json("")).expect("JSON");
        assert_eq!(written["status"], 422, "{body}: {written}");
        let errors = written["errors"].as_array().expect("errors");
        assert!(
            errors.iter().all(|error| error["detail"].as_str().is_some_and(|detail| detail.len() > 5)),
            "{written}"
        );
        errors.iter().filter_map(|error| Some(error["pointer"].as_str()?.to_owned())).collect()
    }

    #[test]
    fn the_short_form_is_any_change_since_the_anchor() {
        let short = accepted(r#"{"email": "ada@example.com", "symbol": "BTC-USD", "percent": 5}"#);
        let full = accepted(
            r#"{"symbol": "BTC-USD", "venue": null,
                "condition": {"change": {"percent": "5", "direction": "any", "since": "anchor"}},
                "repeat": "every", "cooldown": "0s", "expires_at": null, "notify": {"email": "ada@example.com"}}"#,
        );
        assert_eq!(short, full);
    }

    #[test]
    fn who_is_signed_in_may_leave_the_address_out() {
        let recipient =
            |body: &str| read(body.as_bytes(), ID, Some("ada@example.com"), now()).map(|rule| rule.notify.email).ok();
        let ada = Some("ada@example.com".to_owned());
        assert_eq!(recipient(r#"{"symbol": "SPY", "percent": 5}"#), ada);
        assert_eq!(recipient(r#"{"symbol": "SPY", "condition": {"price": {"above": 5}}}"#), ada);
        assert_eq!(
            recipient(r#"{"symbol": "SPY", "percent": 5, "email": "eve@example.com"}"#).as_deref(),
            Some("eve@example.com")
        );
        assert_eq!(recipient(r#"{"symbol": "SPY", "percent": 5, "email": null}"#), None);
        assert_eq!(recipient(r#"{"symbol": "SPY", "percent": 5, "notify": {"email": "eve@example.com"}}"#), None);
    }

    #[test]
    fn every_digit_of_an_amount_is_preserved() {
        for percent in ["0.01", "\"0.01\"", "1e-2", "\"1000\"", "12.345678", "99.999999"] {
            accepted(&format!(r#"{{"email": "ada@example.com", "symbol": "SPY", "percent": {percent}}}"#));
        }
        let rule = accepted(
            r#"{"symbol": "BTC-USD", "condition": {"price": {"above": 6804.910000000001}}, "notify": {"email": "a@b.io"}}"#,
        );
        assert_eq!(
            serde_json::to_value(rule.condition).expect("JSON"),
            serde_json::json!({"price": {"above": "6804.910000000001"}})
        );
    }

    #[test]
    fn everything_in_the_full_form_reaches_the_rule() {
        let rule = accepted(
            r#"{"symbol": "ETH-USD", "venue": "coinbase",
                "condition": {"change": {"percent": 2.5, "direction": "down", "since": "1h"}},
                "repeat": "once", "cooldown": "30m", "expires_at": "2027-01-01T00:00:00+01:00", "late": "re-anchor",
                "notify": {"email": "ada@example.com"}}"#,
        );
        assert_eq!(rule.venue, Venue::parse("coinbase").ok());
        assert_eq!((rule.repeat, rule.cooldown), (Repeat::Once, Period::seconds(1_800)));
        assert_eq!(rule.expires_at.map(|end| end.to_string()).as_deref(), Some("2026-12-31T23:00:00.000000Z"));
        assert_eq!((rule.id, rule.late), (ID, LateHandling::ReAnchor));
    }

    #[test]
    fn a_bad_field_of_the_short_form_is_named() {
        let with = |field: &str, value: &str| {
            let mut body: std::collections::BTreeMap<&str, &str> =
                [("email", "\"ada@example.com\""), ("symbol", "\"BTC-USD\""), ("percent", "5")].into();
            body.insert(field, value);
            let fields: Vec<_> = body.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{{}}}", fields.join(", "))
        };
        for (field, values) in [
            (
                "email",
                &[
                    "null",
                    "5",
                    "true",
                    "[]",
                    "{}",
                    "\"\"",
                    "\"ada\"",
                    "\"ada@example.com\\r\\nBcc: eve@example.com\"",
                    "\"ada@example.com\\n\"",
                    "\"Ada <ada@example.com>\"",
                    "\"ada\\u0000@example.com\"",
                    "\"ada@[127.0.0.1]\"",
                    "\"ada@localhost\"",
                    "[\"ada@example.com\"]",
                ][..],
            ),
            (
                "symbol",
                &[
                    "null",
                    "5",
                    "[]",
                    "\"\"",
                    "\"btc-usd\"",
                    "\"BTC-USD-X\"",
                    "\"BTC USD\"",
                    "\"BTC.>\"",
                    "\"BTC-USD\\r\\n\"",
                    "\"AAAAAAAAAAAAAAAAAAAAA\"",
                    "\"₿\"",
                ],
            ),
            (
                "percent",
                &[
                    "null",
                    "true",
                    "[]",
                    "{}",
                    "0",
                    "-5",
                    "0.009",
                    "1000.000001",
                    "1e400",
                    "1e-400",
                    "99999999999999999999999999999999999999",
                    "1.00000000000000000000000000000000000001",
                    "\"\"",
                    "\"5%\"",
                    "\"NaN\"",
                    "\"Infinity\"",
                    "\"0x10\"",
                    "\" 5\"",
                    "\"5,0\"",
                ],
            ),
            ("venue", &["5", "\"Coinbase\"", "\"\"", "\"a.b\"", "\"*\""]),
            ("repeat", &["null", "5", "\"twice\"", "true", "{}"]),
            ("late", &["null", "5", "\"reanchor\"", "\"Tell\"", "{}"]),
            ("cooldown", &["null", "5", "\"5\"", "\"-5m\"", "\"1.5h\"", "\"99999999999999s\"", "\"5 m\""]),
            (
                "expires_at",
                &[
                    "5",
                    "\"tomorrow\"",
                    "\"2027-01-01\"",
                    "\"2025-12-31T23:59:59Z\"",
                    "\"2026-01-01T00:00:00Z\"",
                    "\"99999-01-01T00:00:00Z\"",
                    "\"2027-13-01T00:00:00Z\"",
                ],
            ),
            ("colour", &["\"red\"", "null"]),
            ("manage_token", &["\"mine\""]),
            ("id", &["\"00000000-0000-0000-0000-000000000000\""]),
            ("constructor/~", &["1"]),
        ] {
            for value in values {
                let at = format!("/{}", field.replace('~', "~0").replace("r/", "r~1"));
                assert_eq!(rejected(&with(field, value)), [at], "{field} = {value}");
            }
        }
    }

    #[test]
    fn a_bad_part_of_the_full_form_is_named() {
        for (condition, at) in [
            ("null", "/condition"),
            ("5", "/condition"),
            ("{}", "/condition"),
            ("\"change\"", "/condition/change"),
            (r#"{"volume": {"above": "1"}}"#, "/condition"),
            (r#"{"change": {"percent": 5}, "price": {"above": 5}}"#, "/condition"),
            (r#"{"change": null}"#, "/condition/change"),
            (r#"{"change": {}}"#, "/condition/change/percent"),
            (r#"{"change": {"percent": 0}}"#, "/condition/change/percent"),
            (r#"{"change": {"percent": 5, "direction": "sideways"}}"#, "/condition/change/direction"),
            (r#"{"change": {"percent": 5, "direction": null}}"#, "/condition/change/direction"),
            (r#"{"change": {"percent": 5, "since": "9s"}}"#, "/condition/change/since"),
            (r#"{"change": {"percent": 5, "since": "8d"}}"#, "/condition/change/since"),
            (r#"{"change": {"percent": 5, "since": 60}}"#, "/condition/change/since"),
            (r#"{"change": {"percent": 100, "direction": "down"}}"#, "/condition/change/percent"),
            (r#"{"change": {"percent": 5, "foo": 1}}"#, "/condition/change/foo"),
            (r#"{"price": {}}"#, "/condition/price"),
            (r#"{"price": {"above": 1, "below": 2}}"#, "/condition/price"),
            (r#"{"price": {"near": 1}}"#, "/condition/price"),
            (r#"{"price": {"above": "0"}}"#, "/condition/price/above"),
            (r#"{"price": {"above": "-1"}}"#, "/condition/price/above"),
            (r#"{"price": {"below": "100000000000000"}}"#, "/condition/price/below"),
            (r#"{"price": {"below": "0.0000000000000000001"}}"#, "/condition/price/below"),
            (r#"{"price": {"below": {"a": 1}}}"#, "/condition/price/below/a"),
        ] {
            let body =
                format!(r#"{{"symbol": "SPY", "condition": {condition}, "notify": {{"email": "ada@example.com"}}}}"#);
            assert_eq!(rejected(&body), [at], "{condition}");
        }
        for (notify, at) in [
            ("null", "/notify"),
            ("\"ada@example.com\"", "/notify"),
            ("{}", "/notify/email"),
            (r#"{"email": "ada"}"#, "/notify/email"),
            (r#"{"email": "ada@example.com\r\nBcc: eve@example.com"}"#, "/notify/email"),
            (r#"{"email": "ada@example.com", "sms": "5"}"#, "/notify/sms"),
        ] {
            let body = format!(r#"{{"symbol": "SPY", "condition": {{"price": {{"above": 5}}}}, "notify": {notify}}}"#);
            assert_eq!(rejected(&body), [at], "{notify}");
        }
    }

    #[test]
    fn all_errors_are_reported_at_once() {
        assert_eq!(rejected("{}"), ["/symbol", "/condition", "/notify"]);
        assert_eq!(rejected(r#"{"email": "ada", "x": 1}"#), ["/symbol", "/percent", "/email", "/x"]);
        assert_eq!(rejected("[]"), [""]);
        let many: Vec<_> = (0..5_000).map(|n| format!("\"f{n}\": 1")).collect();
        assert_eq!(rejected(&format!("{{{}}}", many.join(", "))).len(), 50);
    }

    #[test]
    fn the_two_forms_do_not_mix() {
        let mixed =
            r#"{"email": "ada@example.com", "symbol": "SPY", "percent": 5, "condition": {"price": {"above": 5}}}"#;
        assert_eq!(rejected(mixed), ["/condition"]);
        let mixed = r#"{"symbol": "SPY", "percent": 5, "notify": {"email": "ada@example.com"}}"#;
        assert_eq!(rejected(mixed), ["/notify", "/email"]);
    }

    #[test]
    fn only_the_status_and_the_venue_can_be_changed() {
        let kraken = || VenueChoice::Named(Venue::parse("kraken").expect("a venue"));
        for (body, status, venue) in [
            (r#"{"status": "paused"}"#, Some(RuleChange::Paused), None),
            (r#"{"status": "active"}"#, Some(RuleChange::Resumed), None),
            (r#"{"venue": "kraken"}"#, None, Some(kraken())),
            (r#"{"venue": null}"#, None, Some(VenueChoice::Primary)),
            (r#"{"venue": "kraken", "status": "active"}"#, Some(RuleChange::Resumed), Some(kraken())),
        ] {
            assert_eq!(read_update(body.as_bytes()).ok(), Some(RuleUpdate { status, venue }), "{body}");
        }
        for bad in [
            "{}",
            r#"{"status": "done"}"#,
            r#"{"status": null}"#,
            r#"{"status": {"paused": null}, "x": 1}"#,
            r#"{"status": "paused", "symbol": "SPY"}"#,
            r#"{"venue": "Kraken"}"#,
            r#"{"venue": 5, "status": "paused"}"#,
            "[]",
        ] {
            assert_eq!(read_update(bad.as_bytes()).expect_err(bad).kind.status().as_u16(), 422, "{bad}");
        }
    }
}
