//! Writing a manifest, byte for byte as PostgreSQL does.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};

use super::{ManifestFile, WalRange, to_hex};

/// Writes a manifest entry by entry. Without [`ManifestWriter::finish`] it has no checksum and is not a manifest.
#[derive(Debug)]
pub struct ManifestWriter<W: Write> {
    output: W,
    hash: Sha256,
    first: bool,
}

impl<W: Write> ManifestWriter<W> {
    /// Begins a manifest: of version 2 when the cluster is given (PostgreSQL 17 and later), else of version 1.
    /// `output` should be buffered.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn new(output: W, system_identifier: Option<u64>) -> io::Result<Self> {
        let mut writer = Self {
            output,
            hash: Sha256::new(),
            first: true,
        };
        match system_identifier {
            None => writer.put("{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n")?,
            Some(id) => writer.put(&format!(
                "{{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": {id},\n"
            ))?,
        }
        writer.put("\"Files\": [")?;
        Ok(writer)
    }

    /// The next file. A path that is not UTF-8 is written as hexadecimal digits.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn file(&mut self, file: &ManifestFile) -> io::Result<()> {
        let begin = if std::mem::take(&mut self.first) {
            "\n"
        } else {
            ",\n"
        };
        let path = match file.path.to_str() {
            Some(path) => format!("\"Path\": {}", serde_json::to_string(path)?),
            None => format!(
                "\"Encoded-Path\": \"{}\"",
                to_hex(file.path.as_os_str().as_bytes())
            ),
        };
        let mut entry = format!("{begin}{{ {path}, \"Size\": {}", file.size);
        if let Some(time) = &file.last_modified {
            entry.push_str(&format!(", \"Last-Modified\": {}", serde_json::to_string(time)?));
        }
        if let Some(sum) = &file.checksum {
            entry.push_str(&format!(
                ", \"Checksum-Algorithm\": \"{}\", \"Checksum\": \"{}\"",
                sum.algorithm,
                sum.to_hex()
            ));
        }
        entry.push_str(" }");
        self.put(&entry)
    }

    /// The WAL ranges and the checksum. Returns `output`, flushed.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn finish(mut self, ranges: &[WalRange]) -> io::Result<W> {
        self.put("\n],\n\"WAL-Ranges\": [")?;
        for (index, range) in ranges.iter().enumerate() {
            let begin = if index == 0 { "\n" } else { ",\n" };
            self.put(&format!(
                "{begin}{{ \"Timeline\": {}, \"Start-LSN\": \"{}\", \"End-LSN\": \"{}\" }}",
                range.timeline, range.start, range.end
            ))?;
        }
        self.put("\n],\n")?;
        let checksum = to_hex(&std::mem::take(&mut self.hash).finalize());
        self.output
            .write_all(format!("\"Manifest-Checksum\": \"{checksum}\"}}\n").as_bytes())?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn put(&mut self, text: &str) -> io::Result<()> {
        self.hash.update(text.as_bytes());
        self.output.write_all(text.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    use proptest::prelude::*;

    use super::super::{Algorithm, Hasher, read};
    use super::*;

    #[test]
    fn what_a_server_wrote_is_written_again() {
        let original = include_str!("../../tests/fixtures/backup_manifest_15");
        let mut writer = ManifestWriter::new(Vec::new(), None).unwrap();
        let summary = read(original.as_bytes(), |file| writer.file(&file)).unwrap();
        let written = writer.finish(&summary.wal_ranges).unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), original);
    }

    proptest! {
        #[test]
        fn round_trip(
            names in proptest::collection::vec("[^/\0]{1,10}|[a-z]{3}/[\"\\\\\n\t\u{1}]{3}", 0..5),
            raw in proptest::collection::vec(0x80u8.., 1..5),
            id in proptest::option::of(any::<u64>()),
        ) {
            let mut files: Vec<_> = names
                .into_iter()
                .filter(|name| name != "." && name != "..")
                .map(|name| {
                    let mut hasher = Hasher::new(Algorithm::Sha256);
                    hasher.update(name.as_bytes());
                    ManifestFile { path: name.into(), size: 5, last_modified: None, checksum: hasher.finish() }
                })
                .collect();
            files.push(ManifestFile {
                path: OsString::from_vec(raw).into(), size: 0, last_modified: Some("x".into()), checksum: None,
            });
            let mut writer = ManifestWriter::new(Vec::new(), id).unwrap();
            for file in &files {
                writer.file(file).unwrap();
            }
            let content = writer.finish(&[]).unwrap();
            let mut found = Vec::new();
            let summary = read(content.as_slice(), |file| { found.push(file); Ok::<(), Infallible>(()) }).unwrap();
            prop_assert_eq!(found, files);
            prop_assert_eq!(summary.system_identifier, id);
        }
    }
}
