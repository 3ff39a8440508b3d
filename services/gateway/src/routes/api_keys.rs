//! `/v1/api-keys`: keys for programs, each with some of the rights of its user.

use axum::{Json, extract::State, http::StatusCode};
use events::Timestamp;
use serde::{Deserialize, Serialize};
use store::identity::{
    api_keys::{self, Added, MOST_KEYS},
    users,
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    auth::{
        PresentedToken, SessionUser, invalid_token,
        token::{KEY_PREFIX, hash, new_token},
    },
    http::problem::{Problem, ProblemKind, ProblemResponses},
    request::{
        cursor::{ApiKeyCursor, ListCursor},
        extract::{IdPath, JsonBody},
        json_body::Fields,
        query::{ListQuery, QueryParams},
    },
    routes::page::Page,
    state::AppState,
};

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKey {
    id: Uuid,
    #[schema(example = "my trading program")]
    name: String,
    scopes: Vec<Scope>,
    created_at: Timestamp,
    /// The time at which it was revoked; null while it is valid.
    revoked_at: Option<Timestamp>,
}

impl From<api_keys::ApiKey> for ApiKey {
    fn from(key: api_keys::ApiKey) -> Self {
        let api_keys::ApiKey { id, name, scopes, created_at, revoked_at } = key;
        Self { id, name, scopes: scopes.into_iter().map(Scope::from).collect(), created_at, revoked_at }
    }
}

/// A new API key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedApiKey {
    #[serde(flatten)]
    api_key: ApiKey,
    /// The key to send as `Authorization: Bearer <key>`. It is shown once, because only its hash is stored.
    #[schema(example = "tbk_u8Yl3qJwF0mYk7qf1g2n7b9w4e6r8t0y2u4i6o8p0aQ")]
    key: String,
}

/// The name of a key: 1 to 100 characters.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct KeyName(String);

impl TryFrom<String> for KeyName {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let good = (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if good { Ok(Self(text)) } else { Err("must have 1 to 100 characters, none of them a control character") }
    }
}

/// The scopes of a key: at least one, each once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<users::Scope>")]
struct Scopes(Vec<users::Scope>);

impl TryFrom<Vec<users::Scope>> for Scopes {
    type Error = &'static str;
    fn try_from(mut scopes: Vec<users::Scope>) -> Result<Self, Self::Error> {
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() { Err("must name at least one of read, trade, alerts") } else { Ok(Self(scopes)) }
    }
}

/// A request for an API key.
#[derive(ToSchema)]
struct NewApiKey {
    #[schema(value_type = String, min_length = 1, max_length = 100, pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*$",
        example = "my trading program")]
    name: KeyName,
    /// The operations that the key is for; at least one scope.
    #[schema(value_type = Vec<Scope>, min_items = 1)]
    scopes: Scopes,
}

impl NewApiKey {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        let mut fields = Fields::parse(body)?;
        let name = fields.required("name");
        let scopes = fields.required("scopes");
        let (name, scopes) = fields.all(name.zip(scopes))?;
        Ok(Self { name, scopes })
    }
}

/// `read`: balances, orders, trades and the ledger. `trade`: placing and cancelling orders. `alerts`: everything about alerts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Scope {
    Read,
    Trade,
    Alerts,
}

impl From<users::Scope> for Scope {
    fn from(scope: users::Scope) -> Self {
        match scope {
            users::Scope::Read => Self::Read,
            users::Scope::Trade => Self::Trade,
            users::Scope::Alerts => Self::Alerts,
        }
    }
}

/// Create an API key
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "users", operation_id = "create_api_key",
    request_body(content = NewApiKey, content_type = "application/json",
        example = json!({"name": "my trading program", "scopes": ["read", "trade"]})),
    security(("session" = [])),
    responses((status = 201, body = CreatedApiKey), ProblemResponses),
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    SessionUser(caller): SessionUser,
    PresentedToken(session): PresentedToken,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<CreatedApiKey>), Problem> {
    let NewApiKey { name: KeyName(name), scopes: Scopes(scopes) } = NewApiKey::read(&body)?;
    let key = new_token(KEY_PREFIX);
    let api_key =
        api_keys::ApiKey { id: Uuid::now_v7(), name, scopes, created_at: platform::clock::now(), revoked_at: None };
    match api_keys::add(&state.store, caller.user_id, session, api_key.clone(), hash(&key)).await? {
        Added::Done => Ok((StatusCode::CREATED, Json(CreatedApiKey { api_key: api_key.into(), key }))),
        Added::TooMany => {
            let detail = format!("You have {MOST_KEYS} API keys, the most that a user may have. Revoke one first.");
            Err(Problem::new(ProblemKind::Conflict, detail))
        }
        Added::SignedOut => Err(invalid_token()),
    }
}

/// List API keys
///
/// The newest comes first. Revoked keys are listed for some days.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "users", operation_id = "list_api_keys", params(ListQuery<ApiKeyCursor>),
    security(("session" = [])),
    responses((status = 200, body = Page<ApiKey>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    SessionUser(caller): SessionUser,
    QueryParams(list): QueryParams<ListQuery<ApiKeyCursor>>,
) -> Result<Json<Page<ApiKey>>, Problem> {
    let before = list.cursor.map(|ListCursor(id)| id);
    let keys = api_keys::list(&state.store, caller.user_id, before, i64::from(list.limit) + 1).await?;
    Ok(Json(Page::new(keys, list.limit, |key| -> ApiKeyCursor { ListCursor(key.id) })))
}

/// Revoke an API key
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", tag = "users", operation_id = "revoke_api_key",
    params(("id" = Uuid, Path, description = "The id of the API key")), security(("session" = [])),
    responses((status = 204, description = "The API key is revoked"), ProblemResponses),
)]
pub(crate) async fn revoke(
    State(state): State<AppState>,
    SessionUser(caller): SessionUser,
    IdPath(id): IdPath,
) -> Result<StatusCode, Problem> {
    match api_keys::revoke(&state.store, caller.user_id, id, platform::clock::now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(ProblemKind::NotFound, "You have no such API key.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_name_and_at_least_one_scope_each_once() {
        let scopes = |text: &str| serde_json::from_str::<Scopes>(text).map(|Scopes(scopes)| scopes).ok();
        assert_eq!(scopes(r#"["trade", "read", "trade"]"#), Some(vec![users::Scope::Read, users::Scope::Trade]));
        for bad in ["[]", r#"["write"]"#, r#""read""#, r#"[1]"#, "null"] {
            assert_eq!(scopes(bad), None, "{bad}");
        }
        for (name, good) in
            [("a", true), ("", false), ("a\nb", false), (&*"ü".repeat(100), true), (&*"a".repeat(101), false)]
        {
            assert_eq!(KeyName::try_from(name.to_owned()).is_ok(), good, "{name:?}");
        }
    }
}
