//! `/v1/alerts`: subscribe, look, pause, resume, delete, and what has fired.

use ::rules::Suppression;
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::{
    AlertFired, Condition, Notify, OrderStatus, Period, Price, Repeat, RuleStatus, Symbol, Timestamp, Venue,
    rule::{OnFire, RuleChange},
};
use rust_decimal::Decimal;
use serde::Serialize;
use store::rules::{self, Changed, Created, RuleRecord};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    App, Confirmation,
    caller::{self, Alerts, Anybody},
    extract::{FromQuery, Id, JsonBody, OnceOwned, Owned, Params, hash},
    openapi::ProblemResponses,
    order_schemas::ThenDoc,
    orders,
    problem::Problem,
    query::{FiringPlace, Given, Query, RulePlace, page},
    schemas::{ConditionDoc, NotifyDoc, RepeatDoc, StatusDoc, SubscriptionDoc, WantedDoc},
    subscription::{self, Wanted},
    then::{self, AlertOrder},
};

/// A rule and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alert {
    id: Uuid,
    #[schema(value_type = StatusDoc)]
    status: RuleStatus,
    #[schema(value_type = String, example = "BTC-USD")]
    symbol: Symbol,
    /// Null means the symbol's primary venue.
    #[schema(value_type = Option<String>, example = "coinbase")]
    venue: Option<Venue>,
    #[schema(value_type = ConditionDoc)]
    condition: Condition,
    #[schema(value_type = RepeatDoc)]
    repeat: Repeat,
    /// How long after a firing further ones are suppressed.
    #[schema(value_type = String, example = "0s")]
    cooldown: Period,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    #[schema(value_type = NotifyDoc)]
    notify: Notify,
    /// What its first firing does besides; null if nothing.
    #[schema(value_type = Option<ThenDoc>)]
    then: Option<OnFire>,
    /// The order that its first firing places; null if none.
    order: Option<AlertOrder>,
    /// How often it has fired, suppressed firings included.
    #[schema(example = 0)]
    firings: i64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<RuleRecord> for Alert {
    fn from(record: RuleRecord) -> Self {
        let RuleRecord { rule, status, firings, created_at, user_id: _, order } = record;
        let events::Rule { id, symbol, venue, condition, repeat, cooldown, expires_at, notify, then } = rule;
        let order = order.map(AlertOrder::from);
        Self {
            id,
            status,
            symbol,
            venue,
            condition,
            repeat,
            cooldown,
            expires_at,
            notify,
            then,
            order,
            firings,
            created_at,
        }
    }
}

/// A new rule, and the token that manages it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedAlert {
    #[serde(flatten)]
    alert: Alert,
    /// Shown once: it is stored hashed.
    #[schema(example = "u8Yl3qJwF0mYk7qf1g2n7b9w4e6r8t0y2u4i6o8p0aQ")]
    manage_token: String,
}

/// One firing of a rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Firing {
    /// `<rule id>-<number>`.
    #[schema(example = "0197d0a4-6f5e-7c3a-9d2b-1e4f5a6b7c8d-1")]
    id: String,
    /// Counts the rule's firings from 1.
    #[schema(example = 1)]
    number: i64,
    rule_id: Uuid,
    #[schema(value_type = String, example = "BTC-USD")]
    symbol: Symbol,
    #[schema(value_type = String, example = "coinbase")]
    venue: Venue,
    /// The time of the tick that fired.
    #[schema(value_type = String, format = DateTime)]
    fired_at: Timestamp,
    #[schema(value_type = String, example = "6804.91")]
    price: Price,
    /// What it was measured against; null for a `price` condition.
    #[schema(value_type = Option<String>, example = "6480.00")]
    reference_price: Option<Price>,
    #[schema(value_type = Option<String>, format = DateTime)]
    reference_at: Option<Timestamp>,
    /// Rounded half-even to 4 places; null for a `price` condition.
    #[schema(value_type = Option<String>, example = "5.0140")]
    change_percent: Option<Decimal>,
    /// Where the tick is in stream `TICKS`.
    stream_sequence: u64,
    /// Why nobody was told, if nobody was.
    #[schema(value_type = Option<String>, example = "cooldown")]
    suppressed: Option<&'static str>,
}

impl From<::rules::Firing> for Firing {
    fn from(firing: ::rules::Firing) -> Self {
        Self {
            id: AlertFired::id_of(firing.rule_id, firing.number),
            number: firing.number,
            rule_id: firing.rule_id,
            symbol: firing.symbol,
            venue: firing.venue,
            fired_at: firing.fired_at,
            price: firing.price,
            reference_price: firing.reference.map(|(price, _)| price),
            reference_at: firing.reference.map(|(_, at)| at),
            change_percent: firing.change_percent,
            stream_sequence: firing.sequence,
            suppressed: firing.suppressed.map(Suppression::as_str),
        }
    }
}

