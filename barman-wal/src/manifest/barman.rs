//! Writing a manifest in the form of Barman's `generate-manifest`: version 1, keys in alphabetical order, only ASCII,
//! no WAL ranges. PostgreSQL's `pg_verifybackup -n` reads it.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;

use sha2::{Digest, Sha256};

use super::{ManifestFile, to_hex};

/// Writes a manifest as Barman generates it, file by file; nothing is kept.
///
/// ```
/// use barman_wal::manifest::{self, Algorithm, BarmanManifestWriter, Hasher, ManifestFile};
///
/// let mut hasher = Hasher::new(Algorithm::Sha256);
/// hasher.update(b"15\n");
/// let mut writer = BarmanManifestWriter::new(Vec::new())?;
/// writer.file(&ManifestFile {
///     path: "PG_VERSION".into(),
///     size: 3,
///     last_modified: Some("2026-11-21 04:46:18".into()),
///     checksum: hasher.finish(),
/// })?;
/// let content = writer.finish()?;
/// let summary = manifest::read(content.as_slice(), |_| Ok::<(), std::convert::Infallible>(()))?;
/// assert_eq!((summary.version, summary.files), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct BarmanManifestWriter<W: Write> {
    output: W,
    hash: Sha256,
    first: bool,
}

impl<W: Write> BarmanManifestWriter<W> {
    /// Begins a manifest. `output` should be buffered.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn new(output: W) -> io::Result<Self> {
        let mut writer = Self {
            output,
            hash: Sha256::new(),
            first: true,
        };
        writer.put("{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n")?;
        Ok(writer)
    }

    /// The next file. A path that is not UTF-8, which Barman cannot write, becomes an `Encoded-Path`.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn file(&mut self, file: &ManifestFile) -> io::Result<()> {
        let mut entry = String::from(if std::mem::take(&mut self.first) {
            "{"
        } else {
            ",\n{"
        });
        if let Some(sum) = &file.checksum {
            entry.push_str(&format!(
                "\"Checksum\": \"{}\", \"Checksum-Algorithm\": \"{}\", ",
                sum.to_hex(),
                sum.algorithm
            ));
        }
        let path = file.path.to_str();
        if path.is_none() {
            let digits = to_hex(file.path.as_os_str().as_bytes());
            entry.push_str(&format!("\"Encoded-Path\": \"{digits}\", "));
        }
        if let Some(time) = &file.last_modified {
            entry.push_str(&format!("\"Last-Modified\": {}, ", ascii_json(time)));
        }
        if let Some(path) = path {
            entry.push_str(&format!("\"Path\": {}, ", ascii_json(path)));
        }
        entry.push_str(&format!("\"Size\": {}}}", file.size));
        self.put(&entry)
    }

    /// The checksum. Returns `output`, flushed.
    ///
    /// # Errors
    /// Those of `output`.
    pub fn finish(mut self) -> io::Result<W> {
        self.put("],\n")?;
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

/// A JSON string of printable ASCII only, as Python's `json` writes it.
fn ascii_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            ' '..='~' => json.push(c),
            other => {
                for unit in other.encode_utf16(&mut [0; 2]) {
                    // Writing to a String does not fail.
                    let _ = write!(json, "\\u{unit:04x}");
                }
            }
        }
    }
    json.push('"');
    json
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    use std::path::PathBuf;

    use super::super::{Algorithm, Hasher, read};
    use super::*;

    fn file(path: PathBuf) -> ManifestFile {
        ManifestFile {
            path,
            size: 0,
            last_modified: Some("2026-11-21 04:46:18".into()),
            checksum: Hasher::new(Algorithm::Sha256).finish(),
        }
    }

    #[test]
    fn the_form_is_barmans() {
        let mut writer = BarmanManifestWriter::new(Vec::new()).unwrap();
        writer.file(&file("log".into())).unwrap();
        writer.file(&file("base/\u{e9}\u{1f600}\"\u{7f}".into())).unwrap();
        writer
            .file(&file(OsString::from_vec(b"\xff/a".to_vec()).into()))
            .unwrap();
        let text = String::from_utf8(writer.finish().unwrap()).unwrap();
        let empty = "\"Checksum\": \"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\", \"Checksum-Algorithm\": \"SHA256\"";
        let body = format!(
            "{{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n\
             {{{empty}, \"Last-Modified\": \"2026-11-21 04:46:18\", \"Path\": \"log\", \"Size\": 0}},\n\
             {{{empty}, \"Last-Modified\": \"2026-11-21 04:46:18\", \"Path\": \"base/\\u00e9\\ud83d\\ude00\\\"\\u007f\", \"Size\": 0}},\n\
             {{{empty}, \"Encoded-Path\": \"ff2f61\", \"Last-Modified\": \"2026-11-21 04:46:18\", \"Size\": 0}}],\n"
        );
        let sum = to_hex(&Sha256::digest(body.as_bytes()));
        assert_eq!(text, format!("{body}\"Manifest-Checksum\": \"{sum}\"}}\n"));
    }

    #[test]
    fn what_is_written_is_read() {
        for count in [0, 1, 3] {
            let mut writer = BarmanManifestWriter::new(Vec::new()).unwrap();
            let files: Vec<_> = (0..count)
                .map(|n| file(format!("\u{1f600}\t{n}").into()))
                .collect();
            for file in &files {
                writer.file(file).unwrap();
            }
            let content = writer.finish().unwrap();
            let mut found = Vec::new();
            let summary = read(content.as_slice(), |file| {
                found.push(file);
                Ok::<(), std::convert::Infallible>(())
            })
            .unwrap();
            assert_eq!((found, summary.version), (files, 1));
        }
    }
}
