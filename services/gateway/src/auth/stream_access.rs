//! What the client of a live stream may see: by its token when it opens, and by the same token again for each event.

use axum::http::HeaderMap;
use events::Timestamp;
use store::{
    identity::users::Scope,
    rules::{self, TokenHash},
};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::{
    auth::{
        Caller, Credential, Required, TokenKind, invalid_token,
        token::{bearer, hash},
    },
    http::problem::{Problem, ProblemKind},
    live::{
        channel::{Audience, Channel},
        interest::Viewer,
    },
    state::AppState,
};

/// The token that a stream was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StreamToken {
    None,
    /// The token of a session or an API key.
    User(TokenKind, TokenHash),
    /// The manage token of an alert.
    Alert(Uuid, TokenHash),
}

/// The time for which a ticket opens streams.
pub(crate) const TICKET_SECONDS: u32 = 60;
/// What tickets are signed for.
const TICKET: &str = "stream-ticket";

impl StreamToken {
    /// Reads the token of a request. `alert` is the alert whose manage token it is.
    pub(crate) fn of(headers: &HeaderMap, alert: Option<Uuid>) -> Result<Self, Problem> {
        let Some(token) = bearer(headers) else {
            return if alert.is_some() { Err(no_alert()) } else { Ok(Self::None) };
        };
        match (TokenKind::of(token), alert) {
            (_, Some(alert)) => Ok(Self::Alert(alert, hash(token))),
            (Some(kind), None) => Ok(Self::User(kind, hash(token))),
            (None, None) => Err(invalid_token()),
        }
    }

    /// Reads a ticket; none for one that is not valid any more.
    pub(crate) fn from_ticket(ticket: &str, state: &AppState, now: Timestamp) -> Option<Self> {
        let content = state.links.verify(TICKET, ticket)?;
        let (expires, rest) = content.split_first_chunk::<8>()?;
        let (kind, rest) = rest.split_first()?;
        let (alert, rest) = rest.split_first_chunk::<16>()?;
        let hash = TokenHash::try_from(rest).ok()?;
        let token = match kind {
            0 => Self::User(TokenKind::Session, hash),
            1 => Self::User(TokenKind::ApiKey, hash),
            2 => Self::Alert(Uuid::from_bytes(*alert), hash),
            _ => return None,
        };
        (now.micros() < i64::from_be_bytes(*expires)).then_some(token)
    }

    /// Makes a ticket, which has the rights of the token until it expires: it names the token by its hash. None without a token.
    pub(crate) fn ticket(self, state: &AppState, expires_at: Timestamp) -> Option<String> {
        let (kind, alert, hash) = match self {
            Self::None => return None,
            Self::User(TokenKind::Session, hash) => (0, Uuid::nil(), hash),
            Self::User(TokenKind::ApiKey, hash) => (1, Uuid::nil(), hash),
            Self::Alert(alert, hash) => (2, alert, hash),
        };
        let content = [&expires_at.micros().to_be_bytes()[..], &[kind], alert.as_bytes(), &hash].concat();
        Some(state.links.sign(TICKET, &content))
    }

    /// Returns on whose behalf channels are read with this token, if it is valid and allows all of them.
    pub(crate) async fn authorize(
        self,
        channels: impl IntoIterator<Item = Channel>,
        state: &AppState,
    ) -> Result<Viewer, Problem> {
        let private: Vec<Channel> =
            channels.into_iter().filter(|channel| channel.audience() == Audience::Owner).collect();
        match self {
            Self::None if private.is_empty() => Ok(Viewer::Anonymous),
            Self::None => Err(invalid_token()),
            Self::User(kind, hash) => {
                let mut credential = Credential::find_by_hash(kind, hash, state).await?.ok_or_else(invalid_token)?;
                for channel in private {
                    credential = credential.require(Required::Scope(scope(channel)))?;
                }
                let Caller { user_id, .. } = credential.caller;
                Ok(Viewer::User(user_id))
            }
            Self::Alert(id, hash) => {
                let (_, expected) = rules::find(&state.store, id).await?.ok_or_else(Problem::no_such_alert)?;
                // In constant time: how long a comparison takes must not show how much of a hash was right.
                if !bool::from(hash.ct_eq(&expected)) {
                    return Err(Problem::no_such_alert());
                }
                match private.iter().find(|channel| **channel != Channel::Firings) {
                    None => Ok(Viewer::Rule(id)),
                    Some(channel) => {
                        let detail =
                            format!("The manage_token of an alert shows firings only, not {channel}. Sign in.");
                        Err(Problem::new(ProblemKind::Forbidden, detail))
                    }
                }
            }
        }
    }
}

/// Returns the scope that an API key needs for a channel: that of the list with the same things.
fn scope(channel: Channel) -> Scope {
    match channel {
        Channel::Firings | Channel::Deliveries => Scope::Alerts,
        _ => Scope::Read,
    }
}

fn no_alert() -> Problem {
    let detail = "Send the manage_token of the alert in the header Authorization: Bearer <token>, or a ticket that was made with it.";
    Problem::new(ProblemKind::Unauthorized, detail)
}
