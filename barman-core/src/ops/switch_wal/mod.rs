//! The operation `switch-wal`: PostgreSQL closes its current WAL segment, and, if wanted, the command waits until it
//! is archived.

mod error;
mod wait;

use std::collections::BTreeMap;
use std::time::Duration;

use barman_catalog::archive::latest_segments;
use barman_pg::SqlClient;
use barman_pg::sql::WalSwitch;
use barman_wal::{SegmentName, TimelineId};

use crate::context::{Context, Level};
use crate::server::{Server, ServerError};

pub use error::SwitchWalError;

/// The name under which the log records it.
const TARGET: &str = "barman.server";

/// How to switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwitchWalOptions {
    /// Run `CHECKPOINT` first, so that there is something to switch.
    pub checkpoint: Checkpoint,
    /// What to do after the switch.
    pub archive: Archive,
}

/// Whether a checkpoint comes before the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Checkpoint {
    /// No.
    #[default]
    No,
    /// Yes (`--force`).
    First,
}

/// Whether to wait for the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Archive {
    /// No.
    #[default]
    No,
    /// Yes (`--archive`), at most this long; without a limit when absent.
    Wait(Option<Duration>),
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SwitchWalReport {
    /// The segment that was closed, if one was.
    pub closed: Option<SegmentName>,
    /// Whether the server is a standby, where nothing can be switched.
    pub standby: bool,
    /// Whether the awaited WAL arrived; absent when nothing was awaited.
    pub archived: Option<bool>,
}

/// Switches WAL on the server, or on its primary if it is a standby that knows one.
///
/// # Errors
/// [`SwitchWalError`]. A WAL file that was closed and does not arrive in time is one.
pub fn run(
    server: &mut Server,
    options: &SwitchWalOptions,
    ctx: &Context<'_>,
) -> Result<SwitchWalReport, SwitchWalError> {
    if !server.connects() {
        return Err(SwitchWalError::Passive {
            server: server.name().to_owned(),
        });
    }
    let name = server.name().to_owned();
    // Before the switch: what arrives while it runs counts as new.
    let before = match options.archive {
        Archive::Wait(_) => latest(server)?,
        Archive::No => BTreeMap::new(),
    };
    let switched = switch(server, options.checkpoint);
    server.close();
    let mut report = SwitchWalReport {
        closed: None,
        standby: false,
        archived: None,
    };
    let line = match switched? {
        None => {
            report.standby = true;
            format!("No switch performed because server '{name}' is a standby.")
        }
        Some(WalSwitch::Closed(segment)) => {
            report.closed = Some(segment);
            format!("The WAL file {segment} has been closed on server '{name}'")
        }
        Some(WalSwitch::NotNeeded) => format!("No switch required for server '{name}'"),
    };
    ctx.say(Level::Info, TARGET, &line);
    if let Archive::Wait(limit) = options.archive {
        let awaited = match report.closed {
            Some(segment) => wait::Awaited::Segment(segment),
            None => wait::Awaited::Anything { before },
        };
        report.archived = Some(wait::wait(server, &awaited, limit, ctx)?);
    }
    Ok(report)
}

/// Asks PostgreSQL to close its segment; nothing on a standby that knows no primary.
fn switch(server: &mut Server, checkpoint: Checkpoint) -> Result<Option<WalSwitch>, SwitchWalError> {
    let name = server.name().to_owned();
    let failed = |source: ServerError| SwitchWalError::from_server(&name, source);
    let refused = |source: barman_pg::Error| SwitchWalError::from_postgres(&name, source);
    let in_recovery = server.sql().map_err(failed)?.is_in_recovery().map_err(refused)?;
    let has_primary = server.config().primary_conninfo.is_some();
    let client: &mut SqlClient = if in_recovery && has_primary {
        server.primary().map_err(failed)?
    } else {
        server.sql().map_err(failed)?
    };
    if checkpoint == Checkpoint::First {
        client.checkpoint().map_err(refused)?;
    }
    if in_recovery && !has_primary {
        return Ok(None);
    }
    client.switch_wal().map(Some).map_err(refused)
}

/// The newest archived segment of each timeline.
fn latest(server: &Server) -> Result<BTreeMap<TimelineId, SegmentName>, SwitchWalError> {
    latest_segments(server.layout()).map_err(|source| SwitchWalError::Archive {
        path: server.layout().wals_directory.clone(),
        source,
    })
}
