//! The pages behind the links in mails about accounts: `/join/{token}` and `/reset/{token}`.

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
    login_throttle::Attempt,
    passwords::Reset,
    sign_ups::{self, SignUp},
};

use crate::{
    App,
    pages::Page,
    passwords::{NewPassword, Password, Verdict},
    problem::{Kind, Problem},
    users::{Done, LINK_OVER, LINK_USED, count, linked_reset, reset_by_link},
};

pub(crate) fn router() -> Router<App> {
    Router::new()
        .route("/join/{token}", get(ask_to_join).post(join))
        .route("/reset/{token}", get(ask_for_password).post(set_password))
}

async fn ask_to_join(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    let id = app.links.read(Purpose::Join, &token).ok_or_else(no_link)?;
    Ok(match sign_ups::state(&app.store, id, platform::clock::now()).await? {
        SignUp::Waiting { email, challenge: None } => {
            Page::new("Confirm your account", "Shall there be a Tickbell account for")
                .about(&format!("{email}?"))
                .button("Yes, make my account")
                .answer(StatusCode::OK)
        }
        SignUp::Waiting { email, challenge: Some(_) } => ask_which(&email, SEVERAL, StatusCode::OK),
        state => tell(&state),
    })
}

const SEVERAL: &str = "More than one account was asked for with this address, each with a password of its own. To make \
                       this one, type the password that you chose for it. Here it is for";
const NOT_THIS: &str = "That is not the password of this sign-up. Nothing is lost: try again, or follow the link of \
                        another mail. It is for";

fn ask_which(email: &str, lead: &str, status: StatusCode) -> Response {
    Page::new("Confirm your account", lead)
        .about(email)
        .known_password("The password that you chose")
        .button("Make my account")
        .answer(status)
}

async fn join(
    State(app): State<App>,
    Path(token): Path<String>,
    form: Result<Form<Filled>, FormRejection>,
) -> Result<Response, Problem> {
    let id = app.links.read(Purpose::Join, &token).ok_or_else(no_link)?;
    let typed = form.map(|Form(Filled { password })| password).unwrap_or_default();
    let now = platform::clock::now();
    let verified = match sign_ups::state(&app.store, id, now).await? {
        // The page that was answered may be older than the second sign-up, and have had no field.
        SignUp::Waiting { email, challenge: Some(_) } if typed.is_empty() => {
            return Ok(ask_which(&email, SEVERAL, StatusCode::UNPROCESSABLE_ENTITY));
        }
        SignUp::Waiting { email, challenge: Some(hash) } => {
            let turn = app.passwords.turn().await?;
            count(&app, Attempt::Join(id)).await?;
            let verdict = app.passwords.verify(turn, Password::from_text(typed), Some(hash.clone())).await?;
            if verdict == Verdict::Wrong {
                return Ok(ask_which(&email, NOT_THIS, StatusCode::UNPROCESSABLE_ENTITY));
            }
            Some(hash)
        }
        _ => None,
    };
    Ok(match sign_ups::complete(&app.store, id, verified, now).await? {
        SignUp::Waiting { email, .. } => ask_which(&email, SEVERAL, StatusCode::UNPROCESSABLE_ENTITY),
        state => tell(&state),
    })
}

fn tell(state: &SignUp) -> Response {
    let (title, lead) = match state {
        SignUp::Joined => ("Your account is ready", "Sign in with the password that you chose when you signed up."),
        SignUp::Taken => {
            ("You have an account already", "Sign in with its password, or ask for a new one if you have forgotten it.")
        }
        SignUp::Waiting { .. } | SignUp::Over => (
            "This link is good no longer",
            "It has waited for more than two days. Sign up again, and follow the new one.",
        ),
    };
    Page::new(title, lead).answer(StatusCode::OK)
}

fn no_link() -> Problem {
    Problem::new(Kind::NotFound, "This link is not one of ours, or was not copied whole.")
}

async fn ask_for_password(State(app): State<App>, Path(token): Path<String>) -> Result<Response, Problem> {
    let (_, state) = linked_reset(&app, &token).await?;
    Ok(match state {
        Reset::Waiting => form("It ends every session and revokes every API key of your account.", StatusCode::OK),
        Reset::Used => Page::new("This link was used already", LINK_USED).answer(StatusCode::OK),
        Reset::Over => Page::new("This link is good no longer", LINK_OVER).answer(StatusCode::OK),
    })
}

/// The form as browsers send it. Without `Debug`: it holds a password.
#[derive(Deserialize)]
struct Filled {
    #[serde(default)]
    password: String,
}

async fn set_password(
    State(app): State<App>,
    Path(token): Path<String>,
    Form(Filled { password }): Form<Filled>,
) -> Result<Response, Problem> {
    let password = match NewPassword::from_text(password) {
        Ok(password) => password,
        Err(why) => return Ok(form(&format!("The password {why}."), StatusCode::UNPROCESSABLE_ENTITY)),
    };
    Ok(match reset_by_link(&app, &token, password).await? {
        Done::Now => Page::new("Your password is set", "Sign in with it. Every session has ended, and every API key.")
            .answer(StatusCode::OK),
        Done::Before => Page::new("This link was used already", LINK_USED).answer(StatusCode::OK),
    })
}

fn form(lead: &str, status: StatusCode) -> Response {
    Page::new("Choose a new password", lead)
        .password("New password, 12 to 128 characters")
        .button("Set it")
        .answer(status)
}
