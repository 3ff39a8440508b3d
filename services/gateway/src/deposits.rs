//! `/v1/deposits`: an operator funds an account.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use events::{Amount, Asset, Timestamp};
use serde::Serialize;
use store::{
    rules::SERVICE,
    trading::{
        balances,
        deposits::{self, AccountOwner, NewDeposit, Requested},
    },
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    App,
    address::Address,
    caller::Operates,
    extract::JsonBody,
    fields::{Fields, REQUIRED},
    openapi::ProblemResponses,
    order_schemas::{DepositRequestDoc, DepositStatusDoc},
    prefer::Patience,
    problem::{Mistake, Problem},
};

/// The longest reference.
const REFERENCE_LENGTH: usize = 100;

/// A deposit and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deposit {
    id: Uuid,
    #[schema(value_type = DepositStatusDoc)]
    status: &'static str,
    user_id: Uuid,
    #[schema(value_type = String, example = "USD")]
    asset: Asset,
    #[schema(value_type = String, example = "10000.00")]
    amount: Amount,
    #[schema(example = "transfer 2026-11-20/1")]
    reference: Option<String>,
    /// The ledger's posting, once it is there.
    posting_id: Option<i64>,
    #[schema(value_type = String, format = DateTime)]
    requested_at: Timestamp,
}

impl From<deposits::Deposit> for Deposit {
    fn from(deposit: deposits::Deposit) -> Self {
        let deposits::Deposit { id, user_id, asset, amount, reference, requested_at, posting_id } = deposit;
        let status = if posting_id.is_some() { "posted" } else { "received" };
        Self { id, status, user_id, asset, amount, reference, posting_id, requested_at }
    }
}

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    holder: AccountOwner,
    asset: Asset,
    amount: Amount,
    reference: Option<String>,
}

/// Fund an account
///
/// For operators. `Prefer: wait=N` waits up to N seconds (at most 30) until it is posted: 200 then, else 202. The same
/// `reference` again is the same deposit.
#[utoipa::path(
    post, path = "/v1/deposits", tag = "accounts", operation_id = "deposit",
    params(("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds until it is posted")),
    request_body(content = DepositRequestDoc, content_type = "application/json", example = json!({
        "email": "ada@example.com", "asset": "USD", "amount": "10000.00", "reference": "transfer 2026-11-20/1"})),
    security(("session" = [])),
    responses(
        (status = 202, body = Deposit, description = "It is on its way"),
        (status = 200, body = Deposit, description = "It was waited, and it is posted"),
        ProblemResponses,
    ),
)]
pub(crate) async fn create(
    State(app): State<App>,
    Operates(caller): Operates,
    Patience(wait): Patience,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, HeaderMap, Json<Deposit>), Problem> {
    let Request { holder, asset, amount, reference } = read(&body)?;
    let user_id = check(&app, &holder, &asset, amount).await?;
    let id = Uuid::now_v7();
    let requested_by = caller.user_id.to_string();
    let requested_at = platform::clock::now();
    // From before it is saved, so that its posting cannot be missed.
    let waiting = wait.map(|_| app.store.order_waiters().deposit(id));
    let deposit = NewDeposit { id, user_id, asset, amount, reference, requested_by, requested_at };
    let (mut found, waiting) = match deposits::request(&app.store, SERVICE, deposit).await? {
        Requested::New(deposit) => (deposit, waiting),
        Requested::Known(deposit) => {
            let waiting = wait.map(|_| app.store.order_waiters().deposit(deposit.id));
            (deposit, waiting)
        }
        Requested::Conflict => return Err(refuse("/reference", "names another deposit; choose a new one")),
        Requested::NoAccount => return Err(refuse(pointer(&holder), NO_ACCOUNT)),
    };
    let mut headers = HeaderMap::new();
    let mut status = StatusCode::ACCEPTED;
    if let (Some(wait), Some(waiting)) = (wait, waiting) {
        headers.extend([wait.applied()]);
        if found.posting_id.is_none()
            && let Some(posting_id) = waiting.until(wait.deadline).await
        {
            found.posting_id = Some(posting_id);
        }
        if found.posting_id.is_some() {
            status = StatusCode::OK;
        }
    }
    Ok((status, headers, Json(found.into())))
}

