//! Whether two files have the same content once decompressed.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use barman_wal::WalFileName;
use barman_wal::codec::{Algorithm, first_bytes, looks_encrypted};

use crate::ops::wal_codec::WalCodec;

const BUFFER: usize = 128 * 1024;

/// What a comparison gave.
#[derive(Debug)]
pub(super) enum Comparison {
    /// Equal: the source is there already.
    Same,
    /// They are one and the same file. Nobody can tell from that whether its content is good: who writes to the one
    /// writes to the other.
    OneFile,
    /// Different, or the stored one is encrypted and cannot be looked into.
    Different,
    /// The source cannot be read to its end (damaged compressed data, or the system's refusal).
    SourceUnreadable(io::Error),
    /// The stored one cannot; whether they are equal is not known.
    StoredUnreadable(io::Error),
}

/// Compares `source` with the file at `stored`, both of the name `name`. Size and time never decide; only content does.
pub(super) fn compare(
    source: &File,
    stored: &Path,
    name: WalFileName,
    codec: &WalCodec<'_>,
    cancelled: &dyn Fn() -> bool,
) -> Comparison {
    let stored_file = match File::open(stored) {
        Ok(file) => file,
        Err(error) => return Comparison::StoredUnreadable(error),
    };
    let identity = |file: &File| file.metadata().map(|metadata| (metadata.dev(), metadata.ino()));
    match (identity(source), identity(&stored_file)) {
        // A run that was killed after it linked the file into the archive.
        (Ok(one), Ok(other)) if one == other => return Comparison::OneFile,
        (Err(error), _) => return Comparison::SourceUnreadable(error),
        (_, Err(error)) => return Comparison::StoredUnreadable(error),
        _ => {}
    }
    let stored_first = match first_bytes(&stored_file) {
        Ok(first) => first,
        Err(error) => return Comparison::StoredUnreadable(error),
    };
    if looks_encrypted(&stored_first) {
        return Comparison::Different;
    }
    let source_first = match first_bytes(source) {
        Ok(first) => first,
        Err(error) => return Comparison::SourceUnreadable(error),
    };
    let one = codec.detect(&source_first).unwrap_or(Algorithm::None);
    let other = codec.stored_as(name, &stored_first);
    if one == other || other == Algorithm::Custom {
        // Equal bytes need no codec. Different ones may still decompress to the same.
        match streams(
            source,
            &stored_file,
            Algorithm::None,
            Algorithm::None,
            codec,
            cancelled,
        ) {
            Comparison::Different if other != Algorithm::None => {}
            result => return result,
        }
    }
    streams(source, &stored_file, one, other, codec, cancelled)
}

fn streams(
    source: &File,
    stored: &File,
    one: Algorithm,
    other: Algorithm,
    codec: &WalCodec<'_>,
    cancelled: &dyn Fn() -> bool,
) -> Comparison {
    // That we cannot read a format says nothing of the file.
    let mut source = match codec.reader(one, 1, source, cancelled) {
        Ok(reader) => reader,
        Err(error) => return Comparison::StoredUnreadable(error),
    };
    let mut stored = match codec.reader(other, 1, stored, cancelled) {
        Ok(reader) => reader,
        Err(error) => return Comparison::StoredUnreadable(error),
    };
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let left_count = match fill(&mut source, &mut left) {
            Ok(count) => count,
            Err(error) => return Comparison::SourceUnreadable(error),
        };
        let right_count = match fill(&mut stored, &mut right) {
            Ok(count) => count,
            Err(error) => return Comparison::StoredUnreadable(error),
        };
        if left.get(..left_count) != right.get(..right_count) {
            return Comparison::Different;
        }
        if left_count == 0 {
            return Comparison::Same;
        }
    }
}

/// Reads until the buffer is full or the input ends.
fn fill(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read(rest) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use barman_wal::codec::{self, Level};

    use super::*;
    use crate::config::Config;

    fn gzip(content: &[u8], level: Level) -> Vec<u8> {
        let mut encoder = codec::encoder(Algorithm::Gzip, level, Vec::new()).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn content_decides() {
        let plain: Vec<u8> = (0..300_000u32).flat_map(u32::to_le_bytes).collect();
        let mut other = plain.clone();
        other[999_999] ^= 1;
        let mut torn = gzip(&plain, Level::Low);
        torn.truncate(1000);
        let directory = tempfile::tempdir().unwrap();
        let conf = directory.path().join("barman.conf");
        std::fs::write(
            &conf,
            "[barman]\nbarman_home = /nonexistent\n[s]\nconninfo = host=x\n",
        )
        .unwrap();
        let config = Config::load(&conf, None).unwrap().server("s").unwrap().clone();
        let codec = WalCodec::new(&config);
        let name: WalFileName = "000000010000000000000001".parse().unwrap();
        let check = |source: &[u8], stored: &[u8]| {
            let (one, two) = (directory.path().join("source"), directory.path().join("stored"));
            std::fs::write(&one, source).unwrap();
            std::fs::write(&two, stored).unwrap();
            match compare(&File::open(&one).unwrap(), &two, name, &codec, &|| false) {
                Comparison::Same => "same",
                Comparison::OneFile => "one",
                Comparison::Different => "different",
                Comparison::SourceUnreadable(_) => "source",
                Comparison::StoredUnreadable(_) => "stored",
            }
        };
        assert_eq!(check(&plain, &plain), "same");
        assert_eq!(check(b"", b""), "same");
        assert_eq!(check(&plain, &other), "different");
        assert_eq!(check(&plain, &plain[..1_199_999]), "different");
        assert_eq!(check(&plain, &gzip(&plain, Level::Low)), "same");
        assert_eq!(
            check(&gzip(&plain, Level::High), &gzip(&plain, Level::Low)),
            "same"
        );
        assert_eq!(check(&gzip(&plain, Level::Low), &plain), "same");
        assert_eq!(
            check(&gzip(&other, Level::Low), &gzip(&plain, Level::Low)),
            "different"
        );
        assert_eq!(check(&torn, &plain), "source");
        assert_eq!(check(&plain, &torn), "stored");
        assert_eq!(check(&torn, &torn), "same");
        assert_eq!(check(&plain, b"-----BEGIN PGP MESSAGE-----\n"), "different");
        assert_eq!(check(&plain, b"\x28\xB5\x2F\xFD...."), "stored");
    }
}
