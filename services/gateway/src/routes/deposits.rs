//! `/v1/deposits`: an operator funds the account of a user.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use events::{Amount, Asset, Timestamp};
use serde::Serialize;
use store::{
    outbox,
    trading::{
        assets,
        deposits::{self, AccountOwner, NewDeposit, Requested},
    },
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    auth::OperatorRole,
    http::{
        overload::admission::Admitted,
        problem::{FieldError, Problem, ProblemResponses},
    },
    request::{
        email::Address,
        extract::JsonBody,
        headers::PreferWait,
        json_body::{Fields, REQUIRED},
    },
    state::AppState,
};

/// The longest reference, in characters.
const REFERENCE_LENGTH: usize = 100;

/// A deposit and its state.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deposit {
    id: Uuid,
    status: DepositStatus,
    user_id: Uuid,
    asset: Asset,
    amount: Amount,
    #[schema(example = "transfer 2026-11-20/1")]
    reference: Option<String>,
    /// The number of its posting in the ledger; null until it is posted.
    posting_id: Option<i64>,
    requested_at: Timestamp,
}

impl From<deposits::Deposit> for Deposit {
    fn from(deposit: deposits::Deposit) -> Self {
        let deposits::Deposit { id, user_id, asset, amount, reference, requested_at, posting_id } = deposit;
        let status = if posting_id.is_some() { DepositStatus::Posted } else { DepositStatus::Received };
        Self { id, status, user_id, asset, amount, reference, posting_id, requested_at }
    }
}

/// Whether the ledger has posted a deposit.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DepositStatus {
    Received,
    Posted,
}

/// A deposit to make; either `email` or `user_id` names the user.
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described: the body is read into a Request, which knows one owner")]
struct DepositRequest {
    email: Option<Address>,
    user_id: Option<Uuid>,
    asset: Asset,
    /// The amount in units of the asset: above 0, with at most the decimal places of the asset.
    #[schema(value_type = events::openapi::DecimalInput)]
    amount: Amount,
    /// Your own name for the deposit, 1 to 100 characters; a repeated name answers the first deposit.
    #[schema(
        min_length = 1,
        max_length = 100,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$",
        example = "transfer 2026-11-20/1"
    )]
    reference: Option<String>,
}

/// A checked request for a deposit.
#[derive(Debug, PartialEq, Eq)]
struct Request {
    owner: AccountOwner,
    asset: Asset,
    amount: Amount,
    reference: Option<String>,
}

/// Make a deposit
///
/// Only operators may do this. `Prefer: wait=N` waits up to N seconds, at most 30: the status is 200 when the deposit is
/// posted, else 202. A repeated `reference` answers the first deposit.
#[utoipa::path(
    post, path = "/v1/deposits", tag = "money", operation_id = "deposit",
    params(("Prefer" = Option<String>, Header, description = "`wait=N` waits up to N seconds, at most 30, until it is posted")),
    request_body(content = DepositRequest, content_type = "application/json", example = json!({
        "email": "ada@example.com", "asset": "USD", "amount": "10000.00", "reference": "transfer 2026-11-20/1"})),
    security(("session" = [])),
    responses(
        (status = 202, body = Deposit, description = "The deposit is accepted and not posted yet"),
        (status = 200, body = Deposit, description = "The deposit is posted"),
        ProblemResponses,
    ),
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    OperatorRole(caller): OperatorRole,
    PreferWait(wait): PreferWait,
    admitted: Admitted,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, HeaderMap, Json<Deposit>), Problem> {
    let Request { owner, asset, amount, reference } = read(&body)?;
    let user_id = check_request(&state, &owner, &asset, amount).await?;
    let id = Uuid::now_v7();
    let requested_by = caller.user_id.to_string();
    let requested_at = platform::clock::now();
    // Subscribed before the deposit is saved, so that its posting cannot be missed.
    let waiting = wait.map(|_| state.order_waiters.deposit(id));
    let deposit = NewDeposit { id, user_id, asset, amount, reference, requested_by, requested_at };
    let (mut found, waiting) = match deposits::request(&state.store, outbox::GATEWAY, deposit).await? {
        Requested::New(deposit) => (deposit, waiting),
        Requested::Known(deposit) => {
            let waiting = wait.map(|_| state.order_waiters.deposit(deposit.id));
            (deposit, waiting)
        }
        Requested::Conflict => {
            return Err(reject("/reference", "is the reference of another deposit; choose a new one"));
        }
        Requested::NoAccount => return Err(reject(pointer(&owner), NO_ACCOUNT)),
    };
    let mut headers = HeaderMap::new();
    let mut status = StatusCode::ACCEPTED;
    if let (Some(wait), Some(waiting)) = (wait, waiting) {
        if found.posting_id.is_some() {
            headers.extend([wait.applied()]);
        } else if let Some(_permit) = admitted.begin_wait() {
            headers.extend([wait.applied()]);
            found.posting_id = waiting.until(wait.deadline).await;
        }
        if found.posting_id.is_some() {
            status = StatusCode::OK;
        }
    }
    Ok((status, headers, Json(found.into())))
}

