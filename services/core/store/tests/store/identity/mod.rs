//! Tests of accounts, sessions, passwords and API keys.

mod api_keys;
mod gdpr;
mod passwords;
mod sessions;
mod sign_ups;
