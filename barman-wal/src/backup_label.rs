//! The `backup_label` of a base backup, and the backup history file (`SEGMENT.OFFSET.backup`) that PostgreSQL archives
//! when the backup ends, which has the same lines and some more (PostgreSQL, `xlogbackup.c`).
//!
//! ```
//! use barman_wal::backup_label::BackupLabel;
//!
//! let label = BackupLabel::parse(b"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
//!     CHECKPOINT LOCATION: 0/2000060\nSTART TIME: 2026-11-21 09:20:25 UTC\nLABEL: x\nSTART TIMELINE: 1\n")?;
//! assert_eq!(label.start_lsn.to_string(), "0/2000028");
//! assert_eq!(label.start_time.as_deref(), Some("2026-11-21 09:20:25 UTC"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt::Write as _;
use std::str::FromStr;

use nom::Parser;
use nom::bytes::complete::{tag, take_until, take_while1};
use nom::combinator::{all_consuming, map_res};
use nom::sequence::delimited;

use crate::lsn::Lsn;
use crate::segment::SegmentName;
use crate::text::excerpt;
use crate::timeline::TimelineId;

/// What a backup label tells. Lines that are not known are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// `START WAL LOCATION`: where recovery must begin to read.
    pub start_lsn: Lsn,
    /// The file in the same line.
    pub start_wal: SegmentName,
    /// `STOP WAL LOCATION`, in backup history files only: position and file.
    pub stop: Option<(Lsn, SegmentName)>,
    /// `CHECKPOINT LOCATION`: the checkpoint record from which recovery starts.
    pub checkpoint_lsn: Option<Lsn>,
    /// `BACKUP METHOD`: `streamed` or `pg_start_backup`.
    pub method: Option<String>,
    /// `BACKUP FROM`: `primary` or `standby`.
    pub from: Option<String>,
    /// `START TIME`, as written: `2026-11-21 09:20:25 UTC`, in the server's `log_timezone`.
    pub start_time: Option<String>,
    /// `LABEL`.
    pub label: Option<String>,
    /// `START TIMELINE` (PostgreSQL 11 and later).
    pub start_timeline: Option<TimelineId>,
    /// `STOP TIME`, in backup history files only.
    pub stop_time: Option<String>,
    /// `STOP TIMELINE`, in backup history files only.
    pub stop_timeline: Option<TimelineId>,
    /// `INCREMENTAL FROM LSN`: the start of the backup this one builds upon (PostgreSQL 17 and later).
    pub incremental_from_lsn: Option<Lsn>,
    /// `INCREMENTAL FROM TLI`.
    pub incremental_from_tli: Option<TimelineId>,
    /// Lines with names that are not known, in their order, without line ends.
    pub other: Vec<String>,
}

/// What is wrong with a backup label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BackupLabelError {
    /// There is no `START WAL LOCATION` line.
    #[error("the line `START WAL LOCATION` is missing")]
    NoStart,
    /// The value of a known line cannot be read.
    #[error("line {line}: bad value of `{name}`: `{value}`")]
    Value {
        /// Counted from 1.
        line: usize,
        /// The name before the colon.
        name: &'static str,
        /// What follows it.
        value: String,
    },
}

/// The names of lines that are read, see the fields.
const START: &str = "START WAL LOCATION";
const STOP: &str = "STOP WAL LOCATION";
const CHECKPOINT: &str = "CHECKPOINT LOCATION";
const METHOD: &str = "BACKUP METHOD";
const FROM: &str = "BACKUP FROM";
const START_TIME: &str = "START TIME";
const LABEL: &str = "LABEL";
const START_TLI: &str = "START TIMELINE";
const STOP_TIME: &str = "STOP TIME";
const STOP_TLI: &str = "STOP TIMELINE";
const FROM_LSN: &str = "INCREMENTAL FROM LSN";
const FROM_TLI: &str = "INCREMENTAL FROM TLI";

impl BackupLabel {
    /// The label of a backup that starts at `start_lsn` in `start_wal`, with nothing else known.
    #[must_use]
    pub const fn new(start_lsn: Lsn, start_wal: SegmentName) -> Self {
        Self {
            start_lsn,
            start_wal,
            stop: None,
            checkpoint_lsn: None,
            method: None,
            from: None,
            start_time: None,
            label: None,
            start_timeline: None,
            stop_time: None,
            stop_timeline: None,
            incremental_from_lsn: None,
            incremental_from_tli: None,
            other: Vec::new(),
        }
    }

