//! Sending a file in the form that is wanted, as a stream.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use barman_wal::codec::{self, Algorithm};
use barman_wal::{SegmentName, SegmentSize, WalFileName, page};

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
        // A server waits for this file, and for nothing else. Other formats are read by one thread whatever is asked for.
        let threads = match decode.format() {
            Algorithm::Gzip => barman_wal::processors(),
            _ => 1,
        };
        let mut reader = wal_codec
            .reader(decode, threads, source, &cancelled)
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
        let damaged = |why| GetWalError::Damaged {
            path: path.to_path_buf(),
            why,
        };
        let mut buffer = vec![0; BUFFER];
        let mut gate = Gate {
            segment: whole_segment(path, name).filter(|_| decode != Algorithm::None),
            is_judged: kind == Kind::Archived,
            is_filtered: decode == Algorithm::Custom,
            head: Vec::new(),
            bytes: 0,
        };
        loop {
            if cancel.is_requested() {
                return Err(GetWalError::Interrupted {
                    name: name.to_string(),
                });
            }
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let bytes = buffer.get(..count).unwrap_or_default();
                    let (head, bytes) = gate.pass(bytes).map_err(damaged)?;
                    writer
                        .write_all(head)
                        .and_then(|()| writer.write_all(bytes))
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
        gate.judge_whole().map_err(damaged)?;
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
    let reader = codec.reader(algorithm, 1, source, &cancelled)?;
    // A file that cannot be read to there tells nothing.
    let _ = reader
        .take(u64::try_from(length).unwrap_or(u64::MAX))
        .read_to_end(&mut bytes);
    Ok(bytes)
}

/// Looks at the decompressed content of what must be a whole segment, before it goes out.
struct Gate {
    /// Nothing is looked at without.
    segment: Option<SegmentName>,
    /// Whether it must also be the segment of that name.
    is_judged: bool,
    /// Whether a filter of the user's own made it. It is only believed when it is WAL: what was stored may have been
    /// taken for the work of the other filter wrongly.
    is_filtered: bool,
    /// The first bytes. Until they are there, nothing goes out: a filter may give one at a time.
    head: Vec<u8>,
    /// All bytes so far.
    bytes: u64,
}

impl Gate {
    /// What may go out now that `bytes` have come: what was kept back, and what follows it. The error says what is
    /// wrong with the content.
    fn pass<'b>(&'b mut self, bytes: &'b [u8]) -> Result<(&'b [u8], &'b [u8]), String> {
        let Some(segment) = self.segment else {
            return Ok((&[], bytes));
        };
        self.bytes = self
            .bytes
            .saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.bytes > u64::from(SegmentSize::MAX.bytes()) {
            return Err("it holds more than the largest WAL segment".to_owned());
        }
        let missing = codec::DETECT_LENGTH.saturating_sub(self.head.len());
        if missing == 0 {
            return Ok((&[], bytes));
        }
        let (first, rest) = bytes.split_at_checked(missing).unwrap_or((bytes, &[]));
        self.head.extend_from_slice(first);
        if self.head.len() < codec::DETECT_LENGTH {
            return Ok((&[], &[]));
        }
        if self.is_filtered && !looks_plain(WalFileName::Segment(segment), &self.head) {
            return Err("what custom_decompression_filter makes of it is no WAL".to_owned());
        }
        // Its size is not known yet: as if it was right.
        let size = page::check_segment_header(&self.head).map_or(1, |header| header.segment_size.bytes());
        self.judge(segment, u64::from(size))?;
        Ok((&self.head, rest))
    }

    fn judge(&self, segment: SegmentName, size: u64) -> Result<(), String> {
        match segment_check::judge(segment, &self.head, size) {
            Verdict::Bad(why) if self.is_judged => Err(why),
            _ => Ok(()),
        }
    }

    /// Whether all that came is a segment.
    fn judge_whole(&self) -> Result<(), String> {
        let Some(segment) = self.segment else {
            return Ok(());
        };
        if SegmentSize::new(self.bytes).is_err() {
            return Err(format!(
                "it holds {} bytes, which is no size of a WAL segment",
                self.bytes
            ));
        }
        self.judge(segment, self.bytes)
    }
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
