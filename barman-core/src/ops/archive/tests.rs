//! Whole runs over directories as they are found in life, also as a killed run leaves them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use barman_wal::codec::{self, Algorithm, Level as CodecLevel};
use barman_wal::durable;
use barman_wal::lock::Lock;

use super::*;
use crate::config::Config;
use crate::context::{Cancel, CancelCause, Clock, Level, Message, Progress};
use crate::failure::{Class, Failure};

const SIZE: u32 = 1 << 20;

/// The first bytes of a segment of timeline 1 as PostgreSQL 18 writes it.
pub(super) fn segment_header(segment: u64, size: u32) -> Vec<u8> {
    let segment = testkit::Segment {
        size: u64::from(size),
        ..testkit::Segment::small(segment)
    };
    let mut bytes = segment.header();
    bytes.resize(codec::DETECT_LENGTH, 1);
    bytes
}

/// A whole segment; `seed` makes different content.
fn segment(number: u64, seed: u8) -> Vec<u8> {
    let mut bytes = segment_header(number, SIZE);
    bytes.resize(SIZE as usize, seed);
    bytes
}

fn name(number: u64) -> String {
    format!("0000000100000000{number:08X}")
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = codec::encoder(Algorithm::Gzip, CodecLevel::Low, Vec::new()).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn gunzip(content: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    codec::decoder(Algorithm::Gzip, content)
        .unwrap()
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

struct At(jiff::Timestamp);

impl Clock for At {
    fn now(&self) -> jiff::Zoned {
        self.0.to_zoned(jiff::tz::TimeZone::UTC)
    }

    fn sleep(&self, _duration: Duration) {}
}

/// Keeps what is said: `E ` before errors, `W ` before warnings.
#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn message(&self, message: Message<'_>) {
        let mark = match message.level {
            Level::Error => "E ",
            Level::Warning => "W ",
            _ => "",
        };
        self.0.lock().unwrap().push(format!("{mark}{}", message.text));
    }
}

struct Bench {
    directory: tempfile::TempDir,
    server: Server,
    now: jiff::Timestamp,
    cancel: Cancel,
}

/// What came out of a run.
struct Outcome {
    result: Result<ArchiveReport, ArchiveError>,
    lines: Vec<String>,
}

impl Outcome {
    fn report(&self) -> &ArchiveReport {
        self.result.as_ref().unwrap()
    }
}

impl Bench {
    fn new(options: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let conf = directory.path().join("barman.conf");
        let home = directory.path().join("home");
        let options = options.replace("DIR", &directory.path().display().to_string());
        fs::write(
            &conf,
            format!(
                "[barman]\nbarman_home = {}\n[s]\nconninfo = host=nowhere\nslot_name = barman\n{options}\n",
                home.display()
            ),
        )
        .unwrap();
        let config = Config::load(&conf, None).unwrap().server("s").unwrap().clone();
        for part in ["incoming", "streaming", "wals"] {
            fs::create_dir_all(home.join("s").join(part)).unwrap();
        }
        // Everything in the queues was written an hour ago.
        let now = "2026-11-21T05:00:00Z".parse().unwrap();
        Self {
            directory,
            server: Server::new(config),
            now,
            cancel: Cancel::new(),
        }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.directory.path().join("home/s").join(path)
    }

