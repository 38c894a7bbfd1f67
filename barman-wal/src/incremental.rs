//! Files of block-level incremental backups, `INCREMENTAL.NAME` (PostgreSQL 17 and newer, `basebackup_incremental.c`,
//! `reconstruct.c`): which blocks of a relation's file changed, and those blocks.
//!
//! The header is a magic number, the number of blocks, the length in blocks that the file had ([truncation
//! length](IncrementalHeader::truncation_length)) and the blocks' numbers, counted from the beginning of the file; where
//! there are any, zeros follow up to a multiple of the block size. Then come the blocks in the order of their numbers.
//!
//! ```
//! use barman_wal::data_file::Geometry;
//! use barman_wal::incremental::{self, IncrementalHeader, IncrementalReader, IncrementalWriter};
//!
//! let header = IncrementalHeader::new(10, vec![2, 7], Geometry::DEFAULT)?;
//! let mut writer = IncrementalWriter::new(Vec::new(), header, Geometry::DEFAULT)?;
//! writer.write_block(&[1; 8192])?;
//! writer.write_block(&[2; 8192])?;
//! let file = writer.finish()?;
//!
//! let mut reader = IncrementalReader::new(file.as_slice(), Geometry::DEFAULT)?;
//! let mut block = vec![0; 8192];
//! while let Some(number) = reader.next_block(&mut block)? {
//!     println!("block {number} begins with {}", block[0]);
//! }
//! assert_eq!(incremental::original_name("INCREMENTAL.16384"), Some("16384"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::io::{self, Read, Write};

use crate::data_file::Geometry;

/// `INCREMENTAL_MAGIC`.
pub const MAGIC: u32 = 0xD3AE_1F0D;
/// What the names of such files begin with (`INCREMENTAL_PREFIX`).
pub const PREFIX: &str = "INCREMENTAL.";
/// Bytes before the blocks' numbers.
const FIXED: u64 = 12;
/// How many numbers are read at a time: what a header promises is believed only as it comes.
const AT_ONCE: usize = 1024;

/// The name of the file that an incremental one stands for; `None` for a file that is whole. Of a path only its last
/// part counts.
#[must_use]
pub fn original_name(name: &str) -> Option<&str> {
    name.strip_prefix(PREFIX).filter(|rest| !rest.is_empty())
}

/// The name of the incremental file of `name`.
#[must_use]
pub fn incremental_name(name: &str) -> String {
    format!("{PREFIX}{name}")
}

/// What is wrong with an incremental file, or with what should become one.
#[derive(Debug, thiserror::Error)]
pub enum IncrementalError {
    /// It cannot be read or written.
    #[error("{doing} the incremental file: {source}")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// It ends too early.
    #[error("the incremental file ends within {within}")]
    Truncated {
        /// What is not complete.
        within: &'static str,
    },
    /// It is none.
    #[error("{found:#010X} is not the magic number of an incremental file")]
    Magic {
        /// Its first four bytes.
        found: u32,
    },
    /// A number in the header is more than a file of a relation has blocks.
    #[error("the incremental file has {what} {found}, but a file of a relation has at most {limit} blocks")]
    TooMany {
        /// Which number.
        what: &'static str,
        /// Its value.
        found: u32,
        /// The most that is possible.
        limit: u32,
    },
    /// Numbers must ascend.
    #[error("block {block} follows block {before} in the incremental file")]
    Order {
        /// The number before.
        before: u32,
        /// The one that is not higher.
        block: u32,
    },
    /// Something follows the last block.
    #[error("the incremental file goes on after its last block")]
    Trailing,
    /// A block, or the room for one, has another size than blocks of the cluster.
    #[error("{found} bytes are no block of {expected} bytes")]
    BlockSize {
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: u32,
    },
    /// Fewer or more blocks were written than the header announces.
    #[error("{written} blocks were written to the incremental file, its header announces {announced}")]
    Count {
        /// How many.
        written: usize,
        /// How many there should be.
        announced: usize,
    },
}

type Result<T> = std::result::Result<T, IncrementalError>;

fn io_error(doing: &'static str) -> impl FnOnce(io::Error) -> IncrementalError {
    move |source| IncrementalError::Io { doing, source }
}

/// Reads all of `buffer`.
fn exactly(reader: &mut impl Read, buffer: &mut [u8], within: &'static str) -> Result<()> {
    reader.read_exact(buffer).map_err(|source| {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            IncrementalError::Truncated { within }
        } else {
            io_error("reading")(source)
        }
    })
}

