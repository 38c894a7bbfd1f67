//! `identity.json`: the system identifier a server's backups belong to.

use crate::backup_info::read_bounded;
use crate::files;
use crate::layout::Layout;
use std::io;
use std::path::PathBuf;

/// The cluster a server directory belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Identity {
    /// The system identifier, decimal.
    pub systemid: Option<String>,
    /// The major version of PostgreSQL (`15`).
    pub version: Option<String>,
}

impl Identity {
    /// Whether this identity has to be written where `recorded` is what the file says: when there is none, and after a
    /// major upgrade, which leaves the system identifier as it was. Another identifier is another cluster: that is not
    /// written over.
    #[must_use]
    pub fn is_to_be_written(&self, recorded: Option<&Self>) -> bool {
        recorded.is_none_or(|old| {
            self.systemid.is_some() && old.systemid == self.systemid && old.version != self.version
        })
    }

    /// The JSON of an identity, as exports have it: sorted keys, four blanks, no final line end.
    #[must_use]
    pub fn to_json(&self) -> String {
        let value = |text: &Option<String>| match text {
            Some(text) => serde_json::Value::from(text.as_str()).to_string(),
            None => "null".to_owned(),
        };
        format!(
            "{{\n    \"systemid\": {},\n    \"version\": {}\n}}",
            value(&self.systemid),
            value(&self.version)
        )
    }

    /// Reads the JSON of an identity. Numbers count as texts, unknown members are passed over.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(content: &[u8]) -> Result<Self, String> {
        let json: serde_json::Value = serde_json::from_slice(content).map_err(|e| e.to_string())?;
        let object = json.as_object().ok_or("not an object")?;
        let text = |key| match object.get(key) {
            Some(serde_json::Value::String(text)) => Some(text.clone()),
            Some(serde_json::Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        Ok(Self {
            systemid: text("systemid"),
            version: text("version"),
        })
    }
}

/// Why `identity.json` could not be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// A system call failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was being done.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not the JSON it should be.
    #[error("{} is not an identity file: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The identity on record, if there is one.
///
/// # Errors
/// A file that cannot be read or is no JSON object.
pub fn read(layout: &Layout) -> Result<Option<Identity>, IdentityError> {
    let path = layout.identity();
    let content = match read_bounded(&path) {
        Ok(content) => content,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(IdentityError::Io {
                what: "read",
                path,
                source,
            });
        }
    };
    Identity::from_json(&content)
        .map(Some)
        .map_err(|reason| IdentityError::Invalid { path, reason })
}

/// Records an identity, durably.
///
/// # Errors
/// The file system's errors.
pub fn write(layout: &Layout, identity: &Identity) -> Result<(), IdentityError> {
    let path = layout.identity();
    let text = format!("{}\n", identity.to_json());
    files::replace(&path, text.as_bytes()).map_err(|source| IdentityError::Io {
        what: "write",
        path,
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_barman_writes_is_written_and_read() {
        let home = tempfile::tempdir().unwrap();
        let layout = Layout::new("pg", home.path());
        assert_eq!(read(&layout).unwrap(), None);
        let identity = Identity {
            systemid: Some("7710481529789920731".to_owned()),
            version: Some("15".to_owned()),
        };
        write(&layout, &identity).unwrap();
        let text = std::fs::read_to_string(layout.identity()).unwrap();
        assert_eq!(
            text,
            "{\n    \"systemid\": \"7710481529789920731\",\n    \"version\": \"15\"\n}\n"
        );
        assert_eq!(read(&layout).unwrap(), Some(identity));
        std::fs::write(layout.identity(), "{\"systemid\": ").unwrap();
        assert!(matches!(read(&layout), Err(IdentityError::Invalid { .. })));
    }

    #[test]
    fn only_the_version_of_the_same_cluster_is_refreshed() {
        let of = |systemid: Option<&str>, version: &str| Identity {
            systemid: systemid.map(str::to_owned),
            version: Some(version.to_owned()),
        };
        let new = of(Some("1"), "17");
        for (recorded, expected) in [
            (None, true),
            (Some(of(Some("1"), "16")), true),
            (Some(of(Some("1"), "17")), false),
            (Some(of(Some("2"), "16")), false),
            (Some(of(None, "16")), false),
        ] {
            assert_eq!(new.is_to_be_written(recorded.as_ref()), expected, "{recorded:?}");
        }
        assert!(!of(None, "17").is_to_be_written(Some(&of(None, "16"))));
    }
}
