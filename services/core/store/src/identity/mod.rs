//! Users: how they sign up and in, their keys, and what is kept about them.

pub mod api_keys;
pub mod expiry;
pub mod gdpr;
pub mod login_throttle;
pub mod passwords;
pub mod sessions;
pub mod sign_ups;
pub mod users;
