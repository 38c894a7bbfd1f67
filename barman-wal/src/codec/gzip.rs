//! The gzip format, on one thread or several. libdeflate compresses, which needs half of the time of any zlib for the
//! same size, but only what lies in memory as a whole: so content is cut in pieces of [`PIECE`] bytes, each a member.
//! The bytes do not depend on the number of threads.
//!
//! Members stand for themselves: for every other program, a file that is cut between two of them is a whole, shorter
//! file. Each member of several therefore has a field in its header (an extra field, RFC 1952, 2.3.1.1, which programs
//! pass over) with its number, whether it is the last, and its length: [`Label`]. Our reader knows by it what is missing,
//! and where the next member begins before it has decompressed this one (`parts.rs`).

use std::collections::VecDeque;
use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};

use super::pool::{Pending, Pool};

/// The size of a piece, bytes: as long as the second cache of most processors, and costs a thousandth in size.
pub(super) const PIECE: usize = 1 << 20;
/// A member is never longer, bytes: what does not compress takes a few bytes more for each block of some thousand.
pub(super) const MOST: usize = PIECE + PIECE / 128;
/// Pieces on their way beyond one for each thread: what bounds memory.
pub(super) const AHEAD: usize = 2;
/// More do not help: a segment has sixteen pieces, and the output is written by one.
pub(super) const MOST_THREADS: usize = 8;
/// No time, no name, an unknown system: the same content gives the same bytes.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255];
/// The flag in the header's fourth byte: an extra field follows.
const EXTRA: u8 = 4;
/// The header of a member of several, up to its number: an extra field of 12 bytes, the subfield `BW` of 8.
const LABELLED: [u8; 16] = [0x1F, 0x8B, 8, EXTRA, 0, 0, 0, 0, 0, 255, 12, 0, b'B', b'W', 8, 0];
/// What is behind the content of a member, bytes: its CRC and its size.
pub(super) const TRAILER: usize = 8;

/// The place of a member among several that belong together: 8 bytes in its header, two numbers, each with the least
/// significant byte first. The first is twice the member's number, plus one in the last; the second its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Label {
    /// From 0.
    pub(super) number: u32,
    pub(super) last: bool,
    /// Of the whole member from its header to its trailer, bytes; whatever the file says.
    pub(super) length: u32,
}

impl Label {
    /// The length of a header that holds one, bytes.
    pub(super) const HEADER: usize = LABELLED.len() + 8;

    /// That of the member that begins like this; `None`: it stands alone, or another program wrote it.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let (word, rest) = head.strip_prefix(&LABELLED)?.split_first_chunk()?;
        let word = u32::from_le_bytes(*word);
        let (length, _) = rest.split_first_chunk()?;
        Some(Self {
            number: word / 2,
            last: word % 2 == 1,
            length: u32::from_le_bytes(*length),
        })
    }

    /// Its length, if a member can be so long.
    pub(super) fn possible_length(self) -> Option<usize> {
        usize::try_from(self.length)
            .ok()
            .filter(|length| (Self::HEADER + TRAILER..=MOST).contains(length))
    }

    fn header(self) -> Vec<u8> {
        let word = self.number * 2 + u32::from(self.last);
        [&LABELLED[..], &word.to_le_bytes(), &self.length.to_le_bytes()].concat()
    }
}

/// Compresses what is written to it.
pub(super) struct Gzip<W> {
    output: W,
    level: CompressionLvl,
    threads: usize,
    piece: Vec<u8>,
    number: u32,
    /// Begun with the second piece: small files need no threads.
    pool: Option<Pool<Piece, Packed>>,
    alone: Option<Compressor>,
    pending: VecDeque<Pending<Packed>>,
}

pub(super) type Packed = io::Result<Vec<u8>>;

struct Piece {
    content: Vec<u8>,
    number: u32,
    last: bool,
}

impl<W: Write> Gzip<W> {
    /// `level`: 1 to 9.
    pub(super) fn new(level: u32, threads: usize, output: W) -> Self {
        let level = i32::try_from(level)
            .ok()
            .and_then(|level| CompressionLvl::new(level).ok())
            .unwrap_or_default();
        Self {
            output,
            level,
            threads: threads.clamp(1, MOST_THREADS),
            piece: Vec::new(),
            number: 0,
            pool: None,
            alone: None,
            pending: VecDeque::new(),
        }
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.submit(true)?;
        while !self.pending.is_empty() {
            self.take_one()?;
        }
        Ok(self.output)
    }

