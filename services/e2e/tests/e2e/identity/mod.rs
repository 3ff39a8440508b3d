//! Users: sign-up, sessions, passwords, and the data that is stored about a person.

mod account_enumeration;
mod gdpr;
mod users;
