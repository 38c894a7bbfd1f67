//! Whether the WAL of a backup is archived.

use std::io;

use barman_catalog::archive::DiskArchive;
use barman_catalog::completeness::{self, Completeness, Patience};
use barman_catalog::{BackupInfo, BackupStatus, Layout};

use super::failed::chain;
use super::sequence::TARGET;
use crate::context::{Context, Level};
use crate::failure::{Class, Failure as _};
use crate::ops::check_backup::{self, Occasion};
use crate::server::Server;

/// What the archive says about the backup, put into `info`; the caller saves it. A hole may still fill.
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

/// Checks a backup that waits for WAL, under its own lock, and records the result. Returns the status on disk.
pub(super) fn settle(server: &Server, info: &BackupInfo, ctx: &Context<'_>) -> BackupStatus {
    match check_backup::run(server, info.id, Occasion::Automatic, ctx) {
        Ok(report) => report.status,
        Err(error) => {
            let level = if error.class() == Class::Info {
                Level::Info
            } else {
                Level::Error
            };
            ctx.say(level, TARGET, &chain(&error));
            match error {
                check_backup::CheckBackupError::MarkedFailed { .. } => BackupStatus::Failed,
                _ => info.status,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use barman_catalog::{BackupMode, Layout};

    #[test]
    fn a_backup_is_done_when_its_last_segment_is_archived() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("main", home.path());
        let mut info = BackupInfo::new(
            "20261121T044852".parse().unwrap(),
            "main",
            Some(BackupMode::Postgres),
        );
        info.status = BackupStatus::WaitingForWals;
        info.begin_wal = Some("000000010000000000000003".parse().unwrap());
        info.end_wal = Some("000000010000000000000004".parse().unwrap());
        for (arrives, status) in [
            ("000000010000000000000002", BackupStatus::WaitingForWals),
            ("000000010000000000000004", BackupStatus::WaitingForWals),
            ("000000010000000000000003", BackupStatus::Done),
        ] {
            let path = layout.wal_path(&arrives.parse().unwrap());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
            evaluate(&layout, &mut info).unwrap();
            assert_eq!(info.status, status, "after {arrives}");
        }
    }
}
