//! Password checks that are throttled, and take the same time whether an address has a user or not.

use store::identity::{
    login_throttle::{self, LoginAttempt},
    sessions,
    users::User,
};

use crate::{
    auth::password::{Password, Verdict},
    http::problem::{Problem, ProblemKind},
    state::AppState,
};

/// Compares a password with that of an address. The attempt counts as failed until it is reported as successful; an
/// attempt that comes too soon after failed ones is rejected.
pub(crate) async fn check_password(
    state: &AppState,
    attempt: LoginAttempt,
    address: &str,
    password: Password,
) -> Result<(Option<(User, String)>, Verdict), Problem> {
    // Before the attempt is counted: a request that is rejected because we are busy has not failed.
    let permit = state.passwords.acquire_permit().await?;
    count_attempt(state, attempt).await?;
    let found = sessions::find_password(&state.store, address).await?;
    let hash = found.as_ref().map(|(_, hash)| hash.clone());
    let verdict = state.passwords.verify(permit, password, hash).await?;
    Ok((found, verdict))
}

/// Counts an attempt as failed until it is reported as successful, or rejects one that comes too soon.
pub(crate) async fn count_attempt(state: &AppState, attempt: LoginAttempt) -> Result<(), Problem> {
    match login_throttle::begin_attempt(&state.store, attempt, platform::clock::now()).await? {
        None => Ok(()),
        Some(wait) => {
            let retry_after_seconds = wait.as_millis().div_ceil(1_000) as u32;
            let detail = "Too many attempts have failed. Wait for the number of seconds in the header Retry-After.";
            Err(Problem::new(ProblemKind::TooManyRequests { retry_after_seconds }, detail))
        }
    }
}