/// A page of a rule's firings.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FiringPage {
    items: Vec<Firing>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// A page of alerts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertPage {
    items: Vec<Alert>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which alerts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertQuery {
    /// `true`: not those of the account, but those of its address that belong to nobody and can be adopted.
    #[param(value_type = Option<bool>, default = false)]
    adoptable: bool,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<RulePlace>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: u16,
}

impl FromQuery for AlertQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let adoptable = query.optional("adoptable").unwrap_or_default();
        let cursor = query.optional("cursor").map(|Given(place)| place);
        Some(Self { adoptable, cursor, limit: query.limit() })
    }
}

/// Which firings.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FiringQuery {
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<FiringPlace>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: u16,
}

impl FromQuery for FiringQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let cursor = query.optional("cursor").map(|Given(place)| place);
        Some(Self { cursor, limit: query.limit() })
    }
}

/// Subscribe
///
/// The full form says everything; the short form `{"email", "symbol", "percent"}` means a change in any direction since
/// the anchor. Where addresses must be confirmed the alert is `pending` until the link in the mail is followed.
///
/// With a token of a session or an API key the alert belongs to the account. Its own address need not be said, and is
/// confirmed already. OnFire it may also say an order that its first firing places, where that is allowed; an API key needs
/// the scope `trade` too for that.
#[utoipa::path(
    post, path = "/v1/alerts", tag = "alerts", operation_id = "create_alert",
    request_body(content = SubscriptionDoc, content_type = "application/json", examples(
        ("short" = (summary = "Tell me when it moves by 5 %",
            value = json!({"email": "ada@example.com", "symbol": "BTC-USD", "percent": "5"}))),
        ("full" = (summary = "Everything said", value = json!({
            "symbol": "BTC-USD", "venue": null,
            "condition": {"change": {"percent": "5", "direction": "any", "since": "1h"}},
            "repeat": "every", "cooldown": "10m", "expires_at": null, "notify": {"email": "ada@example.com"}}))),
        ("limit" = (summary = "Tell me once when it is above 7000", value = json!({
            "symbol": "BTC-USD", "condition": {"price": {"above": "7000"}}, "repeat": "once",
            "notify": {"email": "ada@example.com"}}))),
        ("order" = (summary = "Sell when it falls to 6000", value = json!({
            "symbol": "BTC-USD", "condition": {"price": {"below": "6000"}}, "repeat": "once",
            "notify": {"email": "ada@example.com"},
            "then": {"order": {"side": "sell", "type": "market", "size": "0.01"}}}))),
    )),
    security((), ("session" = []), ("api_key" = ["alerts"])),
    responses(
        (status = 201, body = CreatedAlert, headers(("Location", description = "Where the alert is"))),
        ProblemResponses,
    ),
)]
pub(crate) async fn create(
    State(app): State<App>,
    Anybody(caller): Anybody,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<CreatedAlert>), Problem> {
    let now = platform::clock::now();
    let own = caller.as_ref().map(|caller| caller.email.as_str());
    let rule = subscription::read(&body, Uuid::now_v7(), own, now)?;
    let order = then::order(&app, &headers, &rule, now).await?;
    let placed = order.as_ref().map(|order| (order.id, OrderStatus::Received));
    // The address of an account has said yes already.
    let is_own = own.is_some_and(|own| own.eq_ignore_ascii_case(&rule.notify.email));
    let status = match app.confirmation {
        Confirmation::Required if !is_own => RuleStatus::Pending,
        _ => RuleStatus::Active,
    };
    let manage_token = BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>());
    let user_id = caller.map(|caller| caller.user_id);
    match rules::create(&app.store, rule.clone(), status, hash(&manage_token), user_id, order, now).await? {
        Created::Done => {}
        Created::NoAccount => return Err(caller::unknown()),
        Created::OrderNameTaken => return Err(orders::name_taken("/then/order")),
    }
    let location = format!("/v1/alerts/{}", rule.id);
    let alert = RuleRecord { rule, status, firings: 0, created_at: now, user_id, order: placed }.into();
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(CreatedAlert { alert, manage_token })))
}

