//! Barman's text formats, written from their description alone: `backup.info`, Python literals, times, lines of `xlog.db`,
//! `identity.json`.

use std::fmt::Write as _;

use super::blueprint::{Backup, Moment, Point, Python, Server, WalFile};
use super::wal_name::{Geometry, Lsn};

/// Year, month, day of a number of days since 1970 (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// Date and time of day of `seconds` since the epoch, `offset` minutes from UTC.
fn broken_down(seconds: i64, offset: i32) -> (i64, i64, i64, i64, i64, i64) {
    let local = seconds + i64::from(offset) * 60;
    let (year, month, day) = civil(local.div_euclid(86_400));
    let second = local.rem_euclid(86_400);
    (year, month, day, second / 3_600, second / 60 % 60, second % 60)
}

/// `YYYY-MM-DD HH:MM:SS`.
pub fn wall_clock(seconds: i64, offset: i32) -> String {
    let (year, month, day, h, m, s) = broken_down(seconds, offset);
    format!("{year:04}-{month:02}-{day:02} {h:02}:{m:02}:{s:02}")
}

/// `YYYYMMDDTHHMMSS`.
pub fn backup_id(seconds: i64, offset: i32) -> String {
    let (year, month, day, h, m, s) = broken_down(seconds, offset);
    format!("{year:04}{month:02}{day:02}T{h:02}{m:02}{s:02}")
}

/// `YYYY-MM-DD HH:MM:SS[.ffffff]+HH:MM`.
pub fn timestamp(moment: Moment) -> String {
    let mut text = wall_clock(moment.micros.div_euclid(1_000_000), moment.offset);
    let micros = moment.micros.rem_euclid(1_000_000);
    if micros != 0 {
        let _ = write!(text, ".{micros:06}");
    }
    let sign = if moment.offset < 0 { '-' } else { '+' };
    let offset = moment.offset.unsigned_abs();
    let _ = write!(text, "{sign}{:02}:{:02}", offset / 60, offset % 60);
    text
}

