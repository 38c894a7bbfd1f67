//! The turn of one server.

use barman_catalog::import;
use barman_catalog::repair::{self, BackupLock};
use barman_catalog::{BackupId, BackupStatus, Catalog, Layout};
use barman_wal::lock::{self, Lock, LockError};

use super::{CronReport, Started, TARGET};
use crate::config::ServerConfig;
use crate::context::{Context, Level};
use crate::host::process::{self, SelfCommand, Termination};
use crate::ops::delete;
use crate::ops::list_backups::custom_magic;
use crate::server::Server;

/// Why the turn of a server ended early.
type Problem = String;

/// Everything for one server, under its cron lock.
pub fn run(config: &ServerConfig, barman: &SelfCommand, ctx: &Context<'_>, report: &mut CronReport) {
    let server = Server::new(config.clone()).with_interrupt(ctx.cancel.flag());
    let mut turn = Turn {
        config,
        server,
        barman,
        ctx,
        report,
    };
    match Lock::try_acquire(&turn.server.layout().cron_lock()) {
        Ok(_lock) => {
            if let Err(problem) = turn.take() {
                let text = format!("Unable to run cron on server '{}': {problem}", config.name);
                turn.error(&text);
            }
        }
        Err(LockError::Busy { .. }) => turn.say(&format!(
            "Another cron process is already running on server {}. Skipping to the next server",
            config.name
        )),
        Err(error) => turn.error(&error.to_string()),
    }
}

struct Turn<'a, 'c> {
    config: &'a ServerConfig,
    server: Server,
    barman: &'a SelfCommand,
    ctx: &'a Context<'c>,
    report: &'a mut CronReport,
}

impl Turn<'_, '_> {
    fn take(&mut self) -> Result<(), Problem> {
        let name = &self.config.name;
        if !self.config.active {
            if self.receiver().is_some() {
                self.say(&format!(
                    "Server '{name}' is inactive: stopping receive-wal subprocess"
                ));
                self.stop_receiver();
            }
            return Ok(());
        }
        if self.config.is_passive() {
            let text = format!(
                "Server '{name}' is a passive node: synchronisation with its primary node is not available yet"
            );
            self.error(&text);
        } else {
            self.archive()?;
            self.receive()?;
        }
        self.repair()?;
        self.check_backups()?;
        self.enforce_retention();
        Ok(())
    }

    fn archive(&mut self) -> Result<(), Problem> {
        let name = self.config.name.clone();
        if is_held(&self.layout().archive_wal_lock())? {
            self.say(&format!(
                "Another archive-wal process is already running on server {name}. Skipping to the next server"
            ));
            return Ok(());
        }
        self.start(
            &format!("Starting WAL archiving for server {name}"),
            &["archive-wal", &name],
        )
    }

    fn receive(&mut self) -> Result<(), Problem> {
        let name = self.config.name.clone();
        if !self.config.streaming_archiver {
            if self.receiver().is_some() {
                self.stop_receiver();
            }
            return Ok(());
        }
        if is_held(&self.layout().receive_wal_lock())? {
            log::debug!(target: TARGET, "receive-wal is already running on server {name}");
            return Ok(());
        }
        self.start(
            &format!("Starting streaming archiver for server {name}"),
            &["receive-wal", &name],
        )
    }

    /// Backups that a killed process left STARTED or EMPTY become FAILED; those whose data is gone are told of.
    fn repair(&mut self) -> Result<(), Problem> {
        let catalog = self.catalog()?;
        let marked = repair::mark_dead_backups(self.layout(), &catalog, BackupLock::Take);
        match marked {
            Ok(ids) => {
                for id in &ids {
                    let text = format!(
                        "Backup {id} of server '{}' was left unfinished by its process: it is now FAILED",
                        self.config.name
                    );
                    self.ctx.say(Level::Warning, TARGET, &text);
                }
                self.report.repaired.extend(ids);
            }
            Err(error) => self.error(&error.to_string()),
        }
        if self.config.basebackups_in_cloud() {
            return Ok(());
        }
        self.sweep_imports();
        let done = |status| matches!(status, BackupStatus::Done | BackupStatus::WaitingForWals);
        for backup in catalog.usable().filter(|backup| done(backup.status)) {
            let layout = self.layout();
            // The state is read again: the backup may have been deleted since the catalogue was.
            if !layout.base_directory(backup.id).exists() && layout.backup_info(backup.id).exists() {
                let text = format!(
                    "Backup {} of server '{}' has no data.\nIf it is not needed any more remove these by hand:\n{}\n{}",
                    backup.id,
                    self.config.name,
                    layout.backup_info(backup.id).display(),
                    layout.base_directory(backup.id).display(),
                );
                self.ctx.say(Level::Warning, TARGET, &text);
            }
        }
        Ok(())
    }

