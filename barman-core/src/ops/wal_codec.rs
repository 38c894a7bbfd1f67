//! How a server's archive compresses WAL files and reads them: the codecs of the library, and the user's own filters.

use std::fs::File;
use std::io::{self, Read};

use barman_wal::codec::{self, Algorithm, CodecError, Level};
use barman_wal::{WalFileName, page};

use crate::config::ServerConfig;
use crate::config::types::{CompressionLevel, WalCompression};
use crate::host::environment;
use crate::host::filter::Filter;

/// What of a server's configuration concerns the compression of WAL.
#[derive(Debug)]
pub(crate) struct WalCodec<'a> {
    config: &'a ServerConfig,
    /// The configured compression; [`Algorithm::None`] stores files as they come.
    pub(crate) compression: Algorithm,
    /// The configured level.
    pub(crate) level: Level,
}

impl<'a> WalCodec<'a> {
    pub(crate) fn new(config: &'a ServerConfig) -> Self {
        Self {
            config,
            compression: config.compression.map_or(Algorithm::None, algorithm),
            level: level(config.compression_level),
        }
    }

    /// Whether files can be stored as configured.
    pub(crate) fn check(&self) -> Result<(), CodecError> {
        let (compress, decompress) = (
            &self.config.custom_compression_filter,
            &self.config.custom_decompression_filter,
        );
        match self.compression {
            // What is not going to be read again must not be written.
            Algorithm::Custom if compress.is_none() || decompress.is_none() => Err(CodecError::Custom),
            Algorithm::Custom => Ok(()),
            other if other.is_available() => Ok(()),
            other => Err(CodecError::NotAvailable(other)),
        }
    }

    /// Whether WAL goes through filters of the user's own: nothing is known of what it looks like then.
    pub(crate) const fn has_filters(&self) -> bool {
        self.config.custom_compression_filter.is_some() || self.config.custom_decompression_filter.is_some()
    }

    /// The compression that the first bytes of a file tell.
    pub(crate) fn detect(&self, first: &[u8]) -> Option<Algorithm> {
        Algorithm::detect(first, self.custom_magic())
    }

    pub(crate) fn custom_magic(&self) -> Option<&[u8]> {
        self.config.custom_compression_magic.as_deref()
    }

    /// The compression of a file of the archive, from its first bytes and its name. Where a custom compression leaves
    /// no mark, whatever is neither known nor what PostgreSQL writes under that name is taken for it.
    pub(crate) fn stored_as(&self, name: WalFileName, first: &[u8]) -> Algorithm {
        if let Some(found) = self.detect(first) {
            return found;
        }
        let unmarked = self.config.custom_decompression_filter.is_some() && self.custom_magic().is_none();
        if unmarked && !looks_plain(name, first) {
            Algorithm::Custom
        } else {
            Algorithm::None
        }
    }

    /// Whether files of this compression can be read.
    pub(crate) fn reads(&self, algorithm: Algorithm) -> bool {
        match algorithm {
            Algorithm::Custom => self.config.custom_decompression_filter.is_some(),
            other => other.is_available(),
        }
    }

    /// Reads the plain content of a file from its beginning, by several threads where that helps. The file's position does not change. A filter asks
    /// `cancelled` several times a second, and fails when it says yes.
    ///
    /// # Errors
    /// The algorithm cannot be read, or the filter does not start.
    pub(crate) fn reader<'f>(
        &self,
        algorithm: Algorithm,
        threads: usize,
        file: &'f File,
        cancelled: &'f dyn Fn() -> bool,
    ) -> io::Result<Box<dyn Read + 'f>> {
        if algorithm != Algorithm::Custom {
            return Ok(Box::new(codec::decoder_on(
                algorithm,
                threads,
                FromStart { file, offset: 0 },
            )?));
        }
        let script = self
            .config
            .custom_decompression_filter
            .as_deref()
            .ok_or(CodecError::Custom)?;
        let filter = Filter::start(
            "custom_decompression_filter",
            script,
            self.path(),
            file,
            cancelled,
        )?;
        Ok(Box::new(filter))
    }

    /// Compresses a file by the user's filter.
    ///
    /// # Errors
    /// As [`Self::reader`].
    pub(crate) fn compressing_filter<'f>(
        &self,
        file: &File,
        cancelled: &'f dyn Fn() -> bool,
    ) -> io::Result<Filter<'f>> {
        let script = self
            .config
            .custom_compression_filter
            .as_deref()
            .ok_or(CodecError::Custom)?;
        Ok(Filter::start(
            "custom_compression_filter",
            script,
            self.path(),
            file,
            cancelled,
        )?)
    }

    fn path(&self) -> Option<std::ffi::OsString> {
        environment::search_path(self.config.path_prefix.as_deref())
    }
}

/// Whether this may be the beginning of what PostgreSQL writes to a file of that name.
pub(crate) fn looks_plain(name: WalFileName, first: &[u8]) -> bool {
    if first.is_empty() {
        return true;
    }
    match name {
        WalFileName::Segment(_) | WalFileName::Partial(_) => {
            // A segment that was never written is all zeros.
            first.iter().all(|byte| *byte == 0)
                || page::PageHeader::parse(first).is_some_and(|header| page::is_plausible_magic(header.magic))
        }
        // `parent <tab> position <tab> reason`, after comments. The reason may be in any encoding.
        WalFileName::History(_) => {
            let line = first.trim_ascii_start();
            let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let behind = line.get(digits);
            line.is_empty()
                || line.starts_with(b"#")
                || (digits > 0 && behind.is_none_or(u8::is_ascii_whitespace))
        }
        WalFileName::BackupHistory { .. } => {
            let begin = b"START WAL LOCATION".as_slice();
            first.starts_with(begin) || begin.starts_with(first)
        }
    }
}

/// Reads a file from its beginning without moving the position that others use.
struct FromStart<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset = self
            .offset
            .saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}

/// The codec of an option value.
#[must_use]
pub(crate) fn algorithm(compression: WalCompression) -> Algorithm {
    match compression {
        WalCompression::Gzip => Algorithm::Gzip,
        WalCompression::Bzip2 => Algorithm::Bzip2,
        WalCompression::Pygzip => Algorithm::Pygzip,
        WalCompression::Pybzip2 => Algorithm::Pybzip2,
        WalCompression::Pigz => Algorithm::Pigz,
        WalCompression::Xz => Algorithm::Xz,
        WalCompression::Zstd => Algorithm::Zstd,
        WalCompression::Lz4 => Algorithm::Lz4,
        WalCompression::Snappy => Algorithm::Snappy,
        WalCompression::Custom => Algorithm::Custom,
    }
}

/// The level of an option value.
#[must_use]
pub(crate) fn level(level: CompressionLevel) -> Level {
    match level {
        CompressionLevel::Low => Level::Low,
        CompressionLevel::Medium => Level::Medium,
        CompressionLevel::High => Level::High,
        CompressionLevel::Number(number) => Level::Number(number),
    }
}
