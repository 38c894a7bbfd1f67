//! The files that stand beside a connection string: reading them with a limit, and who may read a password file.

use std::fs::Metadata;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::socket::describe;

/// The most that is read of such a file.
const LIMIT: u64 = 4 * 1024 * 1024;

/// Where PostgreSQL's system-wide configuration of clients is when `PGSYSCONFDIR` does not say: Debian's directory, the
/// one of the PGDG packages of other distributions, that of Alpine and Arch, or that of a build without options; the
/// first that has a service file.
pub(super) fn system_configuration() -> PathBuf {
    let directories = [
        "/etc/postgresql-common",
        "/etc/sysconfig/pgsql",
        "/etc/postgresql",
        "/usr/local/pgsql/etc",
    ];
    let [first, ..] = directories;
    let found = directories
        .into_iter()
        .find(|directory| Path::new(directory).join("pg_service.conf").exists());
    PathBuf::from(found.unwrap_or(first))
}

/// The content of a file; the error is the reason alone.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: std::io::Error| describe(&error);
    let mut content = Zeroizing::new(Vec::new());
    std::fs::File::open(path)
        .map_err(failed)?
        .take(LIMIT + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() as u64 > LIMIT {
        return Err(format!("it is longer than {LIMIT} bytes"));
    }
    Ok(content)
}

/// The content of a password file; nothing if it does not exist or, as in libpq, others than its owner may read it.
pub(super) fn read_password_file(path: &Path) -> Option<Zeroizing<Vec<u8>>> {
    let metadata = std::fs::metadata(path).ok()?;
    if let Err(why) = check_password_file(&metadata) {
        log::warn!(target: "barman.postgres", "password file \"{}\" {why}: it is ignored", path.display());
        return None;
    }
    read(path)
        .map_err(|why| {
            log::warn!(target: "barman.postgres", "password file \"{}\" cannot be read: {why}", path.display());
        })
        .ok()
}

fn check_password_file(metadata: &Metadata) -> Result<(), &'static str> {
    if !metadata.is_file() {
        return Err("is not a plain file");
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err("has group or world access; permissions should be u=rw (0600) or less");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_file_that_others_may_read_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:x").unwrap();
        for (mode, readable) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read_password_file(&path).is_some(), readable, "{mode:o}");
        }
        assert!(read_password_file(dir.path()).is_none());
        assert!(read_password_file(&dir.path().join("absent")).is_none());
    }
}
