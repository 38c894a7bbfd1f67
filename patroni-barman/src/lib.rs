//! The library behind `patroni_barman`, the program by which Patroni restores from Barman and switches a server's
//! configuration model on role changes: a client of the REST service `pg-backup-api` on the Barman host.
//!
//! - [`protocol`]: what is asked and answered, as types.
//! - [`PgBackupApi`]: the client. Every wait on the network has a deadline.
//! - [`recover`](fn@recover) and [`config_switch`](fn@config_switch): the commands, which return their exit codes.
//! - [`run`]: the program. It prints nothing but through what it is given.
//!
//! What happens is told to a [`Host`] as [`Event`]s; the program's host is its [`Journal`].
//!
//! ```
//! use patroni_barman::{ApiOptions, NO_COMMAND, Journal, PgBackupApi, run};
//!
//! // The program, with arguments as Patroni gives them.
//! let journal = Journal::new(Box::new(std::io::sink()));
//! let mut help = Vec::new();
//! let arguments = ["--api-url", "http://localhost:7480"].map(Into::into);
//! assert_eq!(run(arguments, &mut help, &journal), NO_COMMAND);
//! assert!(String::from_utf8(help).unwrap().starts_with("usage: patroni_barman"));
//!
//! // The client.
//! let api = PgBackupApi::new("http://localhost:7480/api/", ApiOptions::default()).unwrap();
//! assert_eq!(api.base().join("status").unwrap().path(), "/api/status");
//! ```

pub mod args;
mod client;
mod config_switch;
mod environment;
mod events;
mod follow;
mod journal;
mod parser;
mod program;
pub mod protocol;
mod recover;
mod secrets;
mod tls;
mod transport;
mod url;

pub use client::{ApiError, ApiOptions, Attempts, Hope, PgBackupApi};
pub use config_switch::{
    ConfigSwitchExit, ConfigSwitchOptions, Decision, Role, SwitchWhen, config_switch, decide,
};
pub use events::{Event, Host, Level, Silent};
pub use journal::{CANCELLATION, Journal};
pub use program::{API_NOT_OK, NO_COMMAND, NO_LOG, USAGE, run};
pub use recover::{RecoverExit, RecoverOptions, recover};
pub use tls::TlsOptions;
pub use transport::{Deadlines, TransportError, TransportErrorKind};
pub use url::{HttpUrl, UrlError};

/// The example of the read-me file compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