    fn put_at(&self, path: &str, content: &[u8], seconds: i64) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        durable::set_times(&file, &path, seconds, 500_000_000).unwrap();
        path
    }

    fn put(&self, path: &str, content: &[u8]) -> PathBuf {
        self.put_at(path, content, self.now.as_second() - 3600)
    }

    fn run_as(&self, occasion: Occasion) -> Outcome {
        let (heard, clock) = (Heard::default(), At(self.now));
        let ctx = Context {
            progress: &heard,
            cancel: &self.cancel,
            clock: &clock,
        };
        let result = run(&self.server, &ArchiveOptions { occasion }, &ctx);
        Outcome {
            result,
            lines: heard.0.into_inner().unwrap(),
        }
    }

    fn run(&self) -> Outcome {
        self.run_as(Occasion::Command)
    }

    fn stored(&self, number: u64) -> Vec<u8> {
        fs::read(self.at("wals/0000000100000000").join(name(number))).unwrap()
    }

    fn catalogue(&self) -> String {
        fs::read_to_string(self.at("wals/s-xlog.db")).unwrap_or_default()
    }

    fn listed(&self) -> Vec<String> {
        self.catalogue()
            .lines()
            .map(|line| line.split('\t').next().unwrap().to_owned())
            .collect()
    }

    fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.at(path)) else {
            return Vec::new();
        };
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn plain_files_of_every_kind() {
    let bench = Bench::new("archiver = on");
    let source = bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    fs::set_permissions(&source, fs::Permissions::from_mode(0o640)).unwrap();
    let inode = fs::metadata(&source).unwrap().ino();
    bench.put(
        &format!("incoming/{}.00000028.backup", name(1)),
        b"START WAL LOCATION",
    );
    bench.put(&format!("incoming/{}.partial", name(2)), b"part");
    bench.put("incoming/00000002.history", b"1\t0/300000\tno\n");
    bench.put("incoming/.9-hidden", b"");
    bench.put("incoming/x.tmp", b"");
    let outcome = bench.run();
    assert_eq!(
        outcome.lines,
        [
            "Processing xlog segments from file archival for s (batch size: 4)",
            "\t000000010000000000000001",
            "\t000000010000000000000001.00000028.backup",
            "\t000000010000000000000002.partial",
            "\t00000002.history",
        ]
    );
    assert_eq!(
        bench.catalogue(),
        "000000010000000000000001\t1048576\t1795233600.5\tNone\tNone\n\
         000000010000000000000001.00000028.backup\t18\t1795233600.5\tNone\tNone\n\
         000000010000000000000002.partial\t4\t1795233600.5\tNone\tNone\n\
         00000002.history\t14\t1795233600.5\tNone\tNone\n"
    );
    assert_eq!(bench.names("incoming"), [".9-hidden", "x.tmp"]);
    let stored = bench.at("wals/0000000100000000/000000010000000000000001");
    assert_eq!(
        (fs::metadata(&stored).unwrap().ino(), mode(&stored)),
        (inode, 0o640),
        "not a copy"
    );
    assert_eq!(
        bench.names("wals"),
        ["0000000100000000", "00000002.history", "s-xlog.db"]
    );
    assert_eq!(outcome.report().archived, 4);
    assert_eq!(
        outcome.report().last_archived,
        Some("00000002.history".parse().unwrap())
    );

    let again = bench.run();
    assert_eq!(
        again.lines,
        [
            "Processing xlog segments from file archival for s",
            "\tno file found"
        ]
    );
    assert!(again.report().is_idle());
    assert!(bench.run_as(Occasion::Implicit).lines.is_empty());
}