    fn submit(&mut self, last: bool) -> io::Result<()> {
        if self.pool.is_none() && self.threads > 1 && !last {
            let level = self.level;
            self.pool = Pool::new(self.threads, "gzip", || {
                let mut compressor = Compressor::new(level);
                move |piece: Piece| pack(&mut compressor, &piece.content, piece.number, piece.last)
            });
            if self.pool.is_none() {
                self.threads = 1;
            }
        }
        let number = self.number;
        // Half of the numbers that fit: 2 PiB of content.
        self.number = self
            .number
            .checked_add(1)
            .filter(|number| *number <= u32::MAX / 2)
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let Some(pool) = &self.pool else {
            let level = self.level;
            let compressor = self.alone.get_or_insert_with(|| Compressor::new(level));
            let packed = pack(compressor, &self.piece, number, last)?;
            self.piece.clear();
            return self.output.write_all(&packed);
        };
        let content = std::mem::replace(&mut self.piece, Vec::with_capacity(if last { 0 } else { PIECE }));
        self.pending.push_back(pool.submit(Piece {
            content,
            number,
            last,
        }));
        if self.pending.len() >= self.threads + AHEAD {
            self.take_one()?;
        }
        Ok(())
    }

    fn take_one(&mut self) -> io::Result<()> {
        let (Some(pending), Some(pool)) = (self.pending.pop_front(), &self.pool) else {
            return Ok(());
        };
        let packed = pool.answer(&pending, None)??;
        self.output.write_all(&packed)
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full piece stays until more comes: the last one must be told that it is.
        if self.piece.len() >= PIECE {
            self.submit(false)?;
        }
        let room = PIECE.saturating_sub(self.piece.len()).min(bytes.len());
        self.piece
            .extend_from_slice(bytes.get(..room).unwrap_or_default());
        Ok(room)
    }

    /// Pieces stay whole: what is not full yet is not written.
    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// A member.
pub(super) fn pack(compressor: &mut Compressor, content: &[u8], number: u32, last: bool) -> Packed {
    let mut label = Label {
        number,
        last,
        length: 0,
    };
    let is_the_only_one = number == 0 && last;
    let mut member = if is_the_only_one {
        HEADER.to_vec()
    } else {
        label.header()
    };
    let start = member.len();
    // As long as it can become; what the content does not take of it is never touched.
    member.resize(
        start + compressor.deflate_compress_bound(content.len()) + TRAILER,
        0,
    );
    let room = member.get_mut(start..).unwrap_or_default();
    let length = compressor
        .deflate_compress(content, room)
        .map_err(io::Error::other)?;
    member.truncate(start + length);
    member.extend_from_slice(&libdeflater::crc32(content).to_le_bytes());
    // Modulo 2^32, says the format; a piece is shorter.
    let size = u32::try_from(content.len()).map_err(io::Error::other)?;
    member.extend_from_slice(&size.to_le_bytes());
    if !is_the_only_one {
        // Only now it is known.
        label.length = u32::try_from(member.len()).map_err(io::Error::other)?;
        let header = member.get_mut(..start).unwrap_or_default();
        header.copy_from_slice(&label.header());
    }
    Ok(member)
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, DecodeError, Fault, decoder};
    use super::*;
    use std::io::Read;

    fn pack_all(content: &[u8], threads: usize, step: usize) -> Vec<u8> {
        let mut encoder = Gzip::new(6, threads, Vec::new());
        for part in content.chunks(step) {
            encoder.write_all(part).unwrap();
        }
        encoder.finish().unwrap()
    }