/// Whose account it is, when asset, amount and account go together.
async fn check(app: &App, holder: &AccountOwner, asset: &Asset, amount: Amount) -> Result<Uuid, Problem> {
    let mut mistakes = Vec::new();
    match balances::find_assets(&app.store, std::slice::from_ref(asset)).await?.first() {
        None => mistakes.push(Mistake::body("/asset", "is not kept here; GET /v1/assets says what is")),
        Some((_, places)) => {
            let too_precise = asset.check(amount.decimal(), *places).err();
            mistakes.extend(too_precise.map(|error| Mistake::body("/amount", error.to_string())));
        }
    }
    let account = deposits::find_account(&app.store, holder).await?;
    if account.is_none() {
        mistakes.push(Mistake::body(pointer(holder), NO_ACCOUNT));
    }
    account.filter(|_| mistakes.is_empty()).ok_or_else(|| Problem::invalid(mistakes))
}

const NO_ACCOUNT: &str = "has no account here";

fn pointer(holder: &AccountOwner) -> &'static str {
    match holder {
        AccountOwner::Email(_) => "/email",
        AccountOwner::Id(_) => "/user_id",
    }
}

fn read(body: &[u8]) -> Result<Request, Problem> {
    let mut fields = Fields::parse(body)?;
    let email = fields.optional::<Option<Address>>("email").flatten().map(Address::into_string);
    let user_id = fields.optional::<Option<Uuid>>("user_id").flatten();
    let holder = match (email, user_id) {
        (Some(email), None) => Some(AccountOwner::Email(email)),
        (None, Some(id)) => Some(AccountOwner::Id(id)),
        (Some(_), Some(_)) => {
            fields.refuse("/user_id", "cannot stand beside email");
            None
        }
        (None, None) if fields.is_right() => {
            fields.refuse("/email", format!("{REQUIRED}, or user_id in its place"));
            None
        }
        (None, None) => None,
    };
    let asset = fields.required::<Asset>("asset");
    let amount = fields.required::<Amount>("amount");
    if amount.is_some_and(|amount| amount.decimal().is_zero()) {
        fields.refuse("/amount", "must be above 0");
    }
    let reference = fields.optional::<Option<String>>("reference").flatten();
    if reference.as_ref().is_some_and(|text| {
        !(1..=REFERENCE_LENGTH).contains(&text.chars().count()) || text.chars().any(char::is_control)
    }) {
        fields.refuse("/reference", format!("must have 1 to {REFERENCE_LENGTH} characters, and no control characters"));
    }
    let mistakes = fields.finish();
    match (holder, asset, amount) {
        (Some(holder), Some(asset), Some(amount)) if mistakes.is_empty() => {
            Ok(Request { holder, asset, amount, reference })
        }
        _ => Err(Problem::invalid(mistakes)),
    }
}

fn refuse(at: &str, detail: &str) -> Problem {
    Problem::invalid(vec![Mistake::body(at, detail)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deposit_says_whose_what_and_how_much() {
        let request = read(br#"{"email": "ada@example.com", "asset": "USD", "amount": 10.5}"#).expect("a request");
        assert_eq!(request.holder, AccountOwner::Email("ada@example.com".into()));
        assert_eq!((request.asset.as_str(), request.amount.to_string().as_str()), ("USD", "10.5"));
        for (body, at) in [
            ("{}", &["/email", "/asset", "/amount"][..]),
            (r#"{"email": "a\u0000@b.io", "asset": "USD", "amount": "1"}"#, &["/email"]),
            (r#"{"email": "a", "asset": "USD", "amount": "1"}"#, &["/email"]),
            (r#"{"user_id": 5, "asset": "USD", "amount": "1"}"#, &["/user_id"]),
            (r#"{"email": "a@b.io", "asset": "usd", "amount": "0"}"#, &["/asset", "/amount"]),
            (r#"{"email": "a@b.io", "asset": "USD", "amount": "-1", "reference": ""}"#, &["/amount", "/reference"]),
            (r#"{"email": "a@b.io", "asset": "USD", "amount": "1", "reference": "a\u0000"}"#, &["/reference"]),
            (
                r#"{"email": "a@b.io", "user_id": "00000000-0000-0000-0000-000000000001", "asset": "USD", "amount": 1}"#,
                &["/user_id"],
            ),
        ] {
            let problem = read(body.as_bytes()).expect_err(body);
            let written: serde_json::Value = serde_json::from_slice(&problem.to_json("")).expect("JSON");
            let errors = written["errors"].as_array().expect("mistakes");
            let found: Vec<_> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
            assert_eq!(found, at, "{body}");
        }
    }
}
