//! What happens when there are more requests than the server can handle: a share for each kind of request, cheap refusals, and
//! one log line a second about them.

pub(crate) mod admission;
pub(crate) mod refusal;
pub(crate) mod rejection_log;
pub(crate) mod share;

#[cfg(test)]
mod tests;
