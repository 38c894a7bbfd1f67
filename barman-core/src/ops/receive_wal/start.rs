//! Where to begin receiving: after what is on disk, else where the slot stands, else where the server is.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use barman_pg::{ReplicationClient, SystemIdentification};
use barman_wal::history::TimelineHistory;
use barman_wal::page::{LONG_HEADER_SIZE, check_segment_header};
use barman_wal::{Lsn, SegmentName, SegmentSize, TimelineId, WalFileName, durable};

use super::{ReceiveError, TARGET};
use crate::server::Server;

/// A position at the beginning of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) lsn: Lsn,
    pub(super) timeline: TimelineId,
}

/// A segment file of the streaming directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) name: SegmentName,
    pub(super) complete: bool,
    pub(super) bytes: u64,
}

/// The newest of the files, by `pg_receivewal`'s rule: position first, then timeline, then completeness. A complete
/// segment of a wrong size is passed over.
pub(super) fn newest(files: &[Found], size: SegmentSize) -> Option<Found> {
    files
        .iter()
        .filter(|file| file.name.fits(size))
        .filter(|file| !file.complete || file.bytes == u64::from(size.bytes()))
        .max_by_key(|file| (file.name.number(size), file.name.timeline, file.complete))
        .copied()
}

/// Where to go on after the newest file.
pub(super) fn after(file: Found, size: SegmentSize) -> Option<Start> {
    let name = if file.complete {
        file.name.next(size)?
    } else {
        file.name
    };
    Some(Start {
        lsn: name.start_lsn(size),
        timeline: name.timeline,
    })
}

/// Where to go on if the server is on a timeline that is not that of the newest file: as [`newest`] and [`after`] say,
/// but after files of the server's own past only. What was received of a timeline beyond the point where the server left
/// it is in no history that goes on; with nothing else, the segment of that point is where the next timeline begins.
///
/// This happens when a standby with less WAL than we have is promoted, and when a standby hands on the beginning of a
/// record across a segment's border and is promoted before it has the rest.
pub(super) fn along(files: &[Found], history: &TimelineHistory, size: SegmentSize) -> Option<Start> {
    let behind = |file: &Found| {
        let position = after(*file, size).map(|start| start.lsn);
        let left = history.switch_point(file.name.timeline);
        position.zip(left).is_some_and(|(position, left)| left < position)
    };
    let (left, lived): (Vec<Found>, Vec<Found>) = files.iter().partition(|file| behind(file));
    if let Some(file) = newest(&lived, size) {
        return after(file, size);
    }
    let point = history.switch_point(newest(&left, size)?.name.timeline)?;
    Some(Start {
        lsn: point.segment_start(size),
        timeline: history.owner_of(point),
    })
}

/// The segment files of the directory.
pub(super) fn scan(directory: &Path) -> Result<Vec<Found>, ReceiveError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).map_err(ReceiveError::file("list", directory))? {
        let entry = entry.map_err(ReceiveError::file("list", directory))?;
        let file_name = entry.file_name();
        let (name, complete) = match file_name.to_str().and_then(|name| name.parse().ok()) {
            Some(WalFileName::Segment(name)) => (name, true),
            Some(WalFileName::Partial(name)) => (name, false),
            _ => continue,
        };
        // The archiver may take a file away while we look.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            found.push(Found {
                name,
                complete,
                bytes: metadata.len(),
            });
        }
    }
    Ok(found)
}

