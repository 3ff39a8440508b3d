//! Users: sign-up, sign-in, passwords, API keys, and the export and erasure of their data.

pub mod api_keys;
pub mod expiry;
pub mod gdpr;
pub mod login_throttle;
pub mod owners;
pub mod passwords;
pub mod sessions;
pub mod sign_ups;
pub mod users;
