//! One backup from its registration to its end: the states that `backup.info` goes through, what is told, in which
//! order things reach the disk. The copy itself is in [`super::copy`].
//!
//! Order that must hold: the data and its directories are on disk before `backup.info` has their size; the status
//! leaves STARTED only after that. A process that dies at any point leaves EMPTY or STARTED, which the next backup
//! or cron turns into FAILED.

use std::path::Path;
use std::time::Instant;

use barman_catalog::backup_info;
use barman_catalog::{BackupId, BackupInfo, BackupMode, BackupStatus, Catalog, Layout};
use barman_wal::durable;
use barman_wal::lock::Lock;

use super::failed::{Action, Failed};
use super::options::Wait;
use super::source::Source;
use super::wait::Delivery;
use super::{BackupError, copy, hook, metadata, outside, position, purge, size, text, wait};
use crate::config::ReuseBackup;
use crate::context::{CancelCause, Context, Level};
use crate::format;
use crate::host::hooks::HookPhase;
use crate::ops::archive::Patience;
use crate::server::Server;

/// Name under which the log records a backup.
pub(super) const TARGET: &str = "barman.backup";

/// A registered backup.
pub(super) struct Taking<'a> {
    pub server: &'a Server,
    pub ctx: &'a Context<'a>,
    pub info: BackupInfo,
    pub interrupted: Option<CancelCause>,
    /// What the server itself delivers of the backup's WAL.
    pub delivery: Delivery,
    /// What archiving failed at so far.
    pub patience: Patience,
    /// Its own lock: nobody deletes what is being written, Barman's `cron` neither, which takes no other one.
    lock: Option<Lock>,
}

impl<'a> Taking<'a> {
    /// Gives the backup its id and writes `backup.info` with status EMPTY.
    ///
    /// The caller holds the backup lock of the server, so that no other process makes an id.
    pub fn register(
        server: &'a Server,
        ctx: &'a Context<'a>,
        catalog: &Catalog,
        name: Option<&str>,
        systemid: Option<String>,
    ) -> Result<Self, BackupError> {
        let id = new_id(server.layout(), catalog, ctx)?;
        let lock = Lock::acquire_within(&server.layout().id_lock(id), super::PROBE, None)
            .map_err(|error| BackupError::Lock(super::failed::chain(&error)))?;
        let mut info = BackupInfo::new(id, server.name(), Some(BackupMode::Postgres));
        info.backup_name = name.map(str::to_owned);
        info.systemid = systemid;
        let taking = Self {
            server,
            ctx,
            info,
            interrupted: None,
            delivery: Delivery::Nothing,
            patience: Patience::default(),
            lock: Some(lock),
        };
        taking.save()?;
        Ok(taking)
    }

    /// Takes the backup and records how it ended. Afterwards the status on disk is WAITING_FOR_WALS, DONE (only with
    /// `wait`) or FAILED, and the post hooks have run.
    pub fn take(&mut self, wait: Wait) -> Result<(), BackupError> {
        let outcome = self.copy_and_sync();
        let copied = match outcome {
            Ok(started) => {
                self.info.status = BackupStatus::WaitingForWals;
                self.tell_end(&started);
                true
            }
            Err(failed) => {
                let failed = failed.unless_cancelled(self.ctx.cancel);
                self.fail(&failed);
                false
            }
        };
        if copied && wait != Wait::No {
            // Whoever kills the wait does not turn a complete copy into a failed backup.
            self.save()?;
            self.interrupted = wait::for_end(self.server, &mut self.info, wait, &mut self.patience, self.ctx);
        }
        // The request to stop has been answered by now. What follows must be done in any case; a second request
        // stops a hook that does not end.
        self.ctx.cancel.reset();
        self.save()?;
        // Its state is settled; a hook may ask for it to be checked or kept. Barman leaves no such file either.
        if let Some(Err(error)) = self.lock.take().map(Lock::remove) {
            log::warn!(target: TARGET, "{}", super::failed::chain(&error));
        }
        if let Err(error) = hook::run(self.server, &self.info, HookPhase::Post, self.ctx) {
            log::warn!(target: TARGET, "{error}");
        }
        Ok(())
    }

