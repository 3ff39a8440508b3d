//! `/v1/users`, `/v1/password-resets` and `/v1/me`: from the sign-up to the day somebody wants everything gone.
//!
//! Whoever is not signed in learns nothing about who has an account: not by status, nor by body, nor by time.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use events::link::Purpose;
use events::{Period, Timestamp};
use serde::Serialize;
use serde_json::Value;
use store::identity::{
    gdpr,
    login_throttle::{self, Attempt},
    passwords::{self, Reset, ResetRequest},
    sessions::{self, IssuedSession},
    sign_ups::{self, SignUpMode},
    users::{Role, User},
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    App, Confirmation,
    account_schemas::{PasswordChangeDoc, ResetDoc, ResetRequestDoc, RoleDoc, SignUpDoc},
    address::Address,
    caller::{Reads, SESSION_PREFIX, SignedIn},
    extract::{JsonBody, hash},
    fields::Fields,
    network::Client,
    openapi::ProblemResponses,
    passwords::{NewPassword, Password, Verdict},
    problem::{Kind, Mistake, Problem},
    sessions::{Session, new_token},
};

/// An account.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Account {
    id: Uuid,
    #[schema(example = "ada@example.com")]
    email: String,
    #[schema(value_type = RoleDoc)]
    role: &'static str,
}

impl Account {
    pub(crate) fn new(id: Uuid, email: String, role: Role) -> Self {
        Self { id, email, role: role.as_str() }
    }
}

impl From<User> for Account {
    fn from(user: User) -> Self {
        Self::new(user.id, user.email, user.role)
    }
}

/// What becomes of a sign-up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignUpTaken {
    /// `pending`: follow the link in the mail. `active`: sign in.
    #[schema(value_type = String, example = "pending")]
    status: &'static str,
}

/// What was taken, and what to do next.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Taken {
    #[schema(value_type = String, example = "If the address has an account, a mail with a link is on its way to it.")]
    detail: &'static str,
}

/// Sign up
///
/// The answer is the same whether the address has an account or not; its owner is told by mail. Where addresses must be
/// confirmed, the link in the mail makes the account; it is good for 48 hours. Where others have asked with the same address,
/// the page behind it asks for the password that was chosen.
#[utoipa::path(
    post, path = "/v1/users", tag = "users", operation_id = "sign_up",
    request_body(content = SignUpDoc, content_type = "application/json"),
    responses((status = 202, body = SignUpTaken), ProblemResponses),
)]
pub(crate) async fn sign_up(
    State(app): State<App>,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<SignUpTaken>), Problem> {
    let mut fields = Fields::parse(&body)?;
    let email = fields.required::<Address>("email");
    let password = fields.required::<NewPassword>("password");
    let (email, password) = fields.all(email.zip(password))?;
    let (admission, status) = match app.confirmation {
        Confirmation::Required => (SignUpMode::ByMail, "pending"),
        Confirmation::Off => (SignUpMode::AtOnce, "active"),
    };
    let hash = app.passwords.hash(password).await?;
    sign_ups::start(&app.store, email.into_string(), hash, admission, platform::clock::now()).await?;
    Ok((StatusCode::ACCEPTED, Json(SignUpTaken { status })))
}

/// Ask for a new password
///
/// The answer is the same whether the address has an account or not. The link in the mail is good for one hour, once.
/// Whoever asks more than a hundred times in a row from one network is slowed.
#[utoipa::path(
    post, path = "/v1/password-resets", tag = "users", operation_id = "ask_for_password_reset",
    request_body(content = ResetRequestDoc, content_type = "application/json"),
    responses((status = 202, body = Taken), ProblemResponses),
)]
pub(crate) async fn ask_for_reset(
    State(app): State<App>,
    Client(network): Client,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Taken>), Problem> {
    let mut fields = Fields::parse(&body)?;
    let email = fields.required::<Address>("email");
    let email = fields.all(email)?;
    count(&app, Attempt::Reset(network)).await?;
    if passwords::request_reset(&app.store, email.into_string(), platform::clock::now()).await? == ResetRequest::TooMany
    {
        let detail = "More people ask for new passwords than we can write to; try again in a while.";
        return Err(Problem::new(Kind::TooManyRequests { retry_after_seconds: 60 }, detail));
    }
    let detail = "If the address has an account, a mail with a link is on its way to it.";
    Ok((StatusCode::ACCEPTED, Json(Taken { detail })))
}

