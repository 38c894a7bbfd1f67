//! The short part of archiving, in the order of the files: names in the archive, lines in the catalogue, sources gone.

use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use barman_catalog::xlogdb::{LockedXlogDb, WalRecord};
use barman_wal::durable;

use super::error::ArchiveError;
use super::queue::{Source, Waiting};
use super::rejects::{self, Reason};
use super::run::Run;
use super::stage::{Facts, Staged};
use super::{TARGET, hook};

/// A staged file.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) source: Source,
    pub(super) file: Waiting,
    /// In the queue.
    pub(super) path: PathBuf,
    /// `None` if it could not be looked at.
    pub(super) facts: Option<Facts>,
    pub(super) staged: Staged,
}

/// What became of a file.
#[derive(Debug, Clone)]
pub(super) enum Done {
    /// Nothing to be done.
    Nothing,
    /// Archived.
    Stored(WalRecord),
    /// It was archived before.
    Same,
    /// The archive has other content.
    Different,
    /// Useless; why.
    Bad(String),
    /// Left in the queue; why.
    Unsettled(String),
    /// Left in the queue; why.
    Failed(String),
}

impl Done {
    /// What post scripts read in `BARMAN_ERROR`.
    pub(super) fn hook_error(&self, file: &Waiting, facts: &Facts) -> Option<String> {
        match self {
            Self::Nothing | Self::Stored(_) => None,
            Self::Same => Some(format!(
                "MatchingDuplicateWalFile:{}",
                hook::wal_file_info(file, facts)
            )),
            Self::Different => Some(format!("DuplicateWalFile:{}", hook::wal_file_info(file, facts))),
            Self::Bad(reason) | Self::Unsettled(reason) | Self::Failed(reason) => Some(reason.clone()),
        }
    }
}

