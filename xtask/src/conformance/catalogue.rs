//! Small catalogues made by hand: backups of 2024 without data to speak of, WAL segments of 1 MiB with a true first page and nothing behind it.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use testkit::Segment;

/// Size of the segments (bytes).
const SEGMENT: u64 = 1024 * 1024;

/// System identifier of the server of these catalogues.
const SYSTEM: u64 = 7_400_000_000_000_000_001;

/// A `barman_home` in which catalogues are made.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
}

/// The directory of one server in it.
#[derive(Debug)]
pub struct Server {
    /// Its `backup_directory`.
    pub path: PathBuf,
    name: String,
}

impl Home {
    /// In this directory.
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
        }
    }

    /// The server `name`, with all its directories.
    ///
    /// # Errors
    /// A directory cannot be made.
    pub fn server(&self, name: &str) -> Result<Server> {
        let path = self.path.join(name);
        for dir in ["base", "meta", "wals", "incoming", "streaming", "errors"] {
            fs::create_dir_all(path.join(dir)).with_context(|| format!("create {dir}"))?;
        }
        Ok(Server {
            path,
            name: name.to_owned(),
        })
    }
}

/// 1 July 2024, 00:00:00 UTC, plus this many seconds.
fn moment(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_719_792_000 + seconds)
}

/// The name of segment `number` on timeline 1.
pub fn segment(number: u64) -> String {
    format!("00000001{:08X}{:08X}", number / 4096, number % 4096)
}

/// The id of the backup of day `day` of July 2024.
pub fn id(day: u8) -> String {
    format!("202407{day:02}T120000")
}

impl Server {
    /// Writes a file with a fixed time, so that both sides get the same.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let path = self.path.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
        File::options().write(true).open(&path)?.set_modified(moment(0))?;
        Ok(())
    }

    /// A backup of noon of day `day` of July 2024 that begins and ends in segment `number`, status DONE. `changes` replace fields of `backup.info`;
    /// an empty value leaves one out.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn backup(&self, day: u8, number: u64, changes: &[(&str, &str)]) -> Result<()> {
        let wal = segment(number);
        let lsn = number * SEGMENT;
        let position = |lsn: u64| format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF);
        let label = format!(
            "'START WAL LOCATION: {} (file {wal})\\nCHECKPOINT LOCATION: {}\\nBACKUP METHOD: streamed\\nBACKUP FROM: primary\\nSTART TIME: 2024-07-{day:02} 12:00:00 UTC\\nLABEL: pg_basebackup base backup\\nSTART TIMELINE: 1\\n'",
            position(lsn + 40),
            position(lsn + 96),
        );
        let time = |second: u8| format!("2024-07-{day:02} 12:00:{second:02}.250000+00:00");
        let mut fields: Vec<(&str, String)> = vec![
            ("backup_label", label),
            ("begin_offset", "40".to_owned()),
            ("begin_time", time(0)),
            ("begin_wal", wal.clone()),
            ("begin_xlog", position(lsn + 40)),
            ("children_backup_ids", "None".to_owned()),
            ("cluster_size", "23203529".to_owned()),
            ("compression", "None".to_owned()),
            ("config_file", "/pg/main/postgresql.conf".to_owned()),
            (
                "copy_stats",
                "{'copy_time': 4.626641, 'total_time': 4.626641}".to_owned(),
            ),
            ("data_checksums", "on".to_owned()),
            ("deduplicated_size", "23195571".to_owned()),
            ("encryption", "None".to_owned()),
            ("end_offset", "312".to_owned()),
            ("end_time", time(5)),
            ("end_wal", wal.clone()),
            ("end_xlog", position(lsn + 312)),
            ("error", "None".to_owned()),
            ("hba_file", "/pg/main/pg_hba.conf".to_owned()),
            ("ident_file", "/pg/main/pg_ident.conf".to_owned()),
            ("included_files", "None".to_owned()),
            ("mode", "postgres".to_owned()),
            ("parent_backup_id", "None".to_owned()),
            ("pgdata", "/pg/main".to_owned()),
            ("server_name", self.name.clone()),
            ("size", "23195571".to_owned()),
            ("status", "DONE".to_owned()),
            ("summarize_wal", "None".to_owned()),
            ("systemid", SYSTEM.to_string()),
            ("tablespaces", "None".to_owned()),
            ("timeline", "1".to_owned()),
            ("version", "150018".to_owned()),
            ("xlog_segment_size", SEGMENT.to_string()),
        ];
        for (name, value) in changes {
            fields.retain(|(other, _)| other != name);
            if !value.is_empty() {
                fields.push((name, (*value).to_owned()));
            }
        }
        fields.sort();
        let info: String = fields
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect();
        let id = id(day);
        self.write(&format!("meta/{id}-backup.info"), info.as_bytes())?;
        self.write(&format!("base/{id}/data/PG_VERSION"), b"15\n")
    }

    /// Archives segment `number`, plain, an hour apart from its neighbours, and lists it.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn wal(&self, number: u64) -> Result<()> {
        let name = segment(number);
        let dir = self.path.join("wals").join(name.get(..16).unwrap_or(&name));
        fs::create_dir_all(&dir)?;
        segment_file(&dir.join(&name), number)?;
        self.list(&format!(
            "{name}\t{SEGMENT}\t{}.0\tNone\tNone\n",
            1_719_792_000 + number * 3600
        ))
    }

    /// Lists segment `number`, whose file in the archive has the header of segment `content`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn wal_of(&self, number: u64, content: u64) -> Result<()> {
        self.wal(number)?;
        let name = segment(number);
        let path = self
            .path
            .join("wals")
            .join(name.get(..16).unwrap_or(&name))
            .join(&name);
        segment_file(&path, content)
    }

    /// A segment that waits in a queue, with `marker` behind its first page, written `later` seconds later than [`Server::queued`]
    /// would have it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn queued_as(&self, queue: &str, number: u64, later: u64, marker: &[u8]) -> Result<()> {
        let path = self.path.join(queue).join(segment(number));
        segment_file(&path, number)?;
        let file = File::options().write(true).open(&path)?;
        std::os::unix::fs::FileExt::write_all_at(&file, marker, 8192)?;
        file.set_modified(moment(number * 3600 + later))?;
        Ok(())
    }

    /// Adds a line to the WAL catalogue.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn list(&self, line: &str) -> Result<()> {
        let path = self.path.join(format!("wals/{}-xlog.db", self.name));
        let mut file = File::options().append(true).create(true).open(path)?;
        file.write_all(line.as_bytes())?;
        Ok(())
    }

    /// A segment that waits in `incoming` or `streaming`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn queued(&self, queue: &str, number: u64) -> Result<()> {
        segment_file(&self.path.join(queue).join(segment(number)), number)
    }

    /// The annotation `keep` of the backup of day `day`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep(&self, day: u8, how: &str) -> Result<()> {
        self.write(&format!("meta/{}-keep", id(day)), how.as_bytes())
    }
}

/// A segment of PostgreSQL 15: its header, then nothing.
fn segment_file(path: &Path, number: u64) -> Result<()> {
    let segment = Segment {
        major: 15,
        size: SEGMENT,
        system: SYSTEM,
        ..Segment::small(number)
    };
    let mut file = File::create(path).with_context(|| format!("create {}", path.display()))?;
    file.write_all(&segment.header())?;
    file.set_len(SEGMENT)?;
    file.set_modified(moment(number * 3600))?;
    Ok(())
}
