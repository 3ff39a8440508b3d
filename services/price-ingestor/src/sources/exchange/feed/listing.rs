//! The list of the products of a venue: asked for until it arrives.

use std::time::Duration;

use platform::{Shutdown, runtime::error::error_chain};
use tokio::time::sleep;
use tracing::{info, warn};

use super::FeedConfig;
use crate::sources::exchange::history::{FillError, Products, RestClient};

/// The longest wait before the list of products is asked for again.
const MAX_PRODUCTS_WAIT: Duration = Duration::from_secs(30);

/// Asks for the list of products until it arrives; none after shutdown.
pub(super) async fn list(config: &FeedConfig, client: &RestClient, shutdown: &Shutdown) -> Option<Products> {
    let mut wait = config.timing.first_wait;
    loop {
        let request = async {
            let body = client.get(config.adapter.products_query()).await?;
            Ok::<_, FillError>(config.adapter.parse_products(&body)?)
        };
        let answer = tokio::select! {
            answer = request => answer,
            () = shutdown.cancelled() => return None,
        };
        match answer {
            Ok(listed) => {
                info!(venue = %config.venue, products = listed.len(), "read the list of products");
                return Some(Products::new(config.adapter.profile().venue, listed));
            }
            Err(error) => {
                let (error, wait_ms) = (error_chain(&error), wait.as_millis() as u64);
                warn!(venue = %config.venue, error, wait_ms, "cannot read the list of products, retrying");
            }
        }
        tokio::select! {
            () = sleep(wait) => wait = (wait * 2).min(MAX_PRODUCTS_WAIT),
            () = shutdown.cancelled() => return None,
        }
    }
}
