//! Tests that cross services, on a real broker, a real database and a real mail server.

mod accounts;
mod authorisation;
mod bad_input;
mod bank;
mod coinnews;
mod conditions;
mod crashes;
mod dead_letters;
mod house;
mod lines;
mod many_rules;
mod orders;
mod past;
mod person;
mod readme;
mod replay;
mod roles;
mod several;
mod smtp;
mod strangers;
mod tampering;
mod tick_to_mail;
mod up;
