//! Every compression over sizes, levels and contents; against the ordinary programs; damaged in every way.
#![cfg(feature = "codecs")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};

use barman_wal::codec::{self, Algorithm, DecodeError, Fault, Level};

/// What makes something of each format, how its program is called, and whether that has a way to be called in levels.
const FORMATS: [(Algorithm, Option<&str>); 6] = [
    (Algorithm::Gzip, Some("gzip")),
    (Algorithm::Bzip2, Some("bzip2")),
    (Algorithm::Xz, Some("xz")),
    (Algorithm::Zstd, Some("zstd")),
    (Algorithm::Lz4, Some("lz4")),
    (Algorithm::Snappy, None),
];
const WRITERS: [Algorithm; 10] = [
    Algorithm::None,
    Algorithm::Gzip,
    Algorithm::Pygzip,
    Algorithm::Pigz,
    Algorithm::Bzip2,
    Algorithm::Pybzip2,
    Algorithm::Xz,
    Algorithm::Zstd,
    Algorithm::Lz4,
    Algorithm::Snappy,
];

/// Random numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }
}

fn noise(size: usize) -> Vec<u8> {
    let mut dice = Dice(42);
    std::iter::repeat_with(|| dice.next().to_le_bytes())
        .flatten()
        .take(size)
        .collect()
}

/// Like WAL: pieces that come again, numbers that grow, some noise, zeros at the end.
fn compressible(size: usize) -> Vec<u8> {
    let mut dice = Dice(7);
    let mut bytes = Vec::with_capacity(size + 64);
    while bytes.len() < size - size / 8 {
        bytes.extend_from_slice(b"INSERT off 12 flags 0x00, blkref #0: rel 1663/5/16384 blk ");
        bytes.extend_from_slice(&u32::try_from(bytes.len()).unwrap().to_le_bytes());
        let noise = dice.next().to_le_bytes();
        bytes.extend_from_slice(&noise[..dice.below(8)]);
    }
    bytes.resize(size, 0);
    bytes
}

fn pack(algorithm: Algorithm, level: Level, content: &[u8]) -> Vec<u8> {
    let mut encoder = codec::encoder(algorithm, level, Vec::new()).unwrap();
    // Pieces of sizes that fit nothing.
    for piece in content.chunks(99_991) {
        encoder.write_all(piece).unwrap();
    }
    encoder.finish().unwrap()
}

fn unpack(algorithm: Algorithm, stored: &[u8]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    codec::decoder(algorithm, stored)?.read_to_end(&mut plain)?;
    Ok(plain)
}

trait Decoding {
    fn fault(self) -> Option<Fault>;
}

impl Decoding for io::Result<Vec<u8>> {
    fn fault(self) -> Option<Fault> {
        let error = self.err()?;
        let decode = DecodeError::of(&error).unwrap_or_else(|| panic!("not typed: {error:?}"));
        Some(decode.what.clone())
    }
}

/// Runs a program of the system as a filter.
fn filter(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{program} {arguments:?}");
    output.stdout
}

#[test]
fn every_algorithm_level_and_size() {
    let contents = [
        Vec::new(),
        vec![9],
        noise(70_000),
        compressible(200_000),
        vec![0; 100_000],
    ];
    for algorithm in WRITERS {
        let levels = [
            Level::Low,
            Level::Medium,
            Level::High,
            Level::Number(-22),
            Level::Number(22),
        ];
        for level in levels {
            for content in &contents {
                let stored = pack(algorithm, level, content);
                let found = Algorithm::detect(&stored, None).unwrap_or(Algorithm::None);
                assert_eq!(found, algorithm.format());
                assert!(
                    unpack(algorithm, &stored).unwrap() == *content,
                    "{algorithm} {level:?} {}",
                    content.len()
                );
                assert!(stored == pack(algorithm, level, content), "not reproducible");
            }
        }
    }
}

