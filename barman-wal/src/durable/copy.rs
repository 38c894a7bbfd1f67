//! Copying a file so that it appears complete, synced and with the attributes of its source.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use super::atomic::AtomicFile;
use super::{DurableError, is_special};

/// How much is read at a time.
const BUFFER: usize = 256 * 1024;
/// No attribute of a file on Linux is bigger, nor the list of their names.
const XATTR_LIMIT: usize = 64 * 1024;

/// Which attributes of a source its copy gets. Ownership is never copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preserve {
    /// None: the copy has the mode that is given, now as its time, and no extended attributes.
    Nothing,
    /// Mode, access and modification time to the nanosecond, and the extended attributes that can be set.
    Attributes,
}

/// How to copy a file.
#[derive(Debug, Clone, Copy)]
pub struct CopyOptions {
    /// Which attributes come along.
    pub preserve: Preserve,
    /// The mode of the copy, less the umask, where the source's is not preserved.
    pub mode: u32,
}

impl Default for CopyOptions {
    fn default() -> Self {
        Self {
            preserve: Preserve::Attributes,
            mode: 0o600,
        }
    }
}

/// Copies the content of `from` (links are followed) to the new or replaced file `to`: to a temporary file beside
/// it, synced, renamed, directory synced. Returns the size in bytes.
///
/// # Errors
/// A step failed; `to` is unchanged then, unless it was the sync of the directory.
pub fn copy_durable(from: &Path, to: &Path, options: CopyOptions) -> Result<u64, DurableError> {
    // Without O_NONBLOCK the open of a FIFO waits for its writer.
    let kind = fs::metadata(from)
        .map_err(|error| DurableError::new("look at", from, error))?
        .file_type();
    if is_special(kind) {
        return Err(DurableError::new(
            "copy",
            from,
            io::Error::from(io::ErrorKind::InvalidInput),
        ));
    }
    let mut source = File::open(from).map_err(|error| DurableError::new("open", from, error))?;
    let mut target = AtomicFile::create(to, options.mode)?;
    let mut buffer = vec![0; BUFFER];
    let mut copied: u64 = 0;
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(DurableError::new("read", from, error)),
        };
        target
            .write_all(buffer.get(..count).unwrap_or_default())
            .map_err(|error| DurableError::new("write", target.temporary_path(), error))?;
        copied = copied.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
    if options.preserve == Preserve::Attributes {
        copy_attributes(&source, target.file(), to)?;
    }
    target.commit()?;
    Ok(copied)
}

/// Gives `to` the mode, the times (nanoseconds) and, as far as the file system takes them, the extended attributes
/// of `from`. `path` is for the error.
///
/// # Errors
/// Mode or times cannot be read or set. An extended attribute that cannot be set is left out.
pub fn copy_attributes(from: &File, to: &File, path: &Path) -> Result<(), DurableError> {
    let fail = |action: &'static str| move |error: io::Error| DurableError::new(action, path, error);
    let metadata = from.metadata().map_err(fail("read the attributes for"))?;
    copy_xattrs(from, to);
    to.set_permissions(fs::Permissions::from_mode(metadata.mode() & 0o7777))
        .map_err(fail("set the mode of"))?;
    // Times last: setting an attribute changes only ctime, but a write-back may not come in between.
    let times = Timestamps {
        last_access: Timespec {
            tv_sec: metadata.atime(),
            tv_nsec: metadata.atime_nsec(),
        },
        last_modification: Timespec {
            tv_sec: metadata.mtime(),
            tv_nsec: metadata.mtime_nsec(),
        },
    };
    rustix::fs::futimens(to, &times).map_err(|error| DurableError::new("set the times of", path, error))
}

/// Sets access and modification time of an open file: seconds and nanoseconds since 1970, UTC. `path` is for the
/// error.
///
/// # Errors
/// The system's.
pub fn set_times(file: &File, path: &Path, seconds: i64, nanoseconds: u32) -> Result<(), DurableError> {
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: i64::from(nanoseconds),
    };
    rustix::fs::futimens(
        file,
        &Timestamps {
            last_access: time,
            last_modification: time,
        },
    )
    .map_err(|error| DurableError::new("set the times of", path, error))
}

/// Extended attributes are a courtesy: a file system without them, or one that refuses some (`security.*` to an
/// ordinary user), must not keep WAL out of the archive.
fn copy_xattrs(from: &File, to: &File) {
    let mut names = vec![0u8; XATTR_LIMIT];
    let length = match rustix::fs::flistxattr(from, names.as_mut_slice()) {
        Ok(0) | Err(Errno::NOTSUP) => return,
        Ok(length) => length,
        Err(error) => {
            log::debug!(target: "barman.wal", "cannot list extended attributes: {error}");
            return;
        }
    };
    let mut value = vec![0u8; XATTR_LIMIT];
    for name in names
        .get(..length)
        .unwrap_or_default()
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let copied = rustix::fs::fgetxattr(from, name, value.as_mut_slice()).and_then(|length| {
            rustix::fs::fsetxattr(
                to,
                name,
                value.get(..length).unwrap_or_default(),
                XattrFlags::empty(),
            )
        });
        if let Err(error) = copied {
            let name = String::from_utf8_lossy(name);
            log::debug!(target: "barman.wal", "cannot copy the extended attribute {name}: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_along() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        let content = vec![7u8; BUFFER + 5];
        fs::write(&from, &content).unwrap();
        fs::set_permissions(&from, fs::Permissions::from_mode(0o604)).unwrap();
        let source = File::open(&from).unwrap();
        set_times(&source, &from, 1_700_000_000, 123_456_789).unwrap();
        let has_xattrs = rustix::fs::fsetxattr(&source, "user.note", b"kept", XattrFlags::empty()).is_ok();

        assert_eq!(
            copy_durable(&from, &to, CopyOptions::default()).unwrap(),
            content.len() as u64
        );
        assert_eq!(fs::read(&to).unwrap(), content);
        let metadata = fs::metadata(&to).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o604);
        assert_eq!(
            (metadata.mtime(), metadata.mtime_nsec()),
            (1_700_000_000, 123_456_789)
        );
        if has_xattrs {
            let mut value = [0u8; 16];
            let length = rustix::fs::getxattr(&to, "user.note", value.as_mut_slice()).unwrap();
            assert_eq!(&value[..length], b"kept");
        }

        let plain = CopyOptions {
            preserve: Preserve::Nothing,
            mode: 0o600,
        };
        copy_durable(&from, &to, plain).unwrap();
        let metadata = fs::metadata(&to).unwrap();
        assert_eq!(metadata.mode() & 0o7777, 0o600);
        assert_ne!(metadata.mtime(), 1_700_000_000);
        assert_eq!(
            fs::read_dir(directory.path()).unwrap().count(),
            2,
            "no temporary file is left"
        );
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let to = directory.path().join("to");
        let fifo = directory.path().join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &fifo,
            rustix::fs::FileType::Fifo,
            0o600.into(),
            0,
        )
        .unwrap();
        assert_eq!(
            copy_durable(&fifo, &to, CopyOptions::default())
                .unwrap_err()
                .kind(),
            io::ErrorKind::InvalidInput
        );
        assert!(copy_durable(directory.path(), &to, CopyOptions::default()).is_err());
        assert!(!to.exists());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