/// Set a new password by the link of a mail
///
/// It ends every session and revokes every API key of the account.
#[utoipa::path(
    post, path = "/v1/password-resets/{token}", tag = "users", operation_id = "reset_password",
    params(("token" = String, Path, description = "The last part of the link in the mail")),
    request_body(content = ResetDoc, content_type = "application/json"),
    responses((status = 204, description = "It is set; sign in with it"), ProblemResponses),
)]
pub(crate) async fn reset(
    State(app): State<App>,
    Path(token): Path<String>,
    JsonBody(body): JsonBody,
) -> Result<StatusCode, Problem> {
    let mut fields = Fields::parse(&body)?;
    let password = fields.required::<NewPassword>("password");
    let password = fields.all(password)?;
    match reset_by_link(&app, &token, password).await? {
        Done::Now => Ok(StatusCode::NO_CONTENT),
        Done::Before => Err(Problem::new(Kind::Conflict, LINK_USED)),
    }
}

/// Whether a link has just done its work, or had done it before.
pub(crate) enum Done {
    Now,
    Before,
}

pub(crate) const LINK_USED: &str = "This link was used already. Sign in, or ask for another one.";
pub(crate) const LINK_OVER: &str = "This link is good no longer. Ask for another one.";

/// The reset that a link is about, when it still waits for a password.
pub(crate) async fn linked_reset(app: &App, token: &str) -> Result<(Uuid, Reset), Problem> {
    let no_link = || Problem::new(Kind::NotFound, "This link is not one of ours, or was not copied whole.");
    let id = app.links.read(Purpose::Reset, token).ok_or_else(no_link)?;
    Ok((id, passwords::reset_state(&app.store, id, platform::clock::now()).await?))
}

pub(crate) async fn reset_by_link(app: &App, token: &str, password: NewPassword) -> Result<Done, Problem> {
    let over = || Problem::new(Kind::NotFound, LINK_OVER);
    let id = match linked_reset(app, token).await? {
        (id, Reset::Waiting) => id,
        (_, Reset::Used) => return Ok(Done::Before),
        (_, Reset::Over) => return Err(over()),
    };
    let hash = app.passwords.hash(password).await?;
    match passwords::reset(&app.store, id, hash, platform::clock::now()).await? {
        Reset::Waiting => Ok(Done::Now),
        Reset::Used => Ok(Done::Before),
        Reset::Over => Err(over()),
    }
}

/// Who am I?
#[utoipa::path(
    get, path = "/v1/me", tag = "users", operation_id = "get_me",
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = Account), ProblemResponses),
)]
pub(crate) async fn me(Reads(caller): Reads) -> Json<Account> {
    Json(Account::new(caller.user_id, caller.email, caller.role))
}

