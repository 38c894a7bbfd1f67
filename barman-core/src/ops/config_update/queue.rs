//! The queue of configuration changes, in Barman's form: what was accepted and is not in the files yet.
//!
//! It makes a change of several files one: whoever is killed in the middle leaves the queue, and the next
//! `config-update` or `cron` does all of it again, which changes nothing that is done already.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use barman_wal::durable::{self, DurableError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Largest queue that is read, bytes.
const MAX_QUEUE: usize = 64 * 1024 * 1024;

/// One option of a section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The option.
    pub key: String,
    /// Its new value.
    pub value: String,
    /// The file to write it to.
    pub config_file: PathBuf,
}

impl Change {
    /// A change whose file is not decided yet.
    #[must_use]
    pub fn new(key: &str, value: &str) -> Self {
        Self {
            key: key.to_owned(),
            value: value.to_owned(),
            config_file: PathBuf::new(),
        }
    }
}

/// The options of one document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeSet {
    /// The section.
    pub section: String,
    /// Its options, in the order of the document.
    #[serde(rename = "changes_set")]
    pub changes: Vec<Change>,
}

/// What a queue file says.
#[derive(Debug, Default, PartialEq)]
pub struct Queue {
    /// What waits, in order.
    pub sets: Vec<ChangeSet>,
    /// Entries that nobody can ever apply.
    pub useless: Vec<Value>,
    /// The file is not a queue at all.
    pub malformed: bool,
    /// The bytes of the file; `None` if there is none.
    pub bytes: Option<Vec<u8>>,
}

/// Reads the queue; a missing file is an empty one.
///
/// # Errors
/// The file is there and cannot be read.
pub fn read(path: &Path) -> io::Result<Queue> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(parse(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Queue::default()),
        Err(error) => Err(error),
    }
}

/// Understands the bytes of a queue file.
#[must_use]
pub fn parse(bytes: Vec<u8>) -> Queue {
    let mut queue = Queue::default();
    let entries: Option<Vec<Value>> = if bytes.len() > MAX_QUEUE {
        None
    } else {
        serde_json::from_slice(&bytes).ok()
    };
    match entries {
        None => queue.malformed = true,
        Some(entries) => {
            for entry in entries {
                match ChangeSet::deserialize(&entry) {
                    Ok(set) => queue.sets.push(set),
                    Err(_) => queue.useless.push(entry),
                }
            }
        }
    }
    queue.bytes = Some(bytes);
    queue
}

/// The text of a queue, as Barman writes it.
#[must_use]
pub fn text<T: Serialize>(sets: &[T]) -> String {
    // An empty list has no lines in between.
    serde_json::to_string_pretty(sets).unwrap_or_else(|_| "[]".to_owned())
}

/// Makes these the content of the queue file. Passwords may be among them: nobody else may read a new one.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, sets: &[ChangeSet]) -> Result<(), DurableError> {
    let mode = std::fs::metadata(path).map_or(0o600, |meta| meta.permissions().mode() & 0o777);
    durable::write_atomic(path, text(sets).as_bytes(), mode)
}

/// Puts what can never be applied aside, beside the queue, and returns where.
///
/// # Errors
/// It cannot be written.
pub fn put_aside(path: &Path, entries: &[Value]) -> Result<PathBuf, DurableError> {
    let aside = aside(path);
    let mut all: Vec<Value> = std::fs::read(&aside)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    all.extend(
        entries
            .iter()
            .filter(|entry| !all.contains(entry))
            .cloned()
            .collect::<Vec<_>>(),
    );
    durable::write_atomic(&aside, text(&all).as_bytes(), 0o600)?;
    Ok(aside)
}

/// Keeps the bytes of a file that is no queue, and returns where.
///
/// # Errors
/// They cannot be written.
pub fn keep_malformed(path: &Path, bytes: &[u8]) -> Result<PathBuf, DurableError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".malformed");
    let kept = PathBuf::from(name);
    durable::write_atomic(&kept, bytes, 0o600)?;
    Ok(kept)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".rejected");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> ChangeSet {
        ChangeSet {
            section: "s1".to_owned(),
            changes: vec![Change {
                key: "archiver_batch_size".to_owned(),
                value: "5".to_owned(),
                config_file: "/var/lib/barman/.barman.auto.conf".into(),
            }],
        }
    }

    #[test]
    fn the_text_is_barmans() {
        let expected = "[\n  {\n    \"section\": \"s1\",\n    \"changes_set\": [\n      {\n        \"key\": \"archiver_batch_size\",\n        \"value\": \"5\",\n        \"config_file\": \"/var/lib/barman/.barman.auto.conf\"\n      }\n    ]\n  }\n]";
        assert_eq!(text(&[set()]), expected);
        assert_eq!(text::<ChangeSet>(&[]), "[]");
        assert_eq!(parse(expected.into()).sets, [set()]);
    }

    #[test]
    fn what_is_no_queue_is_told_apart() {
        for (bytes, malformed, useless) in [
            ("[]", false, 0),
            ("", true, 0),
            ("nojson", true, 0),
            ("{}", true, 0),
            (r#"[{"a": 1}]"#, false, 1),
            (r#"[1, {"section": "s", "changes_set": []}]"#, false, 1),
            (
                r#"[{"section": "s", "changes_set": [{"key": "k", "value": 5, "config_file": "f"}]}]"#,
                false,
                1,
            ),
        ] {
            let queue = parse(bytes.into());
            assert_eq!(
                (queue.malformed, queue.useless.len()),
                (malformed, useless),
                "{bytes}"
            );
        }
    }

    #[test]
    fn useless_entries_are_kept_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q");
        let poison = serde_json::json!({"a": 1});
        let kept = put_aside(&path, std::slice::from_ref(&poison)).unwrap();
        put_aside(&path, &[poison.clone(), serde_json::json!(2)]).unwrap();
        let all: Vec<Value> = serde_json::from_slice(&std::fs::read(kept).unwrap()).unwrap();
        assert_eq!(all, [poison, serde_json::json!(2)]);
    }
}