#[test]
fn many_segments_are_compressed_in_parallel_and_listed_in_order() {
    let bench = Bench::new("archiver = on\ncompression = pigz\ncompression_level = low");
    for number in 0..40 {
        let path = bench.put(&format!("incoming/{}", name(number)), &segment(number, 3));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let arrived = gzip(&segment(40, 9));
    bench.put(&format!("incoming/{}", name(40)), &arrived);
    let outcome = bench.run();
    assert_eq!(outcome.report().archived, 41);
    assert_eq!(bench.listed(), (0..=40).map(name).collect::<Vec<_>>());
    for number in 0..40 {
        assert_eq!(gunzip(&bench.stored(number)), segment(number, 3));
    }
    assert_eq!(
        bench.stored(40),
        arrived,
        "what came compressed is not compressed again"
    );
    let line = |number: u64| bench.catalogue().lines().nth(number as usize).unwrap().to_owned();
    let size = bench.stored(5).len();
    assert_eq!(line(5), format!("{}\t{size}\t1795233600.5\tpigz\tNone", name(5)));
    assert!(line(40).ends_with("\tgzip\tNone"));
    let stored = fs::metadata(bench.at("wals/0000000100000000").join(name(5))).unwrap();
    assert_eq!(
        (stored.mtime(), stored.mtime_nsec()),
        (1_795_233_600, 500_000_000)
    );
    assert_eq!(stored.mode() & 0o777, 0o600);
    assert!(bench.names("incoming").is_empty());
    assert_eq!(
        bench.names("wals/0000000100000000").len(),
        41,
        "no temporary file is left"
    );
}

#[test]
fn streaming_first_with_its_rules_and_limits() {
    let bench = Bench::new("archiver = on\nstreaming_archiver = on\nstreaming_archiver_batch_size = 1");
    for number in [1, 2] {
        bench.put(&format!("streaming/{}", name(number)), &segment(number, 1));
    }
    bench.put(&format!("streaming/{}.partial", name(3)), &[0; 1000]);
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    let outcome = bench.run();
    assert_eq!(
        outcome.lines,
        [
            "Processing xlog segments from streaming for s (batch size: 1)",
            "\t000000010000000000000001",
            "Processing xlog segments from file archival for s",
            "\t000000010000000000000001",
        ]
    );
    let report = outcome.report();
    assert_eq!(
        (report.archived, report.already_archived, report.left_by_limit),
        (1, 1, 1)
    );
    assert_eq!(bench.run().report().archived, 1);
    assert_eq!(bench.names("streaming"), [format!("{}.partial", name(3))]);
    assert_eq!(bench.listed(), [name(1), name(2)]);
}

#[test]
fn duplicates() {
    let bench = Bench::new("archiver = on\ncompression = gzip");
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    bench.run();
    let before = bench.catalogue();
    bench.put(&format!("incoming/{}", name(1)), &gzip(&segment(1, 1)));
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 2));
    let outcome = bench.run();
    assert_eq!(
        outcome.lines[1..],
        [
            "\t000000010000000000000001",
            "\t000000010000000000000002",
            "\tError: 000000010000000000000002 is already present in server s. File moved to errors directory.",
        ]
    );
    assert_eq!(
        (outcome.report().already_archived, outcome.report().duplicates),
        (1, 1)
    );
    assert_eq!(outcome.report().exit_code(), 0);
    assert_eq!(bench.catalogue(), before);
    assert_eq!(
        bench.names("errors"),
        ["000000010000000000000002.20261121T050000Z.duplicate"]
    );
    assert_eq!(gunzip(&bench.stored(2)), segment(2, 1));
    assert!(bench.names("incoming").is_empty());
}

#[test]
fn strangers_are_put_aside() {
    let bench = Bench::new("archiver = on");
    bench.put("incoming/foo", b"");
    fs::create_dir(bench.at("incoming/dir")).unwrap();
    let outcome = bench.run();
    assert_eq!(
        outcome.lines,
        [
            "Processing xlog segments from file archival for s",
            "\tno file found",
            "Found unknown objects while processing xlog segments for s. Objects moved to errors directory:",
            "\tdir",
            "\tfoo",
        ]
    );
    assert_eq!(
        bench.names("errors"),
        ["dir.20261121T050000Z.unknown", "foo.20261121T050000Z.unknown"]
    );
    assert_eq!((outcome.report().unknown, outcome.report().exit_code()), (2, 0));
}