/// What a stream encoder writes.
fn pack_stream(algorithm: Algorithm, level: u32, content: &[u8]) -> Vec<u8> {
    let mut encoder = codec::stream_encoder(algorithm, level, Vec::new()).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn streams_are_one_member_with_the_window_of_their_level() {
    let content = compressible(3_000_000);
    for (algorithm, _) in FORMATS {
        for level in [0, 9, u32::MAX] {
            let stored = pack_stream(algorithm, level, &content[..300_000]);
            assert!(
                unpack(algorithm, &stored).unwrap() == content[..300_000],
                "{algorithm} {level}"
            );
        }
    }
    let stored = pack_stream(Algorithm::Pigz, 6, &content);
    let mut first = Vec::new();
    let mut member = flate2::bufread::GzDecoder::new(stored.as_slice());
    member.read_to_end(&mut first).unwrap();
    assert!(first == content && member.into_inner().is_empty());
    // The byte that tells the window: twice the power of two, less 22 where that is whole (the format's 5.3.1).
    for (stored, window) in [
        (pack_stream(Algorithm::Xz, 0, b"x"), 12),         // 256 KiB
        (pack_stream(Algorithm::Xz, 6, b"x"), 22),         // 8 MiB
        (pack_stream(Algorithm::Xz, 9, b"x"), 28),         // 64 MiB
        (pack(Algorithm::Xz, Level::Number(9), b"x"), 24), // that of a segment
    ] {
        assert_eq!(stored[16], window);
    }
}

#[test]
fn whole_segments() {
    // What does not compress needs no whole segment: a bit more than the largest block of any format.
    for content in [noise(5 << 20), compressible(16 << 20)] {
        // The other two names write what these write.
        for algorithm in WRITERS
            .into_iter()
            .filter(|one| !matches!(one, Algorithm::Pygzip | Algorithm::Pybzip2))
        {
            let stored = pack(algorithm, Level::Low, &content);
            assert!(unpack(algorithm, &stored).unwrap() == content, "{algorithm}");
            assert!(stored.len() < content.len() + content.len() / 50, "{algorithm}");
        }
    }
}

#[test]
fn the_ordinary_programs_read_ours() {
    for algorithm in WRITERS {
        let Some(program) = FORMATS
            .iter()
            .find(|(format, _)| *format == algorithm.format())
            .and_then(|(_, program)| *program)
        else {
            continue;
        };
        for content in [Vec::new(), vec![1], compressible(3_000_000)] {
            for level in [Level::Low, Level::High] {
                let stored = pack(algorithm, level, &content);
                assert!(
                    filter(program, &["-d", "-c"], &stored) == content,
                    "{algorithm} {}",
                    content.len()
                );
            }
        }
    }
}

#[test]
fn ours_reads_the_ordinary_programs() {
    let contents = [Vec::new(), vec![1], noise(100_000), compressible(1_500_000)];
    // Several of the largest blocks.
    let large = compressible(9_000_000);
    for (algorithm, program) in FORMATS {
        let Some(program) = program else { continue };
        for content in &contents {
            for options in options_of(program) {
                let stored = filter(program, options, content);
                assert!(
                    unpack(algorithm, &stored).unwrap() == *content,
                    "{program} {options:?} {}",
                    content.len()
                );
            }
        }
    }
    let stored = filter("lz4", &["-c", "-BD"], &large);
    assert!(unpack(Algorithm::Lz4, &stored).unwrap() == large);
    let stored = filter("pigz", &["-c", "-p2"], &contents[3]);
    assert!(unpack(Algorithm::Pigz, &stored).unwrap() == contents[3]);
}

/// The forms that a program can write: linked and independent blocks, with and without sums and sizes, in threads.
fn options_of(program: &str) -> &'static [&'static [&'static str]] {
    match program {
        "gzip" => &[&["-1c"], &["-9c"], &["-c", "--rsyncable"]],
        "bzip2" => &[&["-1c"], &["-9c"]],
        "xz" => &[
            &["-0c"],
            &["-c", "--check=crc32"],
            &["-c", "--check=sha256"],
            &["-c", "-T2", "--block-size=1MiB"],
            &["-c", "--x86", "--lzma2"],
        ],
        "zstd" => &[
            &["-1c"],
            &["-c", "--no-check"],
            &["-c", "-T2", "-B1MiB"],
            &["-19c", "--long=27"],
        ],
        _ => &[
            &["-1c"],
            &["-9c"],
            &["-c", "-BD", "-B4"],
            &["-c", "-BX", "--no-frame-crc"],
            &["-c", "-BD", "-BX", "-B7"],
        ],
    }
}

#[test]
fn members_in_a_row_and_what_may_stand_between() {
    for (algorithm, program) in FORMATS {
        let one = pack(algorithm, Level::Low, b"one ");
        let nothing = pack(algorithm, Level::Low, b"");
        let three = pack(algorithm, Level::High, b"three");
        let two = program.map_or_else(
            || pack(algorithm, Level::Low, b"two "),
            |program| filter(program, &["-c"], b"two "),
        );
        let row = [&one[..], &nothing, &two, &nothing, &three].concat();
        assert_eq!(unpack(algorithm, &row).unwrap(), b"one two three", "{algorithm}");
        let many: Vec<u8> = std::iter::repeat_n(&one[..], 500).flatten().copied().collect();
        assert_eq!(
            unpack(algorithm, &many).unwrap(),
            b"one ".repeat(500),
            "{algorithm}"
        );

        let zeros = [&one[..], &[0; 1000]].concat();
        let padded = unpack(algorithm, &zeros);
        match algorithm {
            Algorithm::Gzip | Algorithm::Xz => assert_eq!(padded.unwrap(), b"one "),
            Algorithm::Snappy => assert!(matches!(padded.fault(), Some(Fault::Corrupt(_)))),
            _ => assert_eq!(padded.fault(), Some(Fault::TrailingGarbage), "{algorithm}"),
        }
        let behind = unpack(algorithm, &[&one[..], b"something else"].concat()).fault();
        assert!(
            matches!(behind, Some(Fault::TrailingGarbage | Fault::Corrupt(_))),
            "{algorithm}: {behind:?}"
        );
        let skippable = [&b"\x57\x2A\x4D\x18\x03\0\0\0abc"[..], &one].concat();
        if matches!(algorithm, Algorithm::Zstd | Algorithm::Lz4) {
            assert_eq!(unpack(algorithm, &skippable).unwrap(), b"one ");
            let cut = [&one[..], &skippable[..9]].concat();
            assert_eq!(
                unpack(algorithm, &cut).fault(),
                Some(Fault::Truncated),
                "{algorithm}"
            );
        }
    }
}

#[test]
fn the_borders_of_blocks() {
    // Blocks of snappy and lz4, of zstd, of bzip2 (less what its first step adds); members of gzip.
    let borders = [
        32 << 10,
        64 << 10,
        128 << 10,
        100_000 - 19,
        100_000,
        256 << 10,
        1 << 20,
    ];
    let noise = noise((1 << 20) + 1);
    let compressible = compressible((1 << 20) + 1);
    for algorithm in WRITERS {
        for size in borders
            .into_iter()
            .flat_map(|border| [border - 1, border, border + 1])
        {
            for content in [&noise[..size], &compressible[..size]] {
                let mut encoder = codec::encoder(algorithm, Level::Low, Vec::new()).unwrap();
                encoder.write_all(content).unwrap();
                let stored = encoder.finish().unwrap();
                assert!(
                    unpack(algorithm, &stored).unwrap() == content,
                    "{algorithm} {size}"
                );
            }
        }
    }
    // The largest blocks of lz4.
    let content = self::noise((4 << 20) + 1);
    for size in [(4 << 20) - 1, 4 << 20, (4 << 20) + 1] {
        let stored = pack(Algorithm::Lz4, Level::Low, &content[..size]);
        assert!(
            unpack(Algorithm::Lz4, &stored).unwrap() == content[..size],
            "lz4 {size}"
        );
        assert!(
            filter("lz4", &["-d", "-c"], &stored) == content[..size],
            "lz4 {size}"
        );
    }
}

#[test]
fn streams_of_xz_with_padding() {
    let (one, two) = (
        filter("xz", &["-c"], b"one "),
        pack(Algorithm::Xz, Level::Low, b"two"),
    );
    for (zeros, expected) in [
        (0, None),
        (4, None),
        (100_000, None),
        (3, Some(Fault::TrailingGarbage)),
        (100_001, Some(Fault::TrailingGarbage)),
    ] {
        let row = [&one[..], &vec![0; zeros], &two].concat();
        let result = unpack(Algorithm::Xz, &row);
        match expected {
            None => {
                assert_eq!(result.unwrap(), b"one two", "{zeros}");
                assert_eq!(filter("xz", &["-d", "-c"], &row), b"one two", "{zeros}");
            }
            Some(_) => assert_eq!(result.fault(), expected, "{zeros}"),
        }
        let result = unpack(Algorithm::Xz, &[&two[..], &vec![0; zeros]].concat());
        if zeros.is_multiple_of(4) {
            assert_eq!(result.unwrap(), b"two");
        } else {
            assert_eq!(result.fault(), Some(Fault::Truncated));
        }
    }
    // The gzip format knows no padding between members.
    let one = pack(Algorithm::Gzip, Level::Low, b"one");
    let row = [&one[..], &[0; 512], &one].concat();
    assert_eq!(
        unpack(Algorithm::Gzip, &row).fault(),
        Some(Fault::TrailingGarbage)
    );
}

#[test]
fn chunks_of_snappy_that_have_no_content() {
    let whole = pack(Algorithm::Snappy, Level::Low, b"WAL");
    for (zeros, length) in [(0, 0u32), (5, 5), (200_000, 200_000)] {
        let [a, b, c, _] = length.to_le_bytes();
        let padding = [&[0xFE, a, b, c][..], &vec![0; zeros]].concat();
        let row = [&whole[..], &padding, &whole, &padding].concat();
        assert_eq!(unpack(Algorithm::Snappy, &row).unwrap(), b"WALWAL", "{zeros}");
        if zeros > 0 {
            let cut = &row[..row.len() - 1];
            assert_eq!(unpack(Algorithm::Snappy, cut).fault(), Some(Fault::Truncated));
        }
    }
    for (behind, words) in [
        (&[0xFE, 1, 0, 0, 7][..], "something in its padding"),
        (&[0x80, 1, 0, 0, 0], "chunk of kind 0x80"),
        (&[0xFD, 0, 0, 0], "chunk of kind 0xFD"),
        (&[0x02, 1, 0, 0, 0], "is damaged"),
    ] {
        let error = unpack(Algorithm::Snappy, &[&whole[..], behind].concat()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn whatever_stands_behind_is_an_error() {
    for (algorithm, _) in FORMATS {
        let whole = pack(algorithm, Level::Low, &compressible(3000));
        for byte in 0..=255 {
            let result = unpack(algorithm, &[&whole[..], &[byte]].concat());
            let may = byte == 0 && algorithm == Algorithm::Gzip;
            assert_eq!(result.is_ok(), may, "{algorithm}, {byte}");
            if !may {
                assert!(result.fault().is_some());
            }
        }
    }
}

#[test]
fn every_cut_is_an_error() {
    let content = [&noise(300)[..], &compressible(500), &noise(100)].concat();
    for algorithm in WRITERS.into_iter().filter(|one| *one != Algorithm::None) {
        let stored = pack(algorithm, Level::Medium, &content);
        let mut whole = Vec::new();
        for cut in 0..stored.len() {
            match unpack(algorithm, &stored[..cut]) {
                Ok(_) => whole.push(cut),
                result => assert_eq!(result.fault(), Some(Fault::Truncated), "{algorithm} at {cut}"),
            }
        }
        // Snappy's framing has no end: behind its first ten bytes there may be nothing.
        let expected: &[usize] = if algorithm == Algorithm::Snappy {
            &[10]
        } else {
            &[]
        };
        assert_eq!(whole, expected, "{algorithm}");

        let row = [&stored[..], &stored].concat();
        for cut in stored.len() + 1..row.len() {
            let result = unpack(algorithm, &row[..cut]);
            if algorithm != Algorithm::Snappy || cut != stored.len() + 10 {
                assert_eq!(
                    result.fault(),
                    Some(Fault::Truncated),
                    "{algorithm}, two, at {cut}"
                );
            }
        }
    }
}

#[test]
fn a_cut_between_blocks_is_an_error() {
    // Formats of which a long file has many blocks, each complete in itself.
    let content = noise(5 << 20);
    for (algorithm, cut) in [
        (Algorithm::Lz4, 7 + 4 + (4 << 20)),
        (Algorithm::Zstd, 1 << 20),
        (Algorithm::Pigz, 2 << 20),
    ] {
        let stored = pack(algorithm, Level::Low, &content);
        assert_eq!(
            unpack(algorithm, &stored[..cut]).fault(),
            Some(Fault::Truncated),
            "{algorithm} {cut}"
        );
    }
}

#[test]
fn changed_bits_are_an_error_or_harmless() {
    let content = [&noise(2000)[..], &compressible(20_000)].concat();
    let mut dice = Dice(99);
    for algorithm in WRITERS.into_iter().filter(|one| *one != Algorithm::None) {
        let stored = pack(algorithm, Level::Medium, &content);
        let mut errors = 0;
        for _ in 0..800 {
            let mut damaged = stored.clone();
            let at = dice.below(damaged.len());
            damaged[at] ^= 1 << dice.below(8);
            match unpack(algorithm, &damaged) {
                Ok(plain) => assert!(plain == content, "{algorithm}: other content, bit of {at}"),
                result => {
                    assert!(result.fault().is_some());
                    errors += 1;
                }
            }
        }
        assert!(errors > 750, "{algorithm}: {errors}");
    }
}

#[test]
fn every_byte_changed_is_an_error_or_harmless() {
    let content = [&noise(20)[..], &compressible(150), b"WAL"].concat();
    for algorithm in WRITERS.into_iter().filter(|one| *one != Algorithm::None) {
        let stored = pack(algorithm, Level::Medium, &content);
        let mut harmless = Vec::new();
        for at in 0..stored.len() {
            for change in [1, 2, 4, 8, 16, 32, 64, 128, 255, 0x55] {
                let mut damaged = stored.clone();
                damaged[at] ^= change;
                match unpack(algorithm, &damaged) {
                    Ok(plain) => {
                        assert!(plain == content, "{algorithm}: other content, {at} ^ {change}");
                        harmless.push(at);
                    }
                    result => assert!(result.fault().is_some()),
                }
            }
        }
        harmless.dedup();
        // The formats have spots that say nothing of the content, few of them.
        let expected = match algorithm.format() {
            // Flag for text, time, flags of the compressor, system.
            Algorithm::Gzip => vec![3, 4, 5, 6, 7, 8, 9],
            // The size of the largest block (a larger one does no harm), a flag of the oldest versions, filling bits.
            Algorithm::Bzip2 => vec![3, 14, stored.len() - 1],
            // The size of the window.
            Algorithm::Zstd => vec![4, 5],
            // Of two copies of the same bytes the one is as good as the other.
            Algorithm::Lz4 => vec![112],
            _ => Vec::new(),
        };
        assert_eq!(harmless, expected, "{algorithm} of {} bytes", stored.len());
    }
}

#[test]
fn who_gives_up_leaves_nothing_that_looks_whole() {
    for algorithm in WRITERS.into_iter().filter(|one| *one != Algorithm::None) {
        for content in [Vec::new(), compressible(1000), compressible(700_000)] {
            let mut stored = Vec::new();
            let mut encoder = codec::encoder(algorithm, Level::Low, &mut stored).unwrap();
            encoder.write_all(&content).unwrap();
            drop(encoder);
            if algorithm == Algorithm::Snappy {
                // Has no end: what is there is what was written before.
                assert!(stored.is_empty() || content.starts_with(&unpack(algorithm, &stored).unwrap()));
                continue;
            }
            let result = unpack(algorithm, &stored);
            assert_eq!(
                result.fault(),
                Some(Fault::Truncated),
                "{algorithm} {}",
                content.len()
            );
        }
    }
}

#[test]
fn an_error_stays_an_error() {
    for (algorithm, _) in FORMATS {
        let mut stored = pack(algorithm, Level::Low, &noise(1000));
        stored.truncate(stored.len() - 3);
        let mut decoder = codec::decoder(algorithm, stored.as_slice()).unwrap();
        let mut buffer = vec![0; 4096];
        let mut result = decoder.read(&mut buffer);
        while result.as_ref().is_ok_and(|count| *count > 0) {
            result = decoder.read(&mut buffer);
        }
        assert!(result.is_err(), "{algorithm}");
        assert!(decoder.read(&mut buffer).is_err(), "{algorithm}: once more");
    }
}

#[test]
fn windows_that_take_too_much_memory_are_refused() {
    let content = compressible(100_000);
    let too_big = Some(Fault::TooBig { limit: 128 });
    let stored = filter("xz", &["-c", "--lzma2=dict=1GiB"], &content);
    assert_eq!(unpack(Algorithm::Xz, &stored).fault(), too_big);
    let stored = filter("xz", &["-9c"], &content);
    assert!(unpack(Algorithm::Xz, &stored).unwrap() == content);
    // The window of a frame of unknown size: exponent 30.
    let hostile = [0x28, 0xB5, 0x2F, 0xFD, 0x00, (30 - 10) << 3, 0x01, 0x00, 0x00];
    let result = unpack(Algorithm::Zstd, &hostile);
    assert_eq!(result.as_ref().unwrap_err().kind(), io::ErrorKind::Unsupported);
    assert_eq!(
        result.as_ref().unwrap_err().to_string(),
        "zstd data needs more than 128 MiB of memory"
    );
    assert_eq!(result.fault(), too_big);
}

#[test]
fn input_that_comes_in_drops_or_fails() {
    struct Drops<'a>(&'a [u8]);
    impl Read for Drops<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(1);
            (&mut self.0).take(u64::try_from(count).unwrap()).read(buffer)
        }
    }
    // Every other call is interrupted.
    struct Interrupted<'a>(&'a [u8], bool);
    impl Read for Interrupted<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let count = buffer.len().min(3);
            (&mut self.0).take(u64::try_from(count).unwrap()).read(buffer)
        }
    }
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(5))
        }
    }
    let content = compressible(5000);
    for algorithm in WRITERS {
        let stored = pack(algorithm, Level::Low, &content);
        let mut plain = Vec::new();
        codec::decoder(algorithm, Drops(&stored))
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap();
        assert!(plain == content, "{algorithm}");
        let mut plain = Vec::new();
        codec::decoder(algorithm, Interrupted(&stored, false))
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap();
        assert!(plain == content, "{algorithm}, interrupted");
        // An error of the input stays what it is, and says nothing of the content.
        for at in [0, 7, stored.len() / 2] {
            let error = codec::decoder(algorithm, stored[..at].chain(Fails))
                .unwrap()
                .read_to_end(&mut Vec::new())
                .unwrap_err();
            assert_eq!(error.raw_os_error(), Some(5), "{algorithm} {at}");
            assert_eq!(DecodeError::of(&error), None);
        }
    }
}

#[test]
fn errors_have_names() {
    for (algorithm, bytes, text) in [
        (Algorithm::Pigz, &b""[..], "gzip data is cut off"),
        (
            Algorithm::Bzip2,
            b"nonsense",
            "bzip2 data is damaged: it does not begin like it",
        ),
        (Algorithm::Lz4, b"\x04\x22", "lz4 data is cut off"),
    ] {
        assert_eq!(unpack(algorithm, bytes).unwrap_err().to_string(), text);
    }
}
