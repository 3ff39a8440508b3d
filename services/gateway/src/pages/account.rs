//! The pages of accounts: `/join/{token}` and `/reset/{token}`.

use axum::{
    Form, Router,
    extract::{Path, State, rejection::FormRejection},
    http::StatusCode,
    response::Response,
    routing::get,
};
use events::link::Purpose;
use serde::Deserialize;
use store::identity::{
    login_throttle::LoginAttempt,
    passwords::Reset,
    sign_ups::{self, SignUp},
};

use crate::{
    auth::{
        password::{NewPassword, Password, Verdict},
        password_reset::{LINK_OVER, LINK_USED, ResetOutcome, find_by_link, reset_by_link},
        verify::count_attempt,
    },
    http::problem::Problem,
    pages::page::Page,
    state::AppState,
};

pub(crate) fn router() -> Router<AppState> {
    Router::new()
        .route("/join/{token}", get(ask_to_join).post(join))
        .route("/reset/{token}", get(ask_for_password).post(set_password))
}

async fn ask_to_join(State(state): State<AppState>, Path(token): Path<String>) -> Result<Response, Problem> {
    let id = state.links.read(Purpose::Join, &token).ok_or_else(Problem::bad_link)?;
    Ok(match sign_ups::state(&state.store, id, platform::clock::now()).await? {
        SignUp::Waiting { email, challenge: None } => {
            Page::new("Confirm your account", "Do you want a Tickbell account for")
                .about(&format!("{email}?"))
                .button("Yes, create my account")
                .answer(StatusCode::OK)
        }
        SignUp::Waiting { email, challenge: Some(_) } => {
            ask_for_sign_up_password(&email, SEVERAL_SIGN_UPS, StatusCode::OK)
        }
        state => result_page(&state),
    })
}

const SEVERAL_SIGN_UPS: &str = "Several sign-ups used this address, each with its own password. To create the account of this \
                       sign-up, type the password that you chose for it. The address is";
const WRONG_PASSWORD: &str = "That is not the password of this sign-up. Try again, or open the link of another mail. The \
                        address is";

fn ask_for_sign_up_password(email: &str, lead: &str, status: StatusCode) -> Response {
    Page::new("Confirm your account", lead)
        .about(email)
        .known_password("The password that you chose")
        .button("Create my account")
        .answer(status)
}

async fn join(
    State(state): State<AppState>,
    Path(token): Path<String>,
    form: Result<Form<PasswordForm>, FormRejection>,
) -> Result<Response, Problem> {
    let id = state.links.read(Purpose::Join, &token).ok_or_else(Problem::bad_link)?;
    let typed = form.map(|Form(PasswordForm { password })| password).unwrap_or_default();
    let now = platform::clock::now();
    let verified = match sign_ups::state(&state.store, id, now).await? {
        // The page may have been rendered before the second sign-up, without the password field.
        SignUp::Waiting { email, challenge: Some(_) } if typed.is_empty() => {
            return Ok(ask_for_sign_up_password(&email, SEVERAL_SIGN_UPS, StatusCode::UNPROCESSABLE_ENTITY));
        }
        SignUp::Waiting { email, challenge: Some(hash) } => {
            let permit = state.passwords.acquire_permit().await?;
            count_attempt(&state, LoginAttempt::Join(id)).await?;
            let verdict = state.passwords.verify(permit, Password::from_text(&typed), Some(hash.clone())).await?;
            if verdict == Verdict::Invalid {
                return Ok(ask_for_sign_up_password(&email, WRONG_PASSWORD, StatusCode::UNPROCESSABLE_ENTITY));
            }
            Some(hash)
        }
        _ => None,
    };
    Ok(match sign_ups::complete(&state.store, id, verified, now).await? {
        SignUp::Waiting { email, .. } => {
            ask_for_sign_up_password(&email, SEVERAL_SIGN_UPS, StatusCode::UNPROCESSABLE_ENTITY)
        }
        state => result_page(&state),
    })
}

fn result_page(state: &SignUp) -> Response {
    let (title, lead) = match state {
        SignUp::Joined => ("Your account is ready", "Sign in with the password that you chose when you signed up."),
        SignUp::AddressInUse => (
            "You already have an account",
            "Sign in with its password, or request a password reset if you have forgotten it.",
        ),
        SignUp::Waiting { .. } | SignUp::Expired => {
            ("This link is good no longer", "Links are valid for two days. Sign up again, and open the new link.")
        }
    };
    Page::new(title, lead).answer(StatusCode::OK)
}

async fn ask_for_password(State(state): State<AppState>, Path(token): Path<String>) -> Result<Response, Problem> {
    let (_, state) = find_by_link(&state, &token).await?;
    Ok(match state {
        Reset::Waiting => form("This ends every session and revokes every API key of your account.", StatusCode::OK),
        Reset::Used => Page::new("This link was used already", LINK_USED).answer(StatusCode::OK),
        Reset::Expired => Page::new("This link is good no longer", LINK_OVER).answer(StatusCode::OK),
    })
}

/// The form that a browser sends. Without `Debug`: it holds a password.
#[derive(Deserialize)]
struct PasswordForm {
    #[serde(default)]
    password: String,
}

async fn set_password(
    State(state): State<AppState>,
    Path(token): Path<String>,
    Form(PasswordForm { password }): Form<PasswordForm>,
) -> Result<Response, Problem> {
    let password = match NewPassword::from_text(&password) {
        Ok(password) => password,
        Err(why) => return Ok(form(&format!("The password {why}."), StatusCode::UNPROCESSABLE_ENTITY)),
    };
    Ok(match reset_by_link(&state, &token, password).await? {
        ResetOutcome::Done => {
            Page::new("Your password is set", "Sign in with it. Every session has ended, and every API key is revoked.")
                .answer(StatusCode::OK)
        }
        ResetOutcome::AlreadyUsed => Page::new("This link was used already", LINK_USED).answer(StatusCode::OK),
    })
}

fn form(lead: &str, status: StatusCode) -> Response {
    Page::new("Choose a new password", lead)
        .password("New password, 12 to 128 characters")
        .button("Set password")
        .answer(status)
}
