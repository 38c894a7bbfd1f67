//! Whether the WAL of a backup is archived, recorded in its `backup.info`.

use std::io;

use barman_catalog::archive::DiskArchive;
use barman_catalog::backup_info::{self, StoreError};
use barman_catalog::completeness::{self, Completeness, Patience};
use barman_catalog::{BackupInfo, BackupStatus, Layout};

use super::failed::chain;
use super::sequence::TARGET;
use crate::context::{Context, Level};
use crate::server::Server;

/// What the archive says about the backup, put into `info`; the caller saves it.
///
/// # Errors
/// The archive cannot be read.
pub(super) fn evaluate(layout: &Layout, info: &mut BackupInfo) -> io::Result<()> {
    let Some(begin) = info.begin_wal else {
        return Ok(());
    };
    let archive = DiskArchive::on_timeline(layout, begin.timeline)?;
    match completeness::assess(info, &archive, Patience::HolesMayFill) {
        Completeness::Unknown => {}
        Completeness::Done => info.status = BackupStatus::Done,
        Completeness::Waiting { .. } => info.status = BackupStatus::WaitingForWals,
        Completeness::Failed { reason } => info.set_failed_because(&reason),
    }
    Ok(())
}

/// Evaluates a backup that waits for WAL, under its own lock, and records the result. Returns the status on disk.
pub(super) fn settle(server: &Server, info: &BackupInfo, ctx: &Context<'_>) -> BackupStatus {
    let layout = server.layout();
    let mut failure = None;
    let updated = backup_info::update(layout, info.id, |found| {
        if found.status == BackupStatus::WaitingForWals
            && let Err(error) = evaluate(layout, found)
        {
            failure = Some(error);
        }
    });
    if let Some(error) = failure {
        log::warn!(target: TARGET, "cannot read the WAL archive: {error}");
    }
    match updated {
        Ok(found) => {
            if found.status == BackupStatus::Failed
                && let Some(reason) = &found.error
            {
                ctx.say(Level::Error, TARGET, reason);
            }
            found.status
        }
        Err(StoreError::Lock { source, .. }) if source.is_busy() => {
            let line = format!(
                "Another process is already checking backup {} of server {}",
                info.id,
                server.name()
            );
            ctx.say(Level::Info, TARGET, &line);
            info.status
        }
        Err(error) => {
            ctx.say(
                Level::Error,
                TARGET,
                &format!("cannot check backup {}: {}", info.id, chain(&error)),
            );
            info.status
        }
    }
}
