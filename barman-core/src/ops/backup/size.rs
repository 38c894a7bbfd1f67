//! How big a backup on disk is, counted as Barman counts it.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The two numbers of `backup.info`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of all files (`size`).
    pub total: u64,
    /// Bytes of the files that have one name only (`deduplicated_size`).
    pub unshared: u64,
    /// How many files they are.
    pub files: u64,
}

/// A directory or file that could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("cannot determine the size of {}: {source}", path.display())]
pub struct SizeError {
    /// What could not be looked at.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// Adds up the files below `root`. Links to directories (`pg_tblspc`) are not entered, links to files count as what
/// they point to, and one that points nowhere is an error: the file it stands for is missing from the backup.
///
/// # Errors
/// Anything that cannot be read.
pub fn measure(root: &Path) -> Result<Sizes, SizeError> {
    let mut sizes = Sizes::default();
    let mut pending = vec![root.to_path_buf()];
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| SizeError { path, source }
    };
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
            let entry = entry.map_err(failed(&directory))?;
            let path = entry.path();
            let kind = entry.file_type().map_err(failed(&path))?;
            if kind.is_dir() {
                pending.push(path);
                continue;
            }
            let metadata = fs::metadata(&path).map_err(failed(&path))?;
            if metadata.is_file() {
                sizes.total = sizes.total.saturating_add(metadata.len());
                sizes.files = sizes.files.saturating_add(1);
                if metadata.nlink() == 1 {
                    sizes.unshared = sizes.unshared.saturating_add(metadata.len());
                }
            }
        }
    }
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_added_up_and_directory_links_are_not_entered() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("20261121T044852");
        fs::create_dir_all(root.join("data/pg_tblspc")).unwrap();
        fs::create_dir_all(root.join("16388")).unwrap();
        fs::write(root.join("data/PG_VERSION"), "15\n").unwrap();
        fs::write(root.join("16388/1"), vec![0; 1000]).unwrap();
        fs::hard_link(root.join("16388/1"), directory.path().join("other")).unwrap();
        std::os::unix::fs::symlink(root.join("16388"), root.join("data/pg_tblspc/16388")).unwrap();
        std::os::unix::fs::symlink("PG_VERSION", root.join("data/link")).unwrap();
        assert_eq!(
            measure(&root).unwrap(),
            Sizes {
                total: 1006,
                unshared: 6,
                files: 3
            }
        );
    }

    #[test]
    fn a_link_to_nowhere_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("missing", directory.path().join("link")).unwrap();
        let error = measure(directory.path()).unwrap_err();
        assert_eq!(error.path, directory.path().join("link"));
    }
}
