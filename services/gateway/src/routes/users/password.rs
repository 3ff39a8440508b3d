//! `/v1/me/password` and `/v1/password-resets`: change a password, or set a new one with the link of a mail.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde::Serialize;
use store::identity::{
    login_throttle::LoginAttempt,
    passwords::{self, ResetRequest},
    sessions::IssuedSession,
};
use utoipa::ToSchema;

use crate::{
    auth::{
        SessionUser,
        client_ip::ClientNetwork,
        password::{NewPassword, Password, Verdict},
        password_reset::{LINK_USED, ResetOutcome, reset_by_link},
        token::{SESSION_PREFIX, expires_in_days, hash, new_token},
        verify::{check_password, count_attempt},
    },
    http::problem::{FieldError, Problem, ProblemKind, ProblemResponses},
    request::{email::Address, extract::JsonBody, json_body::Fields},
    routes::users::response::Session,
    state::AppState,
};

const RESET_MAIL_SENT: &str = "If the address has an account, a mail with a link is on its way to it.";

/// A change of the password of a signed-in user.
#[derive(ToSchema)]
struct PasswordChange {
    current_password: Password,
    new_password: NewPassword,
}

impl PasswordChange {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let current = fields.required("current_password");
        let new = fields.required("new_password");
        let (current_password, new_password) = fields.all(current.zip(new))?;
        Ok(Self { current_password, new_password })
    }
}

/// A request for a link to a new password.
#[derive(ToSchema)]
struct PasswordResetRequest {
    email: Address,
}

impl PasswordResetRequest {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let email = fields.required("email");
        fields.all(email).map(|email| Self { email })
    }
}

/// The new password.
#[derive(ToSchema)]
struct PasswordReset {
    password: NewPassword,
}

impl PasswordReset {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let password = fields.required("password");
        fields.all(password).map(|password| Self { password })
    }
}

/// The answer to a request for a password reset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PasswordResetAccepted {
    #[schema(value_type = String, example = "If the address has an account, a mail with a link is on its way to it.")]
    detail: &'static str,
}

/// Change the password
///
/// This ends every session, revokes every API key and uses up every link to a new password. The answer is a new session,
/// whose token replaces the one that was sent. The user is notified by mail.
#[utoipa::path(
    put, path = "/v1/me/password", tag = "users", operation_id = "change_password",
    request_body(content = PasswordChange, content_type = "application/json"),
    security(("session" = [])),
    responses((status = 200, body = Session, description = "The password is set; continue with this token"), ProblemResponses),
)]
pub(crate) async fn change(
    State(state): State<AppState>,
    SessionUser(caller): SessionUser,
    JsonBody(body): JsonBody,
) -> Result<Json<Session>, Problem> {
    let PasswordChange { current_password: current, new_password: new } = PasswordChange::read(&body)?;
    let wrong = || Problem::invalid(vec![FieldError::body("/current_password", "is not the password of this user")]);
    // Counted apart from sign-ins: failed sign-ins must not keep a signed-in user from changing the password.
    let (found, verdict) =
        check_password(&state, LoginAttempt::Password(caller.user_id), &caller.email, current).await?;
    let (user, verified) = found.filter(|_| verdict != Verdict::Invalid).ok_or_else(wrong)?;
    let new = state.passwords.hash(new).await?;
    let now = platform::clock::now();
    let (token, expires_at) = (new_token(SESSION_PREFIX), expires_in_days(now, state.session_days));
    let opened = IssuedSession { token: hash(&token), expires_at };
    match passwords::change(&state.store, user.id, verified, new, opened, now).await? {
        true => Ok(Json(Session::new(token, expires_at, user.into()))),
        false => Err(wrong()),
    }
}

/// Request a password reset
///
/// The answer is the same whether the address has a user or not. The link in the mail is valid for one hour and for one use.
/// More than a hundred requests in a row from one network are slowed down.
#[utoipa::path(
    post, path = "/v1/password-resets", tag = "users", operation_id = "ask_for_password_reset",
    request_body(content = PasswordResetRequest, content_type = "application/json"),
    responses((status = 202, body = PasswordResetAccepted), ProblemResponses),
)]
pub(crate) async fn request_reset(
    State(state): State<AppState>,
    ClientNetwork(network): ClientNetwork,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<PasswordResetAccepted>), Problem> {
    let PasswordResetRequest { email } = PasswordResetRequest::read(&body)?;
    count_attempt(&state, LoginAttempt::Reset(network)).await?;
    if passwords::request_reset(&state.store, email.into_string(), platform::clock::now()).await?
        == ResetRequest::TooMany
    {
        let detail = "There are more password resets than mails can be sent. Try again in a minute.";
        return Err(Problem::new(ProblemKind::TooManyRequests { retry_after_seconds: 60 }, detail));
    }
    Ok((StatusCode::ACCEPTED, Json(PasswordResetAccepted { detail: RESET_MAIL_SENT })))
}

/// Set a new password with the link of a mail
///
/// This ends every session and revokes every API key of the user.
#[utoipa::path(
    post, path = "/v1/password-resets/{token}", tag = "users", operation_id = "reset_password",
    params(("token" = String, Path, description = "The last part of the path of the link in the mail")),
    request_body(content = PasswordReset, content_type = "application/json"),
    responses((status = 204, description = "The password is set; sign in with it"), ProblemResponses),
)]
pub(crate) async fn reset(
    State(state): State<AppState>,
    Path(token): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, Problem> {
    let PasswordReset { password } = PasswordReset::read(&body)?;
    match reset_by_link(&state, &token, password).await? {
        ResetOutcome::Done => Ok(StatusCode::NO_CONTENT),
        ResetOutcome::AlreadyUsed => Err(Problem::new(ProblemKind::Conflict, LINK_USED)),
    }
}
