//! What every request and every answer goes through: limits, log lines and metrics, problems, the OpenAPI document.

pub(crate) mod asyncapi;
pub(crate) mod download;
pub(crate) mod framing;
pub(crate) mod middleware;
pub(crate) mod openapi;
pub(crate) mod overload;
pub(crate) mod problem;
pub(crate) mod request_identity;
pub(crate) mod request_log;
pub(crate) mod security_headers;
pub(crate) mod validators;
pub(crate) mod websocket;
