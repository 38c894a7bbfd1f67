//! A file system in which only a sync makes anything durable.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::super::calls::{Call, is_unnamed};
use super::writes::{listed_in, number_of, removed, target, written};
use super::{Places, name_of};

/// Position in a log that counts what comes after what.
type Moment = usize;

/// One file, whatever its names.
#[derive(Debug, Clone, Default)]
pub(super) struct File {
    /// The beginning of the last write that is not covered by a sync.
    dirty: Option<Moment>,
    /// The smallest offset written since the last sync.
    dirty_from: Option<u64>,
    /// Where the next `write` goes if nothing is known of its descriptor.
    position: u64,
    /// How much it holds, without what was only prepared.
    size: u64,
    /// What was written, for the small files that the rules read.
    text: Vec<u8>,
    /// Whether `text` is all that it holds, and not only what was added.
    whole: bool,
    /// Made by somebody else, and not synced in this run.
    foreign: bool,
}

/// A descriptor that can be written to.
#[derive(Debug, Clone, Copy, Default)]
struct Open {
    /// Every write goes to the end.
    appends: bool,
    /// Where the next `write` goes else.
    position: u64,
}

/// How far beyond its end the text of a small file is followed.
const HOLE: usize = 1 << 20;

/// See the module.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) places: Places,
    files: Vec<File>,
    names: BTreeMap<PathBuf, usize>,
    /// Names that are not yet on stable storage in their directory, and since when.
    fresh: BTreeMap<PathBuf, Moment>,
    /// Names whose removal is not yet on stable storage.
    removed: BTreeMap<PathBuf, Moment>,
    /// Names that were removed in this run, durably or not.
    gone: BTreeSet<PathBuf>,
    /// What each sync covers that has begun and not ended, by its thread.
    begun: HashMap<u32, Moment>,
    /// Files without a name, by the descriptor that made them.
    unnamed: HashMap<(u32, String), PathBuf>,
    /// How files are open for writing, by file and number of the descriptor.
    open: BTreeMap<(usize, String), Open>,
    /// The names in `xlog.db` as it is now, for each such file.
    listed: BTreeMap<PathBuf, BTreeSet<String>>,
    /// Files that are mapped and shared, and where: from an address up to another one.
    maps: Vec<(u64, u64, PathBuf)>,
}

impl Model {
    pub(super) fn new(places: Places) -> Self {
        Self {
            places,
            files: Vec::new(),
            names: BTreeMap::new(),
            fresh: BTreeMap::new(),
            removed: BTreeMap::new(),
            gone: BTreeSet::new(),
            begun: HashMap::new(),
            unnamed: HashMap::new(),
            open: BTreeMap::new(),
            listed: BTreeMap::new(),
            maps: Vec::new(),
        }
    }

    /// Whether the rules speak of this path.
    pub(super) fn concerns(&self, path: &Path) -> bool {
        let restored = self.restored().any(|place| path.starts_with(place));
        (restored || path.starts_with(&self.places.home)) && !name_of(path).ends_with(".lock")
    }

    /// Where a restore writes, tablespaces included.
    pub(super) fn restored(&self) -> impl Iterator<Item = &PathBuf> {
        self.places.destination.iter().chain(&self.places.tablespaces)
    }

    /// The file of which a part is mapped and shared in this range of addresses.
    pub(super) fn mapped(&self, begin: u64, length: u64) -> Option<&PathBuf> {
        let end = begin.saturating_add(length);
        let found = self.maps.iter().find(|(from, to, _)| *from < end && begin < *to);
        found.map(|(_, _, path)| path)
    }

