//! The saved inputs of each parser, and damaged copies of them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    // This file's crate is xtask/parsers.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .components()
        .collect()
}

/// Where the inputs of a parser are.
#[must_use]
pub fn directory(name: &str) -> PathBuf {
    root().join("fuzz/corpus").join(name)
}

/// The inputs of a parser by name, sorted.
///
/// # Errors
/// The directory or a file cannot be read.
pub fn inputs(name: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory(name))? {
        let entry = entry?;
        found.push((
            entry.file_name().to_string_lossy().into_owned(),
            fs::read(entry.path())?,
        ));
    }
    found.sort();
    Ok(found)
}

/// Copies of an input, each damaged in its own way: cut short, a byte changed, a piece left out, doubled or exchanged.
/// The same number gives the same copies.
pub fn damaged(input: &[u8], seed: u64, count: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut random = Random(seed ^ 0x9E37_79B9_7F4A_7C15 ^ (input.len() as u64) << 32);
    (0..count).map(move |turn| {
        let mut copy = input.to_vec();
        let at = random.below(copy.len().max(1));
        let length = random.below(16).min(copy.len().saturating_sub(at));
        match turn % 5 {
            0 => copy.truncate(at),
            1 => {
                if let Some(byte) = copy.get_mut(at) {
                    *byte ^= 1 << random.below(8);
                }
            }
            2 => drop(copy.drain(at..at + length)),
            3 => {
                let piece = copy[at..at + length].to_vec();
                let place = random.below(copy.len() + 1);
                copy.splice(place..place, piece);
            }
            _ => {
                const ODD: [u8; 12] = [
                    0, 1, b'\n', b'\r', b'\'', b'"', b'\\', b'%', b'=', b'9', 0x7F, 0xFF,
                ];
                let odd = ODD[random.below(ODD.len())];
                copy.insert(at.min(copy.len()), odd);
            }
        }
        copy
    })
}

/// A small generator of numbers (xorshift*), so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or(0) % limit
    }
}
