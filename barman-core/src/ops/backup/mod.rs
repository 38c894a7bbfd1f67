//! `barman backup`: registers a backup, takes it, and does not call it good before it is.
//!
//! [`run`] is the whole command for one server: preflight check, lock, hooks, the native base backup, the end
//! position, durability, WAL completeness. A backup that fails is recorded as FAILED and reported; a
//! [`BackupError`] means that none was registered, or that its record could not be written.

mod archiving;
mod consistency;
mod copy;
mod error;
mod failed;
mod hook;
mod metadata;
mod options;
mod outside;
mod position;
mod purge;
mod sequence;
mod size;
mod source;
mod text;
mod wait;

use std::time::Duration;

use barman_catalog::deletion;
use barman_catalog::repair::{self, BackupLock};
use barman_catalog::{BackupInfo, BackupStatus, Catalog, identity};
use barman_wal::durable;
use barman_wal::lock::{Lock, LockError};

pub use error::BackupError;
pub use options::{BackupOptions, Wait};

use crate::context::{CancelCause, Context, Level};
use crate::ops::archive::Patience;
use crate::ops::check::{self, CheckOptions, CheckResult};
use crate::server::Server;
use failed::chain;
use sequence::{TARGET, Taking};
use wait::Delivery;

/// How long a busy lock is tried again: other programs look for a moment whether it is held.
const PROBE: Duration = Duration::from_secs(1);

/// The longest silence of the server during a copy.
const COPY_SILENCE: Duration = Duration::from_secs(300);

/// What became of a backup.
#[derive(Debug, Clone, PartialEq)]
pub struct BackupReport {
    /// The backup as the result record shows it: before the last look at the WAL archive.
    pub info: BackupInfo,
    /// Its status on disk at the end of the command.
    pub status: BackupStatus,
    /// Who asked to stop, if anybody did; with several servers the others are not backed up then. Ctrl-C while
    /// `--wait` waits is not counted.
    pub interrupted: Option<CancelCause>,
}

impl BackupReport {
    /// Whether the data of the backup are complete and safe.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.status.is_copy_done()
    }
}

/// Takes a backup of `server`.
///
/// # Errors
/// [`BackupError`]: nothing was registered, or what was could not be recorded.
pub fn run(server: &Server, options: &BackupOptions, ctx: &Context<'_>) -> Result<BackupReport, BackupError> {
    let config = options.applied_to(server.config());
    options.check(&config)?;
    let mut server = Server::new(config).with_interrupt(ctx.cancel.flag());

    preflight(&mut server, ctx)?;
    make_directories(&server)?;
    let systemid = identify(&mut server, ctx)?;
    server.close();

    // A busy server may be silent for a while in the middle of a copy.
    server.connect_options().io_timeout = COPY_SILENCE;

    let lock = take_lock(&server)?;
    let catalog = load_catalog(&server)?;
    if let Err(error) = deletion::sweep_stale_marks(server.layout(), &catalog) {
        log::warn!(target: TARGET, "{}", chain(&error));
    }
    repair::mark_dead_backups(server.layout(), &catalog, BackupLock::Held(&lock)).map_err(|error| {
        BackupError::Catalog {
            server: server.name().to_owned(),
            reason: chain(&error),
        }
    })?;
    let mut taking = Taking::register(&server, ctx, &catalog, options.name.as_deref(), systemid)?;
    taking.take(options.wait)?;
    let Taking {
        info,
        interrupted,
        delivery,
        mut patience,
        ..
    } = taking;
    drop(lock);

    // Who wanted to wait has waited.
    let delivery = match options.wait {
        Wait::No => delivery,
        Wait::Forever | Wait::AtMost(_) => Delivery::Nothing,
    };
    let (status, stopped) = finish(&server, &info, delivery, &mut patience, ctx);
    Ok(BackupReport {
        info,
        status,
        interrupted: interrupted.or(stopped),
    })
}