    /// Follows what is mapped where. All processes count as one: what one maps and another one changes at the same address
    /// is rather told than overlooked.
    fn map(&mut self, call: &Call) {
        let (begin, length) = match call.name.as_str() {
            "mmap" => (call.mapped(), call.number(1)),
            _ => (call.address(0), call.number(1)),
        };
        let (Some(begin), Some(length)) = (begin, length) else {
            return;
        };
        let moved = self.mapped(begin, length).cloned();
        let end = begin.saturating_add(length);
        let apart = |from: u64, to: u64| to <= begin || end <= from;
        self.maps.retain(|(from, to, _)| apart(*from, *to));
        match call.name.as_str() {
            "mmap" if call.arguments.get(3).is_some_and(|a| a.contains("MAP_SHARED")) => {
                if let Some(path) = call.descriptor(4).filter(|path| self.concerns(path)) {
                    self.maps.push((begin, end, path));
                }
            }
            "mremap" => {
                if let (Some(path), Some(begin), Some(length)) = (moved, call.mapped(), call.number(2)) {
                    self.maps.push((begin, begin.saturating_add(length), path));
                }
            }
            _ => {}
        }
    }

    /// The path in the copy from before the run.
    fn before(&self, path: &Path) -> Option<PathBuf> {
        let relative = path.strip_prefix(&self.places.home).ok()?;
        Some(self.places.before.as_ref()?.join(relative))
    }

    /// Whether it was there before the run.
    pub(super) fn existed(&self, path: &Path) -> bool {
        self.before(path)
            .is_some_and(|path| path.symlink_metadata().is_ok())
    }

    /// What it held before the run.
    pub(super) fn content_before(&self, path: &Path) -> Option<Vec<u8>> {
        fs::read(self.before(path)?).ok()
    }

    fn file(&mut self, path: &Path) -> usize {
        if let Some(id) = self.names.get(path) {
            return *id;
        }
        // Nobody knows whether what lies in a queue, or was left in the archive by a killed run, is on disk.
        let foreign = self.is_wal(path);
        let before = self.before(path).filter(|_| !self.gone.contains(path));
        let id = self.files.len();
        self.files.push(File {
            foreign,
            size: before
                .and_then(|path| fs::metadata(path).ok())
                .map_or(0, |metadata| metadata.len()),
            ..File::default()
        });
        self.names.insert(path.to_owned(), id);
        id
    }

    fn is_wal(&self, path: &Path) -> bool {
        let part = self.place(path).map(|(_, part, _)| part);
        matches!(part.as_deref(), Some("incoming" | "streaming" | "wals"))
            && !name_of(path).ends_with("xlog.db")
    }

    /// `home/SERVER/PART/REST`: the server's directory, the part, the rest.
    pub(super) fn place(&self, path: &Path) -> Option<(PathBuf, String, PathBuf)> {
        let mut parts = path.strip_prefix(&self.places.home).ok()?.components();
        let server = self.places.home.join(parts.next()?);
        let part = parts.next()?.as_os_str().to_str()?.to_owned();
        Some((server, part, parts.as_path().to_owned()))
    }

    /// Whether it is a file that the catalogue keeps, under its final name: it is replaced as a whole.
    pub(super) fn is_kept(&self, path: &Path) -> bool {
        let Some((_, part, rest)) = self.place(path) else {
            return false;
        };
        let name = name_of(path);
        let own = match part.as_str() {
            "meta" | "identity.json" | "primary.info" => true,
            "wals" => {
                name.ends_with("xlog.db") || rest.components().count() > 1 || name.ends_with(".history")
            }
            _ => false,
        };
        own && !name.starts_with('.') && !name.ends_with(".tmp")
    }

    /// The file whose content this call writes over, and where.
    pub(super) fn overwritten(&self, call: &Call) -> Option<(PathBuf, u64)> {
        let (path, offset, _) = written(call)?;
        if matches!(call.name.as_str(), "ftruncate" | "truncate" | "fallocate") || !self.is_kept(&path) {
            return None;
        }
        let id = self.names.get(&path).copied();
        let size = match id.and_then(|id| self.files.get(id)) {
            Some(file) => file.size,
            None if self.gone.contains(&path) => 0,
            None => fs::metadata(self.before(&path)?).ok()?.len(),
        };
        let open = id.and_then(|id| self.opened_as(id, call));
        let offset = match (open, offset) {
            // Also `pwrite` writes to the end then.
            (Some((_, open)), _) if open.appends => return None,
            (_, Some(offset)) => offset,
            (Some((_, open)), None) => open.position,
            (None, None) => return None,
        };
        (offset < size).then_some((path, offset))
    }

