//! Whether what was received is what the server's `backup_manifest` says was sent, in constant memory: both sides are
//! summed up as sets of (path, size, checksum), and only if the sums differ the files are compared one by one.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use barman_wal::manifest::Checksum;

/// The sum of a set of files, in any order.
#[derive(Debug, Clone)]
pub(super) struct FileSet {
    keys: [RandomState; 2],
    sums: [u64; 2],
    pub(super) files: u64,
    pub(super) bytes: u64,
}

impl FileSet {
    pub(super) fn new() -> Self {
        Self {
            keys: [RandomState::new(), RandomState::new()],
            sums: [0; 2],
            files: 0,
            bytes: 0,
        }
    }

    /// An empty set that can be compared with this one.
    pub(super) fn sibling(&self) -> Self {
        Self {
            keys: self.keys.clone(),
            sums: [0; 2],
            files: 0,
            bytes: 0,
        }
    }

    pub(super) fn add(&mut self, path: &Path, size: u64, checksum: Option<&Checksum>) {
        for (sum, key) in self.sums.iter_mut().zip(&self.keys) {
            let mut hasher = key.build_hasher();
            let name = path.as_os_str().as_bytes();
            hasher.write_usize(name.len());
            hasher.write(name);
            hasher.write_u64(size);
            hasher.write(checksum.map(|c| c.bytes.as_slice()).unwrap_or_default());
            *sum = sum.wrapping_add(hasher.finish());
        }
        self.files += 1;
        self.bytes = self.bytes.wrapping_add(size);
    }

    /// Whether both sets hold the same files. They must be siblings.
    pub(super) fn equals(&self, other: &Self) -> bool {
        self.sums == other.sums && self.files == other.files && self.bytes == other.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use barman_wal::manifest::{Algorithm, Hasher};

    fn crc(content: &[u8]) -> Option<Checksum> {
        let mut hasher = Hasher::new(Algorithm::Crc32c);
        hasher.update(content);
        hasher.finish()
    }

    #[test]
    fn order_does_not_matter_and_everything_else_does() {
        let files: [(&str, &[u8]); 3] = [("base/1", b"one"), ("base/2", b"two"), ("global/pg_control", b"")];
        let mut all = FileSet::new();
        for (path, content) in files {
            all.add(Path::new(path), content.len() as u64, crc(content).as_ref());
        }
        let mut backwards = all.sibling();
        for (path, content) in files.iter().rev() {
            backwards.add(Path::new(path), content.len() as u64, crc(content).as_ref());
        }
        assert!(all.equals(&backwards));
        for (path, content) in [("base/1", &b"One"[..]), ("base/3", b"one"), ("base/1", b"one!")] {
            let mut other = all.sibling();
            for (p, c) in &files[1..] {
                other.add(Path::new(p), c.len() as u64, crc(c).as_ref());
            }
            assert!(!all.equals(&other));
            other.add(Path::new(path), content.len() as u64, crc(content).as_ref());
            assert!(!all.equals(&other), "{path}");
        }
    }
}
