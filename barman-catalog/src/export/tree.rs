//! The directory of a backup as members of the archive: sorted, every link as a link, every further name of a file with
//! its full content.

use super::owners::Names;
use super::{Export, ExportError};
use crate::tarball::{Entry, Kind};
use crate::xlogdb::WalRecord;
use barman_wal::durable;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Directories lie no deeper in each other than this: PostgreSQL's are five deep.
pub(crate) const DEPTH: usize = 256;

/// The member of a file, a directory or a link.
pub(super) fn entry<'a>(name: &'a [u8], metadata: &Metadata, owners: &'a Names) -> Entry<'a> {
    let kind = metadata.file_type();
    let (kind, size) = if kind.is_dir() {
        (Kind::Directory, 0)
    } else if kind.is_symlink() {
        (Kind::Symlink, 0)
    } else {
        (Kind::File, metadata.len())
    };
    Entry {
        name,
        kind,
        size,
        mode: metadata.mode(),
        owner: (metadata.uid(), metadata.gid(), &owners.0, &owners.1),
        modified: Some(WalRecord::time_from(metadata.mtime(), metadata.mtime_nsec())),
        link: b"",
    }
}

impl<W: Write> Export<'_, W> {
    /// Everything in `base`, under `backup/`.
    pub(super) fn tree(&mut self, base: &Path) -> Result<(), ExportError> {
        let read = |path: &Path| {
            let path = path.to_path_buf();
            move |source| ExportError::Read { path, source }
        };
        self.plain(b"backup", base, b"")?;
        // Directories that have been begun: relative path, names that are left, the next one last.
        let mut begun: Vec<(PathBuf, Vec<OsString>)> =
            vec![(PathBuf::new(), names(base).map_err(read(base))?)];
        while let Some((directory, left)) = begun.last_mut() {
            let Some(name) = left.pop() else {
                begun.pop();
                continue;
            };
            self.unless_cancelled()?;
            let relative = directory.join(name);
            let path = base.join(&relative);
            let member = [b"backup/", relative.as_os_str().as_bytes()].concat();
            let kind = fs::symlink_metadata(&path).map_err(read(&path))?.file_type();
            if kind.is_dir() {
                if begun.len() >= DEPTH {
                    return Err(read(&path)(io::Error::other(
                        "too many directories in each other",
                    )));
                }
                self.plain(&member, &path, b"")?;
                begun.push((relative, names(&path).map_err(read(&path))?));
            } else if kind.is_file() {
                self.file(&member, &path)?;
            } else if kind.is_symlink() {
                if relative.parent() != Some(Path::new("data/pg_tblspc")) {
                    Self::note(&mut self.links, &relative);
                }
                let target = fs::read_link(&path).map_err(read(&path))?;
                self.plain(&member, &path, target.as_os_str().as_bytes())?;
            } else {
                Self::note(&mut self.left_out, &relative);
            }
        }
        Ok(())
    }

    /// A directory or a link.
    fn plain(&mut self, member: &[u8], path: &Path, link: &[u8]) -> Result<(), ExportError> {
        let metadata = fs::symlink_metadata(path).map_err(|source| ExportError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        let owners = self.owners.of(&metadata);
        let entry = Entry {
            link,
            size: 0,
            ..entry(member, &metadata, &owners)
        };
        self.small(&entry, b"")
    }

    /// A file with its content. One that changes its length meanwhile is an error: a backup does not.
    pub(super) fn file(&mut self, member: &[u8], path: &Path) -> Result<(), ExportError> {
        self.unless_cancelled()?;
        let read = |source| ExportError::Read {
            path: path.to_path_buf(),
            source,
        };
        let file = durable::open_file(path).map_err(read)?;
        let metadata = file.metadata().map_err(read)?;
        let owners = self.owners.of(&metadata);
        let mut content = Content {
            file,
            failed: false,
            stopped: false,
            cancel: self.cancel,
            done: self.done,
        };
        let result = self
            .tar
            .append(&entry(member, &metadata, &owners), &mut content, &mut self.buffer);
        match result {
            Ok(()) => Ok(()),
            Err(_) if content.stopped => Err(ExportError::Interrupted),
            Err(source)
                if content.failed
                    || matches!(
                        source.kind(),
                        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData
                    ) =>
            {
                Err(read(source))
            }
            Err(source) => Err(self.write_error(source)),
        }
    }
}

/// The content of a file; remembers whether an error was its own, and ends when the export is to end: compressing one
/// file may take minutes.
struct Content<'a> {
    file: File,
    failed: bool,
    stopped: bool,
    cancel: Option<&'a AtomicBool>,
    done: &'a dyn Fn(u64),
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.cancel.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            self.stopped = true;
            return Err(io::Error::other("stopped"));
        }
        let result = self.file.read(buffer);
        match &result {
            Ok(count) => (self.done)(*count as u64),
            Err(e) if e.kind() != io::ErrorKind::Interrupted => self.failed = true,
            Err(_) => {}
        }
        result
    }
}

/// The names in a directory, descending.
fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}