    /// Reads a label or backup history file. Of a name that occurs twice the first line counts, as for Barman.
    ///
    /// # Errors
    /// No start, or a known line whose value cannot be read.
    pub fn parse(content: &[u8]) -> Result<Self, BackupLabelError> {
        let text = String::from_utf8_lossy(content);
        let mut start = None;
        let unknown = SegmentName {
            timeline: TimelineId::FIRST,
            log: 0,
            seg: 0,
        };
        let mut label = Self::new(Lsn::INVALID, unknown);
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            // A carriage return is never part of a value, on the last line neither.
            let line = line.trim_end_matches('\r');
            let Some((name, value)) = line.split_once(": ") else {
                if !line.trim().is_empty() {
                    label.other.push(line.to_owned());
                }
                continue;
            };
            match name {
                START => set(&mut start, position(START, value, number)?),
                STOP => set(&mut label.stop, position(STOP, value, number)?),
                CHECKPOINT => set(&mut label.checkpoint_lsn, parsed(CHECKPOINT, value, number)?),
                METHOD => set(&mut label.method, value.to_owned()),
                FROM => set(&mut label.from, value.to_owned()),
                START_TIME => set(&mut label.start_time, value.to_owned()),
                LABEL => set(&mut label.label, value.to_owned()),
                START_TLI => set(&mut label.start_timeline, parsed(START_TLI, value, number)?),
                STOP_TIME => set(&mut label.stop_time, value.to_owned()),
                STOP_TLI => set(&mut label.stop_timeline, parsed(STOP_TLI, value, number)?),
                FROM_LSN => set(&mut label.incremental_from_lsn, parsed(FROM_LSN, value, number)?),
                FROM_TLI => set(&mut label.incremental_from_tli, parsed(FROM_TLI, value, number)?),
                _ => label.other.push(line.to_owned()),
            }
        }
        let (start_lsn, start_wal) = start.ok_or(BackupLabelError::NoStart)?;
        Ok(Self {
            start_lsn,
            start_wal,
            ..label
        })
    }

    /// Whether it belongs to a block-level incremental backup.
    #[must_use]
    pub const fn is_incremental(&self) -> bool {
        self.incremental_from_lsn.is_some()
    }

    /// The lines in PostgreSQL's order, the unknown ones last.
    #[must_use]
    pub fn format(&self) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let mut put = |name: &str, value: Option<&dyn std::fmt::Display>| {
            if let Some(value) = value {
                let _ = writeln!(text, "{name}: {value}");
            }
        };
        let place = |(lsn, wal): (Lsn, SegmentName)| format!("{lsn} (file {wal})");
        put(START, Some(&place((self.start_lsn, self.start_wal))));
        put(STOP, self.stop.map(place).as_ref().map(|text| text as _));
        put(CHECKPOINT, self.checkpoint_lsn.as_ref().map(|lsn| lsn as _));
        put(METHOD, self.method.as_ref().map(|text| text as _));
        put(FROM, self.from.as_ref().map(|text| text as _));
        put(START_TIME, self.start_time.as_ref().map(|text| text as _));
        put(LABEL, self.label.as_ref().map(|text| text as _));
        put(
            START_TLI,
            self.start_timeline.as_ref().map(|timeline| timeline as _),
        );
        put(STOP_TIME, self.stop_time.as_ref().map(|text| text as _));
        put(
            STOP_TLI,
            self.stop_timeline.as_ref().map(|timeline| timeline as _),
        );
        put(FROM_LSN, self.incremental_from_lsn.as_ref().map(|lsn| lsn as _));
        put(
            FROM_TLI,
            self.incremental_from_tli.as_ref().map(|timeline| timeline as _),
        );
        for line in &self.other {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

fn set<T>(field: &mut Option<T>, value: T) {
    field.get_or_insert(value);
}

fn bad(name: &'static str, value: &str, line: usize) -> BackupLabelError {
    BackupLabelError::Value {
        line,
        name,
        value: excerpt(value),
    }
}

fn parsed<T: FromStr>(name: &'static str, value: &str, line: usize) -> Result<T, BackupLabelError> {
    value.trim().parse().map_err(|_| bad(name, value, line))
}

/// `0/2000028 (file 000000010000000000000002)`.
fn position(name: &'static str, value: &str, line: usize) -> Result<(Lsn, SegmentName), BackupLabelError> {
    let lsn = map_res(
        take_while1::<_, &str, ()>(|letter: char| letter != ' '),
        str::parse::<Lsn>,
    );
    let file = map_res(
        delimited(tag(" (file "), take_until(")"), tag(")")),
        str::parse::<SegmentName>,
    );
    all_consuming((lsn, file))
        .parse(value.trim_end())
        .map(|(_, found)| found)
        .map_err(|_| bad(name, value, line))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABEL_15: &str = "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\n\
        CHECKPOINT LOCATION: 0/2000060\n\
        BACKUP METHOD: streamed\n\
        BACKUP FROM: primary\n\
        START TIME: 2026-11-21 09:20:25 UTC\n\
        LABEL: pg_basebackup base backup\n\
        START TIMELINE: 1\n";

    #[test]
    fn line_ends_of_other_systems_are_no_part_of_values() {
        for end in ["\r\n", "\r", "\r\r\n"] {
            let text = format!("{}LABEL: x{end}", LABEL_15.split_inclusive('\n').next().unwrap());
            assert_eq!(
                BackupLabel::parse(text.as_bytes()).unwrap().label.as_deref(),
                Some("x"),
                "{end:?}"
            );
        }
    }

    #[test]
    fn a_label_of_a_server() {
        let label = BackupLabel::parse(LABEL_15.as_bytes()).unwrap();
        let expected = BackupLabel {
            checkpoint_lsn: Some(Lsn(0x200_0060)),
            method: Some("streamed".into()),
            from: Some("primary".into()),
            start_time: Some("2026-11-21 09:20:25 UTC".into()),
            label: Some("pg_basebackup base backup".into()),
            start_timeline: TimelineId::new(1),
            ..BackupLabel::new(Lsn(0x200_0028), "000000010000000000000002".parse().unwrap())
        };
        assert_eq!(label, expected);
        assert_eq!(label.format(), LABEL_15);
        assert!(!label.is_incremental());
    }

    #[test]
    fn a_backup_history_file_and_an_incremental_label() {
        let history = "START WAL LOCATION: 0/4000028 (file 000000020000000000000004)\n\
            STOP WAL LOCATION: 0/4000120 (file 000000020000000000000004)\n\
            CHECKPOINT LOCATION: 0/4000060\n\
            START TIME: 2026-11-21 04:52:14 CET\n\
            LABEL: with: a colon\n\
            START TIMELINE: 2\n\
            STOP TIME: 2026-11-21 04:52:15 CET\n\
            STOP TIMELINE: 2\n";
        let label = BackupLabel::parse(history.as_bytes()).unwrap();
        assert_eq!(
            label.stop,
            Some((Lsn(0x400_0120), "000000020000000000000004".parse().unwrap()))
        );
        assert_eq!(label.label.as_deref(), Some("with: a colon"));
        assert_eq!(label.format(), history);

        let incremental = format!(
            "{LABEL_15}INCREMENTAL FROM LSN: 0/1000028\nINCREMENTAL FROM TLI: 1\nNEW THING: 7\nnoise\n"
        );
        let label = BackupLabel::parse(incremental.as_bytes()).unwrap();
        assert!(label.is_incremental());
        assert_eq!(label.other, ["NEW THING: 7", "noise"]);
        assert_eq!(label.format(), incremental);
    }

    #[test]
    fn errors_name_line_and_field() {
        assert_eq!(BackupLabel::parse(b"LABEL: x\n"), Err(BackupLabelError::NoStart));
        for (text, line, name) in [
            ("START WAL LOCATION: 0/2000028\n", 1, START),
            ("START WAL LOCATION: 0/2 (file 0001)\n", 1, START),
            (
                "LABEL: x\nSTART WAL LOCATION: 02 (file 000000010000000000000002)\n",
                2,
                START,
            ),
            (
                "START WAL LOCATION: 0/2 (file 000000010000000000000002) x\n",
                1,
                START,
            ),
            ("CHECKPOINT LOCATION: here\n", 1, CHECKPOINT),
            ("START TIMELINE: 0\n", 1, START_TLI),
        ] {
            let error = BackupLabel::parse(text.as_bytes()).unwrap_err();
            assert!(
                matches!(error, BackupLabelError::Value { line: l, name: n, .. } if (l, n) == (line, name)),
                "{text}: {error}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = BackupLabel::parse(&bytes);
            let _ = BackupLabel::parse(&[LABEL_15.as_bytes(), &bytes].concat());
        }
    }
}
