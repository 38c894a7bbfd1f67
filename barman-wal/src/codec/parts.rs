//! Decompresses the gzip members whose [`Label`](super::gzip::Label) tells their length, each by one call of libdeflate,
//! by several threads if wanted: in half of the time of a stream. (What other programs write gains nothing: libdeflate
//! takes a file as a whole only, and memory for all of its content costs more than is saved.)
//!
//! libdeflate does not tell where the compressed data of a member ended. It must be at the member's end, else it holds
//! something that this would lose: [`unpack`] makes sure.

use std::collections::VecDeque;
use std::io::{self, Read};

use libdeflater::Decompressor;
use memchr::memmem;

use super::error::Fault;
use super::gzip::{AHEAD, MOST_THREADS, PIECE, TRAILER};
use super::input::Input;
use super::pool::{Pending, Pool};

/// Members that were read, and the content of the one that is read from.
pub(super) struct Parts {
    threads: usize,
    pool: Option<Pool<Job, Job>>,
    alone: Option<Decompressor>,
    pending: VecDeque<Slot>,
    /// A member as far as it has been read.
    begun: Vec<u8>,
    /// Those whose memory can be used again.
    spare: Vec<Job>,
    current: Job,
    /// How much of the current content was given away.
    given: usize,
}

/// A member on its way.
enum Slot {
    /// To be done by the caller.
    Here(Job),
    Elsewhere(Pending<Job>),
}

/// A member, and what is made of it.
#[derive(Default)]
struct Job {
    member: Vec<u8>,
    plain: Vec<u8>,
    fault: Option<Fault>,
}

impl Parts {
    /// With one thread, members are decompressed as they are wanted.
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: threads.clamp(1, MOST_THREADS),
            pool: None,
            alone: None,
            pending: VecDeque::new(),
            begun: Vec::new(),
            spare: Vec::new(),
            current: Job::default(),
            given: 0,
        }
    }

    /// Content that is there, moved to `output`; 0: there is none.
    pub(super) fn give(&mut self, output: &mut [u8]) -> usize {
        let rest = self.current.plain.get(self.given..).unwrap_or_default();
        let count = rest.len().min(output.len());
        if let (Some(from), Some(to)) = (rest.get(..count), output.get_mut(..count)) {
            to.copy_from_slice(from);
            self.given += count;
        }
        count
    }

    /// Whether members wait to be decompressed.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether one more is to be read before the next is taken.
    pub(super) fn has_room(&self) -> bool {
        let ahead = if self.threads > 1 { self.threads + AHEAD } else { 1 };
        self.pending.len() < ahead
    }

    /// Reads the member of this length that begins here; `false`: it is cut off. After an error of the input it can be
    /// called again. Takes no more memory than there are bytes.
    pub(super) fn fetch(&mut self, input: &mut Input<impl Read>, length: usize) -> io::Result<bool> {
        while self.begun.len() < length {
            let bytes = input.peek(1)?;
            let count = bytes.len().min(length - self.begun.len());
            if count == 0 {
                return Ok(false);
            }
            self.begun
                .extend_from_slice(bytes.get(..count).unwrap_or_default());
            input.consume(count);
        }
        let mut job = self.spare.pop().unwrap_or_default();
        std::mem::swap(&mut job.member, &mut self.begun);
        self.begun.clear();
        self.queue(job);
        Ok(true)
    }

    fn queue(&mut self, job: Job) {
        // Begun with the second member: whoever wants only the beginning needs no threads.
        if self.pool.is_none() && self.threads > 1 && !self.pending.is_empty() {
            self.pool = Pool::new(self.threads - 1, "gunzip", || {
                let mut decompressor = Decompressor::new();
                move |mut job: Job| {
                    work(&mut decompressor, &mut job);
                    job
                }
            });
            if self.pool.is_none() {
                self.threads = 1;
            }
        }
        self.pending.push_back(match &self.pool {
            Some(pool) => Slot::Elsewhere(pool.submit(job)),
            None => Slot::Here(job),
        });
    }

    /// Makes the content of the next member the one that is given; the caller's thread works along until it is there.
    pub(super) fn advance(&mut self) -> Result<(), Fault> {
        let Some(slot) = self.pending.pop_front() else {
            return Ok(());
        };
        let decompressor = self.alone.get_or_insert_with(Decompressor::new);
        let mut along = |mut job: Job| {
            work(decompressor, &mut job);
            job
        };
        let done = match (slot, &self.pool) {
            (Slot::Here(job), _) => Some(along(job)),
            (Slot::Elsewhere(pending), Some(pool)) => pool.answer(&pending, Some(&mut along)).ok(),
            (Slot::Elsewhere(_), None) => None,
        };
        let mut job = done.unwrap_or_else(|| Job {
            fault: Some(Fault::Corrupt(
                "a thread that decompressed it has failed".to_owned(),
            )),
            ..Job::default()
        });
        let fault = job.fault.take();
        self.given = 0;
        self.spare.push(std::mem::replace(&mut self.current, job));
        let Some(fault) = fault else {
            return Ok(());
        };
        // What is there is not to be believed, and what follows it is not wanted.
        self.current.plain.clear();
        self.pending.clear();
        self.pool = None;
        Err(fault)
    }
}

