//! Changes in the files: tried in memory first, then written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use barman_wal::durable::{self, AtomicFile, DurableError};
use rustix::fs::{Access, Gid, Uid};

use super::queue::ChangeSet;
use crate::config::edit::{self, EditError, Setting};
use crate::config::shown::without_secrets;
use crate::config::{Config, ConfigError, Overlay, ini, registry};

/// One option that got another value. Secrets are hidden.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AppliedChange {
    /// The section.
    pub section: String,
    /// The option.
    pub option: String,
    /// What the section said before.
    pub old: Option<String>,
    /// What it says now.
    pub new: String,
    /// In which file.
    pub file: PathBuf,
}

/// Why a set of changes cannot be applied, now or ever.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// A file cannot be edited.
    #[error("'{}': {source}", path.display())]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EditError,
    },
    /// A file is no text.
    #[error("'{}' is no text", .0.display())]
    NotText(PathBuf),
    /// A file cannot be read.
    #[error("cannot read '{}': {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration could not be loaded any more.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Two servers would share a directory, and no command would work.
    #[error("{0}")]
    Conflict(String),
}

impl ApplyError {
    /// Whether trying again later may help.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Read { .. })
    }
}

/// The configuration with changes that are not on disk yet.
pub struct Draft {
    /// As it will be.
    pub config: Config,
    overlay: Overlay,
    /// Files that could not be replaced.
    stuck: BTreeSet<PathBuf>,
}

