//! What is in a catalogue, as data: no path, no disk. The generator fills it, [`super::write`] puts it on disk, tests look things up in
//! it and change it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::wal_name::{Geometry, WalName};

/// Catalogues of one Barman home.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Blueprint {
    /// The recipe it was made from, as text.
    pub recipe: String,
    /// The moment at which it is as it is, seconds since the epoch.
    pub now: i64,
    /// The servers, each with a section in the configuration.
    pub servers: Vec<Server>,
}

/// One server: its configuration, and all of its directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// Name of the section and of the directory.
    pub name: String,
    /// Options of the section besides those that hold everywhere.
    pub options: Vec<(String, String)>,
    /// Identifier of the cluster.
    pub system_id: u64,
    /// `server_version_num` when the youngest backup was taken.
    pub version: u32,
    /// Size of its WAL segments.
    pub geometry: Geometry,
    /// Whether `identity.json` is there.
    pub identity: bool,
    /// Backups, oldest first.
    pub backups: Vec<Backup>,
    /// The archive, in the order of archiving, which is that of `xlog.db`.
    pub wals: Vec<WalFile>,
    /// Contents of the history files that occur in `wals` and in the queues.
    pub histories: Vec<History>,
    /// Names in `incoming`.
    pub incoming: Vec<WalName>,
    /// Names in `streaming`.
    pub streaming: Vec<WalName>,
    /// How the catalogue of WAL lies on disk.
    pub xlogdb: XlogDbForm,
}

/// How `xlog.db` lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum XlogDbForm {
    /// `wals/SERVER-xlog.db`.
    Current,
    /// `wals/xlog.db`, as before 3.13: nobody reads it, the archive is looked at instead.
    BeforeServerName,
    /// None; the archive is looked at instead.
    Missing,
    /// Followed by what a crash left of one more line.
    Torn(String),
}

/// A file of the WAL archive and its line in `xlog.db`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalFile {
    /// Its name.
    pub name: WalName,
    /// Bytes, as listed. On disk it is less when only headers are written.
    pub size: u64,
    /// Modification time, nanoseconds since the epoch.
    pub time: i64,
    /// Compression, as listed.
    pub compression: Option<Codec>,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// How many columns its line has: 5, 4 (before 3.14) or 3; 0 for a file without a line.
    pub columns: u8,
    /// Whether the file is there.
    pub on_disk: bool,
}

/// A compression of WAL, by the name that `xlog.db` has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "these are names")]
pub enum Codec {
    Gzip,
    Pigz,
    PyGzip,
    Bzip2,
    PyBzip2,
    Xz,
    Zstd,
    Lz4,
    Snappy,
}

impl Codec {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Gzip,
        Self::Pigz,
        Self::PyGzip,
        Self::Bzip2,
        Self::PyBzip2,
        Self::Xz,
        Self::Zstd,
        Self::Lz4,
        Self::Snappy,
    ];

    /// The name in `xlog.db` and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Pigz => "pigz",
            Self::PyGzip => "pygzip",
            Self::Bzip2 => "bzip2",
            Self::PyBzip2 => "pybzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
        }
    }
}

/// A timeline history file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The timeline that it describes.
    pub timeline: u32,
    /// Its content before compression.
    pub text: String,
}

/// A moment with the offset in which it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// Microseconds since the epoch.
    pub micros: i64,
    /// Offset from UTC, minutes.
    pub offset: i32,
}

/// A position in WAL: where a backup begins or ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Point {
    /// When.
    pub time: Moment,
    /// The segment, `TTTTTTTTLLLLLLLLSSSSSSSS`.
    pub wal: String,
    /// The position, as a number.
    pub lsn: u64,
    /// Offset in the segment.
    pub offset: u64,
}

/// Status of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "these are Barman's words")]
pub enum Status {
    Empty,
    Started,
    Syncing,
    WaitingForWals,
    Failed,
    Done,
}

impl Status {
    /// The word in `backup.info`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Empty => "EMPTY",
            Self::Started => "STARTED",
            Self::Syncing => "SYNCING",
            Self::WaitingForWals => "WAITING_FOR_WALS",
            Self::Failed => "FAILED",
            Self::Done => "DONE",
        }
    }

    /// Whether the copy is complete.
    pub fn is_copy_done(self) -> bool {
        matches!(self, Self::WaitingForWals | Self::Done)
    }
}

/// How a backup was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "these are Barman's words")]
pub enum BackupMode {
    Postgres,
    RsyncConcurrent,
    RsyncExclusive,
    SnapshotConcurrent,
    LocalToCloud,
    Passive,
}

impl BackupMode {
    /// The word in `backup.info`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::RsyncConcurrent => "rsync-concurrent",
            Self::RsyncExclusive => "rsync-exclusive",
            Self::SnapshotConcurrent => "snapshot-concurrent",
            Self::LocalToCloud => "local-to-cloud-concurrent",
            Self::Passive => "passive",
        }
    }

    /// Whether it is one of rsync's.
    pub fn is_rsync(self) -> bool {
        matches!(self, Self::RsyncConcurrent | Self::RsyncExclusive)
    }
}

