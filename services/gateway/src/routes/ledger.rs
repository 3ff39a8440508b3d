//! `/v1/ledger`: the postings of a user.

use axum::{Json, extract::State};
use events::{Asset, Timestamp};
use rust_decimal::Decimal;
use serde::Serialize;
use store::trading::postings;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    auth::ReadScope,
    http::problem::{Problem, ProblemResponses},
    request::{
        cursor::{ListCursor, PostingCursor},
        query::{ListQuery, QueryParams},
    },
    routes::page::Page,
    state::AppState,
};

/// A posting of the ledger, with the entries of the user.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Posting {
    /// The number of the posting in the ledger that all users share.
    id: i64,
    #[schema(value_type = PostingKind)]
    kind: String,
    /// The id of the order or of the deposit that caused it.
    cause: Uuid,
    at: Timestamp,
    entries: Vec<PostingEntry>,
    /// The SHA-256 hash over this posting and the hash of the posting before it, in hex.
    #[schema(example = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    hash: String,
}

/// An amount that came into an account of the user, or, below zero, went out of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PostingEntry {
    #[schema(value_type = LedgerAccount)]
    account: String,
    asset: Asset,
    #[schema(value_type = String, example = "-680.68")]
    amount: Decimal,
}

impl From<postings::Posting> for Posting {
    fn from(postings::Posting { id, kind, cause, at, hash, entries }: postings::Posting) -> Self {
        let entry = |postings::Entry { account, asset, amount }| PostingEntry { account, asset, amount };
        let hash = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { id, kind, cause, at, hash, entries: entries.into_iter().map(entry).collect() }
    }
}

/// The kind of a posting: a deposit, an order that holds funds, an order that releases them, a fill.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described: the words come from the ledger")]
enum PostingKind {
    Deposit,
    Hold,
    Release,
    Fill,
}

/// The account of a user in an asset: funds that orders may use, or funds that open orders hold.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "only described: the words come from the ledger")]
enum LedgerAccount {
    Available,
    Held,
}

/// List postings
///
/// The answer has every posting that changed a balance of the user, the newest first. The entries of an asset sum to its
/// balance.
#[utoipa::path(
    get, path = "/v1/ledger", tag = "money", operation_id = "list_postings", params(ListQuery<PostingCursor>),
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = Page<Posting>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    ReadScope(caller): ReadScope,
    QueryParams(list): QueryParams<ListQuery<PostingCursor>>,
) -> Result<Json<Page<Posting>>, Problem> {
    let (before, most) = (list.cursor.map(|ListCursor(posting)| posting), i64::from(list.limit) + 1);
    let postings = postings::list(&state.store, caller.user_id, before, most).await?;
    Ok(Json(Page::new(postings, list.limit, |posting| -> PostingCursor { ListCursor(posting.id) })))
}