#[test]
fn useless_segments_never_reach_the_archive_and_stop_nobody() {
    let bench = Bench::new("archiver = on\ncompression = gzip");
    bench.put(&format!("incoming/{}", name(1)), b"");
    bench.put(&format!("incoming/{}", name(2)), &vec![0; SIZE as usize]);
    bench.put(&format!("incoming/{}", name(3)), &segment(4, 1));
    bench.put(&format!("incoming/{}", name(4)), &segment(4, 1)[..5000]);
    // Perhaps encrypted by the user: not ours to judge.
    bench.put(&format!("incoming/{}", name(5)), &[0xAB; 5000]);
    bench.put(&format!("incoming/{}", name(6)), &segment(6, 1));
    // Still being copied, as far as anybody can tell.
    bench.put_at(
        &format!("incoming/{}", name(7)),
        &segment(7, 1)[..5000],
        bench.now.as_second() - 5,
    );
    let outcome = bench.run();
    let report = outcome.report();
    assert_eq!((report.archived, report.rejected, report.unsettled), (2, 4, 1));
    assert_eq!(report.exit_code(), 1);
    assert_eq!(bench.listed(), [name(5), name(6)]);
    assert_eq!(bench.names("incoming"), [name(7)]);
    let rejected: Vec<_> = (1..5)
        .map(|number| format!("{}.20261121T050000Z.error", name(number)))
        .collect();
    assert_eq!(bench.names("errors"), rejected);
    let errors: Vec<_> = outcome
        .lines
        .iter()
        .filter(|line| line.starts_with("E "))
        .collect();
    assert_eq!(errors.len(), 4);
    assert!(
        errors[2].contains("content is that of WAL segment 000000010000000000000004"),
        "{}",
        errors[2]
    );
}

#[test]
fn a_file_that_cannot_be_compared_waits_and_the_others_go_on() {
    let bench = Bench::new("archiver = on");
    let mut torn = gzip(&segment(1, 1));
    torn.truncate(100);
    bench.put(&format!("wals/0000000100000000/{}", name(1)), &torn);
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    // A damaged copy of what is archived well.
    bench.put(&format!("wals/0000000100000000/{}", name(2)), &segment(2, 1));
    let mut damaged = gzip(&segment(2, 1));
    damaged.truncate(100);
    bench.put(&format!("incoming/{}", name(2)), &damaged);
    bench.put(&format!("incoming/{}", name(3)), &segment(3, 1));
    let outcome = bench.run();
    let report = outcome.report();
    assert_eq!(
        (
            report.archived,
            report.failed,
            report.rejected,
            report.exit_code()
        ),
        (1, 1, 1, 1)
    );
    assert_eq!(bench.names("incoming"), [name(1)]);
    assert_eq!(bench.stored(1), torn);
    assert_eq!(
        bench.names("errors"),
        [format!("{}.20261121T050000Z.error", name(2))]
    );
    let errors = |outcome: &Outcome| outcome.lines.iter().filter(|line| line.starts_with("E ")).count();
    assert_eq!(errors(&outcome), 2, "{:?}", outcome.lines);

    // Where it cannot be put aside it stays, and that is no success either.
    let bench = Bench::new("archiver = on");
    fs::write(bench.at("errors"), "no directory").unwrap();
    bench.put(&format!("incoming/{}", name(1)), b"");
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    let outcome = bench.run();
    let report = outcome.report();
    assert_eq!((report.archived, report.rejected, report.exit_code()), (1, 0, 1));
    assert_eq!(bench.names("incoming"), [name(1)]);
    assert_eq!(bench.listed(), [name(2)]);
    assert!(errors(&outcome) > 0, "{:?}", outcome.lines);
}

#[test]
fn a_good_segment_replaces_a_useless_one() {
    let bench = Bench::new("archiver = on");
    for (number, stored) in [(1, &segment(1, 1)[..70_000]), (2, b""), (3, b"unknown to us")] {
        bench.put(&format!("wals/0000000100000000/{}", name(number)), stored);
        bench.put(&format!("incoming/{}", name(number)), &segment(number, 1));
    }
    let outcome = bench.run();
    assert_eq!((outcome.report().archived, outcome.report().duplicates), (2, 1));
    assert_eq!((bench.stored(1), bench.stored(2)), (segment(1, 1), segment(2, 1)));
    let moved = [(1, "error"), (2, "error"), (3, "duplicate")];
    assert_eq!(
        bench.names("errors"),
        moved.map(|(number, suffix)| format!("{}.20261121T050000Z.{suffix}", name(number)))
    );
}

