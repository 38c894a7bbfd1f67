//! Reading a manifest as a stream.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};

use super::checksum::{Algorithm, Checksum};
use super::{ManifestFile, ManifestSummary, WalRange, from_hex, to_hex};
use crate::lsn::Lsn;
use crate::timeline::TimelineId;

/// No line is longer in a manifest that PostgreSQL or Barman writes: each has one file.
const LINE_LIMIT: usize = 1 << 20;
/// A cluster does not change its timeline more often during one backup.
const RANGE_LIMIT: usize = 10_000;

/// Why a manifest is not to be trusted.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError<E> {
    /// It cannot be read.
    #[error("cannot read the backup manifest: {0}")]
    Io(io::Error),
    /// It is no manifest.
    #[error("the backup manifest is malformed: {0}")]
    Syntax(serde_json::Error),
    /// It has a version that we do not know.
    #[error("the backup manifest has version {version}, known are 1 and 2")]
    Version {
        /// As found.
        version: u64,
    },
    /// It has changed since it was written.
    #[error("the backup manifest is damaged: its checksum is {found}, computed is {computed}")]
    Checksum {
        /// In the manifest.
        found: String,
        /// SHA-256 over the content before.
        computed: String,
    },
    /// The caller's callback refused a file.
    #[error("{0}")]
    Callback(E),
}

/// Reads a manifest and hands each file to `each`, which ends the reading with an error. Nothing is known to be true
/// until this returns without error: the checksum comes last.
///
/// # Errors
/// See [`ManifestError`]; a path that is absolute or leaves the backup is a syntax error.
pub fn read<R: Read, E>(
    input: R,
    each: impl FnMut(ManifestFile) -> Result<(), E>,
) -> Result<ManifestSummary, ManifestError<E>> {
    let tail = Rc::new(RefCell::new(Tail::default()));
    let input = Hashing {
        input,
        tail: Rc::clone(&tail),
    };
    let mut state = Reading {
        each,
        refusal: None,
        version: None,
        summary: ManifestSummary {
            version: 0,
            system_identifier: None,
            files: 0,
            bytes: 0,
            wal_ranges: Vec::new(),
        },
        checksum: None,
    };
    let mut json = serde_json::Deserializer::from_reader(BufReader::with_capacity(64 * 1024, input));
    let parsed = json
        .deserialize_map(TopLevel(&mut state))
        .and_then(|()| json.end());
    if let Some(refusal) = state.refusal {
        return Err(ManifestError::Callback(refusal));
    }
    if let Err(error) = parsed {
        return Err(match state.version {
            Some(version) if !known(version) => ManifestError::Version { version },
            _ if error.is_io() => ManifestError::Io(error.into()),
            _ => ManifestError::Syntax(error),
        });
    }
    let computed = tail.borrow_mut().checksum();
    let found = state.checksum.unwrap_or_default();
    if !found.eq_ignore_ascii_case(&computed) {
        return Err(ManifestError::Checksum {
            found: crate::text::excerpt(&found),
            computed,
        });
    }
    Ok(state.summary)
}

fn known(version: u64) -> bool {
    version == 1 || version == 2
}

/// Passes bytes on, and hashes all but the last line.
struct Hashing<R> {
    input: R,
    tail: Rc<RefCell<Tail>>,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.tail
            .borrow_mut()
            .push(buffer.get(..count).unwrap_or_default())?;
        Ok(count)
    }
}

/// The hash of what came before the last line, and that line as far as it has come. The checksum covers everything
/// before the line that has it.
#[derive(Default)]
struct Tail {
    hash: Sha256,
    line: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        // A complete line is kept until the next one begins, because it may be the last.
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end + 1);
            self.begin_line_if_complete();
            self.line.extend_from_slice(head);
            rest = tail;
        }
        if !rest.is_empty() {
            self.begin_line_if_complete();
            self.line.extend_from_slice(rest);
        }
        if self.line.len() > LINE_LIMIT {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is longer than 1 MiB",
            ));
        }
        Ok(())
    }

    fn begin_line_if_complete(&mut self) {
        if self.line.ends_with(b"\n") {
            self.hash.update(&self.line);
            self.line.clear();
        }
    }

    fn checksum(&mut self) -> String {
        to_hex(&std::mem::take(&mut self.hash).finalize())
    }
}