/// What follows the backup when its lock is free again: archive what has come, look whether the backup is consistent,
/// purge what lies before the first one, tell what is missing. Also returns who asked to stop meanwhile.
fn finish(
    server: &Server,
    info: &BackupInfo,
    delivery: Delivery,
    patience: &mut Patience,
    ctx: &Context<'_>,
) -> (BackupStatus, Option<CancelCause>) {
    let mut stopped = None;
    let mut status = info.status;
    match archiving::run(server, archiving::Busy::Told, patience, ctx) {
        Ok(()) if status == BackupStatus::WaitingForWals => {
            stopped = wait::for_delivery(server, info, delivery, patience, ctx);
        }
        Ok(()) => {}
        Err(reason) => ctx.say(
            Level::Error,
            TARGET,
            &format!("Cannot archive WAL after the backup: {reason}"),
        ),
    }
    if status == BackupStatus::WaitingForWals {
        status = consistency::settle(server, info, ctx);
    }
    if status.is_copy_done()
        && let Err(error) = purge::first_backup(server, info.id, purge::Telling::Nobody, ctx)
    {
        log::warn!(target: TARGET, "cannot remove WAL from before the first backup: {}", chain(&error));
    }
    if status == BackupStatus::WaitingForWals {
        ctx.say(Level::Warning, TARGET, text::WAITING);
    }
    (status, stopped)
}

/// Runs the checks that must not fail before a backup.
fn preflight(server: &mut Server, ctx: &Context<'_>) -> Result<(), BackupError> {
    let options = CheckOptions {
        timeout: server.config().check_timeout,
    };
    let report =
        check::preflight(server, &options, ctx).map_err(|stop| BackupError::Interrupted(stop.cause))?;
    let failed: Vec<String> = report.critical().map(CheckResult::described).collect();
    if failed.is_empty() {
        return Ok(());
    }
    for message in &report.messages {
        ctx.say_console(Level::Info, TARGET, &format!("\t{message}"));
    }
    Err(BackupError::Preflight {
        server: server.name().to_owned(),
        failed: failed.join(", "),
    })
}

/// Makes every directory of the server that is missing, durably.
pub(crate) fn make_directories(server: &Server) -> Result<(), BackupError> {
    let (config, layout) = (server.config(), server.layout());
    let wanted = [
        layout.backup_directory.clone(),
        layout.basebackups_directory.clone(),
        layout.errors_directory.clone(),
        layout.incoming_wals_directory.clone(),
        layout.meta_directory(),
        layout.streaming_wals_directory.clone(),
        layout.wals_directory.clone(),
        layout.xlogdb_directory.clone(),
        config.cloud_staging_directory.clone(),
    ];
    for path in wanted {
        if path.is_dir() || path.to_string_lossy().contains("://") {
            continue;
        }
        durable::create_dir_all_durable(&path, 0o777).map_err(|error| BackupError::CreateDirectory {
            path,
            reason: chain(&error),
        })?;
    }
    Ok(())
}

/// The system identifier; `identity.json` is written if there is none yet, and when the same cluster has another major
/// version now.
fn identify(server: &mut Server, ctx: &Context<'_>) -> Result<Option<String>, BackupError> {
    let from_sql = server
        .sql()
        .ok()
        .and_then(|sql| Some((sql.systemid().ok()?, sql.version().major())));
    let found = match from_sql {
        Some(found) => Some(found),
        None => server
            .streaming()
            .ok()
            .and_then(|client| Some((client.identify_system().ok()?.systemid, client.version().major()))),
    };
    if let Some(cause) = ctx.cancel.cause() {
        return Err(BackupError::Interrupted(cause));
    }
    let Some((systemid, major)) = found else {
        return Ok(None);
    };
    let failed = |error: &dyn std::error::Error| BackupError::Write {
        path: server.layout().identity(),
        reason: chain(error),
    };
    let new = identity::Identity {
        systemid: Some(systemid.clone()),
        version: Some(major.to_string()),
    };
    // An unreadable file is the user's to look at; `check` tells of it.
    let recorded = identity::read(server.layout());
    if recorded.is_ok_and(|recorded| new.is_to_be_written(recorded.as_ref())) {
        identity::write(server.layout(), &new).map_err(|error| failed(&error))?;
    }
    Ok(Some(systemid))
}

fn take_lock(server: &Server) -> Result<Lock, BackupError> {
    let path = server.layout().backup_lock();
    Lock::acquire_within(&path, PROBE, None).map_err(|error| match error {
        LockError::Busy { .. } => BackupError::Busy,
        LockError::Denied { .. } => BackupError::LockDenied { path },
        other => BackupError::Lock(chain(&other)),
    })
}

fn load_catalog(server: &Server) -> Result<Catalog, BackupError> {
    Catalog::load(server.layout()).map_err(|error| BackupError::Catalog {
        server: server.name().to_owned(),
        reason: chain(&error),
    })
}
