//! What the functions of all parsers use: text of bytes, a reader in odd pieces, a place for files.

use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::OnceLock;

/// The input as text; most parsers of text get it from a file that is not read further when it is none.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The first byte as a choice among `count`, and the rest. 0 when there is no byte.
pub(crate) fn choice(bytes: &[u8], count: usize) -> (usize, &[u8]) {
    match bytes.split_first() {
        Some((first, rest)) => (usize::from(*first) % count.max(1), rest),
        None => (0, bytes),
    }
}

/// Gives bytes in pieces of changing, odd sizes, as a socket or a pipe may.
pub(crate) struct Dripping<'a> {
    rest: &'a [u8],
    turn: usize,
}

impl<'a> Dripping<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, turn: 0 }
    }
}

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const SIZES: [usize; 6] = [1, 7, 511, 3, 64, 4097];
        let size = SIZES[self.turn % SIZES.len()]
            .min(buffer.len())
            .min(self.rest.len());
        self.turn += 1;
        let (now, rest) = self.rest.split_at(size);
        buffer[..size].copy_from_slice(now);
        self.rest = rest;
        Ok(size)
    }
}

/// A directory of this process for parsers that read files by name, below the temporary directory. Whoever runs
/// parsers removes it at the end with [`remove_scratch`].
pub(crate) fn scratch() -> &'static PathBuf {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = scratch_name();
        fs::create_dir_all(&place).expect("make the scratch directory");
        place
    })
}

fn scratch_name() -> PathBuf {
    std::env::temp_dir().join(format!("parsers-{}", std::process::id()))
}

/// Removes what parsers wrote. Nothing may run parsers afterwards.
pub fn remove_scratch() {
    let _ = fs::remove_dir_all(scratch_name());
}

/// An empty directory of that name in the scratch directory.
pub(crate) fn fresh_directory(name: &str) -> PathBuf {
    let place = scratch().join(name);
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).expect("make a directory");
    place
}
