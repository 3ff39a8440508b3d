//! Live streams: what the broker's streams hold, to any number of clients, with resumption from a cursor.
//!
//! A gateway reads each stream of the broker once. The [`hub`] turns each message into events, written once as JSON, and puts
//! them into the [`queue`] of every client that they are for. A [`subscription`] gives one client its events: first those
//! behind its cursor, which a [`replay`] reads from the stream itself, and then those of its queue. The change from the one to
//! the other has neither a hole nor a repeat, because both have the same positions.

pub(crate) mod channel;
pub(crate) mod clients;
pub(crate) mod cursor;
pub(crate) mod event;
pub(crate) mod hub;
pub(crate) mod interest;
pub(crate) mod owners;
pub(crate) mod queue;
mod readers;
mod replay;
pub(crate) mod settings;
pub(crate) mod subscription;