    fn unpack(stored: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        decoder(Algorithm::Gzip, stored)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn fault(stored: &[u8]) -> Fault {
        let error = unpack(stored).unwrap_err();
        DecodeError::of(&error).unwrap().what.clone()
    }

    fn content(size: usize) -> Vec<u8> {
        (0..size)
            .map(|at| u8::try_from(at * at / 7 % 251).unwrap())
            .collect()
    }

    fn noise(size: usize) -> Vec<u8> {
        let mut state: u32 = 1;
        std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(size)
        .collect()
    }

    #[test]
    fn the_bytes_do_not_depend_on_threads_or_writes() {
        for size in [0, 1, PIECE - 1, PIECE, PIECE + 1, 9 * PIECE + 17] {
            let content = content(size);
            let one = pack_all(&content, 1, 4096);
            assert!(one == pack_all(&content, 3, 1 << 20), "{size}");
            assert!(one == pack_all(&content, 16, 777), "{size}");
            assert!(unpack(&one).unwrap() == content, "{size}");
            // What fits a piece is as any other program writes it.
            assert_eq!(one.starts_with(&HEADER), size <= PIECE, "{size}");
            let mut plain = Vec::new();
            flate2::read::MultiGzDecoder::new(one.as_slice())
                .read_to_end(&mut plain)
                .unwrap();
            assert!(plain == content, "{size}: another reader");
        }
    }

    /// The members of something of several.
    fn members(stored: &[u8]) -> Vec<&[u8]> {
        let mut starts: Vec<usize> = stored
            .windows(LABELLED.len())
            .enumerate()
            .filter_map(|(at, bytes)| (bytes == LABELLED).then_some(at))
            .collect();
        starts.push(stored.len());
        starts.windows(2).map(|two| &stored[two[0]..two[1]]).collect()
    }

    #[test]
    fn what_is_cut_between_members_or_lacks_one_is_no_shorter_file() {
        let content = content(3 * PIECE + 5);
        let stored = pack_all(&content, 2, 1 << 16);
        let parts = members(&stored);
        let labels: Vec<_> = parts
            .iter()
            .map(|part| Label::of(part).map(|label| (label.number, label.last, label.possible_length())))
            .collect();
        let expected = [(0, false), (1, false), (2, false), (3, true)];
        let expected: Vec<_> = expected
            .iter()
            .zip(&parts)
            .map(|((number, last), part)| Some((*number, *last, Some(part.len()))))
            .collect();
        assert_eq!(labels, expected);
        for count in 1..4 {
            let first = parts[..count].concat();
            assert_eq!(fault(&first), Fault::Truncated, "{count}");
            assert_eq!(
                fault(&[&first[..], &[0; 600]].concat()),
                Fault::Truncated,
                "{count}"
            );
            for more in [1, Label::HEADER - 1, Label::HEADER, Label::HEADER + 1] {
                assert_eq!(
                    fault(&stored[..first.len() + more]),
                    Fault::Truncated,
                    "{count} + {more}"
                );
            }
            assert!(
                matches!(fault(&parts[count..].concat()), Fault::Corrupt(_)),
                "{count}"
            );
            assert!(matches!(
                fault(&[&first[..], &stored].concat()),
                Fault::Corrupt(_)
            ));
        }
        let small = pack_all(b"WAL", 1, 3);
        for row in [
            [parts[0], parts[2], parts[3]],
            [parts[1], parts[2], parts[3]],
            [parts[0], parts[1], parts[3]],
            [parts[0], parts[1], &small],
        ] {
            assert!(matches!(fault(&row.concat()), Fault::Corrupt(_)));
        }
        // Two that are whole, one after the other.
        let row = [&stored[..], &small, &stored].concat();
        assert!(unpack(&row).unwrap() == [&content[..], b"WAL", &content].concat());
    }

    #[test]
    fn no_member_is_longer_than_the_longest() {
        let mut compressor = Compressor::new(CompressionLvl::new(1).unwrap());
        assert!(Label::HEADER + compressor.deflate_compress_bound(PIECE) + TRAILER <= MOST);
        let member = pack(&mut compressor, &noise(PIECE), 1, false).unwrap();
        let label = Label::of(&member).unwrap();
        assert!(member.len() > PIECE && label.possible_length() == Some(member.len()));
    }

    #[test]
    fn a_failing_output_is_an_error_and_threads_end() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self
                    .0
                    .checked_sub(bytes.len())
                    .ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for threads in [1, 4] {
            let mut encoder = Gzip::new(1, threads, Full(1000));
            let result = encoder
                .write_all(&noise(20 * PIECE))
                .and_then(|()| encoder.finish().map(drop));
            assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
        }
    }
}
