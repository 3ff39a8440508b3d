//! Who sends a request, by a session or an API key, and what the token may be used for.

pub(crate) mod alert_owner;
pub(crate) mod client_ip;
pub(crate) mod password;
pub(crate) mod password_reset;
pub(crate) mod stream_access;
pub(crate) mod token;
pub(crate) mod verify;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, request::Parts},
};
use store::{
    identity::users::{self, Role, Scope, User},
    rules::TokenHash,
};
use uuid::Uuid;

use crate::{
    auth::token::{KEY_PREFIX, SESSION_PREFIX, bearer, hash, is_user_token},
    http::problem::{Problem, ProblemKind},
    state::AppState,
};

/// A user who sends a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) user_id: Uuid,
    pub(crate) email: String,
    pub(crate) role: Role,
}

impl From<User> for Caller {
    fn from(User { id, email, role, created_at: _ }: User) -> Self {
        Self { user_id: id, email, role }
    }
}

/// A valid token and its rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) caller: Caller,
    /// The scopes of an API key; `None` is a session, which has all rights of its user.
    scopes: Option<Vec<Scope>>,
}

/// What a user's token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    Session,
    ApiKey,
}

impl TokenKind {
    /// Returns what a token is by its prefix; none where it is no user's. It need not be valid.
    pub(crate) fn of(token: &str) -> Option<Self> {
        match token {
            _ if token.starts_with(SESSION_PREFIX) => Some(Self::Session),
            _ if token.starts_with(KEY_PREFIX) => Some(Self::ApiKey),
            _ => None,
        }
    }
}

/// What an operation requires of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Required {
    /// A session, or a key with this scope.
    Scope(Scope),
    /// A session of any user.
    Session,
    /// A session of an operator.
    Operator,
}

impl Credential {
    /// Finds the user whose token a request bears; `None` without a user's token, or when it is not valid any more.
    pub(crate) async fn find(headers: &HeaderMap, state: &AppState) -> Result<Option<Self>, Problem> {
        let Some(token) = bearer(headers) else { return Ok(None) };
        let Some(kind) = TokenKind::of(token) else { return Ok(None) };
        Self::find_by_hash(kind, hash(token), state).await
    }

    /// Finds the user of a token by its hash; `None` when the token is not valid any more.
    pub(crate) async fn find_by_hash(
        kind: TokenKind,
        token: TokenHash,
        state: &AppState,
    ) -> Result<Option<Self>, Problem> {
        match kind {
            TokenKind::Session => {
                let user = users::find_by_session(&state.store, token, platform::clock::now()).await?;
                Ok(user.map(|user| Self { caller: user.into(), scopes: None }))
            }
            TokenKind::ApiKey => {
                let found = users::find_by_api_key(&state.store, token).await?;
                Ok(found.map(|(user, scopes)| Self { caller: user.into(), scopes: Some(scopes) }))
            }
        }
    }

    /// Returns the caller, if the token has the required rights.
    pub(crate) fn authorize(self, required: Required) -> Result<Caller, Problem> {
        self.require(required).map(|credential| credential.caller)
    }

    /// Returns the credential, if the token has the required rights.
    pub(crate) fn require(self, required: Required) -> Result<Self, Problem> {
        let forbidden = |detail: String| Err(Problem::new(ProblemKind::Forbidden, detail));
        match (required, &self.scopes) {
            (Required::Scope(scope), Some(scopes)) if !scopes.contains(&scope) => {
                forbidden(format!("This API key lacks the scope {}; use one that has it, or sign in.", scope.as_str()))
            }
            (Required::Session | Required::Operator, Some(_)) => {
                forbidden("An API key cannot be used for this; sign in and use the session's token.".into())
            }
            (Required::Operator, None) if self.caller.role != Role::Operator => {
                forbidden("Only an operator may do this.".into())
            }
            _ => Ok(self),
        }
    }
}