impl Run<'_> {
    /// Takes staged files over, and says what became of each.
    pub(super) fn commit(&mut self, items: Vec<Item>) -> Result<Vec<Done>, ArchiveError> {
        let mut decided = Vec::with_capacity(items.len());
        let result = self.publish(items, &mut decided);
        // Also after a failure: what was listed before it is done.
        let outcomes = decided
            .iter()
            .map(|(item, done)| self.finish(item, done))
            .collect();
        result.map(|()| outcomes)
    }

    /// Names and lines, under the catalogue's lock. Only files that are listed durably come out as stored.
    fn publish(&mut self, items: Vec<Item>, decided: &mut Vec<(Item, Done)>) -> Result<(), ArchiveError> {
        let needs_catalogue = items
            .iter()
            .any(|item| matches!(item.staged, Staged::Store { .. } | Staged::Same { .. }));
        let cancel = self.ctx.cancel.flag();
        let mut db = if needs_catalogue {
            let mut db = LockedXlogDb::open(self.storage.layout, &self.custom, Some(&cancel))?;
            db.create_if_missing()?;
            Some(db)
        } else {
            None
        };
        let mut published: Vec<(Item, Done)> = Vec::with_capacity(items.len());
        let mut lines: Vec<WalRecord> = Vec::new();
        let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
        let mut failure = None;
        for mut item in items {
            let done = match std::mem::replace(&mut item.staged, Staged::Vanished) {
                Staged::Vanished => {
                    log::info!(target: TARGET, "{} has gone", item.path.display());
                    Done::Nothing
                }
                Staged::Store { temporary, record } => {
                    let target = temporary.target().to_path_buf();
                    match temporary.publish_new() {
                        Ok(()) => {
                            directories.extend(target.parent().map(Path::to_path_buf));
                            lines.push(record);
                            Done::Stored(record)
                        }
                        // Two spellings of one name in one queue, or somebody beside us. The next run compares them.
                        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                            Done::Unsettled("the archive has come to have a file of this name".to_owned())
                        }
                        Err(source) => {
                            failure = Some(ArchiveError::store(item.file.spelling.clone(), source));
                            break;
                        }
                    }
                }
                Staged::Same { record } => {
                    if let Some(db) = &db
                        && !self.is_listed(db, &record, &lines)?
                    {
                        log::warn!(target: TARGET, "{} was archived but not listed; a line is added", record.name);
                        let target = self.storage.target(&record.name);
                        // Whoever stored it may have been killed before its sync.
                        durable::fsync_file(&target)
                            .map_err(|source| ArchiveError::store(item.file.spelling.clone(), source))?;
                        directories.extend(target.parent().map(Path::to_path_buf));
                        lines.push(record);
                        self.report.repaired += 1;
                    }
                    Done::Same
                }
                Staged::Different => Done::Different,
                Staged::Bad(reason) => Done::Bad(reason),
                Staged::Unsettled(reason) => Done::Unsettled(reason),
                Staged::Failed(reason) => Done::Failed(reason),
                Staged::Fatal(source) => {
                    failure = Some(ArchiveError::store(item.file.spelling.clone(), source));
                    break;
                }
                Staged::Cancelled => {
                    failure = Some(ArchiveError::Interrupted {
                        server: self.config.name.clone(),
                    });
                    break;
                }
            };
            published.push((item, done));
        }
        if !directories.is_empty() {
            // A directory that was there already may be one that a killed run, or a thread beside us, has just made.
            directories.insert(self.storage.layout.wals_directory.clone());
        }
        for directory in &directories {
            durable::fsync_dir(directory)
                .map_err(|source| ArchiveError::store(directory.display().to_string(), source))?;
        }
        if let Some(db) = &mut db
            && !lines.is_empty()
        {
            db.append(&lines)?;
            if let Some(listed) = &mut self.listed {
                listed.extend(lines.iter().map(|record| record.name));
            }
        }
        decided.append(&mut published);
        failure.map_or(Ok(()), Err)
    }

    fn is_listed(
        &mut self,
        db: &LockedXlogDb<'_>,
        record: &WalRecord,
        lines: &[WalRecord],
    ) -> Result<bool, ArchiveError> {
        if self.listed.is_none() {
            let names: HashSet<_> = db.read()?.iter().map(|record| record.name).collect();
            self.listed = Some(names);
        }
        let listed = self
            .listed
            .as_ref()
            .is_some_and(|listed| listed.contains(&record.name));
        Ok(listed || lines.iter().any(|line| line.name == record.name))
    }

    /// What is to be said about a file, and the end of its source. `done` is true already; what goes wrong here is
    /// repaired by the next run.
    fn finish(&mut self, item: &Item, done: &Done) -> Done {
        let name = &item.file.spelling;
        let failed = self.report.failed;
        match done {
            Done::Nothing => {}
            Done::Stored(record) => {
                self.list(item);
                self.report.archived += 1;
                self.report.last_archived = Some(record.name);
                self.remove_left_over(item);
                self.remove_source(item);
            }
            Done::Same => {
                self.report.already_archived += 1;
                log::info!(target: TARGET, "{name} is archived already: the copy in the queue is removed");
                if self.remove_source(item) {
                    self.list(item);
                }
            }
            Done::Different => {
                if self.reject(item, Reason::Duplicate) {
                    self.list(item);
                    self.report.duplicates += 1;
                    self.tell(&format!(
                        "\tError: {name} is already present in server {}. File moved to errors directory.",
                        self.config.name
                    ));
                }
            }
            Done::Bad(reason) => {
                if self.reject(item, Reason::Error) {
                    self.list(item);
                    self.report.rejected += 1;
                    self.complain(&format!(
                        "WAL file {name} of server {} is useless: {reason}. File moved to errors directory.",
                        self.config.name
                    ));
                }
            }
            Done::Unsettled(reason) => {
                self.report.unsettled += 1;
                log::info!(target: TARGET, "{name} waits for the next run: {reason}");
            }
            Done::Failed(reason) => {
                self.report.failed += 1;
                self.complain(&format!(
                    "WAL file {name} of server {} is not archived: {reason}. It stays in the queue.",
                    self.config.name
                ));
            }
        }
        if self.report.failed > failed {
            self.patience.failed(item.source, &item.file);
        }
        done.clone()
    }

    /// Names a file that is done with to the user.
    fn list(&mut self, item: &Item) {
        let (source, name) = (item.source.title(), &item.file.spelling);
        log::info!(target: TARGET, "Archiving segment from {source}: {}/{name}", self.config.name);
        self.tell(&format!("\t{name}"));
    }

    /// Removes a source that is archived, unless it has become another file meanwhile. Whether it is gone.
    fn remove_source(&mut self, item: &Item) -> bool {
        if !item
            .facts
            .as_ref()
            .is_some_and(|facts| facts.is_still_at(&item.path))
        {
            log::info!(target: TARGET, "{} has changed and waits for the next run", item.path.display());
            return false;
        }
        match fs::remove_file(&item.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.report.failed += 1;
                self.complain(&format!(
                    "WAL file {} is archived, but cannot be removed from the queue: {error}",
                    item.path.display()
                ));
                false
            }
            _ => true,
        }
    }

    /// Barman's own temporary file of a killed run has a visible name in the archive.
    fn remove_left_over(&self, item: &Item) {
        let mut left_over = self.storage.target(&item.file.name).into_os_string();
        left_over.push(".compressed");
        let _ = fs::remove_file(left_over);
    }

    fn reject(&mut self, item: &Item, reason: Reason) -> bool {
        match rejects::reject(&item.path, &self.config.errors_directory, reason, self.now()) {
            Ok(target) => {
                log::warn!(target: TARGET, "{} moved to {}", item.path.display(), target.display());
                true
            }
            Err(error) => {
                self.report.failed += 1;
                self.complain(&format!(
                    "WAL file {} cannot be archived and not be moved to the errors directory: {error}",
                    item.path.display()
                ));
                false
            }
        }
    }
}
