//! Whole runs over directories as they are found in life, also as a killed run leaves them.

mod compression;
mod leftovers;
mod queue;
mod rejects;
mod stopping;
mod waiting;

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

/// The beginning of what [`gzip`] makes: it cannot be compared with anything.
fn torn_gzip(content: &[u8]) -> Vec<u8> {
    let mut torn = gzip(content);
    torn.truncate(100);
    torn
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
