//! A buffer before the compressed input, in which one can look ahead.

use std::io::{self, Read};

const SIZE: usize = 64 * 1024;

/// The last four bits of the first byte of a skippable frame's magic number are free.
#[cfg(any(
    feature = "gzip",
    feature = "bzip2",
    feature = "xz",
    feature = "zstd",
    feature = "lz4"
))]
const SKIPPABLE: [u8; 3] = [0x2A, 0x4D, 0x18];

/// Whether a skippable frame, which zstd and lz4 have in common, begins here.
#[cfg(any(
    feature = "gzip",
    feature = "bzip2",
    feature = "xz",
    feature = "zstd",
    feature = "lz4"
))]
pub(super) fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [first, rest @ ..] if first & 0xF0 == 0x50 && rest.starts_with(&SKIPPABLE))
}

/// The compressed bytes.
pub(super) struct Input<R> {
    inner: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R) -> Self {
        Self {
            inner,
            buffer: vec![0; SIZE],
            start: 0,
            end: 0,
        }
    }

    /// What is buffered.
    pub(super) fn buffered(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Looks ahead: buffers at least `length` bytes, fewer only before the end of the input. `length` is small.
    pub(super) fn peek(&mut self, length: usize) -> io::Result<&[u8]> {
        if self.end - self.start < length && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        while self.end - self.start < length {
            let Some(room) = self.buffer.get_mut(self.end..).filter(|room| !room.is_empty()) else {
                break;
            };
            match self.inner.read(room) {
                Ok(0) => break,
                Ok(count) => self.end = self.end.saturating_add(count).min(SIZE),
                // Not everybody who reads from here tries again.
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.buffered())
    }

    /// Passes over bytes that are buffered.
    pub(super) fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Passes over bytes; `false` if the input ends before.
    #[cfg(feature = "lz4")]
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<bool> {
        while count > 0 {
            let there = self.peek(1)?.len();
            if there == 0 {
                return Ok(false);
            }
            let step = usize::try_from(count).unwrap_or(usize::MAX).min(there);
            self.consume(step);
            count = count.saturating_sub(u64::try_from(step).unwrap_or(u64::MAX));
        }
        Ok(true)
    }

    /// Passes over zeros up to the first other byte or the end; how many there were.
    #[cfg(any(feature = "gzip", feature = "bzip2", feature = "xz", feature = "zstd"))]
    pub(super) fn skip_zeros(&mut self) -> io::Result<u64> {
        let mut count: u64 = 0;
        loop {
            let bytes = self.peek(1)?;
            let there = bytes.len();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            self.consume(zeros);
            count = count.saturating_add(u64::try_from(zeros).unwrap_or(u64::MAX));
            if there == 0 || zeros < there {
                return Ok(count);
            }
        }
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, output: &mut [u8]) -> io::Result<usize> {
        if self.start == self.end && output.len() >= SIZE {
            loop {
                match self.inner.read(output) {
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    result => return result,
                }
            }
        }
        let count = (&mut self.peek(1)?).read(output)?;
        self.consume(count);
        Ok(count)
    }
}