    /// Everything up to the point where the copy is complete and on disk.
    fn copy_and_sync(&mut self) -> Result<Started, Failed> {
        let base = self
            .server
            .layout()
            .basebackups_directory
            .join(self.info.id.as_str());
        self.say(&format!(
            "Starting backup using {} method for server {} in {}",
            BackupMode::Postgres,
            self.server.name(),
            base.display()
        ));
        hook::run(self.server, &self.info, HookPhase::Pre, self.ctx)
            .map_err(|error| Failed::new(Action::Starting, &error))?;

        let started = self.start()?;
        self.copy(&base)?;
        self.sync(&base)?;
        Ok(started)
    }

    /// Metadata and the first position; status STARTED.
    fn start(&mut self) -> Result<Started, Failed> {
        let failed = |error: &dyn std::error::Error| Failed::new(Action::Starting, error);
        let mut source = Source::connect(self.server).map_err(|error| failed(&error))?;
        metadata::read(&mut source, &mut self.info).map_err(|error| failed(&error))?;
        let here = source.position().map_err(|error| failed(&error))?;
        let started = Started {
            wall: self.ctx.clock.now(),
            at: Instant::now(),
        };
        self.info.begin_time = Some(here.time);
        self.info.begin_xlog = here.lsn;
        self.info.begin_wal = here.wal.map(|(name, _)| name);
        self.info.begin_offset = here.wal.map(|(_, offset)| u64::from(offset));
        self.info.timeline = here.wal.map(|(name, _)| name.timeline);
        self.info.status = BackupStatus::Started;
        self.save().map_err(|error| failed(&error))?;
        self.say(&format!(
            "Backup start at LSN: {}",
            position::shown(here.lsn, here.wal)
        ));
        Ok(started)
    }

    /// The copy, its label, the end of it, the WAL switch, the restore point.
    fn copy(&mut self, base: &Path) -> Result<(), Failed> {
        let failed = |error: &dyn std::error::Error| Failed::new(Action::Copying, error);
        self.say(&format!(
            "Starting backup copy via pg_basebackup for {}",
            self.info.id
        ));
        let before = Instant::now();
        let copied = copy::run(self.server, base, &self.info, self.ctx)?;
        self.info.copy_stats = Some(backup_info::CopyStats::simple(seconds(before.elapsed())));
        self.warn_outside();
        self.say(&format!(
            "Copy done (time: {})",
            format::interval(before.elapsed())
        ));

        self.info.timeline = Some(copied.begin_wal.timeline);
        self.info.begin_xlog = Some(copied.begin);
        self.info.begin_wal = Some(copied.begin_wal);
        self.info.begin_offset = Some(u64::from(copied.begin.offset(self.info.xlog_segment_size)));
        self.info.backup_label = Some(copied.label);
        self.say("Finalising the backup.");

        let mut source = Source::connect_again(self.server, self.ctx).map_err(|error| failed(&error))?;
        metadata::check_same_cluster(&mut source, &self.info).map_err(|error| failed(&error))?;
        metadata::refresh_tablespaces(&mut source, &mut self.info, &copied.tablespaces)
            .map_err(|error| failed(&error))?;
        let now = source.position().map_err(|error| failed(&error))?;
        let (end_wal, end_offset) =
            position::end(copied.end_timeline, copied.end, self.info.xlog_segment_size);
        self.info.end_time = Some(now.time);
        self.info.end_xlog = Some(copied.end);
        self.info.end_wal = Some(end_wal);
        self.info.end_offset = Some(u64::from(end_offset));
        source.switch_wal(self.server).map_err(|error| failed(&error))?;
        self.delivery = source.delivery();
        // What is purged is decided by what is on disk.
        self.save().map_err(|error| failed(&error))?;
        purge::first_backup(self.server, self.info.id, purge::Telling::User, self.ctx)
            .map_err(|error| failed(&error))?;
        source.restore_point(&format!("barman_{}", self.info.id));
        Ok(())
    }

