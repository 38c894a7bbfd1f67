//! Why a backup is kept or obsolete, in data and in a sentence.

use crate::annotations::Keep;
use crate::backup_info::BackupStatus;
use crate::ids::BackupId;
use std::fmt;

/// Why a policy says of a backup what it says. `Display` is a sentence without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "rule", rename_all = "snake_case")]
pub enum Reason {
    /// The policy looks at backups that are `DONE` only.
    NotDone {
        /// Its status.
        status: BackupStatus,
    },
    /// Its deletion has begun.
    BeingDeleted,
    /// It has a keep annotation.
    Kept {
        /// Which.
        keep: Keep,
    },
    /// It is one of the newest, which redundancy keeps.
    Newest {
        /// Counted from the newest, from 1.
        position: u32,
        /// How many are kept: the policy's number or the minimum redundancy, whichever is greater.
        wanted: u32,
    },
    /// There are enough newer ones.
    BeyondRedundancy {
        /// Counted from the newest, from 1.
        position: u32,
        /// How many are kept.
        wanted: u32,
    },
    /// It ended within the recovery window.
    InWindow {
        /// Where the window begins.
        #[serde(serialize_with = "as_text")]
        window_start: jiff::Timestamp,
    },
    /// It is the newest one that ended before the window: the window's beginning is reached from it.
    ReachesWindow {
        /// Where the window begins.
        #[serde(serialize_with = "as_text")]
        window_start: jiff::Timestamp,
    },
    /// It is not known when it ended.
    NoEndTime,
    /// It is outside of the window, and one of the last that the minimum redundancy asks for.
    MinimumRedundancy {
        /// Counted from the newest, from 1.
        position: u32,
        /// The minimum redundancy.
        minimum: u32,
    },
    /// A newer backup reaches the window's beginning already.
    BeforeWindow {
        /// Where the window begins.
        #[serde(serialize_with = "as_text")]
        window_start: jiff::Timestamp,
        /// That newer backup.
        reached_by: BackupId,
    },
    /// An incremental backup, for which the same holds as for what it is based on.
    OfRoot {
        /// The full backup at the root of the chain.
        root: BackupId,
    },
    /// An incremental backup whose root is kept alone.
    RootKeptAlone {
        /// The full backup at the root of the chain.
        root: BackupId,
    },
    /// An incremental backup without its root.
    RootMissing,
    /// A kept incremental backup is based on it.
    NeededBy {
        /// That backup.
        kept: BackupId,
    },
}

impl Reason {
    /// The name of the rule, for programs.
    #[must_use]
    pub fn rule(&self) -> &'static str {
        match self {
            Self::NotDone { .. } => "not_done",
            Self::BeingDeleted => "being_deleted",
            Self::Kept { .. } => "kept",
            Self::Newest { .. } => "newest",
            Self::BeyondRedundancy { .. } => "beyond_redundancy",
            Self::InWindow { .. } => "in_window",
            Self::ReachesWindow { .. } => "reaches_window",
            Self::NoEndTime => "no_end_time",
            Self::MinimumRedundancy { .. } => "minimum_redundancy",
            Self::BeforeWindow { .. } => "before_window",
            Self::OfRoot { .. } => "of_root",
            Self::RootKeptAlone { .. } => "root_kept_alone",
            Self::RootMissing => "root_missing",
            Self::NeededBy { .. } => "needed_by",
        }
    }
}

fn as_text<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotDone { status } => write!(f, "the policy does not look at it: its status is {status}"),
            Self::BeingDeleted => f.write_str("its deletion has begun and goes on"),
            Self::Kept { keep: Keep::Full } => {
                f.write_str("kept on request, with all WAL from its beginning on")
            }
            Self::Kept {
                keep: Keep::Standalone,
            } => f.write_str("kept on request, with only the WAL that makes it consistent"),
            Self::Newest { position, wanted } | Self::BeyondRedundancy { position, wanted } => {
                write!(
                    f,
                    "number {position} from the newest, of which the policy keeps {wanted}"
                )
            }
            Self::InWindow { window_start } => {
                write!(
                    f,
                    "ended within the recovery window, which begins at {window_start:.0}"
                )
            }
            Self::ReachesWindow { window_start } => write!(
                f,
                "the newest one from before the recovery window: its beginning, {window_start:.0}, is reached from here"
            ),
            Self::NoEndTime => f.write_str("it is not known when it ended"),
            Self::MinimumRedundancy { position, minimum } => write!(
                f,
                "outside of the recovery window, but number {position} of the {minimum} that minimum_redundancy asks for"
            ),
            Self::BeforeWindow {
                window_start,
                reached_by,
            } => write!(
                f,
                "the beginning of the recovery window, {window_start:.0}, is reached from backup {reached_by}"
            ),
            Self::OfRoot { root } => write!(f, "goes with backup {root}, which it is based on"),
            Self::RootKeptAlone { root } => write!(
                f,
                "based on backup {root}, which is kept alone: the policy decides about this one as if that were not kept"
            ),
            Self::RootMissing => f.write_str("the full backup that it is based on is missing"),
            Self::NeededBy { kept } => write!(f, "backup {kept}, which is kept, is based on it"),
        }
    }
}
