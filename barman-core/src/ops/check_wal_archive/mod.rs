//! `check-wal-archive`: whether the archive can take the WAL of a new server: nothing of its timeline or a later one is
//! there yet.

use barman_catalog::xlogdb::{self, XlogDb, XlogDbError};
use barman_wal::TimelineId;
use barman_wal::lock::LockError;

use crate::context::Context;
use crate::failure::{Class, Failure};
use crate::ops::list_backups::custom_magic;
use crate::server::Server;

/// Why the archive is not fit, or it is not known.
#[derive(Debug, thiserror::Error)]
pub enum CheckWalArchiveError {
    /// It is not fit.
    #[error("WAL archive check failed for server {server}: {reason}")]
    Unfit {
        /// The server.
        server: String,
        /// Why.
        reason: Unfit,
    },
    /// The WAL catalogue.
    #[error(transparent)]
    XlogDb(#[from] XlogDbError),
}

impl Failure for CheckWalArchiveError {
    fn class(&self) -> Class {
        match self {
            Self::XlogDb(XlogDbError::Lock {
                source: LockError::Cancelled { .. },
                ..
            }) => Class::Interrupted,
            _ => Class::Error,
        }
    }
}

/// What is in the way of a new server.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// There is something.
    #[error("Expected empty archive")]
    NotEmpty,
    /// There is something that is no WAL.
    #[error("Unexpected file {0} found in WAL archive")]
    Stranger(String),
    /// There is WAL of this timeline or of later ones.
    #[error(
        "Found {files} file{} in WAL archive equal to or newer than timeline {timeline}",
        if *files == 1 { "" } else { "s" }
    )]
    Newer {
        /// How many files.
        files: u64,
        /// The timeline.
        timeline: TimelineId,
    },
}

/// Looks through the WAL catalogue of `server`. Works without PostgreSQL and changes nothing.
///
/// # Errors
/// The archive is not fit; the WAL catalogue cannot be read.
pub fn run(
    server: &Server,
    timeline: Option<TimelineId>,
    ctx: &Context<'_>,
) -> Result<(), CheckWalArchiveError> {
    let cancel = ctx.cancel.flag();
    let db = xlogdb::read(server.layout(), &custom_magic(server.config()), Some(&cancel))?;
    judge(&db, timeline).map_err(|reason| CheckWalArchiveError::Unfit {
        server: server.name().to_owned(),
        reason,
    })
}

/// Whether the archive can take WAL that begins on `timeline`; without one it has to be empty.
///
/// # Errors
/// What is in the way.
pub fn judge(db: &XlogDb, timeline: Option<TimelineId>) -> Result<(), Unfit> {
    let torn = db.torn_line().is_some();
    let Some(timeline) = timeline else {
        let empty = db.is_empty() && db.bad_line_count() == 0 && !torn;
        return if empty { Ok(()) } else { Err(Unfit::NotEmpty) };
    };
    let bad = db.bad_lines().first().map(|line| line.text.as_str());
    if let Some(line) = bad.or(db.torn_line()) {
        let name = line.split_ascii_whitespace().next().unwrap_or(line);
        return Err(Unfit::Stranger(name.to_owned()));
    }
    let files = db
        .iter()
        .filter(|record| record.name.timeline() >= timeline)
        .count() as u64;
    if files > 0 {
        return Err(Unfit::Newer { files, timeline });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn archives_of_all_kinds() {
        const ONE: &str = "000000010000000000000001\t1\t1.0\tNone\tNone\n";
        const TWO: &str =
            "00000002.history\t1\t1.0\tNone\tNone\n000000020000000000000001.partial\t1\t1.0\tNone\tNone\n";
        let all = format!("{ONE}{TWO}");
        let bad = format!("{ONE}nonsense\t1\t1.0\tNone\tNone\n");
        for (text, timeline, expected) in [
            ("", None, ""),
            ("", Some(1), ""),
            (ONE, None, "Expected empty archive"),
            (
                ONE,
                Some(1),
                "Found 1 file in WAL archive equal to or newer than timeline 1",
            ),
            (ONE, Some(2), ""),
            (
                &all,
                Some(2),
                "Found 2 files in WAL archive equal to or newer than timeline 2",
            ),
            (&all, Some(3), ""),
            (&bad, None, "Expected empty archive"),
            (&bad, Some(2), "Unexpected file nonsense found in WAL archive"),
            ("00000001", None, "Expected empty archive"),
            (
                "00000001",
                Some(3),
                "Unexpected file 00000001 found in WAL archive",
            ),
        ] {
            let db = XlogDb::parse(text.as_bytes()).unwrap();
            let timeline = timeline.and_then(TimelineId::new);
            let found = judge(&db, timeline).map_or_else(|e| e.to_string(), |()| String::new());
            assert_eq!(found, expected, "{text:?}");
        }
    }
}
