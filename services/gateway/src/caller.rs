//! Who asks: a person's session or one of their API keys, and what it may be used for.

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
    App,
    extract::{bearer, hash},
    problem::{Kind, Problem},
};

/// What a session's token begins with, so that one that leaks can be found.
pub(crate) const SESSION_PREFIX: &str = "tbs_";
/// What an API key begins with.
pub(crate) const KEY_PREFIX: &str = "tbk_";

/// Somebody with an account.
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

/// A valid token, and what it may be used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    pub(crate) caller: Caller,
    /// `None` is a session: it may do all that its person may.
    scopes: Option<Vec<Scope>>,
}

/// What an operation asks of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// A session, or a key with this scope.
    Scope(Scope),
    /// A session.
    Session,
    /// A session of an operator.
    Operator,
}

impl Credential {
    /// Whose token a request bears; `None` when it bears none of ours, or one that has ended.
    pub(crate) async fn of(headers: &HeaderMap, app: &App) -> Result<Option<Self>, Problem> {
        let Some(token) = bearer(headers) else { return Ok(None) };
        if token.starts_with(SESSION_PREFIX) {
            let user = users::find_by_session(&app.store, hash(token), platform::clock::now()).await?;
            Ok(user.map(|user| Self { caller: user.into(), scopes: None }))
        } else if token.starts_with(KEY_PREFIX) {
            let found = users::find_by_api_key(&app.store, hash(token)).await?;
            Ok(found.map(|(user, scopes)| Self { caller: user.into(), scopes: Some(scopes) }))
        } else {
            Ok(None)
        }
    }

    /// The caller, when the token may be used for what is needed.
    pub(crate) fn admit(self, needs: Needs) -> Result<Caller, Problem> {
        let refuse = |detail: String| Err(Problem::new(Kind::Forbidden, detail));
        match (needs, self.scopes) {
            (Needs::Scope(scope), Some(scopes)) if !scopes.contains(&scope) => {
                refuse(format!("This API key lacks the scope {}; use one that has it, or sign in.", scope.as_str()))
            }
            (Needs::Session | Needs::Operator, Some(_)) => {
                refuse("An API key cannot be used for this; sign in and use the session's token.".into())
            }
            (Needs::Operator, None) if self.caller.role != Role::Operator => {
                refuse("Only an operator may do this.".into())
            }
            _ => Ok(self.caller),
        }
    }
}

async fn admitted(parts: &Parts, app: &App, needs: Needs) -> Result<Caller, Problem> {
    let credential = Credential::of(&parts.headers, app).await?;
    credential.ok_or_else(unknown)?.admit(needs)
}

/// The same for a token that never was and for one that has ended.
pub(crate) fn unknown() -> Problem {
    let detail = "Send the token of a session (POST /v1/sessions) or an API key in the header \
                  Authorization: Bearer <token>; one that was sent is not valid, or no longer.";
    Problem::new(Kind::Unauthorized, detail)
}

/// Extractors, each with what it needs.
macro_rules! callers {
    ($($(#[$doc:meta])* $name:ident needs $needs:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) struct $name(pub(crate) Caller);

        impl FromRequestParts<App> for $name {
            type Rejection = Problem;
            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
                admitted(parts, app, $needs).await.map(Self)
            }
        }
    )*};
}

callers! {
    /// A session, or a key with scope `read`.
    Reads needs Needs::Scope(Scope::Read);
    /// A session, or a key with scope `trade`.
    Trades needs Needs::Scope(Scope::Trade);
    /// A session, or a key with scope `alerts`.
    Alerts needs Needs::Scope(Scope::Alerts);
    /// A session.
    SignedIn needs Needs::Session;
    /// A session of an operator.
    Operates needs Needs::Operator;
}

/// The hash of the token that a request bears, for an operation on the session itself. It says nothing about whether
/// the token is valid: [`SignedIn`] stands before it.
pub(crate) struct Presented(pub(crate) TokenHash);

impl FromRequestParts<App> for Presented {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        bearer(&parts.headers).map(|token| Self(hash(token))).ok_or_else(unknown)
    }
}

/// Whoever asks may be somebody with an account: a session, or a key with scope `alerts`. A token of ours that is not good
/// is refused; without one, anybody may ask.
pub(crate) struct Anybody(pub(crate) Option<Caller>);

impl FromRequestParts<App> for Anybody {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        match bearer(&parts.headers) {
            Some(token) if is_ours(token) => {
                admitted(parts, app, Needs::Scope(Scope::Alerts)).await.map(|caller| Self(Some(caller)))
            }
            _ => Ok(Self(None)),
        }
    }
}

/// Whether a token is that of a session or an API key, good or not.
pub(crate) fn is_ours(token: &str) -> bool {
    token.starts_with(SESSION_PREFIX) || token.starts_with(KEY_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(role: Role, scopes: Option<&[Scope]>) -> Credential {
        let caller = Caller { user_id: Uuid::from_u128(7), email: "ada@example.com".into(), role };
        Credential { caller, scopes: scopes.map(<[_]>::to_vec) }
    }

    fn admits(role: Role, scopes: Option<&[Scope]>, needs: Needs) -> bool {
        match credential(role, scopes).admit(needs) {
            Ok(_) => true,
            Err(problem) => {
                assert_eq!(problem.kind, Kind::Forbidden);
                false
            }
        }
    }

    #[test]
    fn a_session_may_do_all_that_its_person_may() {
        for needs in
            [Needs::Scope(Scope::Read), Needs::Scope(Scope::Trade), Needs::Scope(Scope::Alerts), Needs::Session]
        {
            assert!(admits(Role::User, None, needs) && admits(Role::Operator, None, needs), "{needs:?}");
        }
        assert!(!admits(Role::User, None, Needs::Operator) && admits(Role::Operator, None, Needs::Operator));
    }

    #[test]
    fn a_key_may_do_what_its_scopes_say_and_no_more() {
        let scopes = [Scope::Read, Scope::Trade, Scope::Alerts];
        for has in scopes {
            for needs in scopes {
                assert_eq!(admits(Role::User, Some(&[has]), Needs::Scope(needs)), has == needs, "{has:?} {needs:?}");
            }
        }
        for needs in [Needs::Session, Needs::Operator] {
            assert!(!admits(Role::Operator, Some(&scopes), needs), "{needs:?}");
        }
    }
}