fn at_most(what: &'static str, found: u32, limit: u32) -> Result<()> {
    if found > limit {
        return Err(IncrementalError::TooMany { what, found, limit });
    }
    Ok(())
}

/// What an incremental file says of the file that it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncrementalHeader {
    truncation_length: u32,
    blocks: Vec<u32>,
}

impl IncrementalHeader {
    /// `blocks`: numbers of blocks, ascending, counted from the beginning of the file.
    ///
    /// # Errors
    /// A number does not fit into a file of a relation, or they do not ascend.
    pub fn new(truncation_length: u32, blocks: Vec<u32>, geometry: Geometry) -> Result<Self> {
        at_most(
            "the truncation length",
            truncation_length,
            geometry.segment_blocks(),
        )?;
        let mut before = None;
        for block in &blocks {
            check_block(*block, &mut before, geometry)?;
        }
        Ok(Self {
            truncation_length,
            blocks,
        })
    }

    /// Reads the header, and the zeros that follow it.
    ///
    /// # Errors
    /// This is no incremental file, it cannot be read, or is damaged. Memory is used only for what came.
    pub fn read(reader: &mut impl Read, geometry: Geometry) -> Result<Self> {
        let mut fixed = [0; FIXED as usize];
        exactly(reader, &mut fixed, "its header")?;
        let [magic, count, truncation_length] = <[[u8; 4]; 3]>::try_from(fixed.as_chunks::<4>().0)
            .unwrap_or_default()
            .map(u32::from_le_bytes);
        if magic != MAGIC {
            return Err(IncrementalError::Magic { found: magic });
        }
        at_most("a number of blocks of", count, geometry.segment_blocks())?;
        at_most(
            "the truncation length",
            truncation_length,
            geometry.segment_blocks(),
        )?;
        let mut blocks = Vec::new();
        let mut before = None;
        let mut left = usize::try_from(count).unwrap_or(usize::MAX);
        let mut buffer = [0; 4 * AT_ONCE];
        while left > 0 {
            let now = left.min(AT_ONCE);
            let bytes = buffer.get_mut(..4 * now).unwrap_or_default();
            exactly(reader, bytes, "the numbers of its blocks")?;
            for number in bytes.as_chunks::<4>().0 {
                let block = u32::from_le_bytes(*number);
                check_block(block, &mut before, geometry)?;
                blocks.push(block);
            }
            left -= now;
        }
        let header = Self {
            truncation_length,
            blocks,
        };
        let mut padding = header.padding(geometry);
        while padding > 0 {
            let now = usize::try_from(padding).unwrap_or(usize::MAX).min(buffer.len());
            exactly(reader, buffer.get_mut(..now).unwrap_or_default(), "its header")?;
            padding -= now as u64;
        }
        Ok(header)
    }

    /// The length in blocks to which the file of the backup before is cut, or filled up with zeros, before the blocks
    /// are put in. The file can be longer than this: as long as its last block demands.
    #[must_use]
    pub const fn truncation_length(&self) -> u32 {
        self.truncation_length
    }

    /// The numbers of the blocks, ascending.
    #[must_use]
    pub fn blocks(&self) -> &[u32] {
        &self.blocks
    }

    /// How many blocks the file has that is to be made of it.
    #[must_use]
    pub fn full_length(&self) -> u32 {
        // Numbers are below the number of blocks of a file.
        let after_last = self.blocks.last().map_or(0, |last| last.saturating_add(1));
        self.truncation_length.max(after_last)
    }

    /// Bytes from the beginning of the incremental file to its first block.
    #[must_use]
    pub fn length(&self, geometry: Geometry) -> u64 {
        let numbers = FIXED + 4 * self.blocks.len() as u64;
        if self.blocks.is_empty() {
            numbers
        } else {
            numbers.next_multiple_of(u64::from(geometry.block_size()))
        }
    }

    /// Bytes of the whole incremental file.
    #[must_use]
    pub fn file_length(&self, geometry: Geometry) -> u64 {
        self.length(geometry) + self.blocks.len() as u64 * u64::from(geometry.block_size())
    }

    fn padding(&self, geometry: Geometry) -> u64 {
        self.length(geometry) - FIXED - 4 * self.blocks.len() as u64
    }