    /// How the file is open to which a call writes; of a copy of a descriptor, as any that was opened.
    fn opened_as(&self, id: usize, call: &Call) -> Option<((usize, String), Open)> {
        let argument = call.arguments.get(target(call))?;
        let key = (id, number_of(argument));
        let found = self.open.get_key_value(&key).or_else(|| {
            let mut of_file = self.open.range((id, String::new())..);
            of_file.next().filter(|((of, _), _)| *of == id)
        });
        found.map(|(key, open)| (key.clone(), *open))
    }

    /// Whether it is there, as far as the run has shown.
    pub(super) fn exists(&self, path: &Path) -> bool {
        self.names.contains_key(path) || (self.existed(path) && !self.gone.contains(path))
    }

    /// Why the content may be lost when the machine stops now.
    pub(super) fn content_at_risk(&self, path: &Path) -> Option<String> {
        let file = self.names.get(path).and_then(|id| self.files.get(*id));
        match file {
            Some(file) if file.dirty.is_some() => Some(format!("{} is not synced", path.display())),
            Some(file) if file.foreign => Some(format!("{} was never synced", path.display())),
            None if self.is_wal(path) => Some(format!("{} was never synced", path.display())),
            _ => None,
        }
    }

    /// Why it may be lost, content or name, when the machine stops now.
    pub(super) fn at_risk(&self, path: &Path) -> Option<String> {
        self.content_at_risk(path).or_else(|| self.name_at_risk(path))
    }

    /// Why the name may be lost.
    pub(super) fn name_at_risk(&self, path: &Path) -> Option<String> {
        path.ancestors()
            .take_while(|above| self.concerns(above) && **above != self.places.home)
            .find(|above| self.fresh.contains_key(*above))
            .map(|above| {
                let directory = above.parent().unwrap_or(above);
                format!(
                    "the name {} is new in a directory that is not synced ({})",
                    above.display(),
                    directory.display()
                )
            })
    }

    /// Why the removal of this name may be undone.
    pub(super) fn removal_at_risk(&self, path: &Path) -> bool {
        self.removed.contains_key(path)
    }

    /// Whether the run has removed it.
    pub(super) fn is_gone(&self, path: &Path) -> bool {
        self.gone.contains(path)
    }

    /// Whether only others have written to it, and it was not synced.
    pub(super) fn is_untouched(&self, path: &Path) -> bool {
        match self.names.get(path).and_then(|id| self.files.get(*id)) {
            Some(file) => file.foreign && file.dirty.is_none(),
            None => true,
        }
    }

