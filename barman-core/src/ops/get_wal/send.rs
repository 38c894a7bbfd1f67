//! Sending a file in the form that is wanted, as a stream.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use barman_wal::codec::{self, Algorithm};
use barman_wal::{SegmentName, SegmentSize, WalFileName};

use super::error::GetWalError;
use super::locate::Kind;
use super::{OutputCompression, OutputForm};
use crate::config::ServerConfig;
use crate::context::Cancel;
use crate::ops::archive::segment_check::{self, Verdict};
use crate::ops::wal_codec::{WalCodec, looks_plain};

const BUFFER: usize = 256 * 1024;

/// How to send.
pub(super) struct Delivery<'a> {
    pub(super) config: &'a ServerConfig,
    pub(super) form: OutputForm,
}

impl Delivery<'_> {
    /// Sends `source`, which was found at `path`; returns how many bytes were written.
    pub(super) fn send(
        &self,
        source: &File,
        path: &Path,
        kind: Kind,
        name: WalFileName,
        output: &mut dyn Write,
        cancel: &Cancel,
    ) -> Result<u64, GetWalError> {
        let unreadable = |source| GetWalError::Read {
            path: path.to_path_buf(),
            source,
        };
        let wal_codec = WalCodec::new(self.config);
        let cancelled = || cancel.is_requested();
        let first = codec::first_bytes(source).map_err(unreadable)?;
        let stored = if kind == Kind::RawPartial {
            Algorithm::None
        } else if codec::looks_encrypted(&first) {
            return Err(GetWalError::Encrypted {
                path: path.to_path_buf(),
            });
        } else {
            wal_codec.stored_as(name, &first)
        };
        self.refuse_damaged(stored, &first, source, path, kind, name)?;
        // A partial that is being written is sent raw whatever is wanted: its reader expects that.
        let wanted = match self.form {
            _ if kind == Kind::RawPartial => stored,
            OutputForm::AsStored => stored,
            OutputForm::Plain => Algorithm::None,
            OutputForm::Compressed(OutputCompression::Gzip) => Algorithm::Gzip,
            OutputForm::Compressed(OutputCompression::Bzip2) => Algorithm::Bzip2,
        };
        let (decode, encode) = if stored.format() == wanted.format() {
            (Algorithm::None, Algorithm::None)
        } else {
            (stored, wanted)
        };
        let mut reader =
            wal_codec
                .reader(decode, source, &cancelled)
                .map_err(|source| GetWalError::Compression {
                    name: name.to_string(),
                    source,
                })?;
        let counted = Counted { output, bytes: 0 };
        let mut writer = codec::encoder(encode, wal_codec.level, counted).map_err(|source| {
            GetWalError::OutputCompression {
                name: name.to_string(),
                source,
            }
        })?;

        let unwritable = |source| GetWalError::Write {
            name: name.to_string(),
            source,
        };
        let mut buffer = vec![0; BUFFER];
        let mut plain: u64 = 0;
        // What a filter gives is only believed when it is WAL. What is not, may have been taken for its work wrongly.
        let mut doubtful = decode == Algorithm::Custom && whole_segment(path, name).is_some();
        loop {
            if cancel.is_requested() {
                return Err(GetWalError::Interrupted {
                    name: name.to_string(),
                });
            }
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    if doubtful && !looks_plain(name, buffer.get(..count).unwrap_or_default()) {
                        return Err(GetWalError::Damaged {
                            path: path.to_path_buf(),
                            why: "what custom_decompression_filter makes of it is no WAL".to_owned(),
                        });
                    }
                    doubtful = false;
                    plain = plain.saturating_add(count as u64);
                    writer
                        .write_all(buffer.get(..count).unwrap_or_default())
                        .map_err(unwritable)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) if cancel.is_requested() => {}
                Err(error) if decode == Algorithm::None => return Err(unreadable(error)),
                Err(source) => {
                    return Err(GetWalError::Decompress {
                        path: path.to_path_buf(),
                        source,
                    });
                }
            }
        }
        // Nothing is whole that decompresses to less: the command fails after the last byte, and PostgreSQL throws
        // away what it got.
        let whole = decode == Algorithm::None
            || whole_segment(path, name).is_none()
            || SegmentSize::new(plain).is_ok();
        if !whole {
            return Err(GetWalError::Damaged {
                path: path.to_path_buf(),
                why: format!("it holds {plain} bytes, which is no size of a WAL segment"),
            });
        }
        let mut counted = writer.finish().map_err(unwritable)?;
        counted.flush().map_err(unwritable)?;
        Ok(counted.bytes)
    }

    /// Keeps back an archived segment that is useless beyond doubt.
    fn refuse_damaged(
        &self,
        stored: Algorithm,
        first: &[u8],
        source: &File,
        path: &Path,
        kind: Kind,
        name: WalFileName,
    ) -> Result<(), GetWalError> {
        let Some(segment) = whole_segment(path, name) else {
            return Ok(());
        };
        if stored != Algorithm::None || kind != Kind::Archived {
            return Ok(());
        }
        let bytes = source
            .metadata()
            .map_err(|source| GetWalError::Read {
                path: path.to_path_buf(),
                source,
            })?
            .len();
        match segment_check::judge(segment, first, bytes) {
            Verdict::Bad(why) => Err(GetWalError::Damaged {
                path: path.to_path_buf(),
                why,
            }),
            Verdict::Good | Verdict::Unrecognised => Ok(()),
        }
    }
}

/// The segment that a file must hold from end to end; none for other files and partial segments.
fn whole_segment(path: &Path, name: WalFileName) -> Option<SegmentName> {
    match name {
        WalFileName::Segment(segment) if path.extension().is_none() => Some(segment),
        _ => None,
    }
}

/// The first bytes of a stored file, decompressed: what tells the size of its segments.
pub(super) fn plain_beginning(
    config: &ServerConfig,
    name: WalFileName,
    source: &File,
    length: usize,
    cancel: &Cancel,
) -> io::Result<Vec<u8>> {
    let codec = WalCodec::new(config);
    let algorithm = codec.stored_as(name, &codec::first_bytes(source)?);
    let cancelled = || cancel.is_requested();
    let mut bytes = Vec::new();
    let reader = codec.reader(algorithm, source, &cancelled)?;
    // A file that cannot be read to there tells nothing.
    let _ = reader
        .take(u64::try_from(length).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes);
    Ok(bytes)
}

struct Counted<'a> {
    output: &'a mut dyn Write,
    bytes: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.output.write(bytes)?;
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}
