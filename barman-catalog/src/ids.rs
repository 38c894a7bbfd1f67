//! Backup ids, and what a user may say instead of one.

use crate::backup_info::{BackupInfo, BackupStatus, BackupType};
use crate::catalog::{BrokenBackup, Catalog};
use barman_wal::{Lsn, TimelineId};
use std::fmt;
use std::str::FromStr;

/// The id of a backup: `YYYYMMDDTHHMMSS`, the host's wall clock when the backup began. Ids order as strings.
///
/// ```
/// use barman_catalog::BackupId;
///
/// let id: BackupId = "20261121T044724".parse()?;
/// assert!(id < "20261121T044725".parse()?);
/// # Ok::<(), barman_catalog::ids::BackupIdError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId([u8; 15]);

/// A text that has not the shape of a backup id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a backup id (eight digits, T, six digits)")]
pub struct BackupIdError(String);

impl BackupId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The id that a backup beginning at `wall` gets, when ids up to `highest` are taken: that of the wall clock, or,
    /// if the clock or its time zone went back, the second after `highest`. New ids are strictly increasing, so that
    /// the order of ids is the order of backups.
    #[must_use]
    pub fn next(wall: jiff::civil::DateTime, highest: Option<BackupId>) -> BackupId {
        let from_clock = BackupId::from_wall_clock(wall);
        match highest {
            Some(highest) if from_clock.is_none_or(|id| id <= highest) => highest.successor(),
            _ => from_clock.unwrap_or(BackupId(*b"00000000T000000")),
        }
    }

    fn from_wall_clock(wall: jiff::civil::DateTime) -> Option<BackupId> {
        let (year, month, day) = (wall.year(), wall.month(), wall.day());
        format!(
            "{year:04}{month:02}{day:02}T{:02}{:02}{:02}",
            wall.hour(),
            wall.minute(),
            wall.second()
        )
        .parse()
        .ok()
    }

    /// One second later; for an id that is no calendar time, or the last second of all, the next number.
    fn successor(self) -> BackupId {
        let text = self.as_str();
        let part = |from: usize, to: usize| {
            text.get(from..to)
                .and_then(|d| d.parse::<i16>().ok())
                .unwrap_or(-1)
        };
        let small = |from, to| i8::try_from(part(from, to)).unwrap_or(-1);
        let wall = jiff::civil::DateTime::new(
            part(0, 4),
            small(4, 6),
            small(6, 8),
            small(9, 11),
            small(11, 13),
            small(13, 15),
            0,
        );
        if let Ok(wall) = wall
            && let Ok(later) = wall.checked_add(jiff::Span::new().seconds(1))
            && let Some(id) = Self::from_wall_clock(later)
            && id > self
        {
            return id;
        }
        let digits: u64 = text.replace('T', "").parse().unwrap_or(0);
        let text = format!("{:014}", (digits + 1).min(99_999_999_999_999));
        let (date, time) = text.split_at(8);
        format!("{date}T{time}").parse().unwrap_or(self)
    }
}

impl FromStr for BackupId {
    type Err = BackupIdError;

    fn from_str(text: &str) -> Result<Self, BackupIdError> {
        let error = || BackupIdError(text.chars().take(40).collect());
        let bytes: [u8; 15] = text.as_bytes().try_into().map_err(|_| error())?;
        let shaped = bytes
            .iter()
            .enumerate()
            .all(|(i, b)| if i == 8 { *b == b'T' } else { b.is_ascii_digit() });
        if shaped { Ok(BackupId(bytes)) } else { Err(error()) }
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl serde::Serialize for BackupId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Words that select a backup and therefore cannot name one.
pub const RESERVED_NAMES: [&str; 8] = [
    "latest",
    "last",
    "oldest",
    "first",
    "last-failed",
    "latest-full",
    "last-full",
    "auto",
];

/// Why a text cannot name a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// It is empty.
    #[error("a backup name must not be empty")]
    Empty,
    /// It selects a backup by itself.
    #[error("a backup name must not be a backup id or one of the words that select a backup")]
    Reserved,
    /// It cannot be kept in one line of `backup.info`.
    #[error("a backup name must be one line without blanks around it, and not the word None")]
    Unwritable,
}

/// Checks a friendly name for a new backup.
///
/// # Errors
/// Names that are empty, that select a backup by themselves, or that would not read back as written.
pub fn check_name(name: &str) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if RESERVED_NAMES.contains(&name) || name.parse::<BackupId>().is_ok() {
        return Err(NameError::Reserved);
    }
    if name.trim() != name || name.contains(['\n', '\r']) || name == "None" {
        return Err(NameError::Unwritable);
    }
    Ok(())
}