/// A backup: every field of `backup.info`, and what lies beside it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// Its id.
    pub id: String,
    /// `backup_name`.
    pub name: Option<String>,
    /// `status`.
    pub status: Status,
    /// `mode`.
    pub mode: BackupMode,
    /// `error`.
    pub error: Option<String>,
    /// `parent_backup_id`.
    pub parent: Option<String>,
    /// `children_backup_ids`.
    pub children: Vec<String>,
    /// `begin_*` and `timeline`.
    pub begin: Option<Point>,
    /// `end_*`.
    pub end: Option<Point>,
    /// `timeline`.
    pub timeline: Option<u32>,
    /// `backup_label`.
    pub label: Option<String>,
    /// `copy_stats`.
    pub copy_stats: Option<Python>,
    /// `snapshots_info`.
    pub snapshots: Option<Python>,
    /// `included_files`.
    pub included_files: Vec<String>,
    /// `tablespaces`.
    pub tablespaces: Vec<Tablespace>,
    /// `compression`: of the tar files.
    pub compression: Option<String>,
    /// `encryption`: of the tar files.
    pub encryption: Option<String>,
    /// `cluster_size`.
    pub cluster_size: Option<u64>,
    /// `size`.
    pub size: Option<u64>,
    /// `deduplicated_size`.
    pub deduplicated_size: Option<u64>,
    /// `data_checksums`.
    pub data_checksums: Option<bool>,
    /// `summarize_wal`.
    pub summarize_wal: Option<bool>,
    /// `systemid`.
    pub system_id: Option<u64>,
    /// `pgdata`, and with it `config_file`, `hba_file` and `ident_file`.
    pub pgdata: Option<String>,
    /// `version`.
    pub version: Option<u32>,
    /// `xlog_segment_size`.
    pub segment_size: u64,
    /// `server_name`.
    pub server_name: String,
    /// Fields that the Barman of its time did not have: they have no line.
    pub unknown_then: Vec<String>,
    /// Lines that no version of Barman has written, as of a newer one.
    pub foreign_lines: Vec<String>,
    /// Where `backup.info` lies.
    pub place: InfoPlace,
    /// The `keep` annotation: its content.
    pub keep: Option<String>,
    /// Whether the deletion has begun: the `delete_this` annotation.
    pub delete_begun: bool,
    /// Whether annotations lie where they lay before 3.13.3.
    pub old_annotations: bool,
    /// What lies in `base/ID`.
    pub data: DataForm,
}

/// Where `backup.info` lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InfoPlace {
    /// `meta/ID-backup.info`.
    Meta,
    /// `base/ID/backup.info`, as before 3.13.2.
    Base,
    /// Both; the one in `meta` counts, the other one still says EMPTY.
    Both,
    /// None: something else names the backup.
    Missing,
    /// In `meta`, of 0 bytes.
    EmptyFile,
}

/// What lies in `base/ID`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataForm {
    /// Nothing: there is no directory.
    Missing,
    /// The empty directory.
    Bare,
    /// `data/` and one directory for each tablespace.
    Plain,
    /// Tar files in `data/`.
    Tar,
    /// `pgdata/`, as in Barman 1.
    Version1,
}

/// A tablespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tablespace {
    /// Its name.
    pub name: String,
    /// Its object id.
    pub oid: u32,
    /// Where it lies on the server.
    pub location: String,
}

/// A value of Python, for fields that hold one as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "Python's own types")]
pub enum Python {
    None,
    Int(i64),
    Float(f64),
    Str(String),
    List(Vec<Python>),
    Tuple(Vec<Python>),
    Dict(Vec<(String, Python)>),
}

impl Blueprint {
    /// The servers of several blueprints in one home, so that one process can look at many: each blueprint must have one server, which
    /// gets the name given with it.
    pub fn joined(parts: impl IntoIterator<Item = (String, Self)>) -> Self {
        let mut all = Self {
            recipe: String::new(),
            now: 0,
            servers: Vec::new(),
        };
        for (name, mut part) in parts {
            all.recipe.push_str(&part.recipe);
            all.recipe.push(' ');
            all.now = part.now;
            for server in &mut part.servers {
                server.rename(&name);
            }
            all.servers.append(&mut part.servers);
        }
        all.recipe.truncate(all.recipe.trim_end().len());
        all
    }
}

impl Backup {
    /// Where its `backup.info` is read from, below the server's directory.
    pub fn info_path(&self) -> PathBuf {
        match self.place {
            InfoPlace::Base => PathBuf::from(format!("base/{}/backup.info", self.id)),
            InfoPlace::Meta | InfoPlace::Both | InfoPlace::Missing | InfoPlace::EmptyFile => {
                PathBuf::from(format!("meta/{}-backup.info", self.id))
            }
        }
    }
}

impl Server {
    /// The backup with this id.
    pub fn backup(&self, id: &str) -> Option<&Backup> {
        self.backups.iter().find(|b| b.id == id)
    }

    /// Gives the server another name, in its backups too.
    pub fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.name);
        for backup in &mut self.backups {
            name.clone_into(&mut backup.server_name);
        }
    }

    /// Sets or replaces an option; an empty value takes it away.
    pub fn set_option(&mut self, name: &str, value: &str) {
        self.options.retain(|(n, _)| n != name);
        if !value.is_empty() {
            self.options.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}
