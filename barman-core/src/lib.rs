//! The operations of Barman as a library: configuration, check, backup, WAL archiving and restore.
//!
//! Nothing here prints, exits the process, installs a logger or a signal handler. Operations are functions in
//! [`ops`]: they take what they need plus a [`Context`] (progress, cancellation, clock) and return typed reports.
//!
//! Layers, lowest first: [`config`], [`host`], [`copy`], [`ops`]. A layer uses only the ones before it
//! (`cargo xtask arch` checks this); [`context`] and [`failure`] are below all of them.

pub mod config;
pub mod context;
pub mod copy;
pub mod failure;
pub mod host;
pub mod ops;
pub mod server;

pub use context::{Cancel, CancelCause, Clock, Context, Level, Message, Progress};
pub use failure::{Class, Failure};
pub use server::{Server, ServerError};