/// What has been read so far.
struct Reading<F, E> {
    each: F,
    refusal: Option<E>,
    version: Option<u64>,
    summary: ManifestSummary,
    checksum: Option<String>,
}

/// The object that is the manifest.
struct TopLevel<'a, F, E>(&'a mut Reading<F, E>);

impl<'de, F, E> Visitor<'de> for TopLevel<'_, F, E>
where
    F: FnMut(ManifestFile) -> Result<(), E>,
{
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a backup manifest")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let state = self.0;
        while let Some(key) = map.next_key::<String>()? {
            // The version comes first, so that what follows is read as it means it.
            if state.version.is_none() && key != "PostgreSQL-Backup-Manifest-Version" {
                return Err(A::Error::custom("it does not begin with its version"));
            }
            match key.as_str() {
                "PostgreSQL-Backup-Manifest-Version" => {
                    let version: u64 = map.next_value()?;
                    state.version = Some(version);
                    if !known(version) {
                        return Err(A::Error::custom("unknown version"));
                    }
                    state.summary.version = u32::try_from(version).unwrap_or(0);
                }
                "System-Identifier" => state.summary.system_identifier = Some(map.next_value()?),
                "Files" => map.next_value_seed(Files(state))?,
                "WAL-Ranges" => state.summary.wal_ranges = map.next_value_seed(Ranges)?,
                "Manifest-Checksum" => {
                    state.checksum = Some(map.next_value()?);
                    // PostgreSQL wants nothing after it, and the hash ends here.
                    if map.next_key::<IgnoredAny>()?.is_some() {
                        return Err(A::Error::custom("there is something after the checksum"));
                    }
                    return Ok(());
                }
                other => {
                    return Err(A::Error::custom(format!(
                        "unexpected key `{}`",
                        crate::text::excerpt(other)
                    )));
                }
            }
        }
        Err(A::Error::custom("there is no checksum"))
    }
}

/// The array of files.
struct Files<'a, F, E>(&'a mut Reading<F, E>);

impl<'de, F, E> DeserializeSeed<'de> for Files<'_, F, E>
where
    F: FnMut(ManifestFile) -> Result<(), E>,
{
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F, E> Visitor<'de> for Files<'_, F, E>
where
    F: FnMut(ManifestFile) -> Result<(), E>,
{
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of files")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<(), A::Error> {
        let state = self.0;
        while let Some(raw) = sequence.next_element::<RawFile>()? {
            let file = raw.check().map_err(A::Error::custom)?;
            state.summary.files += 1;
            state.summary.bytes = state.summary.bytes.saturating_add(file.size);
            if let Err(refusal) = (state.each)(file) {
                state.refusal = Some(refusal);
                return Err(A::Error::custom("refused"));
            }
        }
        Ok(())
    }
}

/// The array of WAL ranges, bounded.
struct Ranges;

impl<'de> DeserializeSeed<'de> for Ranges {
    type Value = Vec<WalRange>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Ranges {
    type Value = Vec<WalRange>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an array of WAL ranges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut ranges = Vec::new();
        while let Some(raw) = sequence.next_element::<RawRange>()? {
            if ranges.len() >= RANGE_LIMIT {
                return Err(A::Error::custom("too many WAL ranges"));
            }
            ranges.push(WalRange {
                timeline: raw.timeline,
                start: raw.start,
                end: raw.end,
            });
        }
        Ok(ranges)
    }
}

#[derive(Deserialize)]
struct RawRange {
    #[serde(rename = "Timeline")]
    timeline: TimelineId,
    #[serde(rename = "Start-LSN")]
    start: Lsn,
    #[serde(rename = "End-LSN")]
    end: Lsn,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(rename = "Path")]
    path: Option<String>,
    #[serde(rename = "Encoded-Path")]
    encoded_path: Option<String>,
    #[serde(rename = "Size")]
    size: u64,
    #[serde(rename = "Last-Modified")]
    last_modified: Option<String>,
    #[serde(rename = "Checksum-Algorithm")]
    algorithm: Option<String>,
    #[serde(rename = "Checksum")]
    checksum: Option<String>,
}