/// Finds the position, and makes sure that it is one of this cluster.
pub(super) fn find(
    server: &mut Server,
    client: &mut ReplicationClient,
    directory: &Path,
    size: SegmentSize,
) -> Result<Start, ReceiveError> {
    let system = client.identify_system().map_err(ReceiveError::Postgres)?;
    let files = scan(directory)?;
    for file in files
        .iter()
        .filter(|file| file.complete && file.bytes != u64::from(size.bytes()))
    {
        log::warn!(target: TARGET, "segment file {} has incorrect size {}, skipping", file.name, file.bytes);
    }
    if let Some(file) = newest(&files, size) {
        same_cluster(directory, file, &system)?;
        settle(directory, file)?;
        let next = if file.name.timeline < system.timeline {
            along(&files, &history(client, system.timeline)?, size)
        } else {
            after(file, size)
        };
        let start = next
            .ok_or_else(|| ReceiveError::Refused(format!("there is no WAL segment after {}", file.name)))?;
        if start.timeline > file.name.timeline && start.lsn < file.name.start_lsn(size) {
            log::warn!(
                target: TARGET,
                "the server left timeline {} before {}, the newest WAL file that was received; going on with its timeline {} at {}",
                file.name.timeline,
                file.name,
                start.timeline,
                start.lsn
            );
        }
        if start.timeline > system.timeline {
            return Err(ReceiveError::Refused(format!(
                "starting timeline {} is not present in the server, which is on timeline {}",
                start.timeline, system.timeline
            )));
        }
        return Ok(start);
    }
    let (lsn, timeline) = match slot_position(server, client, &system)? {
        Some(position) => position,
        None => (system.xlogpos, system.timeline),
    };
    Ok(Start {
        lsn: lsn.segment_start(size),
        timeline,
    })
}

/// Where the slot stands, if there is one that was used.
fn slot_position(
    server: &mut Server,
    client: &mut ReplicationClient,
    system: &SystemIdentification,
) -> Result<Option<(Lsn, TimelineId)>, ReceiveError> {
    let Some(slot) = server.config().slot_name.clone() else {
        return Ok(None);
    };
    if client.version().at_least(15) {
        let position = client.read_slot(&slot).map_err(ReceiveError::Postgres)?;
        return Ok(position.and_then(|p| Some((p.restart_lsn?, p.restart_tli?))));
    }
    let row = server
        .sql()
        .map_err(ReceiveError::server)?
        .replication_slot(&slot);
    let Some(lsn) = row
        .map_err(ReceiveError::Postgres)?
        .and_then(|row| row.restart_lsn)
    else {
        return Ok(None);
    };
    if system.timeline == TimelineId::FIRST {
        return Ok(Some((lsn, system.timeline)));
    }
    // The slot does not say on which timeline it stands.
    Ok(Some((lsn, history(client, system.timeline)?.owner_of(lsn))))
}

/// The history of a timeline as the server has it.
fn history(client: &mut ReplicationClient, timeline: TimelineId) -> Result<TimelineHistory, ReceiveError> {
    let (name, content) = client
        .timeline_history(timeline)
        .map_err(ReceiveError::Postgres)?;
    TimelineHistory::parse(timeline, &content)
        .map_err(|error| ReceiveError::Refused(format!("history file {name} of the server: {error}")))
}

/// Puts what is found on stable storage before the server is told that it is: the process that wrote it may have been
/// killed between the rename of a segment and the sync of the directory.
pub(super) fn settle(directory: &Path, newest: Found) -> Result<(), ReceiveError> {
    if newest.complete {
        match durable::fsync_file(&directory.join(newest.name.to_string())) {
            // The archiver took it, and syncs what it takes.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(ReceiveError::Disk)?,
        }
    }
    durable::fsync_dir(directory).map_err(ReceiveError::Disk)
}

/// Refuses to go on after files of another cluster, as far as their first page tells.
fn same_cluster(directory: &Path, file: Found, system: &SystemIdentification) -> Result<(), ReceiveError> {
    let name = if file.complete {
        WalFileName::Segment(file.name)
    } else {
        WalFileName::Partial(file.name)
    };
    let path = directory.join(name.to_string());
    let mut header = [0; LONG_HEADER_SIZE];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut header));
    if read.is_err() {
        // Empty, or taken away by the archiver.
        return Ok(());
    }
    match check_segment_header(&header) {
        Ok(found) if found.system_identifier.to_string() != system.systemid => {
            Err(ReceiveError::Refused(format!(
                "{} was written by the cluster with system identifier {}, the server has {}",
                path.display(),
                found.system_identifier,
                system.systemid
            )))
        }
        // A partial that was only prepared has no header yet.
        _ => Ok(()),
    }
}