/// Why an argument selects no backup.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// Nothing matches.
    #[error("Unknown backup '{argument}' for server '{server}'")]
    Unknown {
        /// What was asked for.
        argument: String,
        /// The server.
        server: String,
    },
    /// A name that several backups carry.
    #[error(
        "Multiple backups found matching name '{name}' (try using backup ID instead): {}",
        join(ids)
    )]
    Ambiguous {
        /// The name.
        name: String,
        /// The backups that carry it, ascending.
        ids: Vec<BackupId>,
    },
    /// The backup is there, but its file cannot be read.
    #[error("the metadata of backup '{id}' of server '{server}' cannot be read: {reason}")]
    Unreadable {
        /// The backup.
        id: BackupId,
        /// The server.
        server: String,
        /// Why.
        reason: String,
    },
}

fn join(ids: &[BackupId]) -> String {
    ids.iter().map(BackupId::as_str).collect::<Vec<_>>().join(" ")
}

/// The backup that `argument` (an id, a shortcut or a name) selects from `catalog`.
///
/// Shortcuts are exact words. Backups whose deletion has begun are found by id or as `last-failed` only.
///
/// # Errors
/// Nothing or several found; a file that cannot be read.
pub fn resolve<'c>(catalog: &'c Catalog, argument: &str) -> Result<&'c BackupInfo, ResolveError> {
    let server = || catalog.server().to_owned();
    let mut whole = catalog.usable().filter(|b| b.status.is_copy_done());
    let found = match argument {
        "latest" | "last" => whole.next_back(),
        "oldest" | "first" => whole.next(),
        "last-failed" => catalog.backups().rfind(|b| b.status == BackupStatus::Failed),
        "latest-full" | "last-full" => {
            whole.rfind(|b| matches!(b.backup_type(), BackupType::Full | BackupType::Rsync))
        }
        _ => {
            if let Ok(id) = argument.parse::<BackupId>() {
                if let Some(broken) = catalog.broken().iter().find(|b| b.id == Some(id)) {
                    return Err(ResolveError::Unreadable {
                        id,
                        server: server(),
                        reason: broken.reason.clone(),
                    });
                }
                catalog.get(id)
            } else {
                None
            }
        }
    };
    if let Some(backup) = found {
        return Ok(backup);
    }
    let named: Vec<&BackupInfo> = catalog
        .usable()
        .filter(|b| b.status.is_copy_done() && b.backup_name.as_deref() == Some(argument))
        .collect();
    match named.as_slice() {
        [backup] => Ok(backup),
        [] => Err(ResolveError::Unknown {
            argument: argument.to_owned(),
            server: server(),
        }),
        several => Err(ResolveError::Ambiguous {
            name: argument.to_owned(),
            ids: several.iter().map(|b| b.id).collect(),
        }),
    }
}

/// The backups whose metadata cannot be read, and that `argument` (a shortcut or a name) may mean, given that it selects
/// `found` from those that can: for `oldest` those before it, for the other words those behind it, for a name that
/// nobody has all of them. None for an id.
pub fn passed_over<'c>(
    catalog: &'c Catalog,
    argument: &str,
    found: Option<BackupId>,
) -> impl Iterator<Item = &'c BrokenBackup> {
    let is_id = argument.parse::<BackupId>().is_ok();
    let is_first = matches!(argument, "oldest" | "first");
    let is_word = RESERVED_NAMES.contains(&argument);
    catalog.broken().iter().filter(move |broken| {
        let Some(id) = broken.id.filter(|_| !is_id) else {
            return false;
        };
        match found {
            None => true,
            Some(found) if is_first => id < found,
            Some(found) => is_word && id > found,
        }
    })
}

/// The moment a restore aims at, as far as the choice of a backup depends on it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AutoTarget {
    /// The end of the archive.
    Latest,
    /// An instant.
    Time(jiff::Timestamp),
    /// A WAL position.
    Lsn(Lsn),
}

