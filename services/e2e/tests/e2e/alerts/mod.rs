//! From a rule and a tick to a firing and its mail.

mod encrypted_mail;
mod mail_delivery;
mod mail_outage;
mod many_rules;
mod odd_mail_servers;
mod rule_conditions;
mod silent_markets;
mod tick_to_mail;
