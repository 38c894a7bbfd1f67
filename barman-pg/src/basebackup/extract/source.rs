//! The blocks of a backup on the writer's side: their pieces one after the other, or the bytes of one archive as a
//! reader.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::mpsc::Receiver;
use std::sync::{Mutex, PoisonError};

use crate::basebackup::{Block, Piece};

/// Buffers that can be used again. The one that came back last is given out first, because the processor's caches still
/// hold it; the others are only used while the writer is behind.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<Vec<u8>>>);

impl Spares {
    /// A buffer; a new one if there is none.
    pub(super) fn take(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
            .unwrap_or_default()
    }

    fn put(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// The pieces of all blocks.
#[derive(Debug)]
pub(super) struct Source<'s> {
    full: Receiver<Block>,
    spares: &'s Spares,
    block: Block,
    next: usize,
    /// Whether the reader ended before the backup did.
    cut: bool,
}

impl<'s> Source<'s> {
    pub(super) fn new(full: Receiver<Block>, spares: &'s Spares) -> Self {
        Self {
            full,
            spares,
            block: Block::default(),
            next: 0,
            cut: false,
        }
    }

    /// Whether the reader ended before the backup did: then it knows why, and what the writer makes of it is of no
    /// interest.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// The next block whose pieces are all still to be looked at, together with its bytes; or what is left of the
    /// current one.
    pub(super) fn block(&mut self) -> Option<(&[Piece], &[u8])> {
        if self.next >= self.block.pieces.len() && !self.advance() {
            return None;
        }
        Some((
            self.block.pieces.get(self.next..).unwrap_or_default(),
            &self.block.data,
        ))
    }

    /// So many pieces have been dealt with.
    pub(super) fn took(&mut self, pieces: usize) {
        self.next += pieces;
    }

    /// Fetches the next block.
    fn advance(&mut self) -> bool {
        let old = std::mem::take(&mut self.block);
        self.next = 0;
        if old.data.capacity() > 0 {
            self.spares.put(old.data);
        }
        match self.full.recv() {
            Ok(block) => {
                self.block = block;
                true
            }
            Err(_) => {
                self.cut = true;
                false
            }
        }
    }

    /// The bytes up to the next piece that is no data.
    pub(super) fn archive(&mut self) -> ArchiveBytes<'_, 's> {
        ArchiveBytes {
            source: self,
            at: 0..0,
        }
    }
}

/// See [`Source::archive`].
#[derive(Debug)]
pub(super) struct ArchiveBytes<'a, 's> {
    source: &'a mut Source<'s>,
    /// What is left of the piece at hand.
    at: Range<usize>,
}

impl Read for ArchiveBytes<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at.is_empty() {
            match self.source.block() {
                Some(([Piece::Data(range), ..], _)) => {
                    self.at = range.clone();
                    self.source.took(1);
                }
                Some(([], _)) => {}
                _ => return Ok(0),
            }
        }
        let from = self.source.block.data.get(self.at.clone()).unwrap_or_default();
        let length = from.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), from.get(..length)) {
            to.copy_from_slice(from);
        }
        self.at.start += length.max(1);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::basebackup::ArchiveKind;

    #[test]
    fn an_archive_is_read_across_blocks_and_no_further() {
        let (sender, full) = mpsc::sync_channel(8);
        let block = |data: &[u8], pieces: Vec<Piece>| Block {
            data: data.to_vec(),
            pieces,
        };
        sender
            .send(block(
                b"..ab.cd",
                vec![
                    Piece::Begin(ArchiveKind::Main),
                    Piece::Data(2..4),
                    Piece::Data(4..4),
                    Piece::Data(5..7),
                ],
            ))
            .unwrap();
        sender.send(block(b"x", vec![])).unwrap();
        sender
            .send(block(
                b"efg",
                vec![
                    Piece::Data(0..3),
                    Piece::Begin(ArchiveKind::Manifest),
                    Piece::Data(0..1),
                ],
            ))
            .unwrap();
        sender.send(block(b"hi", vec![Piece::Data(0..2)])).unwrap();
        drop(sender);
        let spares = Spares::default();
        let mut source = Source::new(full, &spares);
        assert!(matches!(
            source.block(),
            Some(([Piece::Begin(ArchiveKind::Main), ..], _))
        ));
        source.took(1);
        let mut main = String::new();
        source.archive().read_to_string(&mut main).unwrap();
        assert_eq!(main, "abcdefg");
        assert!(matches!(
            source.block(),
            Some(([Piece::Begin(ArchiveKind::Manifest), ..], _))
        ));
        source.took(1);
        assert!(!source.is_cut());
        let mut manifest = String::new();
        source.archive().read_to_string(&mut manifest).unwrap();
        assert_eq!(manifest, "ehi");
        assert!(source.is_cut());
        assert!(spares.take().capacity() > 0);
    }
}
