//! Tests that cross services, on a real broker, a real database and a real mail server.

mod bad_input;
mod conditions;
mod crashes;
mod dead_letters;
mod past;
mod replay;
mod tick_to_mail;
