//! `/v1/sessions`: signing in and out. A session's token is random and kept as a hash.

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use events::Timestamp;
use serde::Serialize;
use store::identity::{
    login_throttle::Attempt,
    sessions::{self, IssuedSession, NewSession},
};
use utoipa::ToSchema;

use crate::{
    App,
    account_schemas::SignInDoc,
    address::Address,
    caller::{Presented, SESSION_PREFIX, SignedIn},
    extract::{JsonBody, bearer, hash},
    fields::Fields,
    network::Client,
    openapi::ProblemResponses,
    passwords::{Password, Verdict},
    problem::{Kind, Problem},
    users::{Account, check, in_days},
};

/// A session, and the token that is it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// Shown once: it is stored hashed. Send it as `Authorization: Bearer <token>`.
    #[schema(example = "tbs_u8Yl3qJwF0mYk7qf1g2n7b9w4e6r8t0y2u4i6o8p0aQ")]
    token: String,
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
    user: Account,
}

impl Session {
    pub(crate) fn new(token: String, expires_at: Timestamp, user: Account) -> Self {
        Self { token, expires_at, user }
    }
}

/// Sign in
///
/// Each time there is a new session; one whose token comes with the request ends. After three failures in a row from one
/// network the next attempt from there is refused for a second, and for twice as long after each further one, up to a
/// minute; from all networks together, after a hundred and up to four seconds.
#[utoipa::path(
    post, path = "/v1/sessions", tag = "users", operation_id = "sign_in",
    request_body(content = SignInDoc, content_type = "application/json"),
    responses((status = 201, body = Session), ProblemResponses),
)]
pub(crate) async fn sign_in(
    State(app): State<App>,
    Client(network): Client,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<Session>), Problem> {
    let mut fields = Fields::parse(&body)?;
    let email = fields.required::<Address>("email");
    let password = fields.required::<Password>("password");
    let (email, password) = fields.all(email.zip(password))?;
    let email = email.into_string();
    let attempt = Attempt::SignIn { address: email.clone(), network: network.clone() };
    let (found, verdict) = check(&app, attempt, &email, password.clone()).await?;
    let (user, verified) = found.filter(|_| verdict != Verdict::Wrong).ok_or_else(refused)?;
    let renewed = match verdict {
        Verdict::RightAndDated => Some(app.passwords.renew(password).await?),
        Verdict::Right | Verdict::Wrong => None,
    };
    let now = platform::clock::now();
    let token = new_token(SESSION_PREFIX);
    let expires_at = in_days(now, app.session_days);
    let session = NewSession {
        user_id: user.id,
        verified,
        renewed,
        opened: IssuedSession { token: hash(&token), expires_at },
        network,
        replaces: bearer(&headers).filter(|token| token.starts_with(SESSION_PREFIX)).map(hash),
    };
    match sessions::open(&app.store, session, now).await? {
        true => Ok((StatusCode::CREATED, Json(Session::new(token, expires_at, user.into())))),
        false => Err(refused()),
    }
}

/// The same for an address without an account and for a wrong password.
fn refused() -> Problem {
    let detail = "There is no account with this address and this password. Sign up, or ask for a new password.";
    Problem::new(Kind::Unauthorized, detail)
}

/// What begins so and has 256 random bits.
pub(crate) fn new_token(prefix: &str) -> String {
    format!("{prefix}{}", BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// Sign out
#[utoipa::path(
    delete, path = "/v1/sessions/current", tag = "users", operation_id = "sign_out", security(("session" = [])),
    responses((status = 204, description = "The session has ended"), ProblemResponses),
)]
pub(crate) async fn sign_out(
    State(app): State<App>,
    SignedIn(_caller): SignedIn,
    Presented(token): Presented,
) -> Result<StatusCode, Problem> {
    sessions::end(&app.store, token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Sign out everywhere
///
/// Every API key is revoked and every link to a new password is used up as well: nobody is left inside. The owner is told
/// by mail.
#[utoipa::path(
    delete, path = "/v1/sessions", tag = "users", operation_id = "sign_out_everywhere", security(("session" = [])),
    responses((status = 204, description = "Every session has ended, this one too, and every API key is revoked"), ProblemResponses),
)]
pub(crate) async fn sign_out_everywhere(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
) -> Result<StatusCode, Problem> {
    sessions::end_all(&app.store, caller.user_id, platform::clock::now()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_drawn_twice_and_says_what_it_is() {
        let (one, other) = (new_token(SESSION_PREFIX), new_token(SESSION_PREFIX));
        assert_ne!(one, other);
        assert_eq!((one.len(), one.starts_with("tbs_")), (47, true));
    }
}
