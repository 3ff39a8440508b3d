//! `/v1/alerts`: create, read, pause, resume, adopt and delete alerts, and list their firings, late verdicts and deliveries.

pub(crate) mod deliveries;
pub(crate) mod order;
pub(crate) mod response;
mod warnings;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
};
use events::{OrderStatus, RuleStatus, rule::RuleChange};
use store::rules::{self, Changed, Created, NewRule, RuleRecord, judged, late};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    auth::{
        self, AlertsScope, OptionalUser,
        alert_owner::{OwnedAlert, OwnedAlertOrDeleted},
        token::{hash, new_token},
    },
    http::problem::{Problem, ProblemResponses},
    request::{
        alert::{self, AlertUpdate, Subscription},
        cursor::{AlertCursor, FiringCursor, ListCursor},
        extract::{IdPath, JsonBody},
        order::client_order_id_taken,
        query::{FromQuery, ListQuery, Query, QueryParams},
        symbol::check_quote,
    },
    routes::{
        alerts::response::{Alert, CreatedAlert, Firing, LateVerdict},
        page::Page,
    },
    settings::Confirmation,
    state::AppState,
};

/// The number of late verdicts that are listed.
const MAX_LATE_VERDICTS: i64 = 100;

/// The filter of a list of alerts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AlertFilter {
    /// `true` lists, in place of the alerts of the user, those that notify the user's address, belong to no user and can
    /// be adopted.
    #[param(value_type = Option<bool>, default = false)]
    adoptable: bool,
}

impl FromQuery for AlertFilter {
    fn from_query(query: &mut Query) -> Option<Self> {
        Some(Self { adoptable: query.optional("adoptable").unwrap_or_default() })
    }
}

/// Create an alert
///
/// The full form has every field; the short form `{"email", "symbol", "percent"}` means a change in any direction since the
/// anchor. Where addresses must be confirmed, the alert is `pending` until the link in the mail is opened.
///
/// With the token of a session or an API key the alert belongs to the user; the user's own address may be left out, and is
/// confirmed already. What keeps the alert from firing as asked is in `warnings`, like a symbol that no venue quotes. Where the
/// server allows it, the alert may also hold an order that its first firing places; an API key
/// then needs the scope `trade` too.
#[utoipa::path(
    post, path = "/v1/alerts", tag = "alerts", operation_id = "create_alert",
    request_body(content = Subscription, content_type = "application/json", examples(
        ("short" = (summary = "Notify me when the price moves by 5 %",
            value = json!({"email": "ada@example.com", "symbol": "BTC-USD", "percent": "5"}))),
        ("full" = (summary = "Every field", value = json!({
            "symbol": "BTC-USD", "venue": null,
            "condition": {"change": {"percent": "5", "direction": "any", "since": "1h"}},
            "repeat": "every", "cooldown": "10m", "expires_at": null, "notify": {"email": "ada@example.com"}}))),
        ("limit" = (summary = "Notify me once when the price is above 7000", value = json!({
            "symbol": "BTC-USD", "condition": {"price": {"above": "7000"}}, "repeat": "once",
            "notify": {"email": "ada@example.com"}}))),
        ("order" = (summary = "Sell when the price falls to 6000", value = json!({
            "symbol": "BTC-USD", "condition": {"price": {"below": "6000"}}, "repeat": "once",
            "notify": {"email": "ada@example.com"},
            "then": {"order": {"side": "sell", "type": "market", "size": "0.01"}}}))),
    )),
    security((), ("session" = []), ("api_key" = ["alerts"])),
    responses(
        (status = 201, body = CreatedAlert, headers(("Location", description = "The path of the alert"))),
        ProblemResponses,
    ),
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    OptionalUser(caller): OptionalUser,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<CreatedAlert>), Problem> {
    let now = platform::clock::now();
    let own = caller.as_ref().map(|caller| caller.email.as_str());
    let rule = alert::read(&body, Uuid::now_v7(), own, now)?;
    check_quote(&state.store, &rule.symbol, "/symbol").await?;
    let order = self::order::read(&state, &headers, &rule, now).await?;
    let placed = order.as_ref().map(|order| (order.id, OrderStatus::Received));
    // The address of a user is confirmed already.
    let is_own = own.is_some_and(|own| own.eq_ignore_ascii_case(&rule.notify.email));
    let status = match state.confirmation {
        Confirmation::Required if !is_own => RuleStatus::Pending,
        _ => RuleStatus::Active,
    };
    let manage_token = new_token("");
    let user_id = caller.map(|caller| caller.user_id);
    let new =
        NewRule { rule: rule.clone(), status, manage_token: hash(&manage_token), user_id, order, created_at: now };
    match rules::create(&state.store, new).await? {
        Created::Done => {}
        Created::NoAccount => return Err(auth::invalid_token()),
        Created::OrderNameTaken => return Err(client_order_id_taken("/then/order")),
    }
    let location = format!("/v1/alerts/{}", rule.id);
    let market = judged::find(&state.store, &rule.symbol, rule.venue.as_ref()).await?;
    let warnings = warnings::of(&state.store, &rule, market.as_ref(), now).await?;
    let alert = RuleRecord { rule, status, firings: 0, created_at: now, user_id, order: placed, market }.into();
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(CreatedAlert { alert, manage_token, warnings })))
}