impl Draft {
    /// Nothing is changed yet.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            overlay: Overlay::new(),
            stuck: BTreeSet::new(),
        }
    }

    /// Begins again with what is on disk now; nothing is to go into `stuck` files.
    ///
    /// # Errors
    /// The configuration cannot be read again.
    pub fn without(&self, stuck: BTreeSet<PathBuf>) -> Result<Self, ConfigError> {
        Ok(Self {
            config: self.config.reload(Overlay::new())?,
            overlay: Overlay::new(),
            stuck,
        })
    }

    /// Decides for each change which file it goes to: the one that sets the option in the section, else, and if that
    /// one cannot be replaced, the one that is loaded last and therefore counts.
    pub fn decide_files(&self, set: &mut ChangeSet) {
        for change in &mut set.changes {
            let own = self.config.source(&set.section, &change.key);
            change.config_file = self.target(own);
        }
    }

    fn target(&self, wanted: Option<&Path>) -> PathBuf {
        let auto = self.config.globals.auto_file();
        let path = wanted
            .filter(|path| **path != auto && replaceable(path))
            .unwrap_or(&auto);
        std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
    }

    /// The path under which a file is loaded. One that is not loaded would change nothing.
    fn loaded(&self, file: &Path) -> PathBuf {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let wanted = absolute(file);
        self.config
            .files()
            .iter()
            .find(|path| absolute(path) == wanted && !self.stuck.contains(*path) && replaceable(path))
            .cloned()
            .unwrap_or_else(|| self.config.globals.auto_file())
    }

    /// Applies a set in memory, all of it or nothing.
    ///
    /// # Errors
    /// [`ApplyError`].
    pub fn apply(&mut self, set: &ChangeSet) -> Result<Vec<AppliedChange>, ApplyError> {
        let mut overlay = self.overlay.clone();
        let mut applied = Vec::new();
        for change in &set.changes {
            let path = self.loaded(&change.config_file);
            let before = match overlay.get(&path) {
                Some(bytes) => bytes.clone(),
                None => read(&path)?,
            };
            let before = String::from_utf8(before).map_err(|_| ApplyError::NotText(path.clone()))?;
            let setting = Setting {
                section: &set.section,
                key: &change.key,
                value: &change.value,
            };
            let after = edit::set(&path.display().to_string(), &before, setting).map_err(|source| {
                ApplyError::Edit {
                    path: path.clone(),
                    source,
                }
            })?;
            overlay.insert(path.clone(), after.into_bytes());
            let hide = |text: &str| match registry::server_option(&change.key) {
                Some(def) => without_secrets(def, text).into_owned(),
                None => text.to_owned(),
            };
            applied.push(AppliedChange {
                section: set.section.clone(),
                option: change.key.clone(),
                old: self
                    .config
                    .raw(&set.section, &change.key)
                    .map(|raw| hide(ini::unquote(raw))),
                new: hide(&change.value),
                file: path,
            });
        }
        let config = self.config.reload(overlay.clone())?;
        let known = &self.config.path_conflicts;
        if let Some(conflict) = config.path_conflicts.iter().find(|new| !known.contains(new)) {
            return Err(ApplyError::Conflict(conflict.clone()));
        }
        self.config = config;
        self.overlay = overlay;
        Ok(applied)
    }

    /// Writes every changed file; returns those that could not be.
    pub fn write(&self) -> BTreeMap<PathBuf, DurableError> {
        let mut failed = BTreeMap::new();
        for (path, bytes) in &self.overlay {
            let same = fs::read(path).is_ok_and(|old| old == *bytes);
            // The file of changes is ours, whoever made it.
            let adopt = *path == self.config.globals.auto_file();
            if !same && let Err(error) = replace(path, bytes, adopt) {
                failed.insert(path.clone(), error);
            }
        }
        failed
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ApplyError> {
    match Config::read_file(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(source) => Err(ApplyError::Read {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whether this user can put another file in the place of this one, with the same owner and group.
fn replaceable(path: &Path) -> bool {
    let Ok(real) = fs::canonicalize(path) else {
        return false;
    };
    let directory = real.parent().unwrap_or(Path::new("/"));
    let (Ok(file), Ok(above)) = (fs::metadata(&real), fs::metadata(directory)) else {
        return false;
    };
    let user = rustix::process::geteuid();
    let owned = user.is_root() || file.uid() == user.as_raw() && may_give(file.gid(), &above);
    owned && rustix::fs::access(directory, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// Whether a new file in a directory can have that group: one of ours, or the one that it inherits.
fn may_give(group: u32, directory: &fs::Metadata) -> bool {
    const SET_GROUP_ID: u32 = 0o2000;
    let inherits = directory.mode() & SET_GROUP_ID != 0 && directory.gid() == group;
    inherits
        || rustix::process::getegid().as_raw() == group
        || rustix::process::getgroups()
            .is_ok_and(|groups| groups.iter().any(|member| member.as_raw() == group))
}

/// Puts new content under the name (behind links), with the mode and the owner of the old file. One that is to be
/// adopted becomes ours if it cannot keep its owner, and nobody's group may read it then.
fn replace(path: &Path, bytes: &[u8], adopt: bool) -> Result<(), DurableError> {
    let failed = |action: &'static str, path: &Path, source: io::Error| DurableError {
        action,
        path: path.to_owned(),
        source,
    };
    let real = match fs::canonicalize(path) {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
        Err(error) => return Err(failed("find", path, error)),
    };
    if let (Some(directory), Some(name)) = (real.parent(), real.file_name()) {
        let mut prefix = std::ffi::OsString::from(".");
        prefix.push(name);
        // What a killed run has left. We hold the lock of configuration changes.
        let _ = durable::remove_stale_temporaries_of(directory, &prefix);
    }
    // Connection strings may have passwords.
    let mut file = AtomicFile::create(&real, 0o600)?;
    match fs::File::open(&real) {
        Ok(old) => {
            let meta = old.metadata().map_err(|error| failed("look at", &real, error))?;
            let ours = file
                .file()
                .metadata()
                .map_err(|error| failed("look at", &real, error))?;
            let owner = (meta.uid() != ours.uid()).then(|| Uid::from_raw(meta.uid()));
            let group = (meta.gid() != ours.gid()).then(|| Gid::from_raw(meta.gid()));
            let mut adopted = false;
            if owner.is_some() || group.is_some() {
                match rustix::fs::fchown(file.file(), owner, group) {
                    Err(rustix::io::Errno::PERM) if adopt => adopted = true,
                    given => given.map_err(|error| failed("set the owner of", &real, error.into()))?,
                }
            }
            durable::copy_attributes(&old, file.file(), &real)?;
            if adopted {
                let mode = rustix::fs::Mode::from_raw_mode(meta.mode() & 0o707);
                rustix::fs::fchmod(file.file(), mode)
                    .map_err(|error| failed("set the mode of", &real, error.into()))?;
            }
            let now = jiff::Timestamp::now();
            durable::set_times(file.file(), &real, now.as_second(), 0)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("open", &real, error)),
    }
    file.write_all(bytes)
        .map_err(|error| failed("write", file.temporary_path(), error))?;
    file.commit()
}