/// What each step of a killed run leaves, and what the next run makes of it.
#[test]
fn what_a_killed_run_left_is_completed() {
    for (left, archived, already) in [
        // Killed while it wrote the temporary file.
        (&["temporary"][..], 1, 0),
        // Published (by hard link), not listed.
        (&["published"], 0, 1),
        // Listed, the source not removed.
        (&["published", "listed"], 0, 1),
    ] {
        let bench = Bench::new("archiver = on");
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        assert_eq!(bench.run().report().archived, 1);
        let source = bench.put(&format!("incoming/{}", name(2)), &segment(2, 2));
        let target = bench.at("wals/0000000100000000").join(name(2));
        let has = |what: &str| left.contains(&what);
        if has("temporary") {
            bench.put(
                &format!("wals/0000000100000000/.{}.99999999-1.tmp", name(2)),
                b"half",
            );
        }
        if has("published") {
            fs::hard_link(&source, &target).unwrap();
        }
        if has("listed") {
            let line = format!("{}\t1048576\t1795233600.5\tNone\tNone\n", name(2));
            fs::write(bench.at("wals/s-xlog.db"), bench.catalogue() + &line).unwrap();
        }
        let outcome = bench.run();
        let report = outcome.report();
        assert_eq!(
            (report.archived, report.already_archived),
            (archived, already),
            "{left:?}"
        );
        assert_eq!(bench.listed(), [name(1), name(2)], "{left:?}");
        assert_eq!(bench.stored(2), segment(2, 2), "{left:?}");
        assert!(bench.names("incoming").is_empty(), "{left:?}");
        assert_eq!(bench.names("wals/0000000100000000").len(), 2, "{left:?}");
    }
}

#[test]
fn what_barman_stored_and_did_not_list_gets_its_line() {
    let bench = Bench::new("archiver = on\ncompression = pigz");
    bench.put(&format!("incoming/{}", name(0xFE)), &segment(0xFE, 1));
    bench.run();
    bench.put(
        &format!("wals/0000000100000000/{}", name(0xFF)),
        &gzip(&segment(0xFF, 1)),
    );
    bench.put(
        "wals/0000000100000001/000000010000000100000000",
        &segment(0x1000, 1),
    );
    bench.put("wals/0000000100000001/.hidden.tmp", b"");
    let outcome = bench.run();
    assert_eq!(outcome.report().repaired, 2);
    assert_eq!(
        bench.listed(),
        [name(0xFE), name(0xFF), "000000010000000100000000".to_owned()]
    );
    assert!(
        bench
            .catalogue()
            .lines()
            .nth(1)
            .unwrap()
            .ends_with("\tpigz\tNone")
    );
    assert_eq!(bench.run().report().repaired, 0);
}

#[test]
fn half_a_file_that_barman_left_is_not_listed() {
    let bench = Bench::new("archiver = on");
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.run();
    let half = format!("wals/0000000100000000/{}", name(2));
    bench.put(&half, &segment(2, 1)[..5000]);
    assert_eq!(bench.run().report().repaired, 0);
    assert_eq!(bench.listed(), [name(1)]);
    // Its source is still there: Barman removes it last.
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    assert_eq!(bench.run().report().archived, 1);
    assert_eq!(bench.listed(), [name(1), name(2)]);
    assert_eq!(bench.stored(2), segment(2, 1));
}

#[test]
fn a_file_that_may_still_be_written_is_not_taken_from_its_writer() {
    let bench = Bench::new("archiver = on");
    let half = segment(1, 1)[..5000].to_vec();
    let path = format!("incoming/{}", name(1));
    bench.put_at(&path, &half, bench.now.as_second() - 240);
    assert_eq!(bench.run().report().unsettled, 1);
    bench.put_at(&path, &half, bench.now.as_second() + 86_400);
    assert_eq!(bench.run().report().unsettled, 1, "a clock that differs");
    bench.put(&path, &half);
    assert_eq!(bench.run().report().rejected, 1);
}

