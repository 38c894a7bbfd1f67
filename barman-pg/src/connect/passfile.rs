//! The password file, `~/.pgpass`: who may read it, and which of its lines applies
//! (PostgreSQL documentation, "The Password File").

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The most that is read of a password file.
const LIMIT: u64 = 1024 * 1024;

/// What a line must match.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) dbname: &'a str,
    pub(super) user: &'a str,
}

/// The content of the file; nothing if it does not exist or, as in libpq, others than its owner may read it.
pub(super) fn read(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() {
        log::warn!(target: "barman.postgres", "password file \"{}\" is not a plain file", path.display());
        return None;
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        log::warn!(
            target: "barman.postgres",
            "password file \"{}\" has group or world access; permissions should be u=rw (0600) or less: it is ignored",
            path.display()
        );
        return None;
    }
    let mut text = Vec::new();
    std::fs::File::open(path)
        .ok()?
        .take(LIMIT)
        .read_to_end(&mut text)
        .ok()?;
    String::from_utf8(text).ok()
}

/// The password of the first line that matches.
pub(super) fn find(text: &str, wanted: Wanted<'_>) -> Option<String> {
    let port = wanted.port.to_string();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut rest = line;
            for value in [wanted.host, &port, wanted.dbname, wanted.user] {
                let (field, after) = field(rest)?;
                if field != "*" && unescape(field) != value {
                    return None;
                }
                rest = after?;
            }
            Some(unescape(field(rest)?.0)).filter(|password| !password.is_empty())
        })
}

/// The text up to the next unescaped colon, and what follows that colon.
fn field(text: &str) -> Option<(&str, Option<&str>)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((text.get(..at)?, text.get(at + 1..))),
            _ => {}
        }
    }
    Some((text, None))
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# comment\n\
        broken line\n\
        db1:5432:postgres:barman:one\n\
        db1:*:replication:streaming_barman:two\n\
        localhost:*:*:barman:with\\:colon\\\\and backslash\n\
        ::1 not escaped:*:*:*:never\n\
        \\:\\:1:*:*:v6:six\n\
        empty:*:*:*:\n\
        *:*:*:*:last";

    #[test]
    fn the_first_matching_line_wins() {
        let cases = [
            ("db1", 5432, "postgres", "barman", "one"),
            ("db1", 5433, "postgres", "barman", "last"),
            ("db1", 7, "replication", "streaming_barman", "two"),
            ("localhost", 1, "x", "barman", "with:colon\\and backslash"),
            ("::1", 1, "x", "v6", "six"),
            ("empty", 1, "x", "y", "last"),
        ];
        for (host, port, dbname, user, password) in cases {
            assert_eq!(
                find(
                    FILE,
                    Wanted {
                        host,
                        port,
                        dbname,
                        user
                    }
                )
                .as_deref(),
                Some(password),
                "{host} {user}"
            );
        }
        assert_eq!(
            find(
                "a:1:b:c:d",
                Wanted {
                    host: "a",
                    port: 2,
                    dbname: "b",
                    user: "c"
                }
            ),
            None
        );
        assert_eq!(
            find(
                "",
                Wanted {
                    host: "a",
                    port: 2,
                    dbname: "b",
                    user: "c"
                }
            ),
            None
        );
    }

    #[test]
    fn a_file_that_others_may_read_is_ignored() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pgpass");
        std::fs::write(&path, "*:*:*:*:x").unwrap();
        for (mode, readable) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_some(), readable, "{mode:o}");
        }
        assert!(read(dir.path()).is_none());
        assert!(read(&dir.path().join("absent")).is_none());
    }
}
