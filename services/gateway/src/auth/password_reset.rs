//! Setting a new password by the link of a mail; the API and the page behind the link share it.

use events::link::Purpose;
use store::identity::passwords::{self, Reset};
use uuid::Uuid;

use crate::{
    auth::password::NewPassword,
    http::problem::{Problem, ProblemKind},
    state::AppState,
};

pub(crate) const LINK_USED: &str = "This link was used already. Sign in, or request another link.";
pub(crate) const LINK_OVER: &str = "This link is good no longer. Request another one.";

/// The outcome of opening the link of a password reset.
pub(crate) enum ResetOutcome {
    /// It has just set the password.
    Done,
    /// It was used before.
    AlreadyUsed,
}

/// Returns the reset that a link belongs to, and its state.
pub(crate) async fn find_by_link(state: &AppState, token: &str) -> Result<(Uuid, Reset), Problem> {
    let id = state.links.read(Purpose::Reset, token).ok_or_else(Problem::bad_link)?;
    Ok((id, passwords::reset_state(&state.store, id, platform::clock::now()).await?))
}

/// Sets the password of the user that a link was sent to.
pub(crate) async fn reset_by_link(
    state: &AppState,
    token: &str,
    password: NewPassword,
) -> Result<ResetOutcome, Problem> {
    let over = || Problem::new(ProblemKind::NotFound, LINK_OVER);
    let id = match find_by_link(state, token).await? {
        (id, Reset::Waiting) => id,
        (_, Reset::Used) => return Ok(ResetOutcome::AlreadyUsed),
        (_, Reset::Expired) => return Err(over()),
    };
    let hash = state.passwords.hash(password).await?;
    match passwords::reset(&state.store, id, hash, platform::clock::now()).await? {
        Reset::Waiting => Ok(ResetOutcome::Done),
        Reset::Used => Ok(ResetOutcome::AlreadyUsed),
        Reset::Expired => Err(over()),
    }
}
