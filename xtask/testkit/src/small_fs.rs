//! Small file systems, for tests that fill one.
//!
//! A tmpfs, or an ext4 in a file behind a loop device, mounted below a test directory. Both need the right to mount, which root has outside of most
//! containers: [`SmallFs::available`] says. It is unmounted when its handle is dropped; when the test was killed, removing its
//! directory does it, at the latest by the next run's sweep.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, bail};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{Program, TestDir};

/// Which kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FsKind {
    /// In memory: a full one refuses the write that is one too many, at once.
    Tmpfs,
    /// On a loop device: blocks are reserved at the write, and allocated later.
    Ext4,
}

/// How large it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FsSize {
    /// Size in MiB: of the data for a tmpfs, of the whole device for ext4 (8 at least; its journal and tables take a few MiB of it).
    pub mib: u32,
    /// Number of files and directories that fit; `None`: more than the space can hold.
    pub inodes: Option<u32>,
}

impl FsSize {
    /// So many MiB.
    pub fn mib(mib: u32) -> Self {
        Self { mib, inodes: None }
    }
}

/// A mounted small file system.
#[derive(Debug)]
pub struct SmallFs {
    path: PathBuf,
    image: Option<PathBuf>,
}

/// Name of the file that fills it.
const BALLAST: &str = ".ballast";

impl SmallFs {
    /// Whether this process may mount: tried once, with a tmpfs. A test that asks and passes all the same shows less than
    /// it should: that is recorded, and `cargo xtask test` tells it.
    ///
    /// # Errors
    /// It may not; the message says why.
    pub fn available() -> Result<()> {
        static TRIED: OnceLock<Result<(), String>> = OnceLock::new();
        let tried = TRIED.get_or_init(|| {
            let attempt = || -> Result<()> {
                let dir = TestDir::new()?;
                Self::new(FsKind::Tmpfs, FsSize::mib(1), dir.path()).map(drop)
            };
            // Without the path, which is another one in each test.
            attempt().map_err(|error| format!("mount a tmpfs: {}", error.root_cause()))
        });
        match tried {
            Ok(()) => Ok(()),
            Err(reason) => {
                let why = format!("small file systems cannot be mounted here: {reason}");
                crate::executed::unproved(&why);
                bail!(why)
            }
        }
    }

    /// Mounts one on the existing directory `at`, which must be in a [`TestDir`] so that it cannot be left behind. What the directory holds is hidden until the end.
    /// Everybody may write to its top directory.
    ///
    /// # Errors
    /// This process may not mount, or there is no loop device or `mkfs.ext4`.
    pub fn new(kind: FsKind, size: FsSize, at: &Path) -> Result<Self> {
        let mut image = None;
        match kind {
            FsKind::Tmpfs => {
                let mut options = format!("size={}m,mode=1777", size.mib);
                if let Some(inodes) = size.inodes {
                    // The top directory is one of them.
                    options.push_str(&format!(",nr_inodes={}", inodes.saturating_add(1)));
                }
                let options = std::ffi::CString::new(options)?;
                mount("tmpfs", at, "tmpfs", MountFlags::NOSUID, options.as_c_str())
                    .with_context(|| format!("mount a tmpfs on {}", at.display()))?;
            }
            FsKind::Ext4 => {
                let file = at.with_extension("img");
                File::create_new(&file)
                    .and_then(|f| f.set_len(u64::from(size.mib) << 20))
                    .with_context(|| format!("make {}", file.display()))?;
                let mut format = vec!["-q".to_owned(), "-F".to_owned(), "-m0".to_owned()];
                if let Some(inodes) = size.inodes {
                    // The first ones are ext4's own.
                    format.push(format!("-N{}", inodes.saturating_add(11)));
                }
                format.push(file.display().to_string());
                Program::new("mkfs.ext4").ok(format)?;
                let (file_text, at_text) = (file.display().to_string(), at.display().to_string());
                Program::new("mount").ok(["-o", "loop,nosuid", &file_text, &at_text])?;
                image = Some(file);
            }
        }
        let small = Self {
            path: at.to_owned(),
            image,
        };
        fs::set_permissions(at, fs::Permissions::from_mode(0o1777)).context("open it to everybody")?;
        Ok(small)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Free bytes.
    ///
    /// # Errors
    /// The file system does not answer.
    pub fn free(&self) -> Result<u64> {
        let found = rustix::fs::statvfs(&self.path)
            .with_context(|| format!("ask for the space of {}", self.path.display()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Fills it with a file until so many bytes are free (as exactly as its blocks allow); 0 leaves nothing.
    ///
    /// # Errors
    /// Anything but a full file system is in the way.
    pub fn fill(&self, leave: u64) -> Result<()> {
        let path = self.path.join(BALLAST);
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        let block = [0xa5; 4096];
        while leave == 0 || self.free()? > leave {
            match file.write(&block) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => return Err(error).with_context(|| format!("fill {}", path.display())),
            }
        }
        Ok(())
    }

    /// Takes away what [`SmallFs::fill`] has put there.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn make_room(&self) -> Result<()> {
        match fs::remove_file(self.path.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("remove what fills the file system")
            }
            _ => Ok(()),
        }
    }
}

impl Drop for SmallFs {
    fn drop(&mut self) {
        detach(&self.path);
        if let Some(image) = &self.image {
            let _ = fs::remove_file(image);
        }
    }
}

/// A program whose files may not grow beyond so many bytes (a multiple of 512): where nothing can be mounted, the nearest thing to a full file system.
/// Its writes fail with "File too large" instead of "No space left on device".
pub fn limited(program: &Program, bytes: u64) -> Program {
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" \"$@\"", bytes / 512);
    program.wrapped("/bin/sh", ["-c", &script])
}

