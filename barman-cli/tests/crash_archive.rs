//! `barman archive-wal` killed, and its queue changed before the next run. Faults at every call: `cargo xtask crash`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use barman_wal::WalFileName;
use barman_wal::codec::{self, Algorithm};
use testkit::strace::{self, Fault};
use testkit::{Finished, Mode, Sandbox, Segment};

/// A segment whose content depends on its number.
fn segment(number: u64) -> Vec<u8> {
    Segment::small(number).whole(u8::try_from(number & 0xFF).unwrap())
}

/// A server to which these files are delivered, over and over.
struct Bench {
    sandbox: Sandbox,
    delivered: BTreeMap<String, Vec<u8>>,
}

impl Bench {
    fn new() -> Result<Self> {
        let sandbox = Sandbox::builder("main")
            .mode(Mode::Archiver)
            .program(env!("CARGO_BIN_EXE_barman"))
            .build()?;
        let delivered = BTreeMap::from([
            ("000000010000000000000FFF".to_owned(), segment(0xFFF)),
            // Another directory.
            ("000000010000000100000000".to_owned(), segment(0x1000)),
            (
                "000000010000000100000000.00000028.backup".to_owned(),
                b"START WAL LOCATION: 1/28 (file 000000010000000100000000)\n".to_vec(),
            ),
            ("00000002.history".to_owned(), b"1\t1/80\tno reason\n".to_vec()),
        ]);
        Ok(Self { sandbox, delivered })
    }

    fn incoming(&self) -> PathBuf {
        self.sandbox.server_dir().join("incoming")
    }

    fn catalogue(&self) -> PathBuf {
        self.sandbox.server_dir().join("wals/main-xlog.db")
    }

    fn archived(&self, name: &str) -> PathBuf {
        let name: WalFileName = name.parse().unwrap();
        let directory = name.archive_directory().unwrap_or_default();
        let wals = self.sandbox.server_dir().join("wals");
        wals.join(directory).join(name.to_string())
    }

    /// As before the first run, with everything in the queue. An archive without its catalogue would be read anew,
    /// so there is one already.
    fn reset(&self) -> Result<()> {
        let home = self.sandbox.server_dir();
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        fs::create_dir_all(self.incoming())?;
        fs::create_dir_all(home.join("wals"))?;
        fs::write(self.catalogue(), "")?;
        for (name, content) in &self.delivered {
            fs::write(self.incoming().join(name), content)?;
        }
        Ok(())
    }

    fn archive(&self) -> Result<Finished> {
        self.sandbox.barman()?.run(["archive-wal", "main"])
    }

    /// How often each name is in the catalogue, and with which size last. A last line without its end does not count.
    fn listed(&self) -> Result<BTreeMap<String, (usize, u64)>> {
        let mut listed = BTreeMap::new();
        let text = fs::read_to_string(self.catalogue())?;
        for line in text.split_inclusive('\n').filter(|line| line.ends_with('\n')) {
            let mut fields = line.split_ascii_whitespace();
            let name = fields.next().context("no name")?.to_owned();
            let size = fields.next().context("no size")?.parse()?;
            let entry = listed.entry(name).or_insert((0, 0));
            *entry = (entry.0 + 1, size);
        }
        Ok(listed)
    }

    /// What has to hold whenever nobody is at work.
    fn check(&self) -> Result<()> {
        let listed = self.listed()?;
        for (name, (_, size)) in &listed {
            let stored = fs::metadata(self.archived(name)).with_context(|| format!("{name} is listed"))?;
            ensure!(
                stored.len() == *size,
                "{name}: size {size} instead of {}",
                stored.len()
            );
        }
        for (name, content) in &self.delivered {
            let archived = self.archived(name);
            if archived.exists() {
                ensure!(
                    plain(&archived)? == *content,
                    "{name} is in the archive with other content"
                );
            }
            match fs::read(self.incoming().join(name)) {
                Ok(waiting) => ensure!(waiting == *content, "{name} has changed in the queue"),
                Err(_) => ensure!(
                    archived.exists() && listed.contains_key(name),
                    "{name} has left the queue, is in the archive: {}, is listed: {}",
                    archived.exists(),
                    listed.contains_key(name)
                ),
            }
        }
        Ok(())
    }

    /// What has to hold after a run that nothing disturbed.
    fn check_complete(&self) -> Result<()> {
        self.check()?;
        let listed = self.listed()?;
        for name in self.delivered.keys() {
            ensure!(
                !self.incoming().join(name).exists(),
                "{name} is still in the queue"
            );
            ensure!(
                listed.get(name).is_some_and(|(times, _)| *times == 1),
                "{name}: {listed:?}"
            );
        }
        let mut files = self.delivered.len() + 1;
        for entry in walk(&self.sandbox.server_dir().join("wals"))? {
            files = files
                .checked_sub(1)
                .with_context(|| format!("one too many: {}", entry.display()))?;
        }
        let errors = self.sandbox.server_dir().join("errors");
        ensure!(
            !errors.exists() || walk(&errors)?.is_empty(),
            "something was rejected"
        );
        Ok(())
    }
}

fn walk(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(walk(&path)?);
        } else {
            files.push(path);
        }
    }
    Ok(files)
}

fn plain(path: &Path) -> Result<Vec<u8>> {
    let file = fs::File::open(path)?;
    let algorithm = Algorithm::detect(&codec::first_bytes(&file)?, None).unwrap_or(Algorithm::None);
    let mut content = Vec::new();
    codec::decoder(algorithm, file)?.read_to_end(&mut content)?;
    Ok(content)
}

/// Someone delivers a file straight to its final name, is stopped, and begins again while the killed run's link to the
/// file is in the archive: what is there must not be taken for archived.
#[test]
fn a_file_that_is_written_again_after_a_crash_is_waited_for() -> Result<()> {
    let bench = Bench::new()?;
    bench.reset()?;
    let program = bench.sandbox.barman()?;
    strace::with_fault(&program, "unlink", Fault::Kill, 1).run(["archive-wal", "main"])?;
    let (name, content) = bench.delivered.first_key_value().context("nothing delivered")?;
    let path = bench.incoming().join(name);
    ensure!(
        path.exists() && bench.archived(name).exists(),
        "killed too early or too late"
    );

    // What `cp` does to a file that exists.
    fs::write(&path, &content[..content.len() / 2])?;
    let old = SystemTime::now() - Duration::from_secs(3600);
    fs::File::options().write(true).open(&path)?.set_modified(old)?;
    bench.archive()?;
    ensure!(path.exists(), "half a file was taken for archived");

    fs::write(&path, content)?;
    bench.archive()?;
    bench.check_complete()
}