impl RawFile {
    fn check(self) -> Result<ManifestFile, String> {
        let path = match (self.path, self.encoded_path) {
            (Some(path), None) => PathBuf::from(path),
            (None, Some(hex)) => {
                let bytes = from_hex(&hex)
                    .ok_or_else(|| format!("bad `Encoded-Path` {}", crate::text::excerpt(&hex)))?;
                PathBuf::from(OsString::from_vec(bytes))
            }
            (Some(_), Some(_)) => return Err("a file has both `Path` and `Encoded-Path`".to_owned()),
            (None, None) => return Err("a file has no path".to_owned()),
        };
        if !stays_inside(&path) {
            return Err(format!("the path `{}` leaves the backup", path.display()));
        }
        let checksum = match (self.algorithm, self.checksum) {
            (None, None) => None,
            (Some(algorithm), Some(digits)) => {
                let algorithm: Algorithm = algorithm
                    .parse()
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                let checksum = Checksum::from_hex(algorithm, &digits)
                    .ok_or_else(|| format!("{}: bad {algorithm} checksum", path.display()))?;
                Some(checksum)
            }
            _ => {
                return Err(format!(
                    "{}: checksum without algorithm or the other way round",
                    path.display()
                ));
            }
        };
        Ok(ManifestFile {
            path,
            size: self.size,
            last_modified: self.last_modified,
            checksum,
        })
    }
}

