//! The wire's types as OpenAPI says them. `events` publishes JSON Schema and knows no HTTP; a test holds these to it.
#![expect(dead_code, reason = "described, never built: values are those of crate events")]

use std::borrow::Cow;

use crate::order_schemas::ThenDoc;
use serde_json::json;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, Type},
};

/// Which price change or price fires a rule: one of the two.
#[derive(ToSchema)]
#[schema(as = Condition, rename_all = "snake_case")]
pub(crate) enum ConditionDoc {
    /// The price has changed by so much.
    #[schema(title = "change")]
    Change(ChangeDoc),
    /// The price has crossed a limit.
    #[schema(title = "price")]
    Price(LimitDoc),
}

/// A change against a reference price.
#[derive(ToSchema)]
#[schema(as = Change)]
pub(crate) struct ChangeDoc {
    /// 0.01 to 1000; below 100 when the direction is `down`.
    percent: DecimalDoc,
    /// `any` when it is not said.
    #[schema(required = false)]
    direction: DirectionDoc,
    /// `previous` tick, `anchor` (the price when the rule became active or last fired), or a window from `10s` to `7d`.
    #[schema(required = false, default = "anchor", pattern = "^(previous|anchor|[0-9]+[smhd])$", example = "1h")]
    since: String,
}

/// A price that is reached or passed: one of the two.
#[derive(ToSchema)]
#[schema(as = Limit, rename_all = "snake_case")]
pub(crate) enum LimitDoc {
    /// At or above.
    Above(DecimalDoc),
    /// At or below.
    Below(DecimalDoc),
}

/// Decimal text, or in a request a JSON number, which is read exactly as it is written.
pub(crate) struct DecimalDoc;

impl PartialSchema for DecimalDoc {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(r"^[0-9]+(\.[0-9]+)?$"));
        let number = ObjectBuilder::new().schema_type(Type::Number);
        OneOfBuilder::new().item(text).item(number).examples([json!("5")]).into()
    }
}

impl ToSchema for DecimalDoc {
    fn name() -> Cow<'static, str> {
        "Decimal".into()
    }
}

/// Which way a price changes.
#[derive(ToSchema)]
#[schema(as = Direction, rename_all = "snake_case")]
pub(crate) enum DirectionDoc {
    Up,
    Down,
    Any,
}

/// How often a rule may fire: until its first firing, or every time.
#[derive(ToSchema)]
#[schema(as = Repeat, rename_all = "snake_case")]
pub(crate) enum RepeatDoc {
    Once,
    Every,
}

/// Whom a rule tells.
#[derive(ToSchema)]
#[schema(as = Notify)]
pub(crate) struct NotifyDoc {
    #[schema(format = Email, max_length = 254, example = "ada@example.com")]
    email: String,
}

/// Where a rule stands in its life.
#[derive(ToSchema)]
#[schema(as = AlertStatus, rename_all = "snake_case")]
pub(crate) enum StatusDoc {
    Pending,
    Active,
    Paused,
    Done,
    Expired,
    Deleted,
}

/// A subscription, in one of its two forms.
pub(crate) struct SubscriptionDoc;

impl PartialSchema for SubscriptionDoc {
    fn schema() -> RefOr<Schema> {
        let form = Ref::from_schema_name;
        OneOfBuilder::new().item(form(FullSubscriptionDoc::name())).item(form(ShortSubscriptionDoc::name())).into()
    }
}

impl ToSchema for SubscriptionDoc {
    fn name() -> Cow<'static, str> {
        "Subscription".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((FullSubscriptionDoc::name().into(), FullSubscriptionDoc::schema()));
        schemas.push((ShortSubscriptionDoc::name().into(), ShortSubscriptionDoc::schema()));
        FullSubscriptionDoc::schemas(schemas);
        ShortSubscriptionDoc::schemas(schemas);
    }
}

/// Everything that can be said.
#[derive(ToSchema)]
#[schema(as = FullSubscription)]
pub(crate) struct FullSubscriptionDoc {
    #[schema(pattern = "^[A-Z0-9]{1,20}(-[A-Z0-9]{1,20})?$", example = "BTC-USD")]
    symbol: String,
    condition: ConditionDoc,
    notify: NotifyDoc,
    /// Whose prices are judged; null means the symbol's primary venue, the first that quoted it.
    #[schema(pattern = "^[a-z0-9]{1,20}$")]
    venue: Option<String>,
    /// `every` when it is not said.
    #[schema(required = false)]
    repeat: RepeatDoc,
    /// How long after a firing further ones are suppressed.
    #[schema(required = false, default = "0s", pattern = "^[0-9]+[smhd]$")]
    cooldown: String,
    /// Ticks at or after this time are not judged; in the future.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
    then: Option<ThenDoc>,
}

/// A change in any direction since the anchor. The optional fields of the full form may stand beside these.
#[derive(ToSchema)]
#[schema(as = ShortSubscription)]
pub(crate) struct ShortSubscriptionDoc {
    #[schema(format = Email, max_length = 254, example = "ada@example.com")]
    email: String,
    #[schema(pattern = "^[A-Z0-9]{1,20}(-[A-Z0-9]{1,20})?$", example = "BTC-USD")]
    symbol: String,
    /// 0.01 to 1000.
    percent: DecimalDoc,
}

/// What a rule's owner may want of it.
#[derive(ToSchema)]
#[schema(as = AlertUpdate)]
pub(crate) struct WantedDoc {
    status: WantedStatusDoc,
}

/// Pause, or resume.
#[derive(ToSchema)]
#[schema(as = AlertUpdateStatus, rename_all = "snake_case")]
pub(crate) enum WantedStatusDoc {
    Paused,
    Active,
}

/// Oldest or newest first.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub(crate) enum OrderDoc {
    Asc,
    Desc,
}

/// The width of a candle.
#[derive(ToSchema)]
pub(crate) enum IntervalDoc {
    #[schema(rename = "1m")]
    Minute,
    #[schema(rename = "5m")]
    FiveMinutes,
    #[schema(rename = "15m")]
    FifteenMinutes,
    #[schema(rename = "1h")]
    Hour,
    #[schema(rename = "4h")]
    FourHours,
    #[schema(rename = "1d")]
    Day,
}
