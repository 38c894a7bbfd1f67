//! Requests over archives and queues as they are found in life.

use std::fs;
use std::io;
use std::sync::Mutex;

use barman_wal::codec::{self, Algorithm, Level as CodecLevel};

use super::*;
use crate::config::Config;
use crate::context::{Cancel, CancelCause, Message, Progress, SystemClock};
use crate::failure::{Class, Failure};

const SEGMENT: &str = "000000010000000000000003";
const STORED: &str = "wals/0000000100000000/000000010000000000000003";

fn segment(number: u64) -> Vec<u8> {
    testkit::Segment::small(number).whole(5)
}

fn gzip(content: &[u8], level: CodecLevel) -> Vec<u8> {
    let mut encoder = codec::encoder(Algorithm::Gzip, level, Vec::new()).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn pack(algorithm: Algorithm, content: &[u8]) -> Vec<u8> {
    let mut encoder = codec::encoder(algorithm, CodecLevel::Low, Vec::new()).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn unpack(algorithm: Algorithm, stored: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut decoder = codec::decoder(algorithm, stored).unwrap();
    io::Read::read_to_end(&mut decoder, &mut plain).unwrap();
    plain
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn message(&self, message: Message<'_>) {
        self.0.lock().unwrap().push(message.text.to_owned());
    }
}

struct Bench {
    directory: tempfile::TempDir,
    server: Server,
    heard: Heard,
    cancel: Cancel,
}

impl Bench {
    fn new(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let conf = directory.path().join("barman.conf");
        fs::write(
            &conf,
            format!(
                "[barman]\nbarman_home = {}\n[s]\nconninfo = host=nowhere\narchiver = on\n{options}\n",
                directory.path().display()
            ),
        )
        .unwrap();
        let config = Config::load(&conf, None).unwrap().server("s").unwrap().clone();
        Self {
            directory,
            server: Server::new(config),
            heard: Heard::default(),
            cancel: Cancel::new(),
        }
    }

    fn put(&self, path: &str, content: &[u8]) {
        let path = self.directory.path().join("s").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn context(&self) -> Context<'_> {
        Context {
            progress: &self.heard,
            cancel: &self.cancel,
            clock: &SystemClock,
        }
    }

    fn get(&self, options: &GetWalOptions) -> Result<Vec<u8>, GetWalError> {
        let mut output = Vec::new();
        match run(&self.server, options, &mut output, &self.context())? {
            GetWalReport::Sent { bytes, .. } => assert_eq!(bytes, output.len() as u64),
            GetWalReport::Peeked { .. } => assert!(output.is_empty()),
        }
        Ok(output)
    }

    fn peek(&self, name: &str, count: u32) -> Vec<String> {
        let options = GetWalOptions {
            peek: NonZeroU32::new(count),
            ..wanted(name)
        };
        self.get(&options).unwrap();
        std::mem::take(&mut *self.heard.0.lock().unwrap())
    }
}

fn wanted(name: &str) -> GetWalOptions {
    GetWalOptions {
        wal_name: name.to_owned(),
        ..GetWalOptions::default()
    }
}

fn in_form(form: OutputForm) -> GetWalOptions {
    GetWalOptions {
        form,
        ..wanted(SEGMENT)
    }
}

const GZIP: OutputForm = OutputForm::Compressed(OutputCompression::Gzip);
const BZIP2: OutputForm = OutputForm::Compressed(OutputCompression::Bzip2);

#[test]
fn the_first_place_wins() {
    let bench = Bench::new("");
    for (path, byte) in [
        (format!("streaming/{SEGMENT}.partial"), 1),
        (format!("streaming/{SEGMENT}"), 2),
        (format!("incoming/{SEGMENT}"), 3),
        (STORED.to_owned(), 4),
    ] {
        bench.put(&path, &[byte; 100]);
        let content = bench
            .get(&GetWalOptions {
                partial: true,
                ..wanted(SEGMENT)
            })
            .unwrap();
        assert_eq!(content, [byte; 100], "{path}");
    }
    bench.put("wals/00000002.history", b"1\t0/5\tx\n");
    assert_eq!(bench.get(&wanted("00000002.history")).unwrap(), b"1\t0/5\tx\n");
    assert_eq!(
        bench.get(&wanted(&format!("{SEGMENT}.partial"))).unwrap(),
        [1; 100]
    );
    // An unfinished copy in a queue is not a segment.
    bench.put("incoming/000000010000000000000004", &segment(4)[..9000]);
    assert_eq!(
        bench
            .get(&wanted("000000010000000000000004"))
            .unwrap_err()
            .exit_code(),
        1
    );
}

#[test]
fn forms() {
    let plain = segment(3);
    let stored = gzip(&plain, CodecLevel::Low);
    let bench = Bench::new("compression = gzip\ncompression_level = high");
    bench.put(STORED, &stored);
    assert_eq!(bench.get(&in_form(OutputForm::Plain)).unwrap(), plain);
    assert_eq!(bench.get(&in_form(OutputForm::AsStored)).unwrap(), stored);
    assert_eq!(bench.get(&in_form(GZIP)).unwrap(), stored, "byte for byte");
    let bzip2 = bench.get(&in_form(BZIP2)).unwrap();
    assert_eq!(unpack(Algorithm::Bzip2, &bzip2), plain);
    for algorithm in [
        Algorithm::Bzip2,
        Algorithm::Xz,
        Algorithm::Zstd,
        Algorithm::Lz4,
        Algorithm::Snappy,
    ] {
        let stored = pack(algorithm, &plain);
        bench.put(STORED, &stored);
        assert!(
            bench.get(&in_form(OutputForm::Plain)).unwrap() == plain,
            "{algorithm}"
        );
        assert!(
            bench.get(&in_form(OutputForm::AsStored)).unwrap() == stored,
            "{algorithm}"
        );
        let gzip = bench.get(&in_form(GZIP)).unwrap();
        assert!(unpack(Algorithm::Gzip, &gzip) == plain, "{algorithm}");
        bench.put(STORED, &stored[..stored.len() / 2]);
        let error = bench.get(&in_form(OutputForm::Plain)).unwrap_err();
        assert_eq!(
            (error.exit_code(), error.class()),
            (1, Class::Error),
            "{algorithm}: {error}"
        );
    }

    bench.put(STORED, &plain);
    assert_eq!(bench.get(&in_form(GZIP)).unwrap(), gzip(&plain, CodecLevel::High));
    assert_eq!(bench.get(&in_form(OutputForm::AsStored)).unwrap(), plain);

    // An archived partial is decompressed; the receiver's own is not touched.
    let partial = GetWalOptions {
        partial: true,
        ..wanted("000000010000000000000008")
    };
    bench.put(
        "wals/0000000100000000/000000010000000000000008.partial",
        &gzip(b"part", CodecLevel::Low),
    );
    assert_eq!(bench.get(&partial).unwrap(), b"part");
    bench.put("streaming/000000010000000000000008.partial", b"\x1F\x8B\x08raw");
    for form in [OutputForm::Plain, GZIP, OutputForm::AsStored] {
        assert_eq!(
            bench
                .get(&GetWalOptions {
                    form,
                    ..partial.clone()
                })
                .unwrap(),
            b"\x1F\x8B\x08raw"
        );
    }
}

#[test]
fn files_are_written_whole_or_not_at_all() {
    let bench = Bench::new("");
    let out = bench.directory.path().join("out");
    let options = GetWalOptions {
        output_directory: Some(out.clone()),
        ..wanted(SEGMENT)
    };
    let error = bench.get(&options).unwrap_err();
    assert_eq!(error.exit_code(), 3);
    assert!(error.to_string().starts_with("Unable to open '"), "{error}");
    fs::create_dir(&out).unwrap();
    assert_eq!(bench.get(&options).unwrap_err().exit_code(), 1);
    let mut torn = gzip(&segment(3), CodecLevel::Low);
    torn.truncate(500);
    bench.put(STORED, &torn);
    let error = bench.get(&options).unwrap_err();
    assert!(
        error.to_string().starts_with("Error decompressing WAL: "),
        "{error}"
    );
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
    bench.put(STORED, &gzip(&segment(3), CodecLevel::Low));
    bench.heard.0.lock().unwrap().clear();
    let report = run(&bench.server, &options, &mut io::sink(), &bench.context()).unwrap();
    assert!(matches!(report, GetWalReport::Sent { bytes: 1_048_576, .. }));
    assert_eq!(fs::read(out.join(SEGMENT)).unwrap(), segment(3));
    assert_eq!(
        *bench.heard.0.lock().unwrap(),
        [format!(
            "Sending WAL '{SEGMENT}' for server 's' into '{}' file",
            out.join(SEGMENT).display()
        )]
    );
}

#[test]
fn what_is_refused() {
    let bench = Bench::new("");
    for bad in [
        "",
        "x",
        "../000000010000000000000003",
        "/tmp/000000010000000000000003",
        "000000010000000000000003.gz",
    ] {
        let error = bench.get(&wanted(bad)).unwrap_err();
        assert_eq!(error.exit_code(), 3, "{bad}");
        assert_eq!(error.to_string(), format!("'{bad}' is not a valid wal file name"));
    }
    let mut options = wanted(SEGMENT);
    assert_eq!(
        bench.get(&options).unwrap_err().to_string(),
        "WAL file '000000010000000000000003' not found in server 's'"
    );
    options.ssh_host = Some("10.0.0.7".to_owned());
    assert!(
        bench
            .get(&options)
            .unwrap_err()
            .to_string()
            .ends_with(" (SSH host: 10.0.0.7)")
    );
    for (content, words) in [
        (&b"-----BEGIN PGP MESSAGE-----\n"[..], "it is encrypted"),
        (b"\x28\xB5\x2F\xFD0000", "zstd data is cut off"),
    ] {
        bench.put(STORED, content);
        let error = bench.get(&wanted(SEGMENT)).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.exit_code(), 1);
    }
    let custom = Bench::new(
        "compression = custom\ncustom_compression_filter = tr a b\ncustom_decompression_filter = tr b a",
    );
    custom.put(STORED, &[0xEE; 5000]);
    assert!(
        custom
            .get(&wanted(SEGMENT))
            .unwrap_err()
            .to_string()
            .contains("custom_decompression_filter makes of it is no WAL")
    );
    custom.put(STORED, &segment(3));
    assert_eq!(custom.get(&wanted(SEGMENT)).unwrap(), segment(3));
}

#[test]
fn what_is_decompressed_must_be_the_segment() {
    let bench = Bench::new("");
    let whole = segment(3);
    let (half, other) = whole.split_at(1 << 19);
    let twice = pack(Algorithm::Zstd, &[&whole[..], &whole].concat());
    for (stored, words) in [
        // Each a complete stream, but one of two, or of another segment.
        (pack(Algorithm::Xz, half), "524288 bytes"),
        (pack(Algorithm::Gzip, &segment(4)), "000000010000000000000004"),
        (pack(Algorithm::Lz4, b""), "0 bytes"),
        (twice, "2097152 bytes instead of 1048576"),
        // Far more than any segment.
        (
            pack(Algorithm::Bzip2, &vec![0; 64 << 20]).repeat(17),
            "never written",
        ),
    ] {
        bench.put(STORED, &stored);
        let error = bench.get(&in_form(OutputForm::Plain)).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(error.exit_code(), 1);
    }
    let rows = [pack(Algorithm::Bzip2, half), pack(Algorithm::Bzip2, other)].concat();
    bench.put(STORED, &rows);
    assert_eq!(bench.get(&in_form(OutputForm::Plain)).unwrap(), whole);
    // More than any segment, beginning like one.
    let mut bomb = pack(Algorithm::Zstd, &whole);
    bomb.extend(pack(Algorithm::Zstd, &vec![0; 64 << 20]).repeat(17));
    bench.put(STORED, &bomb);
    let mut sent = 0;
    let error = run(
        &bench.server,
        &wanted(SEGMENT),
        &mut Count(&mut sent),
        &bench.context(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("more than the largest WAL segment"),
        "{error}"
    );
    assert!(sent <= 1 << 30);
}

/// Forgets what is written.
struct Count<'a>(&'a mut usize);

impl Write for Count<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn decompression_filters() {
    let with = |filter: &str| {
        Bench::new(&format!(
            "compression = custom\ncustom_compression_filter = gzip\ncustom_decompression_filter = {filter}"
        ))
    };
    let stored = [&b"mine"[..], &gzip(&segment(3), CodecLevel::Low)].concat();
    let history = [
        &b"mine"[..],
        &gzip(b"1\t0/5\tat restore point \"\xC3\xA9\"\n", CodecLevel::Low),
    ]
    .concat();
    // It may give its output a byte at a time.
    let dripping = "tail -c +5 | gzip -dc | { dd bs=1 count=100 2>/dev/null; cat; }";
    for filter in ["tail -c +5 | gzip -dc", dripping] {
        let bench = with(filter);
        bench.put(STORED, &stored);
        bench.put("wals/00000002.history", &history);
        assert!(bench.get(&wanted(SEGMENT)).unwrap() == segment(3), "{filter}");
        let got = bench.get(&wanted("00000002.history")).unwrap();
        assert!(got.starts_with(b"1\t0/5\t"), "{filter}");
        // Plain ones, from before the compression was set; the reason is in no encoding in particular.
        let plain = b"1\t0/5\tat restore point \"\xC3\xA9\"\n";
        bench.put("wals/00000003.history", plain);
        assert_eq!(bench.get(&wanted("00000003.history")).unwrap(), plain);
    }
    for (filter, words) in [
        (
            "tail -c +5 | gzip -dc | head -c 100000",
            "100000 bytes, which is no size",
        ),
        (
            "tail -c +5 | gzip -dc; exit 3",
            "custom_decompression_filter failed with exit code 3",
        ),
        ("head -c 3", "3 bytes, which is no size"),
        ("true", "0 bytes, which is no size"),
        ("cat", "makes of it is no WAL"),
        ("kill -SEGV $$", "ended by signal 11"),
    ] {
        let bench = with(filter);
        bench.put(STORED, &stored);
        let error = bench.get(&wanted(SEGMENT)).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(words), "{filter}: {text}");
    }
    // With a mark, and without the filter that could read it.
    let bench = Bench::new("custom_compression_magic = 0x6d696e65");
    bench.put(STORED, &stored);
    let error = bench.get(&wanted(SEGMENT)).unwrap_err();
    assert!(
        error.to_string().contains("needs custom_compression_filter and"),
        "{error}"
    );
}

