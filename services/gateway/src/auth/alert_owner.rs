//! Who may see and change an alert: the bearer of its manage token, or its user.

use axum::{extract::FromRequestParts, http::request::Parts};
use events::RuleStatus;
use store::rules::{self, RuleRecord};
use subtle::ConstantTimeEq;

use crate::{
    auth::{
        OptionalUser,
        token::{bearer, hash},
    },
    http::problem::{Problem, ProblemKind},
    request::extract::IdPath,
    state::AppState,
};

/// The alert `{id}` of a path, if it is not deleted and the request bears its manage token or a token of its user.
pub(crate) struct OwnedAlert(pub(crate) RuleRecord);

/// The same, also when the alert is deleted.
pub(crate) struct OwnedAlertOrDeleted(pub(crate) RuleRecord);

impl FromRequestParts<AppState> for OwnedAlertOrDeleted {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let token = bearer(&parts.headers).ok_or_else(|| {
            let detail = "Send the manage_token of the alert, or a token of the user that it belongs to, in the header \
                          Authorization: Bearer <token>.";
            Problem::new(ProblemKind::Unauthorized, detail)
        })?;
        let presented = hash(token);
        let OptionalUser(caller) = OptionalUser::from_request_parts(parts, state).await?;
        let IdPath(id) = IdPath::from_request_parts(parts, state).await?;
        let (record, expected) = rules::find(&state.store, id).await?.ok_or_else(Problem::no_such_alert)?;
        // In constant time: how long a comparison takes must not show how much of a hash was right.
        let manages = bool::from(presented.ct_eq(&expected));
        let owns = caller.is_some_and(|caller| record.user_id == Some(caller.user_id));
        if manages || owns { Ok(Self(record)) } else { Err(Problem::no_such_alert()) }
    }
}

impl FromRequestParts<AppState> for OwnedAlert {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let OwnedAlertOrDeleted(record) = OwnedAlertOrDeleted::from_request_parts(parts, state).await?;
        if record.status == RuleStatus::Deleted { Err(Problem::no_such_alert()) } else { Ok(Self(record)) }
    }
}
