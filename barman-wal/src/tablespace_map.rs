//! The `tablespace_map` of a base backup: where each tablespace was, one `OID PATH` line each.
//!
//! A line end or a backslash in a path is written with a backslash before it (PostgreSQL, `do_pg_backup_start`;
//! servers before 14 leave backslashes alone). Paths are bytes, not text.
//!
//! ```
//! use barman_wal::tablespace_map::TablespaceMap;
//!
//! let map = TablespaceMap::parse(b"16386 /srv/fast\n16387 /srv/odd\\\nname\n")?;
//! assert_eq!(map.path(16387), Some("/srv/odd\nname".as_ref()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nom::Parser;
use nom::character::complete::{char, digit1};
use nom::combinator::{map_opt, rest};
use nom::sequence::separated_pair;

use crate::text::excerpt;

/// One tablespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TablespaceEntry {
    /// The name of its link in `pg_tblspc/`.
    pub oid: u32,
    /// Where the link pointed to.
    pub path: PathBuf,
}

/// The tablespaces of a backup, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TablespaceMap {
    entries: Vec<TablespaceEntry>,
}

/// A line of a tablespace map that is not an oid and a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("entry {entry} is not an object id, a blank and a path: `{text}`")]
pub struct TablespaceMapError {
    entry: usize,
    text: String,
}

impl TablespaceMap {
    /// A map of these tablespaces.
    #[must_use]
    pub const fn new(entries: Vec<TablespaceEntry>) -> Self {
        Self { entries }
    }

    /// Reads the content of the file. Blank lines are skipped.
    ///
    /// # Errors
    /// A line that is not an oid and a path.
    pub fn parse(content: &[u8]) -> Result<Self, TablespaceMapError> {
        let mut entries = Vec::new();
        for line in unescaped_lines(content) {
            if line.is_empty() {
                continue;
            }
            let oid = map_opt(digit1, |digits| {
                std::str::from_utf8(digits).ok()?.parse::<u32>().ok()
            });
            let parsed: nom::IResult<&[u8], (u32, &[u8]), ()> =
                separated_pair(oid, char(' '), rest).parse(line.as_slice());
            match parsed {
                Ok((_, (oid, path))) if !path.is_empty() && !path.contains(&0) => {
                    let path = PathBuf::from(OsString::from_vec(path.to_vec()));
                    entries.push(TablespaceEntry { oid, path });
                }
                _ => {
                    let text = excerpt(&String::from_utf8_lossy(&line));
                    return Err(TablespaceMapError {
                        entry: entries.len() + 1,
                        text,
                    });
                }
            }
        }
        Ok(Self { entries })
    }

    /// The tablespaces.
    #[must_use]
    pub fn entries(&self) -> &[TablespaceEntry] {
        &self.entries
    }

    /// Where the tablespace `oid` was.
    #[must_use]
    pub fn path(&self, oid: u32) -> Option<&Path> {
        self.entries
            .iter()
            .find(|entry| entry.oid == oid)
            .map(|entry| entry.path.as_path())
    }

    /// The content of the file.
    #[must_use]
    pub fn format(&self) -> Vec<u8> {
        let mut content = Vec::new();
        for entry in &self.entries {
            content.extend_from_slice(format!("{} ", entry.oid).as_bytes());
            for byte in entry.path.as_os_str().as_bytes() {
                if matches!(byte, b'\n' | b'\r' | b'\\') {
                    content.push(b'\\');
                }
                content.push(*byte);
            }
            content.push(b'\n');
        }
        content
    }
}

/// Splits at line ends that have no backslash before them, and takes the backslashes away.
fn unescaped_lines(content: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    let mut line = Vec::new();
    let mut escaped = false;
    for byte in content {
        match byte {
            b'\n' | b'\r' if !escaped => lines.push(std::mem::take(&mut line)),
            b'\\' if !escaped => {
                escaped = true;
                continue;
            }
            _ => line.push(*byte),
        }
        escaped = false;
    }
    lines.push(line);
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn written_and_read() {
        let map = TablespaceMap::new(vec![
            TablespaceEntry {
                oid: 16386,
                path: "/srv/with blank".into(),
            },
            TablespaceEntry {
                oid: 4294967295,
                path: "/srv/a\nb\rc\\d".into(),
            },
            TablespaceEntry {
                oid: 1,
                path: OsString::from_vec(b"/srv/\xFF".to_vec()).into(),
            },
        ]);
        let content = b"16386 /srv/with blank\n4294967295 /srv/a\\\nb\\\rc\\\\d\n1 /srv/\xFF\n";
        assert_eq!(map.format(), content);
        assert_eq!(TablespaceMap::parse(content).unwrap(), map);
        assert_eq!(
            TablespaceMap::parse(b"16386 /a\r\n\n").unwrap().path(16386),
            Some(Path::new("/a"))
        );
        assert_eq!(TablespaceMap::parse(b"").unwrap(), TablespaceMap::default());
    }

    #[test]
    fn what_is_no_entry() {
        for bad in [
            "16386",
            "16386 ",
            " /a",
            "x /a",
            "-1 /a",
            "4294967296 /a",
            "1 /a\0b",
        ] {
            assert!(TablespaceMap::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let error = TablespaceMap::parse(b"1 /a\nrest\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "entry 2 is not an object id, a blank and a path: `rest`"
        );
    }

    proptest! {
        #[test]
        fn round_trip(paths in proptest::collection::vec(proptest::collection::vec(1u8.., 1..12), 0..5)) {
            let entries = paths.into_iter().zip(1..).map(|(path, oid)| TablespaceEntry {
                oid, path: OsString::from_vec(path).into(),
            }).collect();
            let map = TablespaceMap::new(entries);
            prop_assert_eq!(TablespaceMap::parse(&map.format()).unwrap(), map);
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = TablespaceMap::parse(&bytes);
        }
    }
}
