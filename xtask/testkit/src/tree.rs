//! Directory trees: copying one that may be changing, and comparing two.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Copies the tree `from` to the new directory `to`, with modes, owners (when root) and symbolic links. A file that vanishes meanwhile is left out,
/// and so is everything for whose path below `from` `skip` is true.
///
/// # Errors
/// A file cannot be read or written.
pub fn copy(from: &Path, to: &Path, skip: &dyn Fn(&Path) -> bool) -> Result<()> {
    copy_below(from, to, Path::new(""), skip)
}

fn copy_below(from: &Path, to: &Path, relative: &Path, skip: &dyn Fn(&Path) -> bool) -> Result<()> {
    let source = from.join(relative);
    let target = to.join(relative);
    let metadata = match fs::symlink_metadata(&source) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other.with_context(|| format!("look at {}", source.display()))?,
    };
    if metadata.is_dir() {
        fs::create_dir(&target).with_context(|| format!("create {}", target.display()))?;
        for entry in fs::read_dir(&source).with_context(|| format!("read {}", source.display()))? {
            let below = relative.join(entry?.file_name());
            if !skip(&below) {
                copy_below(from, to, &below, skip)?;
            }
        }
        fs::set_permissions(&target, metadata.permissions())?;
    } else if metadata.is_symlink() {
        symlink(fs::read_link(&source)?, &target).with_context(|| format!("link {}", target.display()))?;
    } else if metadata.is_file() {
        match fs::copy(&source, &target) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.with_context(|| format!("copy {} to {}", source.display(), target.display()))?,
        };
    } else {
        return Ok(()); // sockets
    }
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(&target, Some(metadata.uid()), Some(metadata.gid()))
            .with_context(|| format!("change the owner of {}", target.display()))?;
    }
    Ok(())
}

/// What a tree comparison looks at in one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A directory and its permission bits.
    Directory(u32),
    /// A file: its permission bits and content.
    File(u32, Vec<u8>),
    /// A symbolic link and its target.
    Link(PathBuf),
    /// Anything else.
    Other,
}

/// Everything below `root`, by path relative to it. Holds all content in memory: for small trees.
///
/// # Errors
/// A file cannot be read.
pub fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Entry>> {
    fn walk(root: &Path, relative: &Path, found: &mut BTreeMap<PathBuf, Entry>) -> Result<()> {
        let dir = root.join(relative);
        for entry in fs::read_dir(&dir).with_context(|| format!("read {}", dir.display()))? {
            let below = relative.join(entry?.file_name());
            let path = root.join(&below);
            let metadata =
                fs::symlink_metadata(&path).with_context(|| format!("look at {}", path.display()))?;
            let mode = metadata.mode() & 0o7777;
            let kind = if metadata.is_dir() {
                walk(root, &below, found)?;
                Entry::Directory(mode)
            } else if metadata.is_symlink() {
                Entry::Link(fs::read_link(&path)?)
            } else if metadata.is_file() {
                Entry::File(
                    mode,
                    fs::read(&path).with_context(|| format!("read {}", path.display()))?,
                )
            } else {
                Entry::Other
            };
            found.insert(below, kind);
        }
        Ok(())
    }
    let mut found = BTreeMap::new();
    walk(root, Path::new(""), &mut found)?;
    Ok(found)
}

/// The differences between two trees, one line each, empty when they are equal; paths for which `ignore` is true do not count.
///
/// # Errors
/// A file cannot be read.
pub fn differences(left: &Path, right: &Path, ignore: &dyn Fn(&Path) -> bool) -> Result<Vec<String>> {
    let (a, b) = (entries(left)?, entries(right)?);
    let mut lines = Vec::new();
    for (path, entry) in a.iter().filter(|(p, _)| !ignore(p)) {
        match b.get(path) {
            None => lines.push(format!("only in {}: {}", left.display(), path.display())),
            Some(other) if other != entry => {
                lines.push(format!("{}: {}", path.display(), difference(entry, other)));
            }
            Some(_) => {}
        }
    }
    for path in b.keys().filter(|p| !ignore(p) && !a.contains_key(*p)) {
        lines.push(format!("only in {}: {}", right.display(), path.display()));
    }
    Ok(lines)
}

fn difference(a: &Entry, b: &Entry) -> String {
    match (a, b) {
        (Entry::Directory(m), Entry::Directory(n)) => format!("directory mode {m:o} and {n:o}"),
        (Entry::Link(s), Entry::Link(t)) => format!("links to {} and {}", s.display(), t.display()),
        (Entry::File(m, x), Entry::File(n, y)) if x == y => format!("file mode {m:o} and {n:o}"),
        (Entry::File(_, x), Entry::File(_, y)) => {
            let at = x.iter().zip(y).take_while(|(p, q)| p == q).count();
            format!(
                "contents of {} and {} bytes differ from byte {at}",
                x.len(),
                y.len()
            )
        }
        _ => "not of the same kind".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TestDir;

    #[test]
    fn a_copy_is_equal_and_each_kind_of_difference_is_named() {
        let dir = TestDir::new().unwrap();
        let (a, b) = (dir.join("a"), dir.join("b"));
        fs::create_dir_all(a.join("sub")).unwrap();
        fs::write(a.join("sub/file"), "same").unwrap();
        fs::write(a.join("skipped"), "").unwrap();
        symlink("sub", a.join("link")).unwrap();
        copy(&a, &b, &|p| p == Path::new("skipped")).unwrap();
        assert_eq!(
            differences(&a, &b, &|p| p == Path::new("skipped")).unwrap(),
            Vec::<String>::new()
        );

        fs::write(b.join("sub/file"), "sane").unwrap();
        fs::write(b.join("extra"), "").unwrap();
        let lines = differences(&a, &b, &|_| false).unwrap();
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(
            lines
                .iter()
                .any(|l| l == "sub/file: contents of 4 and 4 bytes differ from byte 2"),
            "{lines:?}"
        );
        assert!(
            lines.iter().any(|l| l.ends_with("/a: skipped"))
                && lines.iter().any(|l| l.ends_with("/b: extra")),
            "{lines:?}"
        );
    }
}
