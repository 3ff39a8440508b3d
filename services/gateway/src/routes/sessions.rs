//! `/v1/sessions`: sign in and out. A session's token is random and stored as a hash.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use store::identity::{
    login_throttle::LoginAttempt,
    sessions::{self, IssuedSession, NewSession},
};
use utoipa::ToSchema;

use crate::{
    auth::{
        PresentedToken, SessionUser,
        client_ip::ClientNetwork,
        password::{Password, Verdict},
        token::{SESSION_PREFIX, bearer, expires_in_days, hash, new_token},
        verify::check_password,
    },
    http::problem::{Problem, ProblemKind, ProblemResponses},
    request::{email::Address, extract::JsonBody, json_body::Fields},
    routes::users::response::Session,
    state::AppState,
};

/// The credentials of a user.
#[derive(ToSchema)]
struct SignIn {
    email: Address,
    password: Password,
}

impl SignIn {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let email = fields.required("email");
        let password = fields.required("password");
        let (email, password) = fields.all(email.zip(password))?;
        Ok(Self { email, password })
    }
}

/// Sign in
///
/// Each sign-in opens a new session; a session whose token comes with the request ends. After three failures in a row from
/// one network, further attempts from there are rejected for one second, and for twice as long after each further failure,
/// up to a minute; from all networks together after a hundred failures, for up to four seconds.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "users", operation_id = "sign_in",
    request_body(content = SignIn, content_type = "application/json"),
    responses((status = 201, body = Session), ProblemResponses),
)]
pub(crate) async fn sign_in(
    State(state): State<AppState>,
    ClientNetwork(network): ClientNetwork,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Session>), Problem> {
    let SignIn { email, password } = SignIn::read(&body)?;
    let email = email.into_string();
    let attempt = LoginAttempt::SignIn { address: email.clone(), network: network.clone() };
    let (found, verdict) = check_password(&state, attempt, &email, password.clone()).await?;
    let (user, verified) = found.filter(|_| verdict != Verdict::Invalid).ok_or_else(wrong_credentials)?;
    let renewed = match verdict {
        Verdict::ValidNeedsRehash => Some(state.passwords.rehash(password).await?),
        Verdict::Valid | Verdict::Invalid => None,
    };
    let now = platform::clock::now();
    let token = new_token(SESSION_PREFIX);
    let expires_at = expires_in_days(now, state.session_days);
    let session = NewSession {
        user_id: user.id,
        verified,
        renewed,
        opened: IssuedSession { token: hash(&token), expires_at },
        network,
        replaces: bearer(&headers).filter(|token| token.starts_with(SESSION_PREFIX)).map(hash),
    };
    match sessions::open(&state.store, session, now).await? {
        true => Ok((StatusCode::CREATED, Json(Session::new(token, expires_at, user.into())))),
        false => Err(wrong_credentials()),
    }
}

/// The answer is the same for an address without a user and for a wrong password.
fn wrong_credentials() -> Problem {
    let detail = "There is no account with this address and this password. Sign up, or request a password reset.";
    Problem::new(ProblemKind::Unauthorized, detail)
}

/// Sign out
#[utoipa::path(
    delete, path = "/v1/sessions/current", tag = "users", operation_id = "sign_out", security(("session" = [])),
    responses((status = 204, description = "The session has ended"), ProblemResponses),
)]
pub(crate) async fn sign_out(
    State(state): State<AppState>,
    SessionUser(_caller): SessionUser,
    PresentedToken(token): PresentedToken,
) -> Result<StatusCode, Problem> {
    sessions::end(&state.store, token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sign out everywhere
///
/// This ends every session, revokes every API key and uses up every link to a new password. The user is notified by mail.
#[utoipa::path(
    delete, path = "/v1/sessions", tag = "users", operation_id = "sign_out_everywhere", security(("session" = [])),
    responses((status = 204, description = "Every session has ended, and every API key is revoked"), ProblemResponses),
)]
pub(crate) async fn sign_out_everywhere(
    State(state): State<AppState>,
    SessionUser(caller): SessionUser,
) -> Result<StatusCode, Problem> {
    sessions::end_all(&state.store, caller.user_id, platform::clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}
