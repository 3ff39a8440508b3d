//! The admin endpoints `/healthz`, `/readyz` and `/metrics`, which are the same for every service.

use std::net::SocketAddr;

use axum::{Json, Router, extract::State, http::StatusCode, routing::get};
use serde_json::json;
use tokio::net::TcpListener;
use tracing::{error, info};

use crate::{Health, ServiceError, telemetry::Metrics};

/// Returns the admin endpoints as a router, for a service that has an HTTP server of its own.
pub fn routes(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(|| async { Json(json!({ "status": "alive" })) }))
        .route("/readyz", get(readyz).with_state(health))
        .route("/metrics", get(|State(metrics): State<Metrics>| async move { metrics.render() }).with_state(metrics))
}

async fn readyz(State(health): State<Health>) -> (StatusCode, Json<serde_json::Value>) {
    let ready = health.is_ready();
    let (status, word) = if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (status, Json(json!({ "status": word, "checks": health.report() })))
}

/// Serves the admin endpoints on an address of their own until the process ends. An address that cannot be bound is a
/// permanent error.
pub async fn start(address: SocketAddr, health: Health, metrics: Metrics) -> Result<(), ServiceError> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| ServiceError::permanent(format!("listen on {address} (setting admin.listen)"), error))?;
    let address = listener.local_addr().map_err(|error| ServiceError::permanent("read the admin address", error))?;
    info!(%address, "serving health and metrics at http://{address}/readyz and /metrics");
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes(health, metrics)).await {
            error!(%address, %error, "stopped serving health and metrics");
        }
    });
    Ok(())
}
