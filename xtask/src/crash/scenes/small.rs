//! A small catalogue by hand: backups of a few files, each beginning in a segment of its own, and their WAL. No server needed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use testkit::{Mode, Sandbox};

use crate::crash::disk;

/// Bytes of a segment.
const SEGMENT: usize = 1 << 20;

/// The id of backup `number`, from 1.
pub fn id(number: u32) -> String {
    format!("202407{number:02}T120000")
}

/// The name of segment `number` on timeline 1.
pub fn segment(number: u32) -> String {
    format!("0000000100000000{number:08X}")
}

/// A sandbox for `program` with this catalogue of two backups.
pub fn catalogue(program: &Path) -> Result<Sandbox> {
    let sandbox = Sandbox::builder("main")
        .mode(Mode::Archiver)
        .program(program)
        .build()?;
    fill(&sandbox, 2)?;
    Ok(sandbox)
}

/// Makes `backups` backups of the server `main`, all `DONE`; number n begins and ends in segment 2 n. Segments 1 to 2 n + 2 are archived and listed.
pub fn fill(sandbox: &Sandbox, backups: u32) -> Result<()> {
    let server = sandbox.server_dir();
    for part in ["base", "meta", "wals", "incoming", "streaming", "errors"] {
        fs::create_dir_all(server.join(part))?;
    }
    for number in 1..=backups {
        backup(&server, number)?;
    }
    for number in 1..=2 * backups + 2 {
        archive(&server, &segment(number), "None\tNone")?;
    }
    Ok(())
}

fn backup(server: &Path, number: u32) -> Result<()> {
    let (id, wal, lsn) = (id(number), segment(2 * number), u64::from(2 * number) << 20);
    let fields = [
        ("backup_label", "None".to_owned()),
        ("begin_offset", "40".to_owned()),
        ("begin_time", format!("2024-07-{number:02} 12:00:00+00:00")),
        ("begin_wal", wal.clone()),
        ("begin_xlog", format!("0/{:X}", lsn + 40)),
        ("cluster_size", "1000".to_owned()),
        ("deduplicated_size", "6".to_owned()),
        ("end_offset", "312".to_owned()),
        ("end_time", format!("2024-07-{number:02} 12:00:05+00:00")),
        ("end_wal", wal),
        ("end_xlog", format!("0/{:X}", lsn + 312)),
        ("mode", "postgres".to_owned()),
        ("pgdata", "/pg/main".to_owned()),
        ("server_name", "main".to_owned()),
        ("size", "6".to_owned()),
        ("status", "DONE".to_owned()),
        ("systemid", "7400000000000000001".to_owned()),
        ("timeline", "1".to_owned()),
        ("version", "150018".to_owned()),
        ("xlog_segment_size", SEGMENT.to_string()),
    ];
    let text: String = fields
        .iter()
        .map(|(name, value)| format!("{name}={value}\n"))
        .collect();
    fs::write(server.join(format!("meta/{id}-backup.info")), text)?;
    let data = server.join("base").join(&id).join("data");
    fs::create_dir_all(data.join("global"))?;
    fs::write(data.join("PG_VERSION"), "15\n")?;
    fs::write(data.join("global/pg_control"), "x\n")?;
    Ok(())
}

/// Puts a segment of zeros into the archive and lists it, with these last two columns.
pub fn archive(server: &Path, name: &str, columns: &str) -> Result<()> {
    let path = disk::archived(server, name);
    fs::create_dir_all(path.parent().context("no directory")?)?;
    fs::write(&path, vec![0; SEGMENT])?;
    let db = server.join("wals/main-xlog.db");
    let mut text = fs::read_to_string(&db).unwrap_or_default();
    text.push_str(&format!("{name}\t{SEGMENT}\t{}\t{columns}\n", time(&path)?));
    Ok(fs::write(db, text)?)
}

/// The time of a file as `xlog.db` has it.
pub fn time(path: &Path) -> Result<String> {
    let file = fs::File::options().write(true).open(path)?;
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000))?;
    Ok("1700000000.0".to_owned())
}

/// What is in the directories of the server but for its locks.
pub fn everything(server: &Path) -> Result<BTreeMap<String, String>> {
    disk::digest(server)
}

/// No data without `backup.info`, which nobody would ever remove.
pub fn nothing_forgotten(server: &Path) -> Result<()> {
    let known = disk::ids(server);
    for entry in fs::read_dir(server.join("base"))? {
        let id = entry?.file_name().to_string_lossy().into_owned();
        ensure!(known.contains(&id), "base/{id} has no backup.info");
    }
    Ok(())
}

/// The data of a backup.
pub fn data(server: &Path, id: &str) -> PathBuf {
    server.join("base").join(id)
}
