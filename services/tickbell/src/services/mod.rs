//! The services of this program, one descriptor each.
//!
//! [`SERVICES`] is the only list of them: the subcommands of `tickbell`, `tickbell up`, the validation of settings and
//! `tickbell status` (so also `tickbell doctor`) are made from it.
//!
//! To add a service:
//! 1. create the crate `services/NAME` with its settings and a `run` function, and name it in the two manifests
//!    (`Cargo.toml` and `services/tickbell/Cargo.toml`);
//! 2. add a module here with its [`Service`] descriptor, and one entry to the list in `registry`, in the order of the
//!    data flow;
//! 3. add the section of its settings to [`crate::settings::Settings`] and to `tickbell.example.toml`;
//! 4. run `cargo test -p tickbell`, which holds this list to the folders under `services/`, to the subcommands and to
//!    the consumers of `schemas/streams.yaml`.

mod alert_engine;
mod archiver;
mod coinnews;
mod descriptor;
pub(crate) mod gateway;
mod history_writer;
mod kafka_bridge;
mod notifier;
mod price_ingestor;
mod registry;
mod trade_settler;

pub(crate) use descriptor::{Context, Flag, InUp, Run, Service};
pub(crate) use registry::SERVICES;
