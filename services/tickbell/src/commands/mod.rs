//! The operator's and the user's commands: each runs against servers that are running, prints its answer and ends.

mod connect;
pub(crate) mod history;
pub(crate) mod operations;
pub(crate) mod person;
pub(crate) mod site;
pub(crate) mod trading;
pub(crate) mod watch;
