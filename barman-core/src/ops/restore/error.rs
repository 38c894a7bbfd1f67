//! Why a restore was refused or failed.

use std::io;
use std::path::PathBuf;

use barman_catalog::BackupId;
use barman_wal::{Lsn, SegmentName, TimelineId};

use crate::copy::tree::TreeError;
use crate::failure::{Class, Failure};
use crate::host::hooks::HookError;

/// Why a restore was refused (nothing was written) or failed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// More than one target.
    #[error(
        "Targets --target-time, --target-xid, --target-lsn, --target-name and --target-immediate cannot be combined: give one of them"
    )]
    SeveralTargets,
    /// `--target-lsn` is no LSN.
    #[error("'{text}' is not an LSN (two hexadecimal numbers with a '/' between them)")]
    BadLsn {
        /// As given.
        text: String,
    },
    /// `--target-xid` is no transaction id.
    #[error("'{text}' is not a transaction ID (a whole number)")]
    BadXid {
        /// As given.
        text: String,
    },
    /// `--target-time` is no time.
    #[error("unable to parse the target time parameter '{text}': {reason}")]
    BadTime {
        /// As given.
        text: String,
        /// What was not understood.
        reason: String,
    },
    /// `--target-action` alone.
    #[error("Can't enable recovery target action when PITR is not required")]
    ActionWithoutTarget,
    /// The target time lies before the end of the backup.
    #[error("The requested target time {target} is before the backup end time {end}")]
    TimeBeforeEnd {
        /// Target, normalised.
        target: String,
        /// End of the backup.
        end: String,
    },
    /// The target LSN lies before the end of the backup.
    #[error("The requested target LSN {target} is before the backup end LSN {end}")]
    LsnBeforeEnd {
        /// Target.
        target: Lsn,
        /// End of the backup.
        end: Lsn,
    },
    /// The target timeline has no history file in the archive.
    #[error("Timeline {timeline} is unknown: the WAL archive of server '{server}' has no {file}")]
    UnknownTimeline {
        /// The timeline.
        timeline: TimelineId,
        /// The server.
        server: String,
        /// Its history file.
        file: String,
    },
    /// The target timeline does not descend from the backup.
    #[error("Timeline {timeline} cannot be reached from backup '{backup}': {reason}")]
    UnreachableTimeline {
        /// The timeline.
        timeline: TimelineId,
        /// The backup.
        backup: BackupId,
        /// Why.
        reason: String,
    },
    /// `--target-tli latest` with an empty archive.
    #[error("cannot find the latest timeline of server '{server}': its WAL archive is empty")]
    NoTimeline {
        /// The server.
        server: String,
    },
    /// No such backup, or several.
    #[error(transparent)]
    Unknown(#[from] barman_catalog::ids::ResolveError),
    /// `auto` with a target that does not tell which backup is the right one.
    #[error(
        "For PITR without backup_id, the only possible recovery targets are target_time, target_tli, and target_lsn."
    )]
    AutoNeedsTimeOrLsn,
    /// `auto` with `--target-tli current`.
    #[error("'current' is no timeline to choose a backup by: there is no backup yet")]
    AutoCurrent,
    /// `auto` found nothing.
    #[error("Cannot find any candidate backup for recovery.")]
    NoCandidate,
    /// The backup is not complete.
    #[error("Cannot restore from backup '{backup}' of server '{server}': backup status is not DONE")]
    NotDone {
        /// The backup.
        backup: String,
        /// The server.
        server: String,
        /// What it is instead, and why if that is known.
        state: String,
    },
    /// A deletion of the backup has begun.
    #[error("Cannot restore backup '{backup}' of server '{server}': its deletion has begun")]
    BeingDeleted {
        /// The backup.
        backup: BackupId,
        /// The server.
        server: String,
    },
    /// The metadata lacks something a restore cannot do without.
    #[error("Cannot restore backup '{backup}': its metadata has no {field}")]
    Incomplete {
        /// The backup.
        backup: BackupId,
        /// Field of `backup.info`.
        field: &'static str,
    },
    /// Something this program cannot do yet.
    #[error("{what} is not yet available")]
    NotAvailable {
        /// What was asked for.
        what: &'static str,
    },
    /// An option that makes sense with a remote restore only.
    #[error("{option} requires --remote-ssh-command")]
    NeedsRemote {
        /// The option.
        option: &'static str,
    },
    /// `--snapshot-recovery-instance` for a backup that is no snapshot.
    #[error(
        "Backup {backup} is not a snapshot backup but the following snapshot arguments have been used: --snapshot-recovery-instance"
    )]
    NotASnapshot {
        /// The backup.
        backup: BackupId,
    },
    /// A path that must be absolute.
    #[error("{option}: '{}' is not an absolute path", path.display())]
    NotAbsolute {
        /// The option.
        option: &'static str,
        /// As given.
        path: PathBuf,
    },
    /// A file name that leads elsewhere.
    #[error("{option}: '{name}' is not the name of a file of the destination directory")]
    BadFileName {
        /// The option.
        option: &'static str,
        /// As given.
        name: String,
    },
    /// An empty destination.
    #[error("The destination directory is empty text")]
    NoDestination,
    /// A colon in the destination.
    #[error("The destination directory parameter cannot contain the ':' character")]
    ColonInDestination {
        /// As given.
        path: PathBuf,
    },
    /// A path that cannot be written into settings.
    #[error("'{}' cannot be written into recovery settings: it has line ends or is not UTF-8", path.display())]
    UnwritablePath {
        /// The path.
        path: PathBuf,
    },
    /// A `--tablespace` rule that is none.
    #[error("Invalid tablespace relocation rule '{rule}'")]
    BadTablespaceRule {
        /// As given.
        rule: String,
    },
    /// A rule for a tablespace that is not in the backup.
    #[error("Invalid tablespace name '{name}'")]
    UnknownTablespace {
        /// As given.
        name: String,
        /// What the backup has.
        known: Vec<String>,
    },
    /// Two tablespaces in one place.
    #[error("Tablespaces '{first}' and '{second}' would share {}", path.display())]
    TablespacesOverlap {
        /// One.
        first: String,
        /// The other.
        second: String,
        /// Where.
        path: PathBuf,
    },
    /// The destination has content.
    #[error("Destination directory '{}' must be empty (it holds '{found}')", path.display())]
    DestinationNotEmpty {
        /// The directory.
        path: PathBuf,
        /// One of its entries.
        found: String,
    },
    /// The place of a tablespace has content.
    #[error("Tablespace directory '{}' must be empty for tablespace '{tablespace}' (it holds '{found}')", path.display())]
    TablespaceNotEmpty {
        /// The directory.
        path: PathBuf,
        /// The tablespace.
        tablespace: String,
        /// One of its entries.
        found: String,
    },
    /// A destination that is no directory.
    #[error("'{}' is not a directory", path.display())]
    NotADirectory {
        /// The path.
        path: PathBuf,
    },
    /// A destination in Barman's own directories.
    #[error("'{}' is inside of '{}', which belongs to Barman: restoring there would damage the catalogue", path.display(), inside.display())]
    InsideCatalogue {
        /// The path.
        path: PathBuf,
        /// The directory of Barman.
        inside: PathBuf,
    },
    /// Not enough room.
    #[error("not enough disk space for '{}': {needed} bytes are needed, {available} are available", path.display())]
    DiskSpace {
        /// Where.
        path: PathBuf,
        /// Bytes.
        needed: u64,
        /// Bytes.
        available: u64,
    },
    /// WAL that the restore needs is not in the archive.
    #[error(
        "WAL segment {first} is missing from the archive of server '{server}' ({count} segment(s) in a row): {consequence}"
    )]
    MissingWal {
        /// The server.
        server: String,
        /// First missing segment.
        first: SegmentName,
        /// How many.
        count: u64,
        /// What cannot be done without it.
        consequence: &'static str,
    },
    /// The WAL catalogue names a file that is not on disk.
    #[error("WAL file {name} is in the WAL catalogue of server '{server}' but not in '{}'", path.display())]
    LostWal {
        /// The server.
        server: String,
        /// Name of the file.
        name: String,
        /// Where it should be.
        path: PathBuf,
    },
    /// Archived WAL in a form that cannot be read.
    #[error("WAL file {name} is {what}, which cannot be read")]
    UnreadableWal {
        /// Name of the file.
        name: String,
        /// Compression or encryption.
        what: String,
    },
    /// A WAL file that is damaged.
    #[error("WAL file '{}' is damaged: {reason}", path.display())]
    DamagedWal {
        /// The archived file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Another process is deleting or changing the backup.
    #[error("Backup '{backup}' of server '{server}' is being worked on by another process{}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default())]
    Busy {
        /// The backup.
        backup: BackupId,
        /// The server.
        server: String,
        /// Who.
        pid: Option<u32>,
    },
    /// A lock could not be taken.
    #[error("cannot lock '{}': {reason}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The catalogue or its WAL catalogue cannot be read.
    #[error("{0}")]
    Catalogue(String),
    /// A hook script stopped the restore.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The base copy failed.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// Some other file could not be read or written.
    #[error("cannot {action} '{}': {source}", path.display())]
    Io {
        /// Verb: `read`, `create directory` ...
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody asked to stop.
    #[error("interrupted")]
    Interrupted,
    /// The restore failed after it had begun to write.
    #[error("{source}\nDestination directory '{}' is incomplete and PostgreSQL cannot be started there (global/pg_control was not written)", destination.display())]
    Partial {
        /// What failed.
        source: Box<RestoreError>,
        /// The destination.
        destination: PathBuf,
    },
}

impl RestoreError {
    /// An [`RestoreError::Io`].
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

impl Failure for RestoreError {
    fn class(&self) -> Class {
        match self {
            Self::Hook(error) => error.class(),
            Self::Interrupted | Self::Tree(TreeError::Cancelled) => Class::Interrupted,
            Self::Partial { source, .. } => source.class(),
            Self::AutoCurrent | Self::NoTimeline { .. } => Class::Exception,
            _ => Class::Error,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Partial { source, destination } => {
                let after = format!("Empty '{}' and the tablespace directories before the next attempt.", destination.display());
                return Some(match source.hint() {
                    Some(hint) => format!("{hint} {after}"),
                    None => after,
                });
            }
            Self::ColonInDestination { .. } => {
                "If you want to do a remote restore, use the --remote-ssh-command option.".to_owned()
            }
            Self::TimeBeforeEnd { .. } | Self::LsnBeforeEnd { .. } => {
                "A backup is consistent from its end on: choose an older backup, or `auto`.".to_owned()
            }
            Self::UnknownTimeline { .. } => {
                "`--target-tli latest` takes the newest timeline of the archive.".to_owned()
            }
            Self::UnreachableTimeline { .. } => {
                "Choose a backup that ended before the timelines parted, or `--target-tli current`.".to_owned()
            }
            Self::DestinationNotEmpty { .. } => "Restore into a new directory, or empty this one.".to_owned(),
            Self::TablespaceNotEmpty { tablespace, .. } => {
                format!("Use `--tablespace {tablespace}:LOCATION` to restore it somewhere else.")
            }
            Self::MissingWal { .. } => {
                "Look for the segment in the incoming, streaming and errors directories and in pg_wal of the server; \
                 `barman archive-wal` takes it in. If it is lost, choose a newer backup, or an earlier target."
                    .to_owned()
            }
            Self::NotDone { state, server, .. } => {
                format!("It is {state}. 'barman list-backups {server}' shows the backups that can be restored.")
            }
            Self::LostWal { .. } => {
                "Bring the file back. If it is lost, choose a later backup, or a target that needs no WAL from there on."
                    .to_owned()
            }
            Self::DamagedWal { .. } => {
                "The archived file is not what PostgreSQL wrote: get this segment from another archive, or choose a \
                 newer backup."
                    .to_owned()
            }
            Self::BadTablespaceRule { .. } => "A rule has the form NAME:LOCATION.".to_owned(),
            Self::UnknownTablespace { known, .. } if known.is_empty() => "This backup has no tablespaces.".to_owned(),
            Self::UnknownTablespace { known, .. } => format!("The tablespaces of this backup: {}.", known.join(", ")),
            Self::NeedsRemote { .. } => "It is for a restore to another host only.".to_owned(),
            Self::Busy { .. } => "Wait for that process, then try again.".to_owned(),
            Self::DiskSpace { .. } => "Choose another place, or make room.".to_owned(),
            _ => return None,
        })
    }
}
