//! Reading requests: bodies, queries, headers and paths become checked values, or a problem that names every error.

pub(crate) mod alert;
pub(crate) mod cursor;
pub(crate) mod email;
pub(crate) mod extract;
pub(crate) mod headers;
pub(crate) mod json_body;
pub(crate) mod order;
pub(crate) mod query;
pub(crate) mod symbol;