async fn authorized(parts: &Parts, state: &AppState, required: Required) -> Result<Caller, Problem> {
    let credential = Credential::find(&parts.headers, state).await?;
    credential.ok_or_else(invalid_token)?.authorize(required)
}

/// Makes the problem of a missing or invalid token. It is the same for a token that never existed and for one that has
/// expired.
pub(crate) fn invalid_token() -> Problem {
    let detail = "Send the token of a session (POST /v1/sessions) or an API key in the header \
                  Authorization: Bearer <token>. The token that was sent, if any, is not valid or has expired.";
    Problem::new(ProblemKind::Unauthorized, detail)
}

/// Extractors of the caller, each with what it requires.
macro_rules! callers {
    ($($(#[$doc:meta])* $name:ident requires $required:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Caller);

        impl FromRequestParts<AppState> for $name {
            type Rejection = Problem;
            async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
                authorized(parts, state, $required).await.map(Self)
            }
        }
    )*};
}

callers! {
    /// A session, or a key with scope `read`.
    ReadScope requires Required::Scope(Scope::Read);
    /// A session, or a key with scope `trade`.
    TradeScope requires Required::Scope(Scope::Trade);
    /// A session, or a key with scope `alerts`.
    AlertsScope requires Required::Scope(Scope::Alerts);
    /// A session of any user.
    SessionUser requires Required::Session;
    /// A session of an operator.
    OperatorRole requires Required::Operator;
}

/// The hash of the token that a request bears, for an operation on the session itself. It does not check the token; the
/// extractor [`SessionUser`] before it does.
pub(crate) struct PresentedToken(pub(crate) TokenHash);

impl FromRequestParts<AppState> for PresentedToken {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Problem> {
        bearer(&parts.headers).map(|token| Self(hash(token))).ok_or_else(invalid_token)
    }
}

/// The caller, if the request bears the token of a session or of a key with scope `alerts`. An invalid token of that kind is
/// rejected; without one, the caller stays anonymous.
pub(crate) struct OptionalUser(pub(crate) Option<Caller>);

impl FromRequestParts<AppState> for OptionalUser {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        match bearer(&parts.headers) {
            Some(token) if is_user_token(token) => {
                authorized(parts, state, Required::Scope(Scope::Alerts)).await.map(|caller| Self(Some(caller)))
            }
            _ => Ok(Self(None)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(role: Role, scopes: Option<&[Scope]>) -> Credential {
        let caller = Caller { user_id: Uuid::from_u128(7), email: "ada@example.com".into(), role };
        Credential { caller, scopes: scopes.map(<[_]>::to_vec) }
    }

    fn authorizes(role: Role, scopes: Option<&[Scope]>, required: Required) -> bool {
        match credential(role, scopes).authorize(required) {
            Ok(_) => true,
            Err(problem) => {
                assert_eq!(problem.kind, ProblemKind::Forbidden);
                false
            }
        }
    }

    #[test]
    fn a_session_has_all_rights_of_its_user() {
        for needs in [
            Required::Scope(Scope::Read),
            Required::Scope(Scope::Trade),
            Required::Scope(Scope::Alerts),
            Required::Session,
        ] {
            assert!(authorizes(Role::User, None, needs) && authorizes(Role::Operator, None, needs), "{needs:?}");
        }
        assert!(
            !authorizes(Role::User, None, Required::Operator) && authorizes(Role::Operator, None, Required::Operator)
        );
    }

    #[test]
    fn an_api_key_has_the_rights_of_its_scopes_and_no_more() {
        let scopes = [Scope::Read, Scope::Trade, Scope::Alerts];
        for has in scopes {
            for needs in scopes {
                assert_eq!(
                    authorizes(Role::User, Some(&[has]), Required::Scope(needs)),
                    has == needs,
                    "{has:?} {needs:?}"
                );
            }
        }
        for needs in [Required::Session, Required::Operator] {
            assert!(!authorizes(Role::Operator, Some(&scopes), needs), "{needs:?}");
        }
    }
}