/// Returns the user that the deposit is for, if asset, amount and user are valid together.
async fn check_request(state: &AppState, owner: &AccountOwner, asset: &Asset, amount: Amount) -> Result<Uuid, Problem> {
    let mut errors = Vec::new();
    match assets::find(&state.store, std::slice::from_ref(asset)).await?.first() {
        None => errors.push(FieldError::body("/asset", "is not an asset of this server; GET /v1/assets lists them")),
        Some((_, places)) => {
            let too_precise = asset.check(amount.decimal(), *places).err();
            errors.extend(too_precise.map(|error| FieldError::body("/amount", error.to_string())));
        }
    }
    let account = deposits::find_account(&state.store, owner).await?;
    if account.is_none() {
        errors.push(FieldError::body(pointer(owner), NO_ACCOUNT));
    }
    account.filter(|_| errors.is_empty()).ok_or_else(|| Problem::invalid(errors))
}

const NO_ACCOUNT: &str = "has no account here";

fn pointer(owner: &AccountOwner) -> &'static str {
    match owner {
        AccountOwner::Email(_) => "/email",
        AccountOwner::Id(_) => "/user_id",
    }
}

fn read(body: &[u8]) -> Result<Request, Problem> {
    let mut fields = Fields::parse(body)?;
    let email = fields.optional::<Option<Address>>("email").flatten().map(Address::into_string);
    let user_id = fields.optional::<Option<Uuid>>("user_id").flatten();
    let owner = match (email, user_id) {
        (Some(email), None) => Some(AccountOwner::Email(email)),
        (None, Some(id)) => Some(AccountOwner::Id(id)),
        (Some(_), Some(_)) => {
            fields.reject("/user_id", "cannot stand beside email");
            None
        }
        (None, None) if fields.has_no_error() => {
            fields.reject("/email", format!("{REQUIRED}, or user_id in its place"));
            None
        }
        (None, None) => None,
    };
    let asset = fields.required::<Asset>("asset");
    let amount = fields.required::<Amount>("amount");
    if amount.is_some_and(|amount| amount.decimal().is_zero()) {
        fields.reject("/amount", "must be above 0");
    }
    let reference = fields.optional::<Option<String>>("reference").flatten();
    if reference.as_ref().is_some_and(|text| {
        !(1..=REFERENCE_LENGTH).contains(&text.chars().count()) || text.chars().any(char::is_control)
    }) {
        fields.reject("/reference", format!("must have 1 to {REFERENCE_LENGTH} characters, and no control characters"));
    }
    let errors = fields.finish();
    match (owner, asset, amount) {
        (Some(owner), Some(asset), Some(amount)) if errors.is_empty() => {
            Ok(Request { owner, asset, amount, reference })
        }
        _ => Err(Problem::invalid(errors)),
    }
}

fn reject(at: &str, detail: &str) -> Problem {
    Problem::invalid(vec![FieldError::body(at, detail)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deposit_names_owner_asset_and_amount() {
        let request = read(br#"{"email": "ada@example.com", "asset": "USD", "amount": 10.5}"#).expect("a request");
        assert_eq!(request.owner, AccountOwner::Email("ada@example.com".into()));
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
            let errors = written["errors"].as_array().expect("errors");
            let found: Vec<_> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
            assert_eq!(found, at, "{body}");
        }
    }
}