#[test]
fn a_link_of_a_killed_run_to_a_file_that_was_cut_since_is_not_archived() {
    let bench = Bench::new("archiver = on");
    let archived = bench.put(&format!("wals/0000000100000000/{}", name(1)), &segment(1, 1));
    fs::create_dir_all(bench.at("incoming")).unwrap();
    let source = bench.at("incoming").join(name(1));
    fs::hard_link(&archived, &source).unwrap();
    let cut = |length: usize, age: i64| {
        bench.put_at(
            &format!("incoming/{}", name(1)),
            &segment(1, 1)[..length],
            bench.now.as_second() - age,
        )
    };
    cut(5000, 5);
    assert_eq!(bench.run().report().unsettled, 1);
    cut(5000, 5000);
    let outcome = bench.run();
    assert_eq!((outcome.report().failed, outcome.report().exit_code()), (1, 1));
    assert!(source.exists());
    cut(SIZE as usize, 5000);
    assert_eq!(bench.run().report().already_archived, 1);
    assert!(!source.exists());
    assert_eq!(bench.listed(), [name(1)]);
}

#[test]
fn links_are_followed_and_lower_case_is_stored_in_upper_case() {
    let bench = Bench::new("archiver = on");
    let outside = bench.put("outside", &segment(10, 1));
    std::os::unix::fs::symlink(&outside, bench.at("incoming").join(name(10).to_lowercase())).unwrap();
    assert_eq!(bench.run().report().archived, 1);
    let stored = bench.at("wals/0000000100000000").join(name(10));
    assert!(fs::symlink_metadata(&stored).unwrap().is_file());
    assert_eq!(fs::read(&stored).unwrap(), segment(10, 1));
    assert!(bench.names("incoming").is_empty());
    assert!(outside.exists());
    assert_eq!(bench.listed(), [name(10)]);
}

#[test]
fn what_is_not_available_is_refused_before_anything_is_touched() {
    for (option, words) in [
        (
            "compression = custom\ncustom_compression_filter = cat",
            "compression `custom` needs custom_compression_filter and custom_decompression_filter",
        ),
        (
            "encryption = gpg\nencryption_key_id = x",
            "encryption `gpg` is not yet available",
        ),
    ] {
        let bench = Bench::new(&format!("archiver = on\n{option}"));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        let error = bench.run().result.unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!((error.class(), error.exit_code()), (Class::Error, 1));
        assert!(error.hint().is_some());
        assert_eq!(bench.names("incoming"), [name(1)]);
        assert!(bench.names("wals").is_empty());
    }
}

#[test]
fn every_compression_stores_what_can_be_read() {
    for (option, format) in [
        ("gzip", Algorithm::Gzip),
        ("pygzip", Algorithm::Gzip),
        ("pigz", Algorithm::Gzip),
        ("bzip2", Algorithm::Bzip2),
        ("pybzip2", Algorithm::Bzip2),
        ("xz", Algorithm::Xz),
        ("zstd", Algorithm::Zstd),
        ("lz4", Algorithm::Lz4),
        ("snappy", Algorithm::Snappy),
    ] {
        let bench = Bench::new(&format!("archiver = on\ncompression = {option}"));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        bench.put("incoming/00000002.history", b"1\t0/400100\tno reason\n");
        assert_eq!(bench.run().report().archived, 2, "{option}");
        let stored = fs::read(bench.at("wals/0000000100000000").join(name(1))).unwrap();
        assert_eq!(Algorithm::detect(&stored, None), Some(format));
        let mut plain = Vec::new();
        codec::decoder(format, stored.as_slice())
            .unwrap()
            .read_to_end(&mut plain)
            .unwrap();
        assert!(plain == segment(1, 1), "{option}");
        let listed = bench.catalogue();
        assert_eq!(
            listed
                .lines()
                .filter(|line| line.split('\t').nth(3) == Some(option))
                .count(),
            2,
            "{option}: {listed:?}"
        );

        // Sent again plain, or compressed in another way, it is the same file.
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        assert_eq!(bench.run().report().already_archived, 1, "{option}");
        let mut encoder = codec::encoder(Algorithm::Zstd, CodecLevel::High, Vec::new()).unwrap();
        encoder.write_all(&segment(1, 1)).unwrap();
        bench.put(&format!("incoming/{}", name(1)), &encoder.finish().unwrap());
        assert_eq!(bench.run().report().already_archived, 1, "{option}");
    }
}

