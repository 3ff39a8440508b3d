//! Users: sign-up, sessions, passwords, and the data that is kept about a person.

mod account_enumeration;
mod gdpr;
mod users;
