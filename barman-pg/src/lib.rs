//! Talks to PostgreSQL (10 to 18) about backups, without libpq: connection strings as libpq understands them, one
//! connector for SQL and replication sessions, slots, WAL streams and base backups.
//!
//! The API blocks (from asynchronous code it is called on a thread of its own). Every wait on the network has a limit and looks at an interrupt flag several times a second; every
//! byte that a server sends is checked before it is believed, and costs bounded memory. Nothing here reads a
//! configuration, prints, installs a logger or writes outside the directories that it is given; the environment is
//! read in one place ([`process_environment`]), which callers can replace. No error, log line or `Debug` output holds a
//! password.
//!
//! [`connection`] is what an operation on a server uses: connections that open by themselves and come back. Below it are
//! the sessions, [`SqlClient`] and [`ReplicationClient`].
//!
//! Connect and ask (`examples/ask.rs`):
//!
//! ```no_run
#![doc = include_str!("../examples/ask.rs")]
//! ```
//!
//! Take a base backup into a directory (`examples/basebackup.rs`):
//!
//! ```no_run
#![doc = include_str!("../examples/basebackup.rs")]
//! ```
//!
//! Stream WAL (`examples/stream.rs`):
//!
//! ```no_run
#![doc = include_str!("../examples/stream.rs")]
//! ```
//!
//! What runs without a server:
//!
//! ```
//! use barman_pg::{ConnInfo, PgVersion};
//!
//! let info = ConnInfo::parse("host=/var/run/postgresql user=barman password='to p'")?;
//! assert_eq!(info.to_string(), "host=/var/run/postgresql password=*REDACTED* user=barman");
//! assert_eq!(PgVersion::from_report("15.18 (Debian)").map(|v| v.major()), Some(15));
//! # Ok::<(), barman_pg::ConnInfoError>(())
//! ```

mod auth;
pub mod basebackup;
mod connect;
pub mod connection;
pub mod conninfo;
mod error;
pub mod replication;
mod secret;
pub mod sql;
mod tls;
mod version;

pub use basebackup::{BaseBackup, BaseBackupOptions};
pub use connect::{Canceller, ConnectOptions, process_environment, wrong_values};
pub use connection::{KeepAlive, PostgresConnection, StandbyConnection, StreamingConnection};
pub use conninfo::{ConnInfo, ConnInfoError};
pub use error::{Error, ServerMessage, sqlstate};
pub use replication::{
    Backoff, ReconnectPolicy, ReplicationClient, ReserveWal, SystemIdentification, WalEvent, WalStream,
};
pub use sql::SqlClient;
pub use version::{PgVersion, major_of_text};

/// The example of the read-me file compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadMe;