#[test]
fn filters_of_the_user() {
    let options = "archiver = on\ncompression = custom\ncustom_compression_filter = tr '\\000-\\377' '\\200-\\377\\000-\\177'\ncustom_decompression_filter = tr '\\200-\\377\\000-\\177' '\\000-\\377'";
    let bench = Bench::new(options);
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    assert_eq!(bench.run().report().archived, 1);
    let stored = fs::read(bench.at("wals/0000000100000000").join(name(1))).unwrap();
    assert!(stored != segment(1, 1) && stored.len() == segment(1, 1).len());
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    assert_eq!(bench.run().report().already_archived, 1);
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 2));
    assert_eq!(bench.run().report().duplicates, 1);

    for (filter, words) in [
        (
            "echo no room >&2; exit 3",
            "custom_compression_filter failed with exit code 3: no room",
        ),
        ("cat > /dev/null", "custom_compression_filter gave nothing"),
        ("tac", "does not begin with custom_compression_magic"),
    ] {
        let bench = Bench::new(&format!(
            "archiver = on\ncompression = custom\ncustom_compression_filter = {filter}\ncustom_decompression_filter = cat\ncustom_compression_magic = 0xABCDEF"
        ));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        let run = bench.run();
        assert!(
            run.lines.iter().any(|line| line.contains(words)),
            "{words}: {:?}",
            run.lines
        );
        assert_eq!(run.report().failed, 1);
        assert_eq!(bench.names("incoming"), [name(1)]);
        assert!(bench.listed().is_empty());
    }
}

#[test]
fn a_busy_lock_is_no_failure() {
    let bench = Bench::new("archiver = on");
    let held = Lock::try_acquire(&bench.server.layout().archive_wal_lock()).unwrap();
    let error = bench.run_as(Occasion::Implicit).result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Another archive-wal process is already running on server s. Skipping to the next server"
    );
    assert_eq!((error.class(), error.exit_code()), (Class::Info, 0));
    drop(held);
    assert!(bench.run().result.is_ok());
}

#[test]
fn a_request_to_stop_leaves_the_queue() {
    for count in [1, 20] {
        let bench = Bench::new("archiver = on\ncompression = gzip");
        for number in 0..count {
            bench.put(&format!("incoming/{}", name(number)), &segment(number, 1));
        }
        bench.cancel.request(CancelCause::Interrupt);
        let error = bench.run().result.unwrap_err();
        assert_eq!(error.class(), Class::Interrupted);
        assert_eq!(bench.names("incoming").len() as u64, count);
        bench.cancel.reset();
        assert_eq!(bench.run().report().archived, count);
    }
}

#[test]
fn passive_and_inactive_servers_have_no_archivers() {
    for option in ["primary_ssh_command = ssh x", "active = off"] {
        let bench = Bench::new(&format!("archiver = on\n{option}"));
        bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
        let outcome = bench.run();
        assert_eq!(*outcome.report(), ArchiveReport::default());
        assert!(outcome.lines.is_empty());
        assert_eq!(bench.names("incoming"), [name(1)]);
    }
}

