//! The codecs alone, to measure what archiving or restoring adds to them: reads files, writes each compressed (or
//! decompressed) under the same name into a directory, on several threads, and asks for one sync at the end if told so.
//!
//! ```text
//! cargo run --release -p barman-wal --features gzip --example codec -- \
//!     compress|decompress ALGORITHM LEVEL THREADS sync|nosync DIRECTORY FILE...
//! ```
#![allow(
    clippy::disallowed_macros,
    clippy::disallowed_methods,
    reason = "an example talks to its user, and shows what a sync costs"
)]

use std::error::Error;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use barman_wal::codec::{self, Algorithm, Level};

const USAGE: &str = "usage: codec compress|decompress ALGORITHM LEVEL THREADS sync|nosync DIRECTORY FILE...";

#[derive(Clone, Copy)]
enum Direction {
    Compress(Level),
    Decompress,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [direction, algorithm, level, threads, sync, directory, files @ ..] = arguments.as_slice() else {
        return Err(USAGE.into());
    };
    let algorithm: Algorithm = algorithm.parse()?;
    let direction = match direction.as_str() {
        "compress" => Direction::Compress(Level::Number(level.parse()?)),
        "decompress" => Direction::Decompress,
        _ => return Err(USAGE.into()),
    };
    let threads: usize = threads.parse()?;
    let directory = PathBuf::from(directory);
    let next = AtomicUsize::new(0);
    let work = || -> Result<(), String> {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            one(Path::new(file), &directory, algorithm, direction)
                .map_err(|error| format!("{file}: {error}"))?;
        }
        Ok(())
    };
    std::thread::scope(|scope| -> Result<(), String> {
        let running: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        for thread in running {
            thread.join().map_err(|_| "a thread panicked".to_owned())??;
        }
        Ok(())
    })?;
    if sync == "sync" {
        rustix::fs::syncfs(File::open(&directory)?)?;
    }
    Ok(())
}

fn one(
    from: &Path,
    directory: &Path,
    algorithm: Algorithm,
    direction: Direction,
) -> Result<(), Box<dyn Error>> {
    let name = from.file_name().ok_or("not a file name")?;
    let mut input = File::open(from)?;
    let mut output = File::create(directory.join(name))?;
    match direction {
        Direction::Compress(level) => {
            let mut encoder = codec::encoder(algorithm, level, output)?;
            copy(&mut input, &mut encoder)?;
            encoder.finish()?;
        }
        Direction::Decompress => {
            copy(&mut codec::decoder(algorithm, input)?, &mut output)?;
        }
    }
    Ok(())
}

/// [`io::copy`] with a buffer as large as archiving uses.
fn copy(input: &mut impl io::Read, output: &mut impl io::Write) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = input.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return Ok(());
        };
        output.write_all(bytes)?;
    }
}