/// A float as Python prints it: the shortest decimal that reads back the same, always with a point or an exponent. For the
/// magnitudes that occur here (no exponent from 1e-4 up to 1e16).
pub fn float(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-4 {
        // `5e-5` here, `5e-05` there.
        let text = format!("{value:e}");
        return match text.split_once("e-") {
            Some((digits, exponent)) => format!("{digits}e-{exponent:0>2}"),
            None => text,
        };
    }
    let text = format!("{value}");
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

/// Python's `repr`.
pub fn repr(value: &Python) -> String {
    let join = |values: &[Python]| values.iter().map(repr).collect::<Vec<_>>().join(", ");
    match value {
        Python::None => "None".to_owned(),
        Python::Int(n) => n.to_string(),
        Python::Float(n) => float(*n),
        Python::Str(text) => repr_str(text),
        Python::List(values) => format!("[{}]", join(values)),
        Python::Tuple(values) if values.len() == 1 => format!("({},)", join(values)),
        Python::Tuple(values) => format!("({})", join(values)),
        Python::Dict(entries) => {
            let entries: Vec<String> = entries
                .iter()
                .map(|(key, value)| format!("{}: {}", repr_str(key), repr(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
    }
}

/// `repr` of a text without control characters other than line ends and tabs.
fn repr_str(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out.push(quote);
    out
}

/// `backup.info`, with the fields that the Barman of its time had.
pub fn backup_info(backup: &Backup) -> String {
    let mut text = String::new();
    for (name, value) in fields(backup) {
        if !is_unknown_then(backup, name) {
            let _ = writeln!(text, "{name}={}", value.as_deref().unwrap_or("None"));
        }
    }
    for line in &backup.foreign_lines {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// `backup.info` as Barman 3.20.1 saves it after having read [`backup_info`]: with all fields.
pub fn current_backup_info(backup: &Backup) -> String {
    let mut text = String::new();
    for (name, value) in fields(backup) {
        let value = value.filter(|_| !is_unknown_then(backup, name));
        let _ = writeln!(text, "{name}={}", value.as_deref().unwrap_or("None"));
    }
    text
}

fn is_unknown_then(backup: &Backup, name: &str) -> bool {
    backup.unknown_then.iter().any(|unknown| unknown == name)
}

/// All fields in the order of the file.
fn fields(b: &Backup) -> Vec<(&'static str, Option<String>)> {
    let number = |n: Option<u64>| n.map(|n| n.to_string());
    let on_off = |on: Option<bool>| on.map(|on| if on { "on" } else { "off" }.to_owned());
    let below_pgdata = |name: &str| b.pgdata.as_ref().map(|dir| format!("{dir}/{name}"));
    let begin = |f: &dyn Fn(&Point) -> String| b.begin.as_ref().map(f);
    let end = |f: &dyn Fn(&Point) -> String| b.end.as_ref().map(f);
    let time = |p: &Point| timestamp(p.time);
    let lsn = |p: &Point| Lsn(p.lsn).to_string();
    let mut fields = vec![("backup_label", b.label.as_deref().map(repr_str))];
    if b.name.is_some() {
        fields.push(("backup_name", b.name.clone()));
    }
    fields.extend([
        ("begin_offset", begin(&|p| p.offset.to_string())),
        ("begin_time", begin(&time)),
        ("begin_wal", begin(&|p| p.wal.clone())),
        ("begin_xlog", begin(&lsn)),
        (
            "children_backup_ids",
            (!b.children.is_empty()).then(|| b.children.join(",")),
        ),
        ("cluster_size", number(b.cluster_size)),
        ("compression", b.compression.clone()),
        ("config_file", below_pgdata("postgresql.conf")),
        ("copy_stats", b.copy_stats.as_ref().map(repr)),
        ("data_checksums", on_off(b.data_checksums)),
        ("deduplicated_size", number(b.deduplicated_size)),
        ("encryption", b.encryption.clone()),
        ("end_offset", end(&|p| p.offset.to_string())),
        ("end_time", end(&time)),
        ("end_wal", end(&|p| p.wal.clone())),
        ("end_xlog", end(&lsn)),
        ("error", b.error.clone()),
        ("hba_file", below_pgdata("pg_hba.conf")),
        ("ident_file", below_pgdata("pg_ident.conf")),
        ("included_files", included_files(b)),
        ("mode", Some(b.mode.name().to_owned())),
        ("parent_backup_id", b.parent.clone()),
        ("pgdata", b.pgdata.clone()),
        ("server_name", Some(b.server_name.clone())),
        ("size", number(b.size)),
    ]);
    if let Some(snapshots) = &b.snapshots {
        fields.push(("snapshots_info", Some(repr(snapshots))));
    }
    fields.extend([
        ("status", Some(b.status.name().to_owned())),
        ("summarize_wal", on_off(b.summarize_wal)),
        ("systemid", number(b.system_id)),
        ("tablespaces", tablespaces(b)),
        ("timeline", number(b.timeline.map(u64::from))),
        ("version", number(b.version.map(u64::from))),
        ("xlog_segment_size", Some(b.segment_size.to_string())),
    ]);
    fields
}

fn included_files(b: &Backup) -> Option<String> {
    let files = b.included_files.iter().cloned().map(Python::Str).collect();
    (!b.included_files.is_empty()).then(|| repr(&Python::List(files)))
}

fn tablespaces(b: &Backup) -> Option<String> {
    let entries = b.tablespaces.iter().map(|t| {
        Python::Tuple(vec![
            Python::Str(t.name.clone()),
            Python::Int(i64::from(t.oid)),
            Python::Str(t.location.clone()),
        ])
    });
    (!b.tablespaces.is_empty()).then(|| repr(&Python::List(entries.collect())))
}

/// The line of a file in `xlog.db`; none for one that is not listed. `size` is that of the file on disk.
pub fn xlogdb_line(geometry: Geometry, wal: &WalFile, size: u64) -> Option<String> {
    let seconds =
        (wal.time.div_euclid(1_000_000_000)) as f64 + 1e-9 * wal.time.rem_euclid(1_000_000_000) as f64;
    let mut line = format!("{}\t{size}\t{}", geometry.text(wal.name), float(seconds));
    match wal.columns {
        0 => return None,
        1..=3 => {}
        columns => {
            line.push('\t');
            line.push_str(wal.compression.map_or("None", |c| c.name()));
            if columns > 4 {
                line.push_str(if wal.encrypted { "\tgpg" } else { "\tNone" });
            }
        }
    }
    line.push('\n');
    Some(line)
}

/// `identity.json`.
pub fn identity(server: &Server) -> String {
    let version = match server.version {
        old @ ..100_000 => format!("{}.{}", old / 10_000, old / 100 % 100),
        new => (new / 10_000).to_string(),
    };
    format!(
        "{{\n    \"systemid\": \"{}\",\n    \"version\": \"{version}\"\n}}\n",
        server.system_id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_their_offset() {
        for (micros, offset, expected) in [
            (1_795_236_448_710_168, 0, "2026-11-21 04:47:28.710168+00:00"),
            (1_795_236_448_000_000, 330, "2026-11-21 10:17:28+05:30"),
            (1_795_236_448_000_001, -570, "2026-11-20 19:17:28.000001-09:30"),
            (951_782_400_000_000, 0, "2000-02-29 00:00:00+00:00"),
        ] {
            assert_eq!(timestamp(Moment { micros, offset }), expected);
        }
        assert_eq!(backup_id(1_795_236_448, 120), "20261121T064728");
    }

    #[test]
    fn python_literals() {
        let text = |s: &str| Python::Str(s.to_owned());
        for (value, expected) in [
            (text("plain"), "'plain'"),
            (text("it's"), "\"it's\""),
            (text("'\"\\\n"), "'\\'\"\\\\\\n'"),
            (Python::Float(5.0), "5.0"),
            (Python::Float(0.187_505), "0.187505"),
            (Python::Float(5e-5), "5e-05"),
            (Python::Float(1.5e-7), "1.5e-07"),
            (Python::Tuple(vec![Python::Int(1)]), "(1,)"),
            (
                Python::List(vec![Python::Tuple(vec![text("a"), Python::Int(2), Python::None])]),
                "[('a', 2, None)]",
            ),
            (Python::Dict(vec![("k".to_owned(), Python::Int(1))]), "{'k': 1}"),
        ] {
            assert_eq!(repr(&value), expected);
        }
    }
}