    /// Writes it, with the zeros that follow.
    fn write(&self, writer: &mut impl Write, geometry: Geometry) -> Result<()> {
        let count = u32::try_from(self.blocks.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(usize::try_from(self.length(geometry)).unwrap_or(0));
        for number in [MAGIC, count, self.truncation_length].iter().chain(&self.blocks) {
            bytes.extend(number.to_le_bytes());
        }
        bytes.resize(usize::try_from(self.length(geometry)).unwrap_or(0), 0);
        writer.write_all(&bytes).map_err(io_error("writing"))
    }
}

/// Checks the next number of a block.
fn check_block(block: u32, before: &mut Option<u32>, geometry: Geometry) -> Result<()> {
    at_most("the block", block, geometry.segment_blocks() - 1)?;
    if let Some(before) = before.filter(|before| block <= *before) {
        return Err(IncrementalError::Order { before, block });
    }
    *before = Some(block);
    Ok(())
}

/// Reads an incremental file from its beginning to its end.
#[derive(Debug)]
pub struct IncrementalReader<R> {
    reader: R,
    header: IncrementalHeader,
    geometry: Geometry,
    next: usize,
}

impl<R: Read> IncrementalReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// As [`IncrementalHeader::read`].
    pub fn new(mut reader: R, geometry: Geometry) -> Result<Self> {
        let header = IncrementalHeader::read(&mut reader, geometry)?;
        Ok(Self {
            reader,
            header,
            geometry,
            next: 0,
        })
    }

    /// What it says.
    #[must_use]
    pub const fn header(&self) -> &IncrementalHeader {
        &self.header
    }

    /// Reads the next block into `room`, which has the size of one, and gives its number; `None` after the last.
    ///
    /// # Errors
    /// The file cannot be read, ends too early or goes on after its last block, or `room` has another size.
    pub fn next_block(&mut self, room: &mut [u8]) -> Result<Option<u32>> {
        let expected = self.geometry.block_size();
        if room.len() != expected as usize {
            let found = room.len();
            return Err(IncrementalError::BlockSize { found, expected });
        }
        let Some(number) = self.header.blocks.get(self.next) else {
            return match self.reader.read_exact(&mut [0]) {
                Ok(()) => Err(IncrementalError::Trailing),
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
                Err(error) => Err(io_error("reading")(error)),
            };
        };
        exactly(&mut self.reader, room, "a block")?;
        self.next += 1;
        Ok(Some(*number))
    }
}

/// Writes an incremental file.
#[derive(Debug)]
pub struct IncrementalWriter<W> {
    writer: W,
    header: IncrementalHeader,
    geometry: Geometry,
    written: usize,
}