/// Your alerts, newest first
#[utoipa::path(
    get, path = "/v1/alerts", tag = "alerts", operation_id = "list_alerts", params(AlertQuery),
    security(("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = AlertPage), ProblemResponses),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Alerts(caller): Alerts,
    Params(query): Params<AlertQuery>,
) -> Result<Json<AlertPage>, Problem> {
    let (before, most) = (query.cursor.map(|RulePlace(id)| id), i64::from(query.limit) + 1);
    let alerts = if query.adoptable {
        rules::list_adoptable(&app.store, &caller.email, before, most).await?
    } else {
        rules::list(&app.store, caller.user_id, before, most).await?
    };
    let (alerts, next_cursor) = page(alerts, query.limit, |alert| RulePlace(alert.rule.id));
    Ok(Json(AlertPage { items: alerts.into_iter().map(Alert::from).collect(), next_cursor }))
}

/// Make an alert your account's
///
/// One that belongs to nobody and tells the account's own address, once that address has said yes to it.
#[utoipa::path(
    post, path = "/v1/alerts/{id}/adopt", tag = "alerts", operation_id = "adopt_alert",
    params(("id" = Uuid, Path, description = "The alert")),
    security(("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = Alert), ProblemResponses),
)]
pub(crate) async fn adopt(State(app): State<App>, Alerts(caller): Alerts, Id(id): Id) -> Result<Json<Alert>, Problem> {
    let adopted = rules::adopt(&app.store, id, caller.user_id, &caller.email).await?;
    adopted.map(|record| Json(record.into())).ok_or_else(Problem::no_such_alert)
}

/// Look at an alert
#[utoipa::path(
    get, path = "/v1/alerts/{id}", tag = "alerts", operation_id = "get_alert",
    params(("id" = Uuid, Path, description = "The alert")), security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = Alert), ProblemResponses),
)]
pub(crate) async fn show(Owned(record): Owned) -> Json<Alert> {
    Json(record.into())
}

/// Pause or resume an alert
#[utoipa::path(
    patch, path = "/v1/alerts/{id}", tag = "alerts", operation_id = "update_alert",
    params(("id" = Uuid, Path, description = "The alert")), security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    request_body(content = WantedDoc, content_type = "application/json", example = json!({"status": "paused"})),
    responses((status = 200, body = Alert), ProblemResponses),
)]
pub(crate) async fn update(
    State(app): State<App>,
    Owned(record): Owned,
    JsonBody(body): JsonBody,
) -> Result<Json<Alert>, Problem> {
    let happening = match subscription::read_wanted(&body)? {
        Wanted::Paused => RuleChange::Paused,
        Wanted::Active => RuleChange::Resumed,
    };
    match rules::change(&app.store, record.rule.id, happening, platform::clock::now()).await? {
        Changed::Done(record) => Ok(Json((*record).into())),
        Changed::Refused(status) => Err(Problem::refused(status)),
        Changed::Missing => Err(Problem::no_such_alert()),
    }
}

/// Delete an alert
///
/// Its firings are kept, and its tokens still read them. An order that waits for it is taken back; one that it has placed
/// stays.
#[utoipa::path(
    delete, path = "/v1/alerts/{id}", tag = "alerts", operation_id = "delete_alert",
    params(("id" = Uuid, Path, description = "The alert")), security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 204, description = "It is gone"), ProblemResponses),
)]
pub(crate) async fn delete(State(app): State<App>, Owned(record): Owned) -> Result<StatusCode, Problem> {
    match rules::change(&app.store, record.rule.id, RuleChange::Deleted, platform::clock::now()).await? {
        Changed::Done(_) => Ok(StatusCode::NO_CONTENT),
        Changed::Refused(status) => Err(Problem::refused(status)),
        Changed::Missing => Err(Problem::no_such_alert()),
    }
}

/// What an alert has fired, newest first
#[utoipa::path(
    get, path = "/v1/alerts/{id}/firings", tag = "alerts", operation_id = "list_firings",
    params(("id" = Uuid, Path, description = "The alert, also one that is deleted"), FiringQuery),
    security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = FiringPage), ProblemResponses),
)]
pub(crate) async fn firings(
    State(app): State<App>,
    OnceOwned(record): OnceOwned,
    Params(query): Params<FiringQuery>,
) -> Result<Json<FiringPage>, Problem> {
    let before = query.cursor.map(|FiringPlace(number)| number);
    let firings = rules::list_firings(&app.store, record.rule.id, before, i64::from(query.limit) + 1).await?;
    let (firings, next_cursor) = page(firings, query.limit, |firing| FiringPlace(firing.number));
    Ok(Json(FiringPage { items: firings.into_iter().map(Firing::from).collect(), next_cursor }))
}
