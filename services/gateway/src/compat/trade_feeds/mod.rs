//! The WebSockets of Coinbase's clients: trades as they happen, from the hub that all live clients share.

mod advanced;
mod client;
mod exchange;
mod message;

use axum::{
    extract::{Request, State},
    response::Response,
};
use utoipa_axum::{router::UtoipaMethodRouter, routes};

use self::{advanced::Advanced, client::FeedClient, exchange::Exchange, message::Dialect};
use crate::{
    auth::client_ip::ClientNetwork,
    compat::surface::CoinbaseErrors,
    http::{problem::Problem, websocket::Handshake},
    live::clients::{QuotaKey, Transport},
    state::AppState,
};

/// Returns the operations of the WebSockets.
pub(super) fn operations() -> Vec<UtoipaMethodRouter<AppState>> {
    vec![routes!(open_exchange), routes!(open_advanced)]
}

/// Open the WebSocket of Coinbase Exchange
///
/// The channels are `ticker` and `matches`. The messages are those of Coinbase Exchange; trades have no side.
#[utoipa::path(
    get, path = "/compat/coinbase/ws", tag = "coinbase", operation_id = "coinbase_websocket",
    responses(
        (status = 101, description = "The connection is a WebSocket from now on"),
        (status = 426, description = "The request does not ask for a WebSocket of version 13"),
        (status = 429, description = "There are as many open streams as there may be"),
        CoinbaseErrors,
    ),
)]
pub(crate) async fn open_exchange(
    state: State<AppState>,
    network: ClientNetwork,
    request: Request,
) -> Result<Response, Problem> {
    open::<Exchange>(state, network, request)
}

/// Open the WebSocket of Coinbase Advanced
///
/// The channel is `market_trades`. The messages are those of Coinbase Advanced; any signature is accepted, and the side of a trade
/// is `UNKNOWN_ORDER_SIDE`.
#[utoipa::path(
    get, path = "/compat/coinbase-advanced/ws", tag = "coinbase-advanced", operation_id = "coinbase_advanced_websocket",
    responses(
        (status = 101, description = "The connection is a WebSocket from now on"),
        (status = 426, description = "The request does not ask for a WebSocket of version 13"),
        (status = 429, description = "There are as many open streams as there may be"),
        CoinbaseErrors,
    ),
)]
pub(crate) async fn open_advanced(
    state: State<AppState>,
    network: ClientNetwork,
    request: Request,
) -> Result<Response, Problem> {
    open::<Advanced>(state, network, request)
}

fn open<D: Dialect>(
    State(state): State<AppState>,
    ClientNetwork(network): ClientNetwork,
    mut request: Request,
) -> Result<Response, Problem> {
    let handshake = Handshake::of(&mut request)?;
    let slot = state.clients.admit(QuotaKey::Network(network), Transport::WebSocket, None)?;
    Ok(handshake.accept(move |socket| FeedClient::<D>::new(state, slot, socket).run()))
}
