//! Where what broke something is kept, for somebody to look at.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

/// What nobody has asked for in this time is removed.
const OLD: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// A new directory for what `what` (the options of a fault, for example) has left in a scenario. Its name has the process
/// in it, so that two runs at once do not take it from each other.
///
/// # Errors
/// It cannot be made.
pub fn make(keep: &Path, scenario: &str, what: &str) -> Result<PathBuf> {
    let name = format!("{scenario}-{}-{}", what.replace("--", ""), std::process::id());
    let path = keep.join(name.replace([' ', '/'], "-"));
    if path.exists() {
        fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
    }
    fs::create_dir_all(&path).with_context(|| format!("create {}", path.display()))?;
    Ok(path)
}

/// Removes what was kept more than a week ago. What cannot be removed is left.
pub fn sweep(keep: &Path) {
    let now = SystemTime::now();
    for entry in fs::read_dir(keep).into_iter().flatten().flatten() {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified
            .ok()
            .and_then(|modified| now.duration_since(modified).ok());
        if age.is_some_and(|age| age > OLD) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::TestDir;

    #[test]
    fn only_what_is_old_is_removed() {
        let dir = TestDir::new().unwrap();
        let new = make(dir.path(), "archive-wal/gzip", "--fault kill --call fsync --at 2").unwrap();
        let name = new.file_name().unwrap().to_str().unwrap();
        let process = std::process::id();
        assert_eq!(
            name,
            format!("archive-wal-gzip-fault-kill-call-fsync-at-2-{process}")
        );
        let old = make(dir.path(), "delete", "order").unwrap();
        fs::write(old.join("file"), "x").unwrap();
        let long_ago = SystemTime::now() - OLD - Duration::from_secs(60);
        fs::File::open(&old).unwrap().set_modified(long_ago).unwrap();
        sweep(dir.path());
        assert!(new.exists() && !old.exists());
        sweep(&dir.join("none"));
    }
}