    /// All names at or below this one that the run has made or written.
    pub(super) fn known_below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        // Paths are ordered by their parts, so what is below a directory follows it.
        self.names
            .range(path.to_owned()..)
            .map(|(name, _)| name)
            .take_while(move |name| name.starts_with(path))
    }

    /// Names at or below this one that are not yet on stable storage.
    pub(super) fn all_fresh_below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a PathBuf> {
        self.fresh.keys().filter(move |name| name.starts_with(path))
    }

    /// The first of them.
    pub(super) fn fresh_below(&self, path: &Path) -> Option<&PathBuf> {
        self.fresh.keys().find(|name| name.starts_with(path))
    }

    /// All names that the run has left.
    pub(super) fn all(&self) -> impl Iterator<Item = &PathBuf> {
        self.names.keys().chain(self.fresh.keys())
    }

    /// What was written to a small file.
    pub(super) fn text(&self, path: &Path) -> Option<&[u8]> {
        let file = self.files.get(*self.names.get(path)?)?;
        Some(&file.text)
    }

    /// The smallest offset that is not synced.
    pub(super) fn dirty_from(&self, path: &Path) -> Option<u64> {
        self.files.get(*self.names.get(path)?)?.dirty_from
    }

    /// The names that this `xlog.db` lists.
    pub(super) fn listed(&self, db: &Path) -> BTreeSet<String> {
        match self.listed.get(db) {
            Some(names) => names.clone(),
            None => self.listed_before(db),
        }
    }

    /// The names that this `xlog.db` listed before the run.
    pub(super) fn listed_before(&self, db: &Path) -> BTreeSet<String> {
        listed_in(&self.content_before(db).unwrap_or_default())
    }

    /// What a call does from its beginning.
    pub(super) fn begin(&mut self, call: &Call) {
        let moment = call.begin;
        match call.name.as_str() {
            "fsync" | "fdatasync" | "syncfs" | "sync" => {
                self.begun.insert(call.thread, moment);
            }
            _ => {
                let Some((path, offset, zeros)) = written(call) else {
                    return;
                };
                if !self.concerns(&path) && !is_unnamed(&path.to_string_lossy()) {
                    return;
                }
                let id = self.file(&path);
                let open = self.opened_as(id, call);
                let Some(file) = self.files.get_mut(id) else {
                    return;
                };
                file.dirty = Some(moment);
                let offset = match (open, offset) {
                    (Some((_, open)), _) if open.appends => file.size,
                    (_, Some(offset)) => offset,
                    (Some((_, open)), None) => open.position,
                    (None, None) => file.position,
                };
                if !zeros {
                    file.dirty_from = Some(file.dirty_from.map_or(offset, |from| from.min(offset)));
                }
            }
        }
    }

    /// What a call has done at its end.
    pub(super) fn end(&mut self, call: &Call, line: usize) {
        match call.name.as_str() {
            "fsync" | "fdatasync" => {
                let begun = self.begun.remove(&call.thread).unwrap_or(line);
                if let Some(path) = call.descriptor(0) {
                    self.synced(&path, begun);
                }
            }
            "syncfs" | "sync" => {
                let begun = self.begun.remove(&call.thread).unwrap_or(line);
                let mount = call
                    .descriptor(0)
                    .map(|path| mount_of(&self.places.mounts, &path).to_owned());
                self.all_synced(mount.as_deref(), begun);
            }
            "open" | "openat" | "openat2" | "creat" => self.opened(call, line),
            "mkdir" | "symlink" | "mknod" => self.made(call.path(usize::from(call.name == "symlink")), line),
            "mkdirat" | "mknodat" => self.made(call.path(1), line),
            "symlinkat" => self.made(call.path(2), line),
            "link" | "linkat" | "rename" | "renameat" | "renameat2" => {
                if let Some((from, to)) = self.two_names(call) {
                    self.moved(&from, &to, call, line);
                }
            }
            "unlink" | "unlinkat" | "rmdir" => {
                if let Some(path) = removed(call).filter(|path| self.concerns(path)) {
                    self.forget(&path, line);
                }
            }
            "mmap" | "munmap" | "mremap" => self.map(call),
            "lseek" => {
                let id = call.descriptor(0).and_then(|path| self.names.get(&path));
                let key = id.zip(call.arguments.first()).map(|(id, a)| (*id, number_of(a)));
                if let Some(open) = key.and_then(|key| self.open.get_mut(&key))
                    && let Ok(position) = call.result.parse()
                {
                    open.position = position;
                }
            }
            _ => self.wrote(call),
        }
    }

    fn opened(&mut self, call: &Call, line: usize) {
        let Some(path) = call.opened() else { return };
        let flags = call
            .arguments
            .iter()
            .find(|a| a.contains("O_"))
            .cloned()
            .unwrap_or_default();
        if flags.contains("O_TMPFILE") {
            self.unnamed.insert((0, number_of(&call.result)), path.clone());
            self.file(&path);
            return;
        }
        if !self.concerns(&path) {
            return;
        }
        let creates = call.name == "creat" || flags.contains("O_CREAT");
        if creates && !self.exists(&path) {
            let id = self.file(&path);
            if let Some(file) = self.files.get_mut(id) {
                *file = File {
                    dirty: Some(line),
                    whole: true,
                    ..File::default()
                };
            }
            self.made(Some(path.clone()), line);
        } else if flags.contains("O_TRUNC") || call.name == "creat" {
            let id = self.file(&path);
            if let Some(file) = self.files.get_mut(id) {
                file.text.clear();
                file.whole = true;
                (file.position, file.size) = (0, 0);
                file.dirty = Some(line);
            }
        } else if let Some(id) = self.names.get(&path).copied()
            && let Some(file) = self.files.get_mut(id)
        {
            file.position = 0;
        }
        if call.name != "creat" && !flags.contains("O_WRONLY") && !flags.contains("O_RDWR") {
            return;
        }
        let known = self.names.get(&path).copied();
        if let Some(id) = known.or_else(|| self.is_kept(&path).then(|| self.file(&path))) {
            let open = Open {
                appends: flags.contains("O_APPEND"),
                position: 0,
            };
            self.open.insert((id, number_of(&call.result)), open);
        }
    }

    fn made(&mut self, path: Option<PathBuf>, line: usize) {
        if let Some(path) = path.filter(|path| self.concerns(path)) {
            self.removed.remove(&path);
            self.gone.remove(&path);
            self.fresh.insert(path, line);
        }
    }

    fn forget(&mut self, path: &Path, line: usize) {
        self.names.remove(path);
        self.fresh.remove(path);
        self.removed.insert(path.to_owned(), line);
        self.gone.insert(path.to_owned());
    }

    /// The old and the new name of a rename or link.
    pub(super) fn two_names(&self, call: &Call) -> Option<(PathBuf, PathBuf)> {
        let (from, to) = match call.name.as_str() {
            "rename" | "link" => (call.path(0)?, call.path(1)?),
            "renameat" | "renameat2" | "linkat" => (call.path(1)?, call.path(3)?),
            _ => return None,
        };
        let number = from
            .strip_prefix("/proc/self/fd")
            .ok()
            .map(|n| n.display().to_string());
        let from = number
            .and_then(|number| self.unnamed.get(&(0, number)).cloned())
            .unwrap_or(from);
        (self.concerns(&from) || self.concerns(&to)).then_some((from, to))
    }

    fn moved(&mut self, from: &Path, to: &Path, call: &Call, line: usize) {
        let is_link = call.name.starts_with("link");
        // A directory takes along what is in it.
        let below: Vec<(PathBuf, usize)> = self
            .names
            .iter()
            .filter(|(name, _)| name.starts_with(from) && name.as_path() != from)
            .map(|(name, id)| (name.clone(), *id))
            .collect();
        let fresh: Vec<(PathBuf, Moment)> = self
            .fresh
            .iter()
            .filter(|(name, _)| name.starts_with(from) && name.as_path() != from)
            .map(|(name, moment)| (name.clone(), *moment))
            .collect();
        let id = self.file(from);
        if !is_link {
            for (name, id) in below {
                if let Ok(rest) = name.strip_prefix(from) {
                    self.names.insert(to.join(rest), id);
                }
                self.names.remove(&name);
            }
            for (name, moment) in fresh {
                if let Ok(rest) = name.strip_prefix(from) {
                    self.fresh.insert(to.join(rest), moment);
                }
                self.fresh.remove(&name);
            }
            self.forget(from, line);
        }
        self.names.insert(to.to_owned(), id);
        self.made(Some(to.to_owned()), line);
        if to.extension().is_some_and(|e| e == "db") {
            let text = self
                .files
                .get(id)
                .map(|file| file.text.clone())
                .unwrap_or_default();
            self.listed.insert(to.to_owned(), listed_in(&text));
        }
    }

    fn wrote(&mut self, call: &Call) {
        let Some((path, offset, _)) = written(call) else {
            return;
        };
        let length = call.result.parse::<u64>().unwrap_or(0);
        let small = keeps_text(&path);
        let bytes = if small {
            call.payload().unwrap_or_default()
        } else {
            Vec::new()
        };
        if path.extension().is_some_and(|e| e == "db") && self.concerns(&path) {
            let mut names = self.listed(&path);
            names.extend(listed_in(&bytes));
            self.listed.insert(path.clone(), names);
        }
        let Some(id) = self.names.get(&path).copied() else {
            return;
        };
        let open = self.opened_as(id, call);
        let Some(file) = self.files.get_mut(id) else {
            return;
        };
        match call.name.as_str() {
            "fallocate" => return,
            "truncate" | "ftruncate" => {
                let size = call.number(1).unwrap_or(0);
                file.size = file.size.min(size);
                if file.whole {
                    file.text.truncate(usize::try_from(size).unwrap_or(usize::MAX));
                }
                return;
            }
            _ => {}
        }
        let at = match (&open, offset) {
            (Some((_, open)), _) if open.appends => file.size,
            (_, Some(offset)) => offset,
            (Some((_, open)), None) => open.position,
            (None, None) => file.position,
        };
        let end = at.saturating_add(length);
        file.size = file.size.max(end);
        if offset.is_none() {
            file.position = file.position.saturating_add(length);
            if let Some((key, _)) = open
                && let Some(open) = self.open.get_mut(&key)
            {
                open.position = end;
            }
        }
        if small {
            file.put(&bytes, at);
        }
    }

    fn synced(&mut self, path: &Path, begun: Moment) {
        if self.concerns(path) || is_unnamed(&path.to_string_lossy()) {
            let id = self.file(path);
            if let Some(file) = self.files.get_mut(id) {
                file.sync(begun);
            }
        }
        // The directory that holds a place is not in it, the name of the place is.
        let inside = |name: &Path| name.parent() == Some(path);
        self.fresh
            .retain(|name, moment| !(inside(name) && *moment <= begun));
        self.removed
            .retain(|name, moment| !(inside(name) && *moment <= begun));
    }

    fn all_synced(&mut self, mount: Option<&Path>, begun: Moment) {
        let mounts = &self.places.mounts;
        let covered = |name: &Path| mount.is_none_or(|mount| mount_of(mounts, name) == mount);
        for (name, id) in &self.names {
            if covered(name)
                && let Some(file) = self.files.get_mut(*id)
            {
                file.sync(begun);
            }
        }
        self.fresh
            .retain(|name, moment| !(*moment <= begun && covered(name)));
        self.removed
            .retain(|name, moment| !(*moment <= begun && covered(name)));
    }
}

