//! `/v1/users` and `/v1/me`: sign up, read, export and delete a user.
//!
//! A caller who is not signed in learns nothing about who is a user: not by status, nor by body, nor by time.

pub(crate) mod password;
pub(crate) mod response;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use serde_json::Value;
use store::identity::{
    gdpr,
    sign_ups::{self, SignUpMode},
};
use utoipa::ToSchema;

use crate::{
    auth::{ReadScope, SessionUser, password::NewPassword},
    http::problem::{Problem, ProblemResponses},
    request::{email::Address, extract::JsonBody, json_body::Fields},
    routes::users::response::User,
    settings::Confirmation,
    state::AppState,
};

/// A request for a user.
#[derive(ToSchema)]
struct SignUp {
    email: Address,
    password: NewPassword,
}

impl SignUp {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let email = fields.required("email");
        let password = fields.required("password");
        let (email, password) = fields.all(email.zip(password))?;
        Ok(Self { email, password })
    }
}

/// The state of a sign-up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignUpAccepted {
    /// `pending`: open the link in the mail. `active`: sign in.
    #[schema(value_type = String, example = "pending")]
    status: &'static str,
}

/// Sign up
///
/// The answer is the same whether the address has a user or not; its owner is notified by mail. Where addresses must be
/// confirmed, the link in the mail creates the user; it is valid for 48 hours. Where several sign-ups used the same address,
/// the page behind the link asks for the password that was chosen.
#[utoipa::path(
    post, path = "/v1/users", tag = "users", operation_id = "sign_up",
    request_body(content = SignUp, content_type = "application/json"),
    responses((status = 202, body = SignUpAccepted), ProblemResponses),
)]
pub(crate) async fn sign_up(
    State(state): State<AppState>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<SignUpAccepted>), Problem> {
    let SignUp { email, password } = SignUp::read(&body)?;
    let (mode, status) = match state.confirmation {
        Confirmation::Required => (SignUpMode::ByMail, "pending"),
        Confirmation::Off => (SignUpMode::AtOnce, "active"),
    };
    let hash = state.passwords.hash(password).await?;
    sign_ups::start(&state.store, email.into_string(), hash, mode, platform::clock::now()).await?;
    Ok((StatusCode::ACCEPTED, Json(SignUpAccepted { status })))
}

/// Get the current user
#[utoipa::path(
    get, path = "/v1/me", tag = "users", operation_id = "get_me",
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = User), ProblemResponses),
)]
pub(crate) async fn me(ReadScope(caller): ReadScope) -> Json<User> {
    Json(User::new(caller.user_id, caller.email, caller.role))
}

/// Export the data of the current user
#[utoipa::path(
    get, path = "/v1/me/export", tag = "users", operation_id = "export_me", security(("session" = [])),
    responses(
        (status = 200, body = Object, description = "The user, sessions, API keys, alerts with firings, messages \
            with attempts, orders, trades, accounts, postings and deposits; neither secrets nor the ids in the links of \
            mails"),
        ProblemResponses,
    ),
)]
pub(crate) async fn export(
    State(state): State<AppState>,
    SessionUser(caller): SessionUser,
) -> Result<Json<Value>, Problem> {
    Ok(Json(gdpr::export(&state.store, &caller.email).await?))
}

/// Delete the current user
///
/// This deletes the alerts of the user, cancels the open orders, and erases the user and all personal data in the tables, at
/// once and for good. Streams and backups that hold the address delete it within 30 days. The postings of the ledger stay
/// under an id that leads to nobody, and so does the `client_order_id` of an order.
#[utoipa::path(
    delete, path = "/v1/me", tag = "users", operation_id = "erase_me", security(("session" = [])),
    responses((status = 204, description = "The user is deleted"), ProblemResponses),
)]
pub(crate) async fn erase(
    State(state): State<AppState>,
    SessionUser(caller): SessionUser,
) -> Result<StatusCode, Problem> {
    gdpr::erase(&state.store, caller.email, platform::clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
