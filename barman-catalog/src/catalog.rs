//! All backups of a server, as they are on disk at one moment.

use crate::annotations::{self, Keep};
use crate::backup_info::{self, BackupInfo, BackupStatus, StoreError};
use crate::ids::BackupId;
use crate::layout::Layout;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// A backup whose metadata cannot be read. The others are not affected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenBackup {
    /// The backup, unless the name of the file is no backup id.
    pub id: Option<BackupId>,
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

/// Why a catalogue cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the backup catalogue in {}: {source}", path.display())]
pub struct CatalogError {
    /// The directory.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// All backups of a server. Read once per command; a snapshot that does not follow later changes.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    server: String,
    backups: BTreeMap<BackupId, BackupInfo>,
    broken: Vec<BrokenBackup>,
    kept: BTreeMap<BackupId, Keep>,
    deleting: BTreeSet<BackupId>,
}

impl Catalog {
    /// Reads the catalogue. Directories that do not exist hold no backups; a file that cannot be read or understood
    /// is reported in [`broken`](Self::broken) and concerns nobody else.
    ///
    /// # Errors
    /// A directory that is there but cannot be listed.
    pub fn load(layout: &Layout) -> Result<Self, CatalogError> {
        let mut catalog = Self {
            server: layout.server().to_owned(),
            ..Self::default()
        };
        let mut ids = BTreeSet::new();
        let mut with_old_file = BTreeSet::new();
        let meta = layout.meta_directory();
        for name in names(&meta)? {
            // The glob `*-backup.info` skips hidden names; so do we, temporary files among them.
            let Some(text) = name.to_str().filter(|n| !n.starts_with('.')) else {
                continue;
            };
            if let Some(prefix) = text
                .split_once("-backup.info")
                .filter(|(_, rest)| rest.is_empty())
                .map(|(p, _)| p)
            {
                match prefix.parse() {
                    Ok(id) => {
                        ids.insert(id);
                    }
                    Err(e) => {
                        catalog.add_broken(None, meta.join(&name), format!("the name of the file: {e}"));
                    }
                }
            } else if let Some(id) = text.strip_suffix("-delete_this").and_then(|id| id.parse().ok()) {
                catalog.deleting.insert(id);
            } else if let Some(id) = text.strip_suffix("-keep").and_then(|id| id.parse().ok()) {
                catalog.kept.insert(id, Keep::Full);
            }
        }
        for name in names(&layout.basebackups_directory)? {
            let Some(id) = name.to_str().and_then(|n| n.parse::<BackupId>().ok()) else {
                continue;
            };
            // One that cannot be looked at is not missing: reading it will tell why.
            if !matches!(layout.old_backup_info(id).try_exists(), Ok(false)) {
                with_old_file.insert(id);
            }
            // Annotations of Barman before 3.13.3. There are none without their directory, one look for each backup.
            let old = layout.base_directory(id).join("annotations");
            if old.is_dir() {
                if old.join(annotations::DELETE_THIS).exists() {
                    catalog.deleting.insert(id);
                }
                if old.join(annotations::KEEP).exists() {
                    catalog.kept.insert(id, Keep::Full);
                }
            }
        }
        ids.extend(with_old_file);
        for id in ids {
            match backup_info::load(layout, id) {
                Ok(info) => {
                    catalog.backups.insert(id, info);
                }
                // Deleted since the directory was listed.
                Err(StoreError::Missing { .. }) => {}
                Err(StoreError::Invalid { path, source }) => {
                    catalog.add_broken(Some(id), path, source.to_string());
                }
                Err(StoreError::Read { path, source }) => {
                    catalog.add_broken(Some(id), path, source.to_string());
                }
                Err(other) => catalog.add_broken(Some(id), layout.backup_info(id), other.to_string()),
            }
        }
        for (id, keep) in &mut catalog.kept {
            // One that cannot be read protects the backup all the same.
            *keep = annotations::read_keep(layout, *id)
                .ok()
                .flatten()
                .unwrap_or(Keep::Full);
        }
        Ok(catalog)
    }