    /// Data, then directories, then the size in `backup.info`.
    fn sync(&mut self, base: &Path) -> Result<(), Failed> {
        let failed = |error: &dyn std::error::Error| Failed::new(Action::Sizing, error);
        // Files and directories below are on disk since the copy ended; what names them is not.
        durable::fsync_dir(base).map_err(|error| failed(&error))?;
        durable::fsync_dir(&self.server.layout().basebackups_directory).map_err(|error| failed(&error))?;
        let sizes = size::measure(base).map_err(|error| failed(&error))?;
        self.info.size = Some(sizes.total);
        self.info.deduplicated_size = Some(sizes.unshared);
        if let Some(cause) = self.ctx.cancel.cause() {
            return Err(Failed::interrupted(Action::Sizing, cause));
        }
        self.save().map_err(|error| failed(&error))?;
        let form = match self.server.config().reuse_backup {
            Some(ReuseBackup::Link) => text::SizeLine::Deduplicated,
            _ => text::SizeLine::Plain,
        };
        self.say(&text::size_line(sizes.total, sizes.unshared, form));
        Ok(())
    }

    fn fail(&mut self, failed: &Failed) {
        self.interrupted = failed.interrupted;
        self.info.set_failed(failed.action.as_str(), &failed.reason);
        self.ctx.say(Level::Error, TARGET, &failed.console());
    }

    fn tell_end(&self, started: &Started) {
        let end = self
            .info
            .end_wal
            .zip(self.info.end_offset.and_then(|offset| u32::try_from(offset).ok()));
        self.say(&format!(
            "Backup end at LSN: {}",
            position::shown(self.info.end_xlog, end)
        ));
        self.say(&format!(
            "Backup completed (start time: {}, elapsed time: {})",
            format::naive_timestamp(&started.wall),
            format::interval(started.at.elapsed())
        ));
    }

    fn warn_outside(&self) {
        let info = &self.info;
        let files = [&info.config_file, &info.hba_file, &info.ident_file]
            .into_iter()
            .flatten()
            .chain(&info.included_files);
        let found = outside::outside(
            info.pgdata.as_deref().unwrap_or_default(),
            files.map(String::as_str),
        );
        if found.is_empty() {
            return;
        }
        let warning = outside::warning(&found);
        if self.server.config().backup_options.external_configuration {
            log::debug!(target: TARGET, "{warning}");
        } else {
            self.ctx.say(Level::Warning, TARGET, &warning);
        }
    }

    fn say(&self, line: &str) {
        self.ctx.say(Level::Info, TARGET, line);
    }

    pub fn save(&self) -> Result<(), BackupError> {
        backup_info::save(self.server.layout(), &self.info).map_err(|error| BackupError::Write {
            path: self.server.layout().backup_info(self.info.id),
            reason: super::failed::chain(&error),
        })
    }
}

/// When the start was told.
struct Started {
    wall: jiff::Zoned,
    at: Instant,
}

/// An id greater than all that are taken, for which no directory exists either.
fn new_id(layout: &Layout, catalog: &Catalog, ctx: &Context<'_>) -> Result<BackupId, BackupError> {
    let mut highest = catalog.highest_id();
    loop {
        let id = BackupId::next(ctx.clock.now().datetime(), highest);
        if highest.is_some_and(|highest| id <= highest) {
            return Err(BackupError::Id {
                newest: id.to_string(),
            });
        }
        if !layout.base_directory(id).exists() {
            return Ok(id);
        }
        highest = Some(id);
    }
}

/// Seconds with the resolution that `copy_stats` has.
fn seconds(duration: std::time::Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}
