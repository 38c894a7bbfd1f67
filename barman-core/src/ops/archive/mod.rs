//! The operation `archive-wal`: takes WAL files out of `streaming/` and `incoming/` into the archive `wals/`, lists
//! them in the WAL catalogue, and only then removes them from where they came.
//!
//! The order that no crash can break: content synced, name in the archive, its directory synced, line in the
//! catalogue synced, source removed. Whoever is killed in between leaves the source behind; the next run finds it
//! equal to what is archived, adds the line if it lacks, and removes it. Compression and syncing of several files go
//! on in parallel and outside the catalogue's lock; files are published and listed in their order.
//!
//! A file that cannot be archived is reported and never stops the others.

mod commit;
mod compare;
mod error;
mod hook;
mod patience;
mod queue;
mod rejects;
mod repair;
mod run;
pub(in crate::ops) mod segment_check;
mod stage;

use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use barman_catalog::xlogdb::CustomMagic;
use barman_catalog::{Layout, identity};
use barman_wal::WalFileName;
use barman_wal::lock::{Lock, LockError};

use crate::config::ServerConfig;
use crate::config::types::WalCompression;
use crate::context::Context;
use crate::ops::wal_codec::WalCodec;
use crate::server::Server;

pub use error::ArchiveError;
pub(in crate::ops) use patience::Patience;
use queue::Source;
use run::Run;
use stage::Storage;

/// The name under which the log records archiving.
const TARGET: &str = "barman.wal_archiver";
/// How long a busy lock is tried: another process may only be looking who holds it.
const LOCK_PATIENCE: Duration = Duration::from_secs(1);

/// How to archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveOptions {
    /// Who asked.
    pub occasion: Occasion,
}

/// Who asked for archiving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The command `archive-wal`: every header and `no file found` are shown.
    Command,
    /// Another command (`backup`, `switch-wal`, `check`, `restore`): only files are shown, problems of single files
    /// are warnings, and a busy lock is not waited for.
    Implicit,
}

impl Default for ArchiveOptions {
    fn default() -> Self {
        Self {
            occasion: Occasion::Command,
        }
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct ArchiveReport {
    /// Files stored in the archive.
    pub archived: u64,
    /// Files dropped because the archive had the same content.
    pub already_archived: u64,
    /// Files moved to the errors directory because the archive has other content under their name.
    pub duplicates: u64,
    /// Objects that are no WAL files, moved to the errors directory.
    pub unknown: u64,
    /// WAL files that are useless (empty, cut off, misnamed), moved to the errors directory.
    pub rejected: u64,
    /// Files that could not be archived or moved and wait for the next run.
    pub failed: u64,
    /// Files left for the next run because they seem to be written just now.
    pub unsettled: u64,
    /// Files left for the next run because of a batch size.
    pub left_by_limit: u64,
    /// Lines added to the catalogue for files that an earlier run had stored and not listed.
    pub repaired: u64,
    /// The last file stored.
    pub last_archived: Option<WalFileName>,
    /// Whether a pre-archive retry script ended an archiver before its queue was empty.
    pub stopped_by_hook: bool,
}

impl ArchiveReport {
    /// 1 when a file was rejected or could not be archived (the error lines are out already), else 0.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        if self.failed > 0 || self.rejected > 0 {
            1
        } else {
            0
        }
    }

    /// Whether anything has changed in the archive.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.archived == 0 && self.already_archived == 0
    }
}

/// Archives what waits. Servers that have no archivers (inactive ones, passive nodes) are left alone.
///
/// # Errors
/// [`ArchiveError`]; what was archived before it stays archived, the rest stays in the queue.
pub fn run(
    server: &Server,
    options: &ArchiveOptions,
    ctx: &Context<'_>,
) -> Result<ArchiveReport, ArchiveError> {
    run_with(server, options, &mut Patience::default(), ctx)
}

/// Archives for a command that waits for WAL, one time of several: what failed in its earlier runs is in `patience`.
///
/// # Errors
/// As [`run`].
pub(in crate::ops) fn run_again(
    server: &Server,
    patience: &mut Patience,
    ctx: &Context<'_>,
) -> Result<ArchiveReport, ArchiveError> {
    let options = ArchiveOptions {
        occasion: Occasion::Implicit,
    };
    run_with(server, &options, patience, ctx)
}

fn run_with(
    server: &Server,
    options: &ArchiveOptions,
    patience: &mut Patience,
    ctx: &Context<'_>,
) -> Result<ArchiveReport, ArchiveError> {
    let config = server.config();
    if !server.connects() {
        return Ok(ArchiveReport::default());
    }
    let storage = storage(server)?;
    let _lock = lock(server, options, ctx)?;
    let custom = custom_magic(config);
    let mut run = Run::new(config, &storage, custom, options.occasion, patience, ctx);
    run.repair()?;
    if config.streaming_archiver {
        run.archiver(
            Source::Streaming,
            &config.streaming_wals_directory,
            config.streaming_archiver_batch_size,
        )?;
    }
    if config.archiver {
        run.archiver(
            Source::Incoming,
            &config.incoming_wals_directory,
            config.archiver_batch_size,
        )?;
    }
    Ok(run.into_report())
}

fn lock(server: &Server, options: &ArchiveOptions, ctx: &Context<'_>) -> Result<Lock, ArchiveError> {
    let path = server.layout().archive_wal_lock();
    let name = || server.name().to_owned();
    let result = match options.occasion {
        Occasion::Command => Lock::acquire_within(&path, LOCK_PATIENCE, Some(&ctx.cancel.flag())),
        Occasion::Implicit => Lock::try_acquire(&path),
    };
    result.map_err(|error| match error {
        LockError::Busy { .. } => ArchiveError::Busy { server: name() },
        LockError::Cancelled { .. } => ArchiveError::Interrupted { server: name() },
        source => ArchiveError::Lock {
            server: name(),
            source,
        },
    })
}

/// How files are stored, or why they cannot be. Nothing is touched.
fn storage(server: &Server) -> Result<Storage<'_>, ArchiveError> {
    let config = server.config();
    let name = || config.name.clone();
    if config.wals_in_cloud() {
        return Err(ArchiveError::Cloud {
            server: name(),
            url: config.wals_directory.display().to_string(),
        });
    }
    if let Some(encryption) = config.encryption {
        return Err(ArchiveError::Encryption {
            server: name(),
            encryption: encryption.to_string(),
        });
    }
    let codec = WalCodec::new(config);
    codec.check().map_err(|source| ArchiveError::Compression {
        server: name(),
        source,
    })?;
    Ok(Storage {
        layout: server.layout(),
        check_segments: !codec.has_filters(),
        codec,
        spare_threads: AtomicUsize::new(1),
        system_identifier: known_system(server.layout()),
    })
}

/// The cluster that was backed up, if any was. Only for a warning, so a file that cannot be read tells nothing.
fn known_system(layout: &Layout) -> Option<u64> {
    identity::read(layout).ok().flatten()?.systemid?.parse().ok()
}

/// How a rebuild of the catalogue recognises files of a custom compression.
#[must_use]
pub(crate) fn custom_magic(config: &ServerConfig) -> CustomMagic {
    match (&config.custom_compression_magic, config.compression) {
        (Some(magic), _) => CustomMagic::Bytes(magic.clone()),
        (None, Some(WalCompression::Custom)) => CustomMagic::Anything,
        (None, _) => CustomMagic::None,
    }
}

#[cfg(test)]
mod tests;
