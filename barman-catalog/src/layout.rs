//! Where everything of a server lies. Plain paths; no configuration is needed to work with a catalogue.

use crate::ids::BackupId;
use barman_wal::WalFileName;
use std::path::{Path, PathBuf};

/// The paths of one server.
///
/// ```
/// use barman_catalog::Layout;
///
/// let layout = Layout::new("main", "/var/lib/barman");
/// let id = "20261121T044724".parse()?;
/// assert_eq!(layout.backup_info(id).display().to_string(), "/var/lib/barman/main/meta/20261121T044724-backup.info");
/// assert_eq!(layout.xlogdb().display().to_string(), "/var/lib/barman/main/wals/main-xlog.db");
/// # Ok::<(), barman_catalog::ids::BackupIdError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    server: String,
    /// The server's root (`backup_directory`); `meta/` and `identity.json` are in it.
    pub backup_directory: PathBuf,
    /// One directory per backup (`basebackups_directory`).
    pub basebackups_directory: PathBuf,
    /// The WAL archive (`wals_directory`).
    pub wals_directory: PathBuf,
    /// WAL delivered by `archive_command` (`incoming_wals_directory`).
    pub incoming_wals_directory: PathBuf,
    /// WAL received by streaming (`streaming_wals_directory`).
    pub streaming_wals_directory: PathBuf,
    /// Rejected files (`errors_directory`).
    pub errors_directory: PathBuf,
    /// Where the WAL catalogue lies (`xlogdb_directory`).
    pub xlogdb_directory: PathBuf,
    /// Where lock files lie (`barman_lock_directory`).
    pub lock_directory: PathBuf,
}

impl Layout {
    /// The default places below `home` (`barman_home`).
    #[must_use]
    pub fn new(server: impl Into<String>, home: impl AsRef<Path>) -> Self {
        let server = server.into();
        let root = home.as_ref().join(&server);
        Self {
            basebackups_directory: root.join("base"),
            wals_directory: root.join("wals"),
            incoming_wals_directory: root.join("incoming"),
            streaming_wals_directory: root.join("streaming"),
            errors_directory: root.join("errors"),
            xlogdb_directory: root.join("wals"),
            lock_directory: home.as_ref().to_path_buf(),
            backup_directory: root,
            server,
        }
    }

    /// The server's name.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// `meta/`: `backup.info` files and annotations.
    #[must_use]
    pub fn meta_directory(&self) -> PathBuf {
        self.backup_directory.join("meta")
    }

    /// The `backup.info` of a backup.
    #[must_use]
    pub fn backup_info(&self, id: BackupId) -> PathBuf {
        self.meta_directory().join(format!("{id}-backup.info"))
    }

    /// Where Barman before 3.13.2 kept it.
    #[must_use]
    pub fn old_backup_info(&self, id: BackupId) -> PathBuf {
        self.base_directory(id).join("backup.info")
    }

    /// An annotation of a backup (`keep`, `delete_this`).
    #[must_use]
    pub fn annotation(&self, id: BackupId, key: &str) -> PathBuf {
        self.meta_directory().join(format!("{id}-{key}"))
    }

    /// Where Barman before 3.13.3 kept annotations.
    #[must_use]
    pub fn old_annotation(&self, id: BackupId, key: &str) -> PathBuf {
        self.base_directory(id).join("annotations").join(key)
    }

    /// The directory of a backup.
    #[must_use]
    pub fn base_directory(&self, id: BackupId) -> PathBuf {
        self.basebackups_directory.join(id.as_str())
    }

    /// The data directory of a backup: `data`, or `pgdata` if a prehistoric Barman wrote it.
    #[must_use]
    pub fn data_directory(&self, id: BackupId) -> PathBuf {
        let base = self.base_directory(id);
        let old = base.join("pgdata");
        if old.exists() { old } else { base.join("data") }
    }

    /// The directory of a tablespace of a backup.
    #[must_use]
    pub fn tablespace_directory(&self, id: BackupId, oid: u32) -> PathBuf {
        let base = self.base_directory(id);
        let old = base.join("pgdata");
        if old.exists() {
            old.join("pg_tblspc").join(oid.to_string())
        } else {
            base.join(oid.to_string())
        }
    }

    /// Where a WAL file lies in the archive.
    #[must_use]
    pub fn wal_path(&self, name: &WalFileName) -> PathBuf {
        match name.archive_directory() {
            Some(directory) => self.wals_directory.join(directory).join(name.to_string()),
            None => self.wals_directory.join(name.to_string()),
        }
    }

    /// The WAL catalogue.
    #[must_use]
    pub fn xlogdb(&self) -> PathBuf {
        self.xlogdb_directory.join(format!("{}-xlog.db", self.server))
    }

    /// The WAL catalogue of Barman before 3.13.
    #[must_use]
    pub fn old_xlogdb(&self) -> PathBuf {
        self.wals_directory.join("xlog.db")
    }

    /// The system identifier on record.
    #[must_use]
    pub fn identity(&self) -> PathBuf {
        self.backup_directory.join("identity.json")
    }

    fn lock(&self, what: &str) -> PathBuf {
        self.lock_directory.join(format!(".{}-{what}.lock", self.server))
    }

    /// The lock of `backup`, `delete` and `import-backup`.
    #[must_use]
    pub fn backup_lock(&self) -> PathBuf {
        self.lock("backup")
    }

    /// The lock of one backup.
    #[must_use]
    pub fn id_lock(&self, id: BackupId) -> PathBuf {
        self.lock(id.as_str())
    }

    /// The lock of the copy of one backup to a passive node.
    #[must_use]
    pub fn sync_backup_lock(&self, id: BackupId) -> PathBuf {
        self.lock(&format!("{id}-sync-backup"))
    }

    /// The lock of the copy of WAL to a passive node.
    #[must_use]
    pub fn sync_wal_lock(&self) -> PathBuf {
        self.lock("sync-wal")
    }

    /// The lock of the WAL catalogue.
    #[must_use]
    pub fn xlogdb_lock(&self) -> PathBuf {
        self.lock("xlogdb")
    }

    /// The lock of `cron` for this server.
    #[must_use]
    pub fn cron_lock(&self) -> PathBuf {
        self.lock("cron")
    }

    /// The lock of `archive-wal`.
    #[must_use]
    pub fn archive_wal_lock(&self) -> PathBuf {
        self.lock("archive-wal")
    }

    /// The lock of `receive-wal`.
    #[must_use]
    pub fn receive_wal_lock(&self) -> PathBuf {
        self.lock("receive-wal")
    }
}
