//! `pg_waldump` of the same major as the judge.

use std::process::Command;

use testkit::Cluster;

use crate::decoded::{Seen, Segments};

/// Compares line by line, where the tree has `pg_waldump`.
pub fn compare(cluster: &Cluster, segments: &Segments, records: &[Seen]) {
    let program = cluster.tree().program("pg_waldump");
    if !program.exists() {
        return;
    }
    let mut command = Command::new(program);
    let (first, last) = (
        segments.files.first().unwrap().0,
        segments.files.last().unwrap().0,
    );
    command
        .env("TZ", "UTC")
        .arg(format!("--timeline={}", last.timeline))
        .arg(format!("--path={}", segments.directory.display()))
        .args([first.to_string(), last.to_string()]);
    // It fails at the end of the WAL; what it printed until then counts.
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().filter(|line| line.starts_with("rmgr:")).collect();
    for (line, record) in lines.iter().zip(records) {
        assert_eq!(parse(line), ours(record), "{line}\n{record:?}");
        details(line, record);
    }
    assert_eq!(
        lines.len(),
        records.len(),
        "{} {:?} {:?}",
        String::from_utf8_lossy(&output.stderr),
        lines.last(),
        records.last()
    );
}

/// Position, length without images, whole length, resource manager, transaction, type.
type Row = (String, u32, u32, String, u32, String);

fn ours(record: &Seen) -> Row {
    (
        format!("{:X}/{:08X}", record.lsn.0 >> 32, record.lsn.0 & 0xFFFF_FFFF),
        record.without_images,
        record.length,
        record.manager.clone(),
        record.xid,
        record.kind.clone(),
    )
}

fn between<'a>(line: &'a str, start: &str, end: &str) -> &'a str {
    let rest = line.split_once(start).unwrap().1;
    rest.split_once(end).map_or(rest, |(found, _)| found).trim()
}

fn parse(line: &str) -> Row {
    let (record, total) = between(line, "len (rec/tot):", ",").split_once('/').unwrap();
    (
        between(line, "lsn: ", ",").to_owned(),
        record.trim().parse().unwrap(),
        total.trim().parse().unwrap(),
        between(line, "rmgr: ", " ").to_owned(),
        between(line, "tx:", ",").parse().unwrap(),
        between(line, "desc: ", " ").trim_end_matches(',').to_owned(),
    )
}

/// What our payload says is in the description.
fn details(line: &str, record: &Seen) {
    for text in &record.description {
        assert!(line.contains(text), "`{text}` is not in {line}");
    }
}