/// The mount point of the file system that holds a path.
fn mount_of<'a>(mounts: &'a [PathBuf], path: &Path) -> &'a Path {
    mounts
        .iter()
        .filter(|mount| path.starts_with(mount))
        .max_by_key(|mount| mount.components().count())
        .map_or(Path::new(""), PathBuf::as_path)
}

impl File {
    /// A sync that began at `begun` has ended.
    fn sync(&mut self, begun: Moment) {
        if self.dirty.is_none_or(|dirty| dirty <= begun) {
            self.dirty = None;
            self.dirty_from = None;
            self.foreign = false;
        }
    }

    /// Keeps what was written at an offset.
    fn put(&mut self, bytes: &[u8], at: u64) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        // Of a file that was there only what was added is known.
        if !self.whole || at > self.text.len().saturating_add(HOLE) {
            self.text.extend(bytes);
            return;
        }
        let end = at.saturating_add(bytes.len());
        if self.text.len() < end {
            self.text.resize(end, 0);
        }
        if let Some(place) = self.text.get_mut(at..end) {
            place.copy_from_slice(bytes);
        }
    }
}

/// The files whose text the rules read.
fn keeps_text(path: &Path) -> bool {
    let name = name_of(path);
    name.contains("backup.info") || name.contains("xlog")
}
