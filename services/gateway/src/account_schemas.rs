//! The bodies of requests about accounts as OpenAPI says them; they are read field by field.
#![expect(dead_code, reason = "described, never built")]

use utoipa::ToSchema;

/// Who wants an account.
#[derive(ToSchema)]
#[schema(as = SignUp)]
pub(crate) struct SignUpDoc {
    #[schema(format = Email, max_length = 254, example = "ada@example.com")]
    email: String,
    /// Any characters; a sentence is good.
    #[schema(format = Password, min_length = 12, max_length = 128, example = "correct horse battery staple")]
    password: String,
}

/// Who signs in.
#[derive(ToSchema)]
#[schema(as = SignIn)]
pub(crate) struct SignInDoc {
    #[schema(format = Email, max_length = 254, example = "ada@example.com")]
    email: String,
    #[schema(format = Password, example = "correct horse battery staple")]
    password: String,
}

/// A new password in place of the one that is known.
#[derive(ToSchema)]
#[schema(as = PasswordChange)]
pub(crate) struct PasswordChangeDoc {
    #[schema(format = Password, example = "correct horse battery staple")]
    current_password: String,
    #[schema(format = Password, min_length = 12, max_length = 128, example = "another horse another staple")]
    new_password: String,
}

/// Who has forgotten a password.
#[derive(ToSchema)]
#[schema(as = PasswordResetRequest)]
pub(crate) struct ResetRequestDoc {
    #[schema(format = Email, max_length = 254, example = "ada@example.com")]
    email: String,
}

/// The password in place of the one that was forgotten.
#[derive(ToSchema)]
#[schema(as = PasswordReset)]
pub(crate) struct ResetDoc {
    #[schema(format = Password, min_length = 12, max_length = 128, example = "another horse another staple")]
    password: String,
}

/// A key to make.
#[derive(ToSchema)]
#[schema(as = NewApiKey)]
pub(crate) struct KeyRequestDoc {
    /// What you call it.
    #[schema(min_length = 1, max_length = 100, example = "my trading program")]
    name: String,
    /// What it may be used for; at least one.
    #[schema(min_items = 1)]
    scopes: Vec<ScopeDoc>,
}

/// `read`: accounts, orders, trades and the ledger. `trade`: placing and cancelling orders. `alerts`: everything with
/// alerts.
#[derive(ToSchema)]
#[schema(as = Scope, rename_all = "snake_case")]
pub(crate) enum ScopeDoc {
    Read,
    Trade,
    Alerts,
}

/// What somebody may do besides their own business.
#[derive(ToSchema)]
#[schema(as = Role, rename_all = "snake_case")]
pub(crate) enum RoleDoc {
    User,
    Operator,
}
