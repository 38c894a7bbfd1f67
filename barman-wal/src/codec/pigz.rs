//! The gzip format compressed by several threads, as `pigz` does it: one member, whose deflate stream is made in pieces
//! that each know the end of the piece before. The bytes do not depend on the number of threads.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// The size of a piece, bytes: what `pigz` takes.
const PIECE: usize = 128 * 1024;
/// How far back deflate looks.
const WINDOW: usize = 32 * 1024;
/// Pieces on their way for each thread: what bounds memory.
const AHEAD: usize = 2;
/// More do not help: the output is written by one.
const MOST_THREADS: usize = 16;
/// No flags, no time, no name: the same content gives the same bytes.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255];

/// Compresses what is written to it.
pub(super) struct Pigz<W> {
    output: W,
    level: Compression,
    threads: usize,
    piece: Vec<u8>,
    /// The end of the piece before.
    dictionary: Vec<u8>,
    /// Begun with the second piece: small files need no threads.
    pool: Option<Pool>,
    alone: Option<Compress>,
    pending: VecDeque<Receiver<io::Result<Packed>>>,
    sum: Crc,
    begun: bool,
}

struct Piece {
    content: Vec<u8>,
    dictionary: Vec<u8>,
    last: bool,
    reply: SyncSender<io::Result<Packed>>,
}

struct Packed {
    bytes: Vec<u8>,
    sum: Crc,
}

impl<W: Write> Pigz<W> {
    pub(super) fn new(level: u32, threads: usize, output: W) -> Self {
        Self {
            output,
            level: Compression::new(level),
            threads: threads.clamp(1, MOST_THREADS),
            piece: Vec::with_capacity(PIECE),
            dictionary: Vec::new(),
            pool: None,
            alone: None,
            pending: VecDeque::new(),
            sum: Crc::new(),
            begun: false,
        }
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        self.submit(true)?;
        while !self.pending.is_empty() {
            self.take_one()?;
        }
        self.output.write_all(&self.sum.sum().to_le_bytes())?;
        self.output.write_all(&self.sum.amount().to_le_bytes())?;
        Ok(self.output)
    }

    fn submit(&mut self, last: bool) -> io::Result<()> {
        if !self.begun {
            self.output.write_all(&HEADER)?;
            self.begun = true;
        }
        if self.pool.is_none() && self.threads > 1 && !last {
            self.pool = Pool::new(self.threads, self.level);
            if self.pool.is_none() {
                self.threads = 1;
            }
        }
        let content = std::mem::replace(&mut self.piece, Vec::with_capacity(if last { 0 } else { PIECE }));
        let tail = content
            .get(content.len().saturating_sub(WINDOW)..)
            .unwrap_or_default();
        let dictionary = std::mem::replace(&mut self.dictionary, tail.to_vec());
        let Some(pool) = &self.pool else {
            let compress = self.alone.get_or_insert_with(|| Compress::new(self.level, false));
            let packed = pack(compress, &content, &dictionary, last)?;
            return self.put(&packed);
        };
        let (reply, answer) = sync_channel(1);
        pool.send(Piece {
            content,
            dictionary,
            last,
            reply,
        })?;
        self.pending.push_back(answer);
        if self.pending.len() >= self.threads * AHEAD {
            self.take_one()?;
        }
        Ok(())
    }

    fn take_one(&mut self) -> io::Result<()> {
        let Some(answer) = self.pending.pop_front() else {
            return Ok(());
        };
        let packed = answer.recv().map_err(|_| gone())??;
        self.put(&packed)
    }

    fn put(&mut self, packed: &Packed) -> io::Result<()> {
        self.output.write_all(&packed.bytes)?;
        self.sum.combine(&packed.sum);
        Ok(())
    }
}

impl<W: Write> Write for Pigz<W> {
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

fn gone() -> io::Error {
    io::Error::other("a thread of the compressor ended")
}

fn pack(compress: &mut Compress, content: &[u8], dictionary: &[u8], last: bool) -> io::Result<Packed> {
    compress.reset();
    if !dictionary.is_empty() {
        compress.set_dictionary(dictionary).map_err(io::Error::other)?;
    }
    let flush = if last {
        FlushCompress::Finish
    } else {
        FlushCompress::Sync
    };
    let mut bytes = Vec::with_capacity(content.len() / 2 + 1024);
    loop {
        let done = usize::try_from(compress.total_in()).unwrap_or(usize::MAX);
        let rest = content.get(done..).unwrap_or_default();
        let status = compress
            .compress_vec(rest, &mut bytes, flush)
            .map_err(io::Error::other)?;
        let taken = usize::try_from(compress.total_in()).unwrap_or(usize::MAX) >= content.len();
        let complete = if last {
            status == Status::StreamEnd
        } else {
            taken && bytes.len() < bytes.capacity()
        };
        if complete {
            break;
        }
        bytes.reserve(PIECE / 2);
    }
    let mut sum = Crc::new();
    sum.update(content);
    Ok(Packed { bytes, sum })
}

/// Threads that compress pieces; they end with it.
struct Pool {
    pieces: Option<SyncSender<Piece>>,
    threads: Vec<JoinHandle<()>>,
}

impl Pool {
    /// `None` if the system gives no thread.
    fn new(count: usize, level: Compression) -> Option<Self> {
        let (sender, receiver) = sync_channel::<Piece>(count * AHEAD);
        let receiver = Arc::new(Mutex::new(receiver));
        let threads: Vec<_> = (0..count)
            .map_while(|number| {
                let pieces = Arc::clone(&receiver);
                thread::Builder::new()
                    .name(format!("pigz-{number}"))
                    .spawn(move || work(&pieces, level))
                    .ok()
            })
            .collect();
        (!threads.is_empty()).then_some(Self {
            pieces: Some(sender),
            threads,
        })
    }

    fn send(&self, piece: Piece) -> io::Result<()> {
        self.pieces
            .as_ref()
            .ok_or_else(gone)?
            .send(piece)
            .map_err(|_| gone())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.pieces = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn work(pieces: &Mutex<Receiver<Piece>>, level: Compression) {
    let mut compress = Compress::new(level, false);
    loop {
        let next = pieces.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(piece) = next else { return };
        let packed = pack(&mut compress, &piece.content, &piece.dictionary, piece.last);
        // Nobody waits for it any more when the output has failed.
        let _ = piece.reply.send(packed);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn pack_all(content: &[u8], threads: usize, step: usize) -> Vec<u8> {
        let mut encoder = Pigz::new(6, threads, Vec::new());
        for part in content.chunks(step) {
            encoder.write_all(part).unwrap();
        }
        encoder.finish().unwrap()
    }

    #[test]
    fn the_bytes_do_not_depend_on_threads_or_writes() {
        for size in [0, 1, WINDOW, PIECE - 1, PIECE, PIECE + 1, 9 * PIECE + 17] {
            let content: Vec<u8> = (0..size)
                .map(|at| u8::try_from(at * at / 7 % 251).unwrap())
                .collect();
            let one = pack_all(&content, 1, 4096);
            assert!(one == pack_all(&content, 3, 1 << 20), "{size}");
            assert!(one == pack_all(&content, 16, 777), "{size}");
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(one.as_slice())
                .read_to_end(&mut plain)
                .unwrap();
            assert!(plain == content, "{size}");
        }
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
        let mut encoder = Pigz::new(1, 4, Full(1000));
        let mut state: u32 = 1;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .take(40 * PIECE)
        .collect();
        let result = encoder
            .write_all(&noise)
            .and_then(|()| encoder.finish().map(drop));
        assert_eq!(result.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }
}