    /// A catalogue made of `backups`, for decisions about backups that are not (or not yet) on disk.
    #[must_use]
    pub fn from_backups(server: impl Into<String>, backups: impl IntoIterator<Item = BackupInfo>) -> Self {
        Self {
            server: server.into(),
            backups: backups.into_iter().map(|b| (b.id, b)).collect(),
            ..Self::default()
        }
    }

    /// As `from_backups`, with `id` marked as kept.
    #[must_use]
    pub fn with_keep(mut self, id: BackupId, keep: Keep) -> Self {
        self.kept.insert(id, keep);
        self
    }

    /// As `from_backups`, with the deletion of `id` begun.
    #[must_use]
    pub fn with_deletion_begun(mut self, id: BackupId) -> Self {
        self.deleting.insert(id);
        self
    }

    fn add_broken(&mut self, id: Option<BackupId>, path: PathBuf, reason: String) {
        log::warn!(target: "barman.backup", "cannot read {}: {reason}", path.display());
        self.broken.push(BrokenBackup { id, path, reason });
    }

    /// The server's name.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// All readable backups, ascending.
    pub fn backups(&self) -> impl DoubleEndedIterator<Item = &BackupInfo> {
        self.backups.values()
    }

    /// All readable backups whose deletion has not begun, ascending.
    pub fn usable(&self) -> impl DoubleEndedIterator<Item = &BackupInfo> {
        self.backups.values().filter(|b| !self.deleting.contains(&b.id))
    }

    /// Takes a backup out, as its deletion does on disk.
    pub fn forget(&mut self, id: BackupId) {
        self.backups.remove(&id);
        self.kept.remove(&id);
        self.deleting.remove(&id);
    }

    /// The same when the backups whose process has died are marked as failed, as
    /// [`repair`](crate::repair::mark_dead_backups) does on disk while no backup is running.
    #[must_use]
    pub fn with_dead_backups_failed(mut self) -> Self {
        for backup in self.backups.values_mut() {
            if matches!(backup.status, BackupStatus::Started | BackupStatus::Empty)
                && !self.deleting.contains(&backup.id)
            {
                backup.status = BackupStatus::Failed;
            }
        }
        self
    }

    /// One backup.
    #[must_use]
    pub fn get(&self, id: BackupId) -> Option<&BackupInfo> {
        self.backups.get(&id)
    }

    /// Backups whose metadata cannot be read.
    #[must_use]
    pub fn broken(&self) -> &[BrokenBackup] {
        &self.broken
    }

    /// An incremental backup that is based on one of `backups` and whose metadata cannot be read: nothing but the list of
    /// children tells of it.
    #[must_use]
    pub fn unreadable_child(&self, backups: &[BackupId]) -> Option<&BrokenBackup> {
        let is_child = |id: BackupId| {
            let mut parents = backups.iter().filter_map(|parent| self.get(*parent));
            parents.any(|parent| parent.children_backup_ids.contains(&id))
        };
        self.broken.iter().find(|broken| broken.id.is_some_and(is_child))
    }

    /// Whether and how the backup is kept.
    #[must_use]
    pub fn keep(&self, id: BackupId) -> Option<Keep> {
        self.kept.get(&id).copied()
    }

    /// Whether the deletion of the backup has begun; nothing may be expected of its data then.
    #[must_use]
    pub fn is_being_deleted(&self, id: BackupId) -> bool {
        self.deleting.contains(&id)
    }

    /// Ids marked for deletion that have no `backup.info`: deletions that were interrupted at the very end.
    pub fn stale_deletions(&self) -> impl Iterator<Item = BackupId> {
        self.deleting
            .iter()
            .copied()
            .filter(|id| !self.backups.contains_key(id) && !self.broken.iter().any(|b| b.id == Some(*id)))
    }

