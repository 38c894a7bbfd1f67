//! The archives of a base backup one after the other, each as a reader, for callers that store them as they are.

use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use super::stream::TAR_TRAILER;
use super::{ArchiveKind, BackupEnd, BaseBackup, Block, Piece};
use crate::error::Error;

impl<'c> BaseBackup<'c> {
    /// The archives one after the other, each as a reader; for callers that store them as they are.
    ///
    /// Returns nothing when all have come. An archive that was not read to its end is skipped.
    #[must_use]
    pub fn archives(self) -> Archives<'c> {
        Archives {
            backup: self,
            block: Block::default(),
            next_piece: 0,
            state: ReadState::Between,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum ReadState {
    /// No archive is open.
    Between,
    /// One is, and this much of the piece at hand is still to be read.
    Open(Range<usize>),
    /// Only so much of the end marker is left, which servers before 15 do not send.
    Trailer(usize),
    End,
}

/// The archives of a backup in turn, see [`BaseBackup::archives`].
#[derive(Debug)]
pub struct Archives<'c> {
    backup: BaseBackup<'c>,
    block: Block,
    next_piece: usize,
    state: ReadState,
}

impl<'c> Archives<'c> {
    fn piece(&mut self) -> Result<Option<Piece>, Error> {
        loop {
            if let Some(piece) = self.block.pieces.get(self.next_piece) {
                self.next_piece += 1;
                return Ok(Some(piece.clone()));
            }
            let spare = std::mem::take(&mut self.block.data);
            match self.backup.next_block(spare)? {
                Some(block) => self.block = block,
                None => return Ok(None),
            }
            self.next_piece = 0;
        }
    }

    /// The next archive, or nothing when all have come.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn next_archive(&mut self) -> Result<Option<ArchiveReader<'_, 'c>>, Error> {
        if self.state == ReadState::End {
            return Ok(None);
        }
        loop {
            match self.piece()? {
                Some(Piece::Begin(kind)) => {
                    self.state = ReadState::Open(0..0);
                    return Ok(Some(ArchiveReader { archives: self, kind }));
                }
                Some(Piece::Data(_)) => {}
                Some(Piece::End) | None => {
                    self.state = ReadState::End;
                    return Ok(None);
                }
            }
        }
    }

    /// As [`BaseBackup::finish`].
    ///
    /// # Errors
    /// As [`BaseBackup::finish`].
    pub fn finish(self) -> Result<BackupEnd, Error> {
        self.backup.finish()
    }
}

/// The content of one archive. An [`io::Error`] of reading holds the [`Error`] of the connection.
#[derive(Debug)]
pub struct ArchiveReader<'a, 'c> {
    archives: &'a mut Archives<'c>,
    kind: ArchiveKind,
}

impl ArchiveReader<'_, '_> {
    /// What it is.
    #[must_use]
    pub fn kind(&self) -> &ArchiveKind {
        &self.kind
    }

    /// The name of a file for it: `base.tar`, `16384.tar`, each with the suffix of the server's compression (`.gz`,
    /// `.lz4`, `.zst`), or `backup_manifest`.
    #[must_use]
    pub fn name(&self) -> String {
        self.archives.backup.name_of(&self.kind)
    }

    /// The directory of the tablespace on the server; nothing for the data directory and the manifest.
    #[must_use]
    pub fn location(&self) -> Option<&Path> {
        self.archives.backup.location_of(&self.kind)
    }

    /// The archive is over: what is left to hand out.
    fn over(&self, then: ReadState) -> ReadState {
        if self.kind != ArchiveKind::Manifest && !self.archives.backup.version().at_least(15) {
            return ReadState::Trailer(TAR_TRAILER);
        }
        then
    }
}

impl Read for ArchiveReader<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match &mut self.archives.state {
                ReadState::Open(range) if range.start < range.end => {
                    let from = self.archives.block.data.get(range.clone()).unwrap_or_default();
                    let length = from.len().min(buf.len());
                    if let (Some(to), Some(from)) = (buf.get_mut(..length), from.get(..length)) {
                        to.copy_from_slice(from);
                    }
                    range.start += length;
                    return Ok(length);
                }
                ReadState::Open(_) => {}
                ReadState::Trailer(left) => {
                    let length = buf.len().min(*left);
                    if let Some(room) = buf.get_mut(..length) {
                        room.fill(0);
                    }
                    *left -= length;
                    return Ok(length);
                }
                ReadState::Between | ReadState::End => return Ok(0),
            }
            match self.archives.piece().map_err(io::Error::other)? {
                Some(Piece::Data(range)) => self.archives.state = ReadState::Open(range),
                Some(Piece::Begin(_)) => {
                    // Belongs to the next archive.
                    self.archives.next_piece -= 1;
                    self.archives.state = self.over(ReadState::Between);
                }
                Some(Piece::End) => {
                    // Found again by whoever looks for the next archive.
                    self.archives.next_piece -= 1;
                    self.archives.state = self.over(ReadState::Between);
                }
                None => self.archives.state = ReadState::End,
            }
        }
    }
}
