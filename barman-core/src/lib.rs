//! The operations of Barman as a library: configuration, check, backup, WAL archiving and restore.
//!
//! Nothing here prints, exits the process, installs a logger or a signal handler. Operations are functions in
//! [`ops`]: they take what they need plus a [`Context`] (progress, cancellation, clock) and return typed reports.
//!
//! ```
//! use barman_core::config::Config;
//! use barman_core::context::{Silent, SystemClock};
//! use barman_core::{Cancel, Context, Server, ops};
//!
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path().join("barman.conf");
//! # let home = directory.path().display();
//! # std::fs::write(&path, format!("[barman]\nbarman_home = {home}\n[main]\nactive = false\ndescription = Main\n"))?;
//! let config = Config::load(&path, None)?;
//! assert_eq!(ops::list_servers::list(&config)[0].line(), "main - Main (inactive)");
//!
//! let mut server = Server::new(config.servers[0].clone());
//! let cancel = Cancel::new();
//! let ctx = Context { progress: &Silent, cancel: &cancel, clock: &SystemClock };
//! let report = ops::check::run(&mut server, &ops::check::CheckOptions::default(), &ctx)?;
//! assert!(!report.has_failed(), "an inactive server may fail");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Layers, lowest first: [`config`], [`host`], [`copy`], [`ops`]. A layer uses only the ones before it
//! (`cargo xtask arch` checks this); [`context`] and [`failure`] are below all of them, and [`server`] stands between
//! [`config`] and [`ops`].

pub mod config;
pub mod context;
pub mod copy;
pub mod failure;
pub mod format;
pub mod host;
pub mod ops;
pub mod server;

pub use context::{Cancel, CancelCause, Clock, Context, Level, Message, Progress};
pub use failure::{Class, Failure};
pub use server::{Server, ServerError};

/// The example of the read-me file compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