#[test]
fn a_closed_pipe_and_a_request_to_stop() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let bench = Bench::new("");
    bench.put(STORED, &segment(3));
    let error = run(&bench.server, &wanted(SEGMENT), &mut Closed, &bench.context()).unwrap_err();
    assert_eq!((error.class(), error.exit_code()), (Class::Exception, 1));
    bench.cancel.request(CancelCause::Terminate);
    assert_eq!(
        bench.get(&wanted(SEGMENT)).unwrap_err().class(),
        Class::Interrupted
    );
}

#[test]
fn peeking() {
    let bench = Bench::new("");
    let name = |log: u32, seg: u32| format!("00000001{log:08X}{seg:08X}");
    let put = |log: u32, seg: u32, place: &str, content: &[u8]| {
        let directory = if place == "wals" {
            format!("wals/00000001{log:08X}")
        } else {
            place.to_owned()
        };
        bench.put(&format!("{directory}/{}", name(log, seg)), content);
    };
    assert!(bench.peek(&name(0, 0xFFE), 3).is_empty());
    put(0, 0xFFE, "wals", &gzip(&segment(0xFFE), CodecLevel::Low));
    put(0, 0xFFF, "incoming", &segment(0xFFF));
    put(1, 0, "streaming", &segment(0x1000));
    put(1, 2, "wals", &segment(0x1002));
    assert_eq!(
        bench.peek(&name(0, 0xFFE).to_lowercase(), 9),
        [name(0, 0xFFE), name(0, 0xFFF), name(1, 0)]
    );
    assert_eq!(bench.peek(&name(0, 0xFFE), 2), [name(0, 0xFFE), name(0, 0xFFF)]);
    // The size is known, so that a hole at a power of two is a hole.
    put(0, 0x3F, "wals", &segment(0x3F));
    assert_eq!(bench.peek(&name(0, 0x3F), 9), [name(0, 0x3F)]);
    bench.put("wals/00000002.history", b"x");
    assert_eq!(bench.peek("00000002.history", 9), ["00000002.history"]);
    test(&bench.server, &bench.context()).unwrap();
    assert_eq!(
        *bench.heard.0.lock().unwrap(),
        ["Ready to retrieve WAL files from the server s"]
    );
}
