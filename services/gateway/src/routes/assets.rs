//! `/v1/assets`: the assets that accounts may hold.

use axum::{Json, extract::State};
use ledger::rows::AssetRow;
use serde::Serialize;
use store::trading::assets::{self, AssetKind};
use utoipa::ToSchema;

use crate::{
    http::problem::{Problem, ProblemResponses},
    request::query::QueryParams,
    routes::page::Page,
    state::AppState,
};

/// An asset that accounts may hold.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssetInfo {
    code: events::Asset,
    /// The number of decimal places of an amount.
    #[schema(example = 2)]
    scale: u32,
    /// The currency that a share is traded in where an order names none; null for a currency or a coin.
    quote: Option<events::Asset>,
}

impl From<(AssetRow, AssetKind)> for AssetInfo {
    fn from(((code, scale), kind): (AssetRow, AssetKind)) -> Self {
        let quote = match kind {
            AssetKind::Share { quote } => Some(quote),
            AssetKind::Currency => None,
        };
        Self { code, scale, quote }
    }
}

/// List assets
///
/// The answer has every asset that accounts may hold, sorted by code and on one page.
#[utoipa::path(
    get, path = "/v1/assets", tag = "money", operation_id = "list_assets",
    responses((status = 200, body = Page<AssetInfo>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    QueryParams(()): QueryParams<()>,
) -> Result<Json<Page<AssetInfo>>, Problem> {
    Ok(Json(Page::whole(assets::list_with_kinds(&state.store).await?)))
}
