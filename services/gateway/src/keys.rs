//! `/v1/api-keys`: a person's programs, each with a part of their rights.

use axum::{Json, extract::State, http::StatusCode};
use events::Timestamp;
use serde::{Deserialize, Serialize};
use store::identity::{
    api_keys::{self, Added, ApiKey, MOST_KEYS},
    users::Scope,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    App,
    account_schemas::{KeyRequestDoc, ScopeDoc},
    caller::{KEY_PREFIX, Presented, SignedIn, unknown},
    extract::{FromQuery, Id, JsonBody, Params, hash},
    fields::Fields,
    openapi::ProblemResponses,
    problem::{Kind, Problem},
    query::{Given, KeyPlace, Query, page},
    sessions::new_token,
};

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Key {
    id: Uuid,
    #[schema(example = "my trading program")]
    name: String,
    #[schema(value_type = Vec<ScopeDoc>)]
    scopes: Vec<&'static str>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Null while it is good.
    #[schema(value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
}

impl From<ApiKey> for Key {
    fn from(key: ApiKey) -> Self {
        let ApiKey { id, name, scopes, created_at, revoked_at } = key;
        Self { id, name, scopes: scopes.into_iter().map(Scope::as_str).collect(), created_at, revoked_at }
    }
}

/// A new key.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CreatedKey {
    #[serde(flatten)]
    about: Key,
    /// Shown once: it is stored hashed. Send it as `Authorization: Bearer <key>`.
    #[schema(example = "tbk_u8Yl3qJwF0mYk7qf1g2n7b9w4e6r8t0y2u4i6o8p0aQ")]
    key: String,
}

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyPage {
    items: Vec<Key>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which keys.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeyQuery {
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<KeyPlace>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: u16,
}

impl FromQuery for KeyQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let cursor = query.optional("cursor").map(|Given(place)| place);
        Some(Self { cursor, limit: query.limit() })
    }
}

/// What somebody calls a key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
struct Name(String);

impl TryFrom<String> for Name {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        let good = (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control);
        if good { Ok(Self(text)) } else { Err("must have 1 to 100 characters, none of them a control character") }
    }
}

/// At least one scope, each once.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "Vec<Scope>")]
struct Scopes(Vec<Scope>);

impl TryFrom<Vec<Scope>> for Scopes {
    type Error = &'static str;
    fn try_from(mut scopes: Vec<Scope>) -> Result<Self, Self::Error> {
        scopes.sort_unstable();
        scopes.dedup();
        if scopes.is_empty() { Err("must name at least one of read, trade, alerts") } else { Ok(Self(scopes)) }
    }
}

/// Make an API key
#[utoipa::path(
    post, path = "/v1/api-keys", tag = "users", operation_id = "create_api_key",
    request_body(content = KeyRequestDoc, content_type = "application/json",
        example = json!({"name": "my trading program", "scopes": ["read", "trade"]})),
    security(("session" = [])),
    responses((status = 201, body = CreatedKey), ProblemResponses),
)]
pub(crate) async fn create(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Presented(session): Presented,
    JsonBody(body): JsonBody,
) -> Result<(StatusCode, Json<CreatedKey>), Problem> {
    let mut fields = Fields::parse(&body)?;
    let name = fields.required::<Name>("name");
    let scopes = fields.required::<Scopes>("scopes");
    let (Name(name), Scopes(scopes)) = fields.all(name.zip(scopes))?;
    let key = new_token(KEY_PREFIX);
    let about = ApiKey { id: Uuid::now_v7(), name, scopes, created_at: platform::clock::now(), revoked_at: None };
    match api_keys::add(&app.store, caller.user_id, session, about.clone(), hash(&key)).await? {
        Added::Done => Ok((StatusCode::CREATED, Json(CreatedKey { about: about.into(), key }))),
        Added::TooMany => {
            let detail = format!("There are {MOST_KEYS} API keys, as many as an account may have; revoke one first.");
            Err(Problem::new(Kind::Conflict, detail))
        }
        Added::SignedOut => Err(unknown()),
    }
}

/// Your API keys, newest first
///
/// Those that are revoked are shown for a while.
#[utoipa::path(
    get, path = "/v1/api-keys", tag = "users", operation_id = "list_api_keys", params(KeyQuery),
    security(("session" = [])),
    responses((status = 200, body = KeyPage), ProblemResponses),
)]
pub(crate) async fn list(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Params(query): Params<KeyQuery>,
) -> Result<Json<KeyPage>, Problem> {
    let before = query.cursor.map(|KeyPlace(id)| id);
    let keys = api_keys::list(&app.store, caller.user_id, before, i64::from(query.limit) + 1).await?;
    let (keys, next_cursor) = page(keys, query.limit, |key| KeyPlace(key.id));
    Ok(Json(KeyPage { items: keys.into_iter().map(Key::from).collect(), next_cursor }))
}

/// Revoke an API key
#[utoipa::path(
    delete, path = "/v1/api-keys/{id}", tag = "users", operation_id = "revoke_api_key",
    params(("id" = Uuid, Path, description = "The key")), security(("session" = [])),
    responses((status = 204, description = "It is good for nothing now"), ProblemResponses),
)]
pub(crate) async fn revoke(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(id): Id,
) -> Result<StatusCode, Problem> {
    match api_keys::revoke(&app.store, caller.user_id, id, platform::clock::now()).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Problem::new(Kind::NotFound, "You have no such API key.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_name_and_at_least_one_scope_each_once() {
        let scopes = |text: &str| serde_json::from_str::<Scopes>(text).map(|Scopes(scopes)| scopes).ok();
        assert_eq!(scopes(r#"["trade", "read", "trade"]"#), Some(vec![Scope::Read, Scope::Trade]));
        for bad in ["[]", r#"["write"]"#, r#""read""#, r#"[1]"#, "null"] {
            assert_eq!(scopes(bad), None, "{bad}");
        }
        for (name, good) in
            [("a", true), ("", false), ("a\nb", false), (&*"ü".repeat(100), true), (&*"a".repeat(101), false)]
        {
            assert_eq!(Name::try_from(name.to_owned()).is_ok(), good, "{name:?}");
        }
    }
}
