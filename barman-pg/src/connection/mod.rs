//! Connections as an operation on a server uses them, over [`SqlClient`](crate::SqlClient) and
//! [`ReplicationClient`](crate::ReplicationClient): made without touching the network, opened by the first question,
//! opened again when they were lost, closed with their scope.
//!
//! | Barman | here |
//! | --- | --- |
//! | `PostgreSQLConnection` | [`PostgresConnection`] |
//! | `StandbyPostgreSQLConnection` | [`StandbyConnection`] |
//! | `StreamingConnection` | [`StreamingConnection`] |
//! | `PostgresKeepAlive` | [`KeepAlive`] |
//!
//! Functions have Barman's names. Where Barman answers `None` to a failure, the result is `Ok(None)` and the failure is in
//! the log (level DEBUG, target `barman.postgres`); what Barman lets through is an `Err`. The caller's interrupt flag is
//! always an `Err` ([`Error::Interrupted`]): a request to stop is not an answer.
//!
//! Instead of asking `SELECT 1` before every statement, a question whose session turns out to be broken is asked once more
//! in a new one. Only what changes something on the server is not repeated: there a session that was used before is
//! probed first.

mod backup;
mod keepalive;
mod names;
mod program;
mod questions;
mod session;
mod standby;
mod status;
mod streaming;
mod switches;

pub use keepalive::{Heartbeat, KeepAlive};
pub use names::name_map;
pub use program::ProgramConnection;
pub use session::PostgresConnection;
pub use standby::{StandbyConnection, StandbyStop};
pub use streaming::{SlotError, StreamingConnection};
pub use switches::{BackgroundSwitches, SwitchPlan, SwitchReport};

use crate::error::Error;

/// Where everything of these connections is logged.
const TARGET: &str = "barman.postgres";

/// An answer, or the `None` that Barman makes of a failure.
fn or_none<T>(what: &str, answer: Result<T, Error>) -> Result<Option<T>, Error> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(error @ Error::Interrupted { .. }) => Err(error),
        Err(error) => {
            log::debug!(target: TARGET, "{what}: {error}");
            Ok(None)
        }
    }
}
