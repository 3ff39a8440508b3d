//! `/v1/accounts`: the balances of a user.

use axum::{Json, extract::State};
use events::Asset;
use rust_decimal::Decimal;
use serde::Serialize;
use store::trading::balances;
use utoipa::ToSchema;

use crate::{
    auth::ReadScope,
    http::problem::{Problem, ProblemResponses},
    request::query::QueryParams,
    routes::page::Page,
    state::AppState,
};

/// The balance of an asset, in units of the asset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Balance {
    asset: Asset,
    /// The amount that orders may use.
    #[schema(value_type = String, example = "9319.32")]
    available: Decimal,
    /// The amount that open orders hold.
    #[schema(value_type = String, example = "680.68")]
    held: Decimal,
    /// The sum of both.
    #[schema(value_type = String, example = "10000.00")]
    total: Decimal,
}

impl From<balances::Balance> for Balance {
    fn from(balances::Balance { asset, available, held }: balances::Balance) -> Self {
        Self { asset, available, held, total: available + held }
    }
}

/// List balances
///
/// The answer has every asset that the user has ever had, all at one moment and on one page.
#[utoipa::path(
    get, path = "/v1/accounts", tag = "money", operation_id = "list_accounts",
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = Page<Balance>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    ReadScope(caller): ReadScope,
    QueryParams(()): QueryParams<()>,
) -> Result<Json<Page<Balance>>, Problem> {
    Ok(Json(Page::whole(balances::list(&state.store, caller.user_id).await?)))
}
