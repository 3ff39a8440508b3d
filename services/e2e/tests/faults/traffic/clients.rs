//! HTTP clients behind a load balancer: each request goes to a gateway that says it is ready.

use std::time::Duration;

use e2e::{Api, ApiResponse};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::readiness::Readiness;

const ANSWER: Duration = Duration::from_secs(3);
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// A client with the token of a user.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) readiness: Readiness,
    pub(crate) token: String,
}

impl Client {
    /// Sends a request to a gateway, once. With the number of the attempt the gateways take turns.
    pub(crate) async fn try_send(&self, attempt: usize, make: impl Fn(&Api) -> RequestBuilder) -> Option<ApiResponse> {
        // A gateway that has just been lost may still be known as ready: the next attempt goes to the other one.
        let gateways = self.readiness.gateways();
        let request = make(&gateways[attempt % gateways.len()]);
        timeout(ANSWER, Api::try_send(request)).await.ok().flatten()
    }

    /// Sends a request that may be repeated until it has one of these statuses.
    pub(crate) async fn send(&self, statuses: &[u16], make: impl Fn(&Api) -> RequestBuilder) -> Value {
        for attempt in 0.. {
            if let Some(answer) = self.try_send(attempt, &make).await {
                if statuses.contains(&answer.status) {
                    return answer.json();
                }
                assert_ne!(answer.status, 400, "a request that no gateway will ever accept: {}", answer.text);
            }
            sleep(AGAIN_AFTER).await;
        }
        unreachable!("the attempts have no end")
    }

    /// Reads a page with the token.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.send(&[200], |api| api.request(Method::GET, path).bearer_auth(&self.token)).await
    }
}