/// The size of the content as the end of a member tells it, bytes.
fn told_size(member: &[u8]) -> Option<usize> {
    let size = member.last_chunk()?;
    usize::try_from(u32::from_le_bytes(*size)).ok()
}

fn work(decompressor: &mut Decompressor, job: &mut Job) {
    let size = told_size(&job.member).filter(|size| *size <= PIECE);
    job.fault = if size.is_none() {
        Some(Fault::Corrupt(
            "a part tells more content than a part has".to_owned(),
        ))
    } else if unpack(decompressor, &job.member, &mut job.plain).is_none() {
        Some(Fault::Corrupt(
            "the content of a part is not what its sum and its length tell".to_owned(),
        ))
    } else {
        None
    };
}

/// Decompresses a member into `plain`, which is made as long as its end tells: that must be bounded before. `None`: it
/// is damaged, or does not end where it should.
fn unpack(decompressor: &mut Decompressor, member: &[u8], plain: &mut Vec<u8>) -> Option<()> {
    let size = told_size(member)?;
    plain.resize(size, 0);
    let filled = decompressor.gzip_decompress(member, plain).ok()?;
    (filled == size && ends_at_its_end(member, plain)).then_some(())
}

/// Whether the compressed data of a member goes up to its end. Behind it are the sum and the size of `plain`, as
/// libdeflate has seen. If the same bytes are at the end of the member, and stand only there, that is the place.
fn ends_at_its_end(member: &[u8], plain: &[u8]) -> bool {
    let Some((body, trailer)) = member.split_last_chunk::<TRAILER>() else {
        return false;
    };
    if !trailer.starts_with(&libdeflater::crc32(plain).to_le_bytes()) {
        return false;
    }
    if memmem::find(member, trailer) == Some(body.len()) {
        return true;
    }
    // By chance, or a member of the same content is within this one.
    let mut engine = flate2::Decompress::new_gzip(15);
    let mut room = vec![0; 64 << 10];
    loop {
        let read = usize::try_from(engine.total_in()).unwrap_or(usize::MAX);
        let before = (engine.total_in(), engine.total_out());
        let rest = member.get(read..).unwrap_or_default();
        match engine.decompress(rest, &mut room, flate2::FlushDecompress::None) {
            Ok(flate2::Status::StreamEnd) => {
                let length = u64::try_from(member.len()).ok();
                let size = u64::try_from(plain.len()).ok();
                return Some(engine.total_in()) == length && Some(engine.total_out()) == size;
            }
            Ok(_) if before != (engine.total_in(), engine.total_out()) => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::gzip::{Label, MOST, pack};
    use super::super::{Algorithm, DecodeError, Level, decoder_on, encoder};
    use super::*;
    use libdeflater::{CompressionLvl, Compressor};
    use std::io::Write;

    const THREADS: [usize; 3] = [1, 2, 5];

    fn read(mut input: impl Read, step: usize) -> io::Result<Vec<u8>> {
        let (mut plain, mut buffer) = (Vec::new(), vec![0; step]);
        loop {
            match input.read(&mut buffer)? {
                0 => return Ok(plain),
                count => plain.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn unpack_on(threads: usize, stored: &[u8]) -> Result<Vec<u8>, Fault> {
        let decoder = decoder_on(Algorithm::Gzip, threads, stored).unwrap();
        read(decoder, 4096).map_err(|error| DecodeError::of(&error).unwrap().what.clone())
    }

    fn numbers(size: usize) -> Vec<u8> {
        (0u32..)
            .flat_map(|number| number.wrapping_mul(number).to_string().into_bytes())
            .take(size)
            .collect()
    }

    /// The members of three short pieces.
    fn members(content: &[u8]) -> Vec<Vec<u8>> {
        let mut compressor = Compressor::new(CompressionLvl::new(6).unwrap());
        let pieces: Vec<_> = content.chunks(content.len().div_ceil(3)).collect();
        (0..)
            .zip(&pieces)
            .map(|(number, piece)| pack(&mut compressor, piece, number, number == 2).unwrap())
            .collect()
    }

    fn with_length(member: &[u8], length: usize) -> Vec<u8> {
        let mut member = member.to_vec();
        member[20..24].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
        member
    }

    fn with_size(member: &[u8], size: u32) -> Vec<u8> {
        let mut member = member.to_vec();
        let at = member.len() - 4;
        member[at..].copy_from_slice(&size.to_le_bytes());
        member
    }

    #[test]
    fn what_is_read_does_not_depend_on_threads() {
        for size in [0, 1, 4096, PIECE, PIECE + 1, 9 * PIECE + 17] {
            let content = numbers(size);
            let mut encoder = encoder(Algorithm::Gzip, Level::Low, Vec::new()).unwrap();
            encoder.write_all(&content).unwrap();
            let stored = encoder.finish().unwrap();
            let mut row = [&stored[..], &stored].concat();
            row.resize(row.len() + 600, 0);
            for threads in THREADS {
                for step in [777, 1 << 20] {
                    let decoder = decoder_on(Algorithm::Gzip, threads, stored.as_slice()).unwrap();
                    assert!(read(decoder, step).unwrap() == content, "{threads} {size} {step}");
                }
                let twice = [&content[..], &content].concat();
                assert!(unpack_on(threads, &row) == Ok(twice), "{threads} {size}, twice");
            }
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte() {
        let content = numbers(700);
        let members = members(&content);
        let stored = members.concat();
        let ends: Vec<_> = members
            .iter()
            .scan(0, |end, member| {
                *end += member.len();
                Some(*end)
            })
            .collect();
        for threads in THREADS {
            assert!(unpack_on(threads, &stored).unwrap() == content);
            for cut in 0..stored.len() {
                let result = unpack_on(threads, &stored[..cut]);
                assert_eq!(result, Err(Fault::Truncated), "{threads}, cut at {cut}");
            }
            for at in 0..stored.len() {
                for change in [1, 2, 8, 0x10, 0x80, 0xFF] {
                    let mut damaged = stored.clone();
                    damaged[at] ^= change;
                    let Ok(plain) = unpack_on(threads, &damaged) else {
                        continue;
                    };
                    // Filling bits.
                    let may = ends.iter().any(|end| at + TRAILER + 1 == *end);
                    assert!(plain == content && may, "{threads}, {at} ^ {change}");
                }
            }
        }
    }

    #[test]
    fn what_lies_is_damaged_whatever_it_says() {
        let content = numbers(3000);
        let parts = members(&content);
        let lengths = |member: &[u8]| {
            let right = member.len();
            [
                0,
                1,
                31,
                32,
                right - 1,
                right + 1,
                right + 8,
                MOST,
                MOST + 1,
                0xFFFF_FFFF,
            ]
        };
        for (number, member) in parts.iter().enumerate() {
            let mut liars: Vec<_> = lengths(member)
                .into_iter()
                .map(|length| with_length(member, length))
                .collect();
            let to_the_end = parts[number..].concat().len();
            liars.push(with_length(member, to_the_end - usize::from(number == 2)));
            for size in [
                0,
                999,
                1001,
                u32::try_from(PIECE).unwrap(),
                1 + u32::try_from(PIECE).unwrap(),
                u32::MAX,
            ] {
                liars.push(with_size(member, size));
            }
            // Something between the compressed data and what must be behind it.
            let (body, trailer) = member.split_at(member.len() - TRAILER);
            for between in [
                b"x".to_vec(),
                [trailer, b"x"].concat(),
                trailer.to_vec(),
                [trailer, body].concat(),
            ] {
                let filled = [body, &between, trailer].concat();
                liars.push(with_length(&filled, filled.len()));
            }
            for liar in liars {
                let mut row = parts.clone();
                row[number] = liar;
                for threads in THREADS {
                    let fault = unpack_on(threads, &row.concat()).unwrap_err();
                    let ends_before = Label::of(&row[number]).unwrap().possible_length()
                        > Some(row[number..].concat().len());
                    let matches = match fault {
                        Fault::Truncated => ends_before,
                        Fault::Corrupt(_) => true,
                        _ => false,
                    };
                    assert!(
                        matches,
                        "{number}: {fault:?}, {threads}, {:?}",
                        Label::of(&row[number])
                    );
                }
            }
        }
    }

    #[test]
    fn chance_is_no_damage() {
        // Content that does not compress and holds the end of its own member cannot be made on purpose, but a sum and
        // a size of nothing can: the extra field of a foreign member holds them, too.
        let mut member = vec![0x1F, 0x8B, 8, 4, 0, 0, 0, 0, 0, 255, 8, 0];
        member.extend_from_slice(b"XY\x04\0\0\0\0\0");
        member.extend_from_slice(&[3, 0]);
        member.extend_from_slice(&[0; 8]);
        let mut plain = Vec::new();
        assert!(unpack(&mut Decompressor::new(), &member, &mut plain).is_some());
        let mut padded = member.clone();
        padded.push(0);
        assert!(unpack(&mut Decompressor::new(), &padded, &mut plain).is_none());
        for threads in THREADS {
            assert_eq!(unpack_on(threads, &member), Ok(Vec::new()));
            assert_eq!(unpack_on(threads, &padded), Ok(Vec::new()));
        }
    }

    #[test]
    fn an_input_that_fails_loses_nothing() {
        /// Fails once at each of some places.
        struct Failing<'a> {
            rest: &'a [u8],
            every: usize,
            left: usize,
        }
        impl Read for Failing<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                if self.left == 0 {
                    self.left = self.every;
                    return Err(io::Error::from_raw_os_error(5));
                }
                let room = buffer.len().min(self.left);
                let count = self.rest.read(&mut buffer[..room])?;
                self.left -= count;
                Ok(count)
            }
        }
        let content = numbers(3000);
        let stored = members(&content).concat();
        for threads in THREADS {
            for every in [7, 100, stored.len() / 2] {
                let input = Failing {
                    rest: &stored,
                    every,
                    left: every,
                };
                let mut decoder = decoder_on(Algorithm::Gzip, threads, input).unwrap();
                let (mut plain, mut errors) = (Vec::new(), 0);
                loop {
                    let mut buffer = [0; 100];
                    match decoder.read(&mut buffer) {
                        Ok(0) => break,
                        Ok(count) => plain.extend_from_slice(&buffer[..count]),
                        Err(error) => {
                            assert_eq!(error.raw_os_error(), Some(5));
                            errors += 1;
                        }
                    }
                }
                assert!(plain == content, "{threads} {every}");
                assert_eq!(errors, stored.len() / every, "{threads} {every}");
            }
        }
    }

    #[test]
    fn what_comes_before_damage_is_given_and_dropping_ends_all() {
        let content = numbers(12 * PIECE);
        let mut encoder = encoder(Algorithm::Gzip, Level::Low, Vec::new()).unwrap();
        encoder.write_all(&content).unwrap();
        let mut stored = encoder.finish().unwrap();
        for threads in [1, 2, 4] {
            let mut decoder = decoder_on(Algorithm::Gzip, threads, stored.as_slice()).unwrap();
            assert_eq!(decoder.read(&mut [0; 10]).unwrap(), 10);
        }
        let at = stored.len() - stored.len() / 3;
        stored[at] ^= 0x10;
        for threads in [1, 2, 4] {
            let mut decoder = decoder_on(Algorithm::Gzip, threads, stored.as_slice()).unwrap();
            let mut plain = Vec::new();
            let error = decoder.read_to_end(&mut plain).unwrap_err();
            assert!(matches!(DecodeError::of(&error).unwrap().what, Fault::Corrupt(_)));
            assert!(
                plain.len() >= 7 * PIECE && content.starts_with(&plain),
                "{threads}"
            );
            assert!(decoder.read(&mut [0; 10]).is_err(), "once more");
        }
    }
}
