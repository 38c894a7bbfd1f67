//! `--reset`: makes the streaming directory begin where the server (or the slot) stands.

use std::path::Path;

use barman_pg::ReplicationClient;
use barman_wal::{Lsn, SegmentName, WalFileName, durable};

use super::{ReceiveError, ReceiveReport, TARGET, segment_size};
use crate::context::{Context, Level};
use crate::server::Server;

/// What has to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// The newest file is the wanted one.
    Aligned,
    /// More was received than the server has.
    Ahead { found: String },
    /// Remove this file, then create the partial of the wanted segment.
    Restart { remove: Option<String> },
}

/// Decides, from the names in the directory, the server's current segment, and the wanted one.
pub(super) fn plan(names: &[String], current: SegmentName, wanted: SegmentName) -> Plan {
    let newest = names
        .iter()
        .filter_map(|name| match name.parse().ok()? {
            WalFileName::Segment(segment) => Some((segment, true, name)),
            WalFileName::Partial(segment) => Some((segment, false, name)),
            _ => None,
        })
        // As Barman sorts: a partial after the complete segment of the same name.
        .max_by(|one, other| one.2.cmp(other.2));
    let Some((segment, complete, name)) = newest else {
        return Plan::Aligned;
    };
    if segment == wanted {
        return Plan::Aligned;
    }
    if segment > current {
        return Plan::Ahead { found: name.clone() };
    }
    Plan::Restart {
        remove: (!complete).then(|| name.clone()),
    }
}

pub(super) fn run(
    server: &mut Server,
    client: &mut ReplicationClient,
    directory: &Path,
    ctx: &Context<'_>,
) -> Result<ReceiveReport, ReceiveError> {
    let size = segment_size(client)?;
    let timeline = client.identify_system().map_err(ReceiveError::Postgres)?.timeline;
    let slot_name = server.config().slot_name.clone();
    let sql = server.sql().map_err(ReceiveError::server)?;
    let current = sql
        .current_lsn()
        .map_err(ReceiveError::Postgres)?
        .unwrap_or(Lsn(0));
    let restart = match slot_name {
        Some(slot) => sql
            .replication_slot(&slot)
            .map_err(ReceiveError::Postgres)?
            .and_then(|slot| slot.restart_lsn),
        None => None,
    };
    let current_segment = SegmentName::from_lsn(timeline, current, size);
    let wanted = SegmentName::from_lsn(timeline, restart.unwrap_or(current), size);

    let mut names = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(ReceiveError::file("list", directory))? {
        let entry = entry.map_err(ReceiveError::file("list", directory))?;
        names.extend(entry.file_name().into_string());
    }
    match plan(&names, current_segment, wanted) {
        Plan::Aligned => {
            ctx.say(
                Level::Info,
                TARGET,
                "Nothing to do. Position of receive-wal is aligned.",
            );
        }
        Plan::Ahead { found } => {
            return Err(ReceiveError::Ahead {
                found,
                current: current_segment.to_string(),
            });
        }
        Plan::Restart { remove } => {
            ctx.say(Level::Info, TARGET, "Resetting receive-wal directory status");
            let created = directory.join(WalFileName::Partial(wanted).to_string());
            if let Some(name) = remove {
                let path = directory.join(name);
                ctx.say(
                    Level::Info,
                    TARGET,
                    &format!("Removing status file {}", path.display()),
                );
                durable::remove_durable(&path).map_err(ReceiveError::Disk)?;
            }
            ctx.say(
                Level::Info,
                TARGET,
                &format!("Creating status file {}", created.display()),
            );
            durable::write_atomic(&created, b"", 0o600).map_err(ReceiveError::Disk)?;
        }
    }
    Ok(ReceiveReport::default())
}