/// Unmounts, also when somebody still uses it; the loop device is freed with the last user.
fn detach(path: &Path) {
    let _ = unmount(path, UnmountFlags::DETACH);
}

/// Unmounts everything below `dir`: what a killed test has left there.
pub(crate) fn unmount_below(dir: &Path) {
    let Ok(mounts) = fs::read("/proc/self/mountinfo") else {
        return;
    };
    let mut found: Vec<PathBuf> = mounts
        .split(|b| *b == b'\n')
        .filter_map(|line| line.split(|b| *b == b' ').nth(4))
        .map(unescaped)
        .filter(|path| path != dir && path.starts_with(dir))
        .collect();
    // What is mounted inside another mount goes first.
    found.sort_unstable();
    for path in found.iter().rev() {
        detach(path);
    }
}

/// A path of `/proc/self/mountinfo`: blanks, tabs, newlines and backslashes are octal there.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, more)) = rest.split_first() {
        let octal = more
            .get(..3)
            .filter(|_| *first == b'\\')
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        bytes.push(octal.unwrap_or(*first));
        rest = more
            .get(if octal.is_some() { 3 } else { 0 }..)
            .unwrap_or_default();
    }
    PathBuf::from(std::ffi::OsStr::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_fills_and_empties_and_goes_with_its_directory() {
        if SmallFs::available().is_err() {
            return; // It is recorded that nothing was shown.
        }
        for kind in [FsKind::Tmpfs, FsKind::Ext4] {
            let dir = TestDir::new().unwrap();
            let at = dir.join("with blank");
            fs::create_dir(&at).unwrap();
            let small = SmallFs::new(kind, FsSize::mib(16), &at).unwrap();
            assert!(small.free().unwrap() > 4 << 20, "{kind:?}");
            small.fill(1 << 20).unwrap();
            assert!(small.free().unwrap() <= 1 << 20, "{kind:?}");
            small.fill(0).unwrap();
            let full = fs::write(at.join("file"), [1; 65536]).unwrap_err();
            assert_eq!(full.kind(), std::io::ErrorKind::StorageFull, "{kind:?}");
            small.make_room().unwrap();
            fs::write(at.join("file"), [1; 65536]).unwrap();
            drop(small);
            assert!(!at.join("file").exists());

            // A killed test drops nothing; its directory's removal unmounts.
            let left = SmallFs::new(kind, FsSize::mib(16), &at).unwrap();
            std::mem::forget(left);
            let path = dir.path().to_owned();
            drop(dir);
            assert!(!path.exists(), "{kind:?}");
        }
    }

    #[test]
    fn a_limited_program_cannot_write_more() {
        let dir = TestDir::new().unwrap();
        let file = dir.join("file");
        let dd = limited(&Program::new("dd"), 4096);
        let of = format!("of={}", file.display());
        let done = dd.run(["if=/dev/zero", "bs=1024", "count=10", &of]).unwrap();
        assert_eq!(
            (done.code, fs::metadata(&file).unwrap().len()),
            (Some(1), 4096),
            "{done}"
        );
    }

    #[test]
    fn the_number_of_files_can_be_the_limit() {
        if SmallFs::available().is_err() {
            return; // It is recorded that nothing was shown.
        }
        for kind in [FsKind::Tmpfs, FsKind::Ext4] {
            let dir = TestDir::new().unwrap();
            let at = dir.join("fs");
            fs::create_dir(&at).unwrap();
            let size = FsSize {
                mib: 16,
                inodes: Some(5),
            };
            let small = SmallFs::new(kind, size, &at).unwrap();
            let made = (0..100)
                .take_while(|n| File::create(small.path().join(n.to_string())).is_ok())
                .count();
            assert!((3..90).contains(&made), "{kind:?}: {made}");
        }
    }
}