/// The newest whole backup from which `target` can be reached, restricted to `timeline` if given: the choice of
/// `restore auto`.
#[must_use]
pub fn auto<'a>(
    backups: impl DoubleEndedIterator<Item = &'a BackupInfo>,
    target: AutoTarget,
    timeline: Option<TimelineId>,
) -> Option<&'a BackupInfo> {
    backups
        .filter(|b| b.status.is_copy_done())
        .filter(|b| timeline.is_none() || b.timeline == timeline)
        .rfind(|b| match target {
            AutoTarget::Latest => true,
            AutoTarget::Time(time) => b.end_time.is_some_and(|end| end.instant() <= time),
            AutoTarget::Lsn(lsn) => b.end_xlog.is_some_and(|end| end <= lsn),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn id(text: &str) -> BackupId {
        text.parse().unwrap()
    }

    #[test]
    fn only_the_shape_counts() {
        assert_eq!(id("99999999T999999").to_string(), "99999999T999999");
        for text in [
            "",
            "20261121T04472",
            "20261121t044724",
            "20261121T044724\n",
            "2026112١T04472",
            "../etc/passwd12",
        ] {
            assert!(text.parse::<BackupId>().is_err(), "{text}");
        }
    }

    #[test]
    fn new_ids_follow_the_clock_unless_it_went_back() {
        let wall = jiff::civil::date(2026, 11, 21).at(4, 47, 24, 999);
        for (highest, next) in [
            (None, "20261121T044724"),
            (Some("20261121T044723"), "20261121T044724"),
            (Some("20261121T044724"), "20261121T044725"),
            (Some("20261231T235959"), "20270101T000000"),
            (Some("20261121T995999"), "20261121T996000"),
        ] {
            assert_eq!(BackupId::next(wall, highest.map(id)), id(next), "{highest:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_may_be_meant() {
        let home = tempfile::tempdir().unwrap();
        let layout = crate::Layout::new("s", home.path());
        std::fs::create_dir_all(layout.meta_directory()).unwrap();
        for name in ["20260101T000000", "20260103T000000", "no-id"] {
            let path = layout.meta_directory().join(format!("{name}-backup.info"));
            std::fs::write(path, "garbage").unwrap();
        }
        let catalog = Catalog::load(&layout).unwrap();
        let (first, last) = ("20260101T000000", "20260103T000000");
        let middle = Some("20260102T000000");
        for (argument, found, expected) in [
            ("oldest", middle, vec![first]),
            ("first", Some("20251231T000000"), vec![]),
            ("first", Some("20260104T000000"), vec![first, last]),
            ("latest", middle, vec![last]),
            ("last-failed", middle, vec![last]),
            ("latest-full", Some("20260104T000000"), vec![]),
            ("auto", middle, vec![last]),
            ("oldest", None, vec![first, last]),
            ("auto", None, vec![first, last]),
            ("weekly", middle, vec![]),
            ("weekly", None, vec![first, last]),
            ("20260102T000000", middle, vec![]),
            ("20260102T000000", None, vec![]),
        ] {
            let over: Vec<_> = passed_over(&catalog, argument, found.map(id))
                .filter_map(|broken| broken.id)
                .map(|id| id.to_string())
                .collect();
            assert_eq!(over, expected, "{argument} {found:?}");
        }
    }

    #[test]
    fn names_that_select_or_do_not_read_back_are_refused() {
        assert_eq!(check_name("first one"), Ok(()));
        assert_eq!(check_name(""), Err(NameError::Empty));
        for name in ["latest", "auto", "20261121T044724"] {
            assert_eq!(check_name(name), Err(NameError::Reserved), "{name}");
        }
        for name in ["a\nb", " a", "None"] {
            assert_eq!(check_name(name), Err(NameError::Unwritable), "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_new_id_is_above_all_others(highest in "[0-9]{8}T[0-9]{6}", seconds in 0i64..4_000_000_000) {
            prop_assume!(highest != "99999999T999999");
            let wall = jiff::Timestamp::from_second(seconds).unwrap().to_zoned(jiff::tz::TimeZone::UTC).datetime();
            prop_assert!(BackupId::next(wall, Some(id(&highest))) > id(&highest));
        }
    }
}