/// List alerts
///
/// The newest comes first.
#[utoipa::path(
    get, path = "/v1/alerts", tag = "alerts", operation_id = "list_alerts", params(AlertFilter, ListQuery<AlertCursor>),
    security(("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = Page<Alert>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    AlertsScope(caller): AlertsScope,
    QueryParams((filter, list)): QueryParams<(AlertFilter, ListQuery<AlertCursor>)>,
) -> Result<Json<Page<Alert>>, Problem> {
    let (before, most) = (list.cursor.map(|ListCursor(id)| id), i64::from(list.limit) + 1);
    let alerts = if filter.adoptable {
        rules::list_adoptable(&state.store, &caller.email, before, most).await?
    } else {
        rules::list(&state.store, caller.user_id, before, most).await?
    };
    Ok(Json(Page::new(alerts, list.limit, |alert| -> AlertCursor { ListCursor(alert.rule.id) })))
}

/// Adopt an alert
///
/// The alert then belongs to the user. It must belong to no user and notify the user's own address, and that address must be
/// confirmed for it.
#[utoipa::path(
    post, path = "/v1/alerts/{id}/adopt", tag = "alerts", operation_id = "adopt_alert",
    params(("id" = Uuid, Path, description = "The id of the alert")),
    security(("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = Alert), ProblemResponses),
)]
pub(crate) async fn adopt(
    State(state): State<AppState>,
    AlertsScope(caller): AlertsScope,
    IdPath(id): IdPath,
) -> Result<Json<Alert>, Problem> {
    let adopted = rules::adopt(&state.store, id, caller.user_id, &caller.email).await?;
    adopted.map(|record| Json(record.into())).ok_or_else(Problem::no_such_alert)
}

/// Get an alert
#[utoipa::path(
    get, path = "/v1/alerts/{id}", tag = "alerts", operation_id = "get_alert",
    params(("id" = Uuid, Path, description = "The id of the alert")), security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = Alert), ProblemResponses),
)]
pub(crate) async fn show(OwnedAlert(record): OwnedAlert) -> Json<Alert> {
    Json(record.into())
}

/// Change an alert
///
/// The status pauses or resumes it. Another venue begins it anew, as if it was created now: its reference is the last price of
/// that venue, its cooldown is over, and only ticks that come after the change are evaluated. The numbers of its firings go on.
#[utoipa::path(
    patch, path = "/v1/alerts/{id}", tag = "alerts", operation_id = "update_alert",
    params(("id" = Uuid, Path, description = "The id of the alert")), security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    request_body(content = AlertUpdate, content_type = "application/json", examples(
        ("pause" = (summary = "Evaluate no ticks until the alert is resumed", value = json!({"status": "paused"}))),
        ("venue" = (summary = "Begin anew with the prices of another venue", value = json!({"venue": "kraken"}))))),
    responses((status = 200, body = Alert), ProblemResponses),
)]
pub(crate) async fn update(
    State(state): State<AppState>,
    OwnedAlert(record): OwnedAlert,
    JsonBody(body): JsonBody,
) -> Result<Json<Alert>, Problem> {
    let update = alert::read_update(&body)?;
    match rules::update(&state.store, record.rule.id, update, platform::clock::now()).await? {
        Changed::Done(record) => Ok(Json((*record).into())),
        Changed::Refused(status) => Err(Problem::status_conflict(status)),
        Changed::Missing => Err(Problem::no_such_alert()),
    }
}

/// Delete an alert
///
/// Its firings stay and can be read with the same tokens. An order that waits for the alert is cancelled; an order that it
/// has placed stays.
#[utoipa::path(
    delete, path = "/v1/alerts/{id}", tag = "alerts", operation_id = "delete_alert",
    params(("id" = Uuid, Path, description = "The id of the alert")), security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 204, description = "The alert is deleted"), ProblemResponses),
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    OwnedAlert(record): OwnedAlert,
) -> Result<StatusCode, Problem> {
    match rules::change(&state.store, record.rule.id, RuleChange::Deleted, platform::clock::now()).await? {
        Changed::Done(_) => Ok(StatusCode::NO_CONTENT),
        Changed::Refused(status) => Err(Problem::status_conflict(status)),
        Changed::Missing => Err(Problem::no_such_alert()),
    }
}

/// List the firings of an alert
///
/// The newest comes first.
#[utoipa::path(
    get, path = "/v1/alerts/{id}/firings", tag = "alerts", operation_id = "list_firings",
    params(("id" = Uuid, Path, description = "The id of the alert, which may be deleted"), ListQuery<FiringCursor>),
    security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = Page<Firing>), ProblemResponses),
)]
pub(crate) async fn firings(
    State(state): State<AppState>,
    OwnedAlertOrDeleted(record): OwnedAlertOrDeleted,
    QueryParams(list): QueryParams<ListQuery<FiringCursor>>,
) -> Result<Json<Page<Firing>>, Problem> {
    let before = list.cursor.map(|ListCursor(number)| number);
    let firings = rules::list_firings(&state.store, record.rule.id, before, i64::from(list.limit) + 1).await?;
    Ok(Json(Page::new(firings, list.limit, |firing| -> FiringCursor { ListCursor(firing.number) })))
}

/// List what an alert would have decided about prices that were missed
///
/// The newest comes first, and at most 100 are listed. Crossings that a firing has reported are not among them.
#[utoipa::path(
    get, path = "/v1/alerts/{id}/late-verdicts", tag = "alerts", operation_id = "list_late_verdicts",
    params(("id" = Uuid, Path, description = "The id of the alert, which may be deleted")),
    security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = Page<LateVerdict>), ProblemResponses),
)]
pub(crate) async fn late_verdicts(
    State(state): State<AppState>,
    OwnedAlertOrDeleted(record): OwnedAlertOrDeleted,
    QueryParams(()): QueryParams<()>,
) -> Result<Json<Page<LateVerdict>>, Problem> {
    Ok(Json(Page::whole(late::list_of_rule(&state.store, record.rule.id, MAX_LATE_VERDICTS).await?)))
}
