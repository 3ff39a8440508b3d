//! What the HTTP API refuses, and to whom.

mod authorization;
mod bad_input;
mod framing;