#[test]
fn an_archive_that_cannot_be_written_stops_the_run_and_loses_nothing() {
    let bench = Bench::new("archiver = on\ncompression = gzip");
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    fs::write(bench.at("wals/0000000100000000"), "a file in the way").unwrap();
    let error = bench.run().result.unwrap_err();
    assert!(matches!(error, ArchiveError::Store { .. }), "{error}");
    assert_eq!(bench.names("incoming"), [name(1), name(2)]);
    assert!(bench.listed().is_empty());
}

/// `barman` for the same server, which a script may call, waits for this lock.
#[test]
fn the_catalogue_is_not_locked_while_scripts_and_filters_run() {
    let note = |who: &str| {
        format!("flock -n DIR/home/.s-xlogdb.lock echo {who} free >> DIR/log || echo {who} held >> DIR/log")
    };
    let bench = Bench::new(&format!(
        "archiver = on\ncompression = custom\ncustom_compression_magic = 0x7879\n\
         custom_compression_filter = ({}); printf xy; cat\ncustom_decompression_filter = tail -c +3\n\
         pre_archive_script = {}\npost_archive_script = {}",
        note("filter"),
        note("pre"),
        note("post")
    ));
    // Made by the run before: a lock that nobody has ever taken would prove nothing.
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.run();
    assert!(bench.directory.path().join("home/.s-xlogdb.lock").exists());
    bench.put(&format!("incoming/{}", name(2)), &segment(2, 1));
    bench.run();
    assert_eq!(bench.listed(), [name(1), name(2)]);
    let log = fs::read_to_string(bench.directory.path().join("log")).unwrap();
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        ["pre free", "filter free", "post free"].repeat(2)
    );
}

#[test]
fn hooks_see_each_file_and_can_stop() {
    let record = |what: &str| {
        format!(
            "{what} = echo {what} $BARMAN_SEGMENT ${{BARMAN_FILE##*/s/}} $BARMAN_SIZE $BARMAN_TIMESTAMP \
             [$BARMAN_COMPRESSION] [$BARMAN_ERROR] >> DIR/log"
        )
    };
    let hooks = [
        "pre_archive_script",
        "pre_archive_retry_script",
        "post_archive_retry_script",
        "post_archive_script",
    ]
    .map(record)
    .join("\n");
    let bench = Bench::new(&format!("archiver = on\ncompression = gzip\n{hooks}"));
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.run();
    let size = bench.stored(1).len();
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 2));
    bench.run();
    let one = name(1);
    let log = fs::read_to_string(bench.directory.path().join("log")).unwrap();
    let stored = format!("{one} wals/0000000100000000/{one}");
    let queued = format!("{one} incoming/{one} 1048576 1795233600.5 [] []");
    let info = format!(
        "[DuplicateWalFile:WalFileInfo(compression=None, encryption=None, name='{one}', size=1048576, time=1795233600.5)]"
    );
    assert_eq!(
        log.lines().collect::<Vec<_>>(),
        [
            format!("pre_archive_script {queued}"),
            format!("pre_archive_retry_script {queued}"),
            format!("post_archive_retry_script {stored} {size} 1795233600.5 [gzip] []"),
            format!("post_archive_script {stored} {size} 1795233600.5 [gzip] []"),
            format!("pre_archive_script {queued}"),
            format!("pre_archive_retry_script {queued}"),
            format!("post_archive_retry_script {stored} 1048576 1795233600.5 [] {info}"),
            format!("post_archive_script {stored} 1048576 1795233600.5 [] {info}"),
        ]
    );

    let bench = Bench::new(
        "archiver = on\npre_archive_retry_script = exit 63\npost_archive_script = touch DIR/after",
    );
    bench.put(&format!("incoming/{}", name(1)), &segment(1, 1));
    bench.put("incoming/unknown", b"");
    let outcome = bench.run();
    assert!(outcome.report().stopped_by_hook);
    assert_eq!(bench.names("incoming"), [name(1), "unknown".to_owned()]);
    assert!(bench.directory.path().join("after").exists());
}