    /// What imports that were killed have left goes, unless somebody is at work who could be importing.
    fn sweep_imports(&self) {
        let layout = self.layout();
        if !import::has_leftovers(layout) {
            return;
        }
        match Lock::try_acquire(&layout.backup_lock()) {
            Ok(_lock) => {
                let cancel = self.ctx.cancel.flag();
                import::sweep(layout, &custom_magic(self.config), Some(&cancel));
            }
            Err(error) => log::debug!(target: TARGET, "{error}"),
        }
    }

    /// Looks after every backup that waits for WAL, not only the oldest: one whose WAL never comes must not hide the
    /// others.
    fn check_backups(&mut self) -> Result<(), Problem> {
        let waiting: Vec<BackupId> = self
            .catalog()?
            .usable()
            .filter(|backup| backup.status == BackupStatus::WaitingForWals)
            .map(|backup| backup.id)
            .collect();
        waiting.into_iter().try_for_each(|id| self.check_backup(id))
    }

    fn check_backup(&mut self, id: BackupId) -> Result<(), Problem> {
        if is_held(&self.layout().id_lock(id))? {
            log::debug!(target: TARGET, "backup {id} of server {} is in use", self.config.name);
            return Ok(());
        }
        let name = self.config.name.clone();
        self.start(
            &format!("Starting check-backup for backup {id} of server {name}"),
            &["check-backup", &name, &id.to_string()],
        )
    }

    fn enforce_retention(&mut self) {
        match delete::enforce_retention(&self.server, self.ctx) {
            Ok(done) => self.report.deleted.extend(done.deleted),
            Err(error) => self.error(&error.to_string()),
        }
    }

    fn start(&mut self, text: &str, args: &[&str]) -> Result<(), Problem> {
        self.ctx.say_console(Level::Info, TARGET, text);
        let pid = self
            .barman
            .spawn(args)
            .map_err(|error| format!("cannot start '{}': {error}", self.barman.program.display()))?;
        self.report.started.push(Started {
            server: self.config.name.clone(),
            task: args.iter().map(|arg| (*arg).to_owned()).collect(),
            pid,
        });
        Ok(())
    }

    fn receiver(&self) -> Option<process::TaskProcess> {
        process::find(&self.config.lock_directory, &self.config.name, "receive-wal")
    }

    fn stop_receiver(&mut self) {
        let Some(receiver) = self.receiver() else { return };
        match process::terminate(&receiver, self.ctx) {
            Termination::Stopped => self.say(&format!("Stopped process receive-wal({})", receiver.pid)),
            stays @ (Termination::StillRunning | Termination::Stranger | Termination::Denied) => {
                self.error(&stays.refusal(&receiver));
            }
        }
    }

    fn layout(&self) -> &Layout {
        self.server.layout()
    }

    fn catalog(&self) -> Result<Catalog, Problem> {
        Catalog::load(self.layout()).map_err(|error| error.to_string())
    }

    fn say(&self, text: &str) {
        self.ctx.say(Level::Info, TARGET, text);
    }

    fn error(&mut self, text: &str) {
        self.ctx.say(Level::Error, TARGET, text);
        self.report.failed = true;
    }
}

/// Whether somebody holds a lock. It is only looked at: the child takes it itself.
fn is_held(path: &std::path::Path) -> Result<bool, Problem> {
    match lock::probe(path) {
        Ok(holder) => Ok(holder.is_some()),
        Err(LockError::Busy { .. }) => Ok(true),
        Err(error) => Err(error.to_string()),
    }
}