impl<W: Write> IncrementalWriter<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn new(mut writer: W, header: IncrementalHeader, geometry: Geometry) -> Result<Self> {
        header.write(&mut writer, geometry)?;
        Ok(Self {
            writer,
            header,
            geometry,
            written: 0,
        })
    }

    /// Writes the next of the blocks that the header announces.
    ///
    /// # Errors
    /// It has another size than blocks of the cluster, there are no more to come, or it cannot be written.
    pub fn write_block(&mut self, block: &[u8]) -> Result<()> {
        let expected = self.geometry.block_size();
        if block.len() != expected as usize {
            let found = block.len();
            return Err(IncrementalError::BlockSize { found, expected });
        }
        self.written += 1;
        if self.written > self.header.blocks.len() {
            return Err(self.count());
        }
        self.writer.write_all(block).map_err(io_error("writing"))
    }

    /// What was written to. It is not flushed.
    ///
    /// # Errors
    /// Blocks are missing.
    pub fn finish(self) -> Result<W> {
        if self.written == self.header.blocks.len() {
            Ok(self.writer)
        } else {
            Err(self.count())
        }
    }

    fn count(&self) -> IncrementalError {
        IncrementalError::Count {
            written: self.written,
            announced: self.header.blocks.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn small() -> Geometry {
        Geometry::new(1024, 1000).unwrap()
    }

    fn write(truncation: u32, blocks: &[u32]) -> Vec<u8> {
        let header = IncrementalHeader::new(truncation, blocks.to_vec(), small()).unwrap();
        let length = header.file_length(small());
        let mut writer = IncrementalWriter::new(Vec::new(), header, small()).unwrap();
        for block in blocks {
            writer.write_block(&[(*block % 251) as u8; 1024]).unwrap();
        }
        let file = writer.finish().unwrap();
        assert_eq!(file.len() as u64, length);
        file
    }

    /// Header and numbers of all blocks.
    fn read(bytes: &[u8]) -> Result<(IncrementalHeader, Vec<u32>)> {
        let mut reader = IncrementalReader::new(bytes, small())?;
        let (mut room, mut found) = (vec![0; 1024], Vec::new());
        while let Some(number) = reader.next_block(&mut room)? {
            assert!(bytes.len() > 100_000 || room.iter().all(|byte| u32::from(*byte) == number % 251));
            found.push(number);
        }
        Ok((reader.header.clone(), found))
    }

    #[test]
    fn lengths() {
        // Without blocks there is no padding; 253 numbers fill the first block to the byte.
        for (blocks, header) in [(0, 12), (1, 1024), (253, 1024), (254, 2048)] {
            let numbers: Vec<u32> = (0..blocks).collect();
            assert_eq!(
                IncrementalHeader::new(5, numbers.clone(), small())
                    .unwrap()
                    .length(small()),
                header
            );
            let (found, read) = read(&write(5, &numbers)).unwrap();
            assert_eq!((found.blocks(), &read), (numbers.as_slice(), &numbers));
            assert_eq!(found.full_length(), 5.max(blocks));
        }
    }

    #[test]
    fn what_cannot_be() {
        let good = write(9, &[1, 4, 8]);
        assert!(read(&good).is_ok());
        for length in [0, 11, 13, 20, 1000, 1024, 2000, good.len() - 1] {
            assert!(
                matches!(read(&good[..length]), Err(IncrementalError::Truncated { .. })),
                "{length}"
            );
        }
        let mut longer = good.clone();
        longer.push(0);
        assert!(matches!(read(&longer), Err(IncrementalError::Trailing)));
        let with = |at: usize, value: u32| {
            let mut changed = good.clone();
            changed[at..at + 4].copy_from_slice(&value.to_le_bytes());
            read(&changed).unwrap_err()
        };
        assert!(matches!(with(0, 1), IncrementalError::Magic { found: 1 }));
        for (at, value) in [(4, 1001), (4, u32::MAX), (8, 1001), (20, 1000), (20, u32::MAX)] {
            assert!(
                matches!(with(at, value), IncrementalError::TooMany { .. }),
                "{at} {value}"
            );
        }
        // It promises more than there is.
        assert!(matches!(
            with(4, 1000),
            IncrementalError::Order { .. } | IncrementalError::Truncated { .. }
        ));
        assert!(matches!(
            with(16, 1),
            IncrementalError::Order { before: 1, block: 1 }
        ));
        assert!(matches!(
            with(12, 5),
            IncrementalError::Order { before: 5, block: 4 }
        ));
        assert!(IncrementalHeader::new(0, vec![3, 3], small()).is_err());
        assert!(IncrementalHeader::new(1001, vec![], small()).is_err());
    }

    #[test]
    fn writers_that_do_not_keep_their_word() {
        let header = || IncrementalHeader::new(9, vec![1, 4], small()).unwrap();
        let mut writer = IncrementalWriter::new(Vec::new(), header(), small()).unwrap();
        assert!(matches!(
            writer.write_block(&[0; 1023]),
            Err(IncrementalError::BlockSize {
                found: 1023,
                expected: 1024
            })
        ));
        writer.write_block(&[0; 1024]).unwrap();
        assert!(matches!(
            writer.finish(),
            Err(IncrementalError::Count {
                written: 1,
                announced: 2
            })
        ));
        let mut writer = IncrementalWriter::new(Vec::new(), header(), small()).unwrap();
        writer.write_block(&[0; 1024]).unwrap();
        writer.write_block(&[0; 1024]).unwrap();
        assert!(writer.write_block(&[0; 1024]).is_err());
    }

    #[test]
    fn names() {
        assert_eq!(incremental_name("16384.1"), "INCREMENTAL.16384.1");
        for (name, original) in [
            ("INCREMENTAL.16384_vm", Some("16384_vm")),
            ("INCREMENTAL.", None),
            ("16384", None),
            ("incremental.16384", None),
        ] {
            assert_eq!(original_name(name), original);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_safe(mut bytes in proptest::collection::vec(any::<u8>(), 0..3000), magic: bool) {
            if let (true, Some(start)) = (magic, bytes.get_mut(..4)) {
                start.copy_from_slice(&MAGIC.to_le_bytes());
            }
            let Ok(mut reader) = IncrementalReader::new(bytes.as_slice(), small()) else {
                return Ok(());
            };
            let mut room = vec![0; 1024];
            while let Ok(Some(_)) = reader.next_block(&mut room) {}
        }

        #[test]
        fn round_trip(blocks in proptest::collection::btree_set(0u32..1000, 0..400), truncation in 0u32..=1000) {
            let blocks: Vec<u32> = blocks.into_iter().collect();
            let (header, found) = read(&write(truncation, &blocks)).unwrap();
            prop_assert_eq!(header.truncation_length(), truncation);
            prop_assert_eq!(found, blocks);
        }
    }
}