/// Change the password
///
/// Every session ends, every API key is revoked and every link to a new password is used up. The answer is a new session
/// for whoever asks, whose token takes the place of the one that was sent. The owner is told by mail.
#[utoipa::path(
    put, path = "/v1/me/password", tag = "users", operation_id = "change_password",
    request_body(content = PasswordChangeDoc, content_type = "application/json"),
    security(("session" = [])),
    responses((status = 200, body = Session, description = "It is set; go on with this token"), ProblemResponses),
)]
pub(crate) async fn change_password(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    JsonBody(body): JsonBody,
) -> Result<Json<Session>, Problem> {
    let mut fields = Fields::parse(&body)?;
    let current = fields.required::<Password>("current_password");
    let new = fields.required::<NewPassword>("new_password");
    let (current, new) = fields.all(current.zip(new))?;
    let wrong = || Problem::invalid(vec![Mistake::body("/current_password", "is not the password of this account")]);
    // Counted by itself: whoever guesses at the door must not keep somebody inside from changing the lock.
    let (found, verdict) = check(&app, Attempt::Password(caller.user_id), &caller.email, current).await?;
    let (user, verified) = found.filter(|_| verdict != Verdict::Wrong).ok_or_else(wrong)?;
    let new = app.passwords.hash(new).await?;
    let now = platform::clock::now();
    let (token, expires_at) = (new_token(SESSION_PREFIX), in_days(now, app.session_days));
    let opened = IssuedSession { token: hash(&token), expires_at };
    match passwords::change(&app.store, user.id, verified, new, opened, now).await? {
        true => Ok(Json(Session::new(token, expires_at, user.into()))),
        false => Err(wrong()),
    }
}

/// Holds a password to that of an address, in the same time whether there is such an account. An attempt counts as
/// failed until somebody says that it was not; when it comes too soon, it is refused.
pub(crate) async fn check(
    app: &App,
    attempt: Attempt,
    address: &str,
    password: Password,
) -> Result<(Option<(User, String)>, Verdict), Problem> {
    // Before it is counted: whom we turn away for our own sake has not failed.
    let turn = app.passwords.turn().await?;
    count(app, attempt).await?;
    let found = sessions::find_password(&app.store, address).await?;
    let hash = found.as_ref().map(|(_, hash)| hash.clone());
    let verdict = app.passwords.verify(turn, password, hash).await?;
    Ok((found, verdict))
}

/// Counts an attempt as failed until somebody says that it was not, or refuses one that comes too soon.
pub(crate) async fn count(app: &App, attempt: Attempt) -> Result<(), Problem> {
    match login_throttle::begin_attempt(&app.store, attempt, platform::clock::now()).await? {
        None => Ok(()),
        Some(wait) => {
            let retry_after_seconds = wait.as_millis().div_ceil(1_000) as u32;
            let detail = "Too many attempts have failed; wait for as many seconds as Retry-After says.";
            Err(Problem::new(Kind::TooManyRequests { retry_after_seconds }, detail))
        }
    }
}

/// All that is kept about you
#[utoipa::path(
    get, path = "/v1/me/export", tag = "users", operation_id = "export_me", security(("session" = [])),
    responses(
        (status = 200, body = Object, description = "The account, sessions, API keys, rules with firings, messages \
            with attempts, orders, trades, accounts, postings and deposits; no secrets, nor the ids that links in mails \
            are made of"),
        ProblemResponses,
    ),
)]
pub(crate) async fn export(State(app): State<App>, SignedIn(caller): SignedIn) -> Result<Json<Value>, Problem> {
    Ok(Json(gdpr::export(&app.store, &caller.email).await?))
}

/// Erase me
///
/// Ends your alerts, cancels what can be cancelled, and deletes the account and what is personal in our tables, at once and
/// for good. Streams that carry alerts with your address forget it within 30 days, as do backups. What the ledger says
/// about money stays, under an id that leads to nobody; so does the `client_order_id` of an order, which is a part of its
/// terms.
#[utoipa::path(
    delete, path = "/v1/me", tag = "users", operation_id = "erase_me", security(("session" = [])),
    responses((status = 204, description = "It is gone"), ProblemResponses),
)]
pub(crate) async fn erase(State(app): State<App>, SignedIn(caller): SignedIn) -> Result<StatusCode, Problem> {
    gdpr::erase(&app.store, caller.email, platform::clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// When something that lasts so many days ends.
pub(crate) fn in_days(now: Timestamp, days: u16) -> Timestamp {
    now.after(Period::seconds(u32::from(days) * Period::DAY.as_seconds()))
}
