//! Tests of accounts, sessions, passwords and API keys.

mod api_keys;
mod gdpr;
mod owners;
mod passwords;
mod sessions;
mod sign_ups;
