//! What one program did: exit codes, output, and the files that it left.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Files up to this size (bytes) are kept and compared as text; of larger ones a digest.
const KEPT: u64 = 128 * 1024;

/// One command and its outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The arguments, as the scenario has them.
    pub args: Vec<String>,
    /// Exit code; 128 plus the number of the signal that ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// One thing in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A directory with these permission bits.
    Directory(u32),
    /// A file with its permission bits, size in bytes and content.
    File(u32, u64, Content),
    /// A symbolic link and its target.
    Link(String),
    /// Anything else.
    Other,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// All of it.
    Bytes(Vec<u8>),
    /// Its SHA-256.
    Digest([u8; 32]),
}

/// Everything that one program did in a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Capture {
    /// The commands in their order.
    pub runs: Vec<Run>,
    /// What was there at the end, by path relative to the root.
    pub files: BTreeMap<String, Found>,
}

/// Everything below `root/<part>` for each of `parts`, by path relative to `root`. A part that does not exist is left out.
///
/// # Errors
/// A file cannot be read.
pub fn files(root: &Path, parts: &[&str]) -> Result<BTreeMap<String, Found>> {
    let mut found = BTreeMap::new();
    for part in parts {
        if root.join(part).symlink_metadata().is_ok() {
            look(root, part, &mut found)?;
        }
    }
    Ok(found)
}

fn look(root: &Path, relative: &str, found: &mut BTreeMap<String, Found>) -> Result<()> {
    let path = root.join(relative);
    let metadata = fs::symlink_metadata(&path).with_context(|| format!("look at {}", path.display()))?;
    let mode = metadata.mode() & 0o7777;
    let what = if metadata.is_dir() {
        for entry in fs::read_dir(&path).with_context(|| format!("read {}", path.display()))? {
            let name = entry?.file_name();
            look(root, &format!("{relative}/{}", name.to_string_lossy()), found)?;
        }
        Found::Directory(mode)
    } else if metadata.is_symlink() {
        Found::Link(fs::read_link(&path)?.display().to_string())
    } else if metadata.is_file() {
        let content = read(&path, metadata.len()).with_context(|| format!("read {}", path.display()))?;
        Found::File(mode, metadata.len(), content)
    } else {
        Found::Other
    };
    found.insert(relative.to_owned(), what);
    Ok(())
}

fn read(path: &Path, size: u64) -> Result<Content> {
    if size <= KEPT {
        return Ok(Content::Bytes(fs::read(path)?));
    }
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            return Ok(Content::Digest(hash.finalize().into()));
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_thing_is_found() {
        let dir = testkit::TestDir::new().unwrap();
        fs::create_dir_all(dir.join("home/sub")).unwrap();
        fs::write(dir.join("home/sub/small"), "x").unwrap();
        fs::write(dir.join("home/large"), vec![7; 200_000]).unwrap();
        std::os::unix::fs::symlink("sub", dir.join("home/link")).unwrap();
        fs::write(dir.join("outside"), "x").unwrap();
        let found = files(dir.path(), &["home", "missing"]).unwrap();
        assert_eq!(
            found.keys().collect::<Vec<_>>(),
            ["home", "home/large", "home/link", "home/sub", "home/sub/small"]
        );
        assert!(matches!(&found["home/sub/small"], Found::File(_, 1, Content::Bytes(b)) if b == b"x"));
        assert!(matches!(
            &found["home/large"],
            Found::File(_, 200_000, Content::Digest(_))
        ));
        assert_eq!(found["home/link"], Found::Link("sub".to_owned()));
        let before = found["home/large"].clone();
        fs::write(dir.join("home/large"), [vec![7; 199_999], vec![8]].concat()).unwrap();
        assert_ne!(files(dir.path(), &["home"]).unwrap()["home/large"], before);
    }
}