/// Whether a path consists of names only, at least one.
fn stays_inside(path: &Path) -> bool {
    let mut names = path.components();
    !path.as_os_str().is_empty()
        && !path.as_os_str().as_encoded_bytes().contains(&0)
        && names.all(|component| matches!(component, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;

    const V15: &str = include_str!("../../tests/fixtures/backup_manifest_15");

    type Failure = ManifestError<Infallible>;

    fn collect(content: &[u8]) -> Result<(Vec<ManifestFile>, ManifestSummary), Failure> {
        let mut files = Vec::new();
        let summary = read(content, |file| {
            files.push(file);
            Ok(())
        })?;
        Ok((files, summary))
    }

    /// A manifest with this body and a true checksum.
    fn sealed(body: &str) -> String {
        let body = format!("{body}\n");
        format!(
            "{body}\"Manifest-Checksum\": \"{}\"}}\n",
            to_hex(&Sha256::digest(body.as_bytes()))
        )
    }

    #[test]
    fn a_manifest_of_a_server() {
        let (files, summary) = collect(V15.as_bytes()).unwrap();
        assert_eq!(
            (summary.version, summary.system_identifier, summary.files),
            (1, None, 4)
        );
        let range = WalRange {
            timeline: TimelineId::FIRST,
            start: Lsn(0x200_0028),
            end: Lsn(0x200_0100),
        };
        assert_eq!(summary.wal_ranges, [range]);
        let label = files
            .iter()
            .find(|file| file.path == Path::new("backup_label"))
            .unwrap();
        assert_eq!(label.size, 225);
        assert_eq!(label.last_modified.as_deref(), Some("2026-11-21 09:20:25 GMT"));
        assert_eq!(label.checksum, Checksum::from_hex(Algorithm::Crc32c, "4b4e7a36"));
    }

    #[test]
    fn version_2_encoded_paths_and_barmans_own() {
        let (files, summary) = collect(
            sealed(
                "{ \"PostgreSQL-Backup-Manifest-Version\": 2,\n\"System-Identifier\": 18446744073709551615,\n\
                 \"Files\": [\n{ \"Encoded-Path\": \"62ff\", \"Size\": 0, \"Last-Modified\": \"x\" }\n],\n\
                 \"WAL-Ranges\": [\n],",
            )
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(summary.system_identifier, Some(u64::MAX));
        assert_eq!(
            files[0].path,
            PathBuf::from(OsString::from_vec(b"b\xFF".to_vec()))
        );
        assert_eq!(files[0].checksum, None);

        let sum = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let (files, summary) = collect(
            sealed(&format!(
                "{{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{{\"Checksum\": \"{sum}\", \
                 \"Checksum-Algorithm\": \"SHA256\", \"Last-Modified\": \"2026-11-21 04:46:18\", \
                 \"Path\": \"PG_VERSION\", \"Size\": 3}}],"
            ))
            .as_bytes(),
        )
        .unwrap();
        assert_eq!(
            (summary.files, summary.bytes, summary.wal_ranges.len()),
            (1, 3, 0)
        );
        assert_eq!(files[0].checksum.as_ref().unwrap().to_hex(), sum);
    }

    #[test]
    fn every_changed_or_missing_byte_is_noticed() {
        let good = V15.trim_end().len();
        for at in 0..good {
            let mut changed = V15.as_bytes().to_vec();
            // A letter of another case is no change in the final digits.
            changed[at] = if changed[at] == b'x' { b'y' } else { b'x' };
            assert!(collect(&changed).is_err(), "byte {at}");
            assert!(collect(&V15.as_bytes()[..at]).is_err(), "cut at {at}");
        }
        assert!(matches!(
            collect(V15.replace("225", "226").as_bytes()),
            Err(ManifestError::Checksum { .. })
        ));
    }

    #[test]
    fn what_is_refused() {
        let file = |entry: &str| {
            sealed(&format!(
                "{{\"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [{entry}],"
            ))
        };
        for (entry, word) in [
            ("{\"Path\": \"../x\", \"Size\": 1}", "leaves"),
            ("{\"Path\": \"/x\", \"Size\": 1}", "leaves"),
            ("{\"Path\": \"\", \"Size\": 1}", "leaves"),
            ("{\"Path\": \"a/../../x\", \"Size\": 1}", "leaves"),
            ("{\"Encoded-Path\": \"2e2e\", \"Size\": 1}", "leaves"),
            ("{\"Encoded-Path\": \"2\", \"Size\": 1}", "Encoded-Path"),
            ("{\"Size\": 1}", "no path"),
            ("{\"Path\": \"x\", \"Size\": -1}", "invalid value"),
            (
                "{\"Path\": \"x\", \"Size\": 1, \"Checksum\": \"00\"}",
                "algorithm",
            ),
            (
                "{\"Path\": \"x\", \"Size\": 1, \"Checksum\": \"00\", \"Checksum-Algorithm\": \"MD5\"}",
                "MD5",
            ),
            (
                "{\"Path\": \"x\", \"Size\": 1, \"Checksum\": \"00\", \"Checksum-Algorithm\": \"CRC32C\"}",
                "bad CRC32C",
            ),
            ("{\"Path\": \"x\", \"Size\": 1, \"Other\": 1}", "Other"),
        ] {
            let error = collect(file(entry).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{entry}: {error}");
        }
        assert!(matches!(
            collect(sealed("{\"PostgreSQL-Backup-Manifest-Version\": 3,").as_bytes()),
            Err(ManifestError::Version { version: 3 })
        ));
        assert!(collect(sealed("{\"Files\": [],").as_bytes()).is_err());
        assert!(collect(b"{\"PostgreSQL-Backup-Manifest-Version\": 1}").is_err());
        assert!(collect("[".repeat(100_000).as_bytes()).is_err());
        let long = format!(
            "{{\"PostgreSQL-Backup-Manifest-Version\": 1,{}",
            " ".repeat(2 << 20)
        );
        assert!(
            collect(long.as_bytes())
                .unwrap_err()
                .to_string()
                .contains("longer than 1 MiB")
        );
    }

    #[test]
    fn the_callback_can_stop() {
        let result = read(V15.as_bytes(), |file| {
            if file.size == 225 { Err("enough") } else { Ok(()) }
        });
        assert!(matches!(result, Err(ManifestError::Callback("enough"))));
    }

    /// Hands out a few bytes at a time, so that lines fall apart everywhere.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(buffer.len()).min(self.0.len());
            let (head, rest) = self.0.split_at(count);
            buffer[..count].copy_from_slice(head);
            self.0 = rest;
            Ok(count)
        }
    }

    proptest! {
        #[test]
        fn any_fragmentation_is_the_same(step in 1usize..300) {
            let summary = read(Dripping(V15.as_bytes(), step), |_| Ok::<(), Infallible>(())).unwrap();
            prop_assert_eq!(summary.files, 4);
        }

        #[test]
        fn any_bytes_are_safe(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..700) {
            let _ = collect(&bytes);
            let mut mixed = V15.as_bytes().get(..cut).unwrap_or_default().to_vec();
            mixed.extend(bytes);
            let _ = collect(&mixed);
        }
    }
}