    /// The highest id that is taken, readable or not.
    #[must_use]
    pub fn highest_id(&self) -> Option<BackupId> {
        let broken = self.broken.iter().filter_map(|b| b.id);
        self.backups
            .keys()
            .copied()
            .chain(broken)
            .chain(self.deleting.iter().copied())
            .max()
    }

    /// The nearest older backup whose copy is done.
    #[must_use]
    pub fn previous(&self, id: BackupId) -> Option<&BackupInfo> {
        self.backups
            .range(..id)
            .rev()
            .map(|(_, b)| b)
            .find(|b| self.counts(b))
    }

    /// The nearest newer backup whose copy is done.
    #[must_use]
    pub fn next(&self, id: BackupId) -> Option<&BackupInfo> {
        let after = (std::ops::Bound::Excluded(id), std::ops::Bound::Unbounded);
        self.backups.range(after).map(|(_, b)| b).find(|b| self.counts(b))
    }

    fn counts(&self, backup: &BackupInfo) -> bool {
        backup.status.is_copy_done() && !self.deleting.contains(&backup.id)
    }

    /// The direct incremental children of a backup, ascending: the backups that name it as their parent. What the
    /// parent says in `children_backup_ids` adds nothing to that: Barman keeps both, and after a crash or a lost
    /// update only the child's own word is sure.
    #[must_use]
    pub fn children(&self, id: BackupId) -> Vec<BackupId> {
        self.backups
            .values()
            .filter(|b| b.parent_backup_id == Some(id) && b.id != id)
            .map(|b| b.id)
            .collect()
    }

    /// The backups that depend on `id`, leaves first, `id` itself last. Loops in the metadata end the descent.
    #[must_use]
    pub fn tree_leaves_first(&self, id: BackupId) -> Vec<BackupId> {
        tree_leaves_first(&self.child_map(), id)
    }

    /// The direct children of every backup that has some, ascending.
    pub(crate) fn child_map(&self) -> ChildMap {
        let mut children = ChildMap::new();
        for backup in self.backups.values() {
            if let Some(parent) = backup.parent_backup_id {
                children.entry(parent).or_default().push(backup.id);
            }
        }
        children
    }

    /// The chain from `id` up to its root: itself, its parent, and so on, as far as the backups exist.
    #[must_use]
    pub fn chain(&self, id: BackupId) -> Vec<&BackupInfo> {
        let mut chain: Vec<&BackupInfo> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(id);
        while let Some(backup) = next.filter(|id| seen.insert(*id)).and_then(|id| self.get(id)) {
            chain.push(backup);
            next = backup.parent_backup_id;
        }
        chain
    }
}

/// The direct children of every backup that has some.
pub(crate) type ChildMap = BTreeMap<BackupId, Vec<BackupId>>;

/// What depends on `id` according to `children`, leaves first, `id` itself last.
pub(crate) fn tree_leaves_first(children: &ChildMap, id: BackupId) -> Vec<BackupId> {
    let mut seen = BTreeSet::from([id]);
    let mut order = Vec::new();
    let mut stack = vec![(id, false)];
    while let Some((node, done)) = stack.pop() {
        if done {
            order.push(node);
            continue;
        }
        stack.push((node, true));
        // Pushed in reverse, so that the first child comes first.
        for child in children.get(&node).into_iter().flatten().rev() {
            if seen.insert(*child) {
                stack.push((*child, false));
            }
        }
    }
    order
}

/// The names in a directory; none if it does not exist.
fn names(path: &Path) -> Result<Vec<std::ffi::OsString>, CatalogError> {
    let error = |source| CatalogError {
        path: path.to_path_buf(),
        source,
    };
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(error(e)),
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(error)?.file_name());
    }
    names.sort_by(|a: &std::ffi::OsString, b| OsStr::cmp(a, b));
    Ok(names)
}
