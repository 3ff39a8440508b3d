//! Users and sessions as the API answers them.

use events::Timestamp;
use serde::Serialize;
use store::identity::users;
use utoipa::ToSchema;
use uuid::Uuid;

/// The id, address and role of a user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct User {
    id: Uuid,
    #[schema(example = "ada@example.com")]
    email: String,
    role: Role,
}

/// The role of a user; an operator may make deposits.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Role {
    User,
    Operator,
}

impl User {
    pub(crate) fn new(id: Uuid, email: String, role: users::Role) -> Self {
        let role = match role {
            users::Role::User => Role::User,
            users::Role::Operator => Role::Operator,
        };
        Self { id, email, role }
    }
}

impl From<users::User> for User {
    fn from(user: users::User) -> Self {
        Self::new(user.id, user.email, user.role)
    }
}

/// A session and its token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    /// The token to send as `Authorization: Bearer <token>`. It is shown once, because only its hash is stored.
    #[schema(example = "tbs_u8Yl3qJwF0mYk7qf1g2n7b9w4e6r8t0y2u4i6o8p0aQ")]
    token: String,
    expires_at: Timestamp,
    user: User,
}

impl Session {
    pub(crate) fn new(token: String, expires_at: Timestamp, user: User) -> Self {
        Self { token, expires_at, user }
    }
}
