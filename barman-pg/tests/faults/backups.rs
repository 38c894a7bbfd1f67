//! Faults in the middle of base backups.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use barman_pg::basebackup::{
    CheckpointMode, CompressionMethod, ExtractError, ExtractReport, ExtractTargets, ServerCompression,
    extract,
};
use barman_pg::{BaseBackupOptions, ConnInfo, Error};
use testkit::proxy::{Action, BACKUP_DATA_OFFSET, Direction, Fault, Proxy, What};
use testkit::{Cluster, Stop, TestDir, wait_until};

use super::*;

/// A server whose files do not change any more, with a tablespace if there is room for one.
struct Source {
    cluster: Cluster,
    proxy: Proxy,
    info: ConnInfo,
    dir: TestDir,
    taken: AtomicUsize,
    /// Where its tablespace is, if it has one.
    aside: Option<PathBuf>,
    compression: Option<ServerCompression>,
    options: ConnectOptions,
}

/// Raises a flag when it goes, also when a test fails.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// How an attempt ended, and what it left.
struct Attempt {
    outcome: Result<ExtractReport, ExtractError>,
    targets: ExtractTargets,
    what: String,
    major: u16,
}

fn fill(cluster: &Cluster) {
    cluster
        .sql("CREATE TABLE t AS SELECT g AS n, repeat('x', 100) AS filler FROM generate_series(1, 40000) g")
        .unwrap();
}

/// Nothing that looks at the data changes it any more.
fn settle(cluster: &Cluster) {
    cluster.sql("VACUUM FREEZE").unwrap();
    cluster.sql("CHECKPOINT").unwrap();
}

impl Source {
    fn start(major: u16, encryption: Encryption) -> Self {
        let cluster = Cluster::builder(major)
            .tree(tree(major, encryption))
            .conf("autovacuum", "off")
            .start()
            .unwrap();
        fill(&cluster);
        let aside = cluster.create_tablespace("aside").unwrap();
        cluster
            .sql("CREATE TABLE u TABLESPACE aside AS SELECT generate_series(1, 1000) AS n")
            .unwrap();
        if encryption == Encryption::Tls {
            encrypt(&cluster);
        }
        settle(&cluster);
        Self::of(cluster, encryption, Some(aside))
    }

    fn of(cluster: Cluster, encryption: Encryption, aside: Option<PathBuf>) -> Self {
        let proxy = Proxy::to(&cluster).unwrap();
        let info = info(&cluster, &proxy, encryption);
        Self {
            cluster,
            proxy,
            info,
            dir: TestDir::new().unwrap(),
            taken: AtomicUsize::new(0),
            aside,
            compression: None,
            options: options(),
        }
    }

    /// Takes a backup under these faults. `meanwhile` runs beside it when the last one has struck.
    fn attempt(&self, what: &str, faults: Vec<Fault>, meanwhile: impl FnOnce() + Send) -> Attempt {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let major = self.cluster.major();
        let what = format!("{major}: {what}");
        let name = format!("taken-{number}");
        let parent = self.dir.server_dir(&name).unwrap();
        let number = faults.len();
        self.proxy.set(faults);
        let (begin, fired, ended) = (Instant::now(), AtomicBool::new(false), AtomicBool::new(false));
        let mut targets = ExtractTargets {
            data: parent.join("data"),
            ..ExtractTargets::default()
        };
        fs::create_dir(&targets.data).unwrap();
        let outcome = std::thread::scope(|scope| {
            let (proxy, fired, ended) = (&self.proxy, &fired, &ended);
            scope.spawn(move || {
                // It strikes before the attempt has ended, or never.
                let struck = wait_until("the faults", PATIENCE, || {
                    let over = ended.load(Ordering::SeqCst);
                    Ok(proxy.fired() >= number || over)
                });
                if struck.is_ok() && proxy.fired() >= number {
                    fired.store(true, Ordering::SeqCst);
                    meanwhile();
                }
            });
            let _over = OnDrop(ended);
            let mut client = barman_pg::ReplicationClient::connect(&self.info, &self.options)?;
            let backup = client.base_backup(&BaseBackupOptions {
                checkpoint: CheckpointMode::Fast,
                compression: self.compression,
                ..BaseBackupOptions::default()
            })?;
            for tablespace in backup.tablespaces() {
                let target = parent.join(tablespace.oid.to_string());
                fs::create_dir(&target).unwrap();
                targets.tablespaces.insert(tablespace.oid, target);
            }
            extract(backup, &targets, &|_| {})
        });
        assert!(fired.into_inner(), "{what} did not strike: {outcome:?}");
        assert!(begin.elapsed() < PATIENCE, "{what}: {:?}", begin.elapsed());
        self.proxy.clear();
        // What a fault still holds back would count for the next attempt.
        self.proxy.reset_all();
        wait_until("the connections' end", PATIENCE, || {
            Ok(self.proxy.connections().iter().all(|connection| !connection.open))
        })
        .unwrap();
        let attempt = Attempt {
            outcome,
            targets,
            what,
            major,
        };
        attempt.check_places(&parent);
        attempt
    }

    fn plain(&self, what: &str, fault: Fault) -> Attempt {
        self.attempt(what, vec![fault], || {})
    }
}

impl Attempt {
    /// Whatever happened: nothing outside the directories, no manifest for a backup that has failed, no temporary file.
    fn check_places(&self, parent: &Path) {
        let what = &self.what;
        let names: BTreeSet<PathBuf> = fs::read_dir(parent)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let mut expected: BTreeSet<PathBuf> = self.targets.tablespaces.values().cloned().collect();
        expected.insert(self.targets.data.clone());
        assert_eq!(names, expected, "{what}");
        let has_manifest = self.targets.data.join("backup_manifest").exists();
        assert_eq!(has_manifest, self.outcome.is_ok(), "{what}: {:?}", self.outcome);
        for entry in fs::read_dir(&self.targets.data).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(!name.to_string_lossy().starts_with('.'), "{what}: {name:?}");
        }
    }

    /// A clear error, which this gives.
    fn failed(&self) -> &ExtractError {
        let what = &self.what;
        let error = self.outcome.as_ref().expect_err(what);
        let told = error.to_string();
        assert!(!error.is_interrupted() && told.len() > 20, "{what}: {told}");
        error
    }

    /// The connection was lost, and another attempt may do better.
    fn lost(&self) -> &Error {
        match self.failed() {
            ExtractError::Connection(error) => {
                assert!(error.is_transient(), "{}: {error}", self.what);
                error
            }
            other => panic!("{}: {other}", self.what),
        }
    }

    /// Whole, and each file as the server has it.
    fn whole(&self, source: &Source) {
        let what = &self.what;
        let report = self.outcome.as_ref().expect(what);
        assert_eq!(report.verified, self.major >= 13, "{what}");
        self.same_files(source);
    }

    fn same_files(&self, source: &Source) {
        let mut compared = 0;
        for part in ["base", "global", "pg_xact", "pg_multixact", "PG_VERSION"] {
            compared += same(
                &source.cluster.data_dir().join(part),
                &self.targets.data.join(part),
            );
        }
        if let (Some(aside), [target]) = (
            &source.aside,
            self.targets.tablespaces.values().collect::<Vec<_>>().as_slice(),
        ) {
            compared += same(aside, target);
        }
        assert!(compared > 800, "{}: {compared} files", self.what);
    }

    /// An error, or everything is as it should be.
    fn failed_or_whole(&self, source: &Source) {
        match self.outcome {
            Ok(_) => self.whole(source),
            Err(_) => drop(self.failed()),
        }
    }
}

/// Compares a file or directory of the server with what was received, and counts the files.
fn same(server: &Path, received: &Path) -> usize {
    if !server.is_dir() {
        let name = server.file_name().unwrap().to_string_lossy();
        // The one changes with every backup, the other is left out.
        if name == "pg_control" || name.starts_with("pg_internal.init") || name.starts_with("pgsql_tmp") {
            return 0;
        }
        let equal = fs::read(server).unwrap() == fs::read(received).unwrap();
        assert!(equal, "{} differs", received.display());
        return 1;
    }
    fs::read_dir(server)
        .unwrap()
        .map(|entry| {
            let name = entry.unwrap().file_name();
            same(&server.join(&name), &received.join(&name))
        })
        .sum()
}

/// How much a backup comes to.
struct Size {
    bytes: u64,
    messages: u64,
}

impl Size {
    fn measure(source: &Source) -> Self {
        let mut meter = Meter::new(&source.proxy);
        let before = source.proxy.passed(Direction::ToClient, What::Type(b'd'));
        let attempt = source.attempt("no fault", Vec::new(), || {});
        attempt.whole(source);
        Self {
            bytes: meter.read(&source.proxy),
            messages: source.proxy.passed(Direction::ToClient, What::Type(b'd')) - before,
        }
    }
}

/// The points of a backup where a connection can break, in the order in which they come.
fn points(major: u16, size: &Size, chance: &mut Chance, action: Action) -> Vec<(String, Vec<Fault>)> {
    let data = |nth| vec![Fault::to_client(What::Type(b'd'), nth, action)];
    let mut all = vec![
        // Authentication, IDENTIFY_SYSTEM and the two result sets come before.
        (
            "the rows before the copy".to_owned(),
            vec![Fault::to_client(What::Type(b'D'), 2, action)],
        ),
        (
            "the begin of the copy".to_owned(),
            vec![Fault::to_client(What::Type(b'H'), 1, action)],
        ),
        ("the first piece".to_owned(), data(1)),
    ];
    for _ in 0..if testkit::is_long() { 6 } else { 2 } {
        let nth = 2 + chance.below(size.messages - 20);
        all.push((format!("piece {nth}"), data(nth)));
    }
    let byte = chance.below(size.bytes - 100_000);
    all.push((
        format!("byte {byte}"),
        vec![Fault::at_byte(Direction::ToClient, byte, action)],
    ));
    match major {
        // Nothing more comes in the data directory's copy than its own end.
        0..=12 => {}
        13 | 14 => all.push((
            "the manifest".to_owned(),
            vec![
                Fault::to_client(What::Type(b'H'), 3, Action::Delay(Duration::ZERO)),
                Fault::to_client(What::Type(b'd'), 3, action),
            ],
        )),
        _ => all.push((
            "the manifest".to_owned(),
            after(What::CopyData(b'm'), 3, What::CopyData(b'd'), action),
        )),
    }
    let copies = match major {
        // The tablespace, the data directory, the manifest.
        0..=12 => 2,
        13 | 14 => 3,
        _ => 1,
    };
    all.push((
        "the end of the copy".to_owned(),
        vec![Fault::to_client(What::Type(b'c'), copies, action)],
    ));
    let mut end = vec![Fault::to_client(
        What::Type(b'c'),
        copies,
        Action::Delay(Duration::ZERO),
    )];
    end.push(Fault::to_client(What::Type(b'D'), 1, action));
    all.push(("the end position".to_owned(), end));
    all
}

#[test]
fn a_connection_that_breaks_anywhere_leaves_no_backup() {
    each_major(&[11, 14, 18], |major| {
        let source = Source::start(major, Encryption::Clear);
        let size = Size::measure(&source);
        let mut chance = Chance(u64::from(major));
        let actions = [
            Action::Reset,
            Action::CloseGracefully,
            Action::Truncate,
            Action::HalfClose,
        ];
        for (number, action) in actions.into_iter().enumerate() {
            for (at, (point, faults)) in points(major, &size, &mut chance, action).into_iter().enumerate() {
                // In a short run each point has one action, and each action some points.
                if !testkit::is_long() && at % actions.len() != number {
                    continue;
                }
                let attempt = source.attempt(&format!("{action:?} at {point}"), faults, || {});
                attempt.lost();
            }
        }
        // What the faults left of the server is enough for a good one.
        let attempt = source.attempt("after all", Vec::new(), || {});
        attempt.whole(&source);
    });
}

#[test]
fn a_stall_ends_at_the_deadline_and_slowness_does_not_matter() {
    each_major(&[10, 17], |major| {
        let source = Source::start(major, Encryption::Clear);
        let size = Size::measure(&source);
        let mut chance = Chance(u64::from(major) + 100);
        let stalls = points(major, &size, &mut chance, Action::Stall);
        let chosen: Vec<usize> = if testkit::is_long() {
            (0..stalls.len()).collect()
        } else {
            vec![3, stalls.len() - 1]
        };
        for (at, (point, faults)) in stalls.into_iter().enumerate() {
            // There the server may take its time: for a checkpoint, and up to 12 for its archiver.
            let patient = point.contains("before the copy") || major < 13 && point == "the end position";
            if patient || !chosen.contains(&at) {
                continue;
            }
            let begin = Instant::now();
            let attempt = source.attempt(&format!("a stall at {point}"), faults, || {});
            let error = attempt.lost();
            assert!(
                matches!(error, Error::Timeout { .. }),
                "{}: {error}",
                attempt.what
            );
            assert!(begin.elapsed() >= SILENCE);
        }
        let (rows, middle) = (
            Fault::to_client(What::Type(b'd'), 1, Action::Delay(Duration::from_micros(500))),
            Fault::to_client(What::Type(b'd'), size.messages / 2, Action::Throttle(32 << 20)),
        );
        let attempt = source.attempt("delays and a narrow line", vec![rows, middle], || {});
        attempt.whole(&source);
    });
}

#[test]
fn what_is_changed_on_its_way_is_noticed_or_harmless() {
    each_major(&[10, 13, 16], |major| {
        let source = Source::start(major, Encryption::Clear);
        let size = Size::measure(&source);
        let mut chance = Chance(u64::from(major) + 200);
        let data = |nth, action| Fault::to_client(What::Type(b'd'), nth, action);
        let middle = size.messages / 2;

        // The protocol: always an error.
        let framing = [
            ("a type that there is not", data(middle, flip(0, 1))),
            ("a length below zero", data(middle, flip(1, 7))),
            ("a length too large", data(middle, flip(1, 6))),
            ("a length slightly too large", data(middle, flip(4, 3))),
            (
                "the copy begins twice",
                Fault::to_client(What::Type(b'H'), 1, Action::Duplicate),
            ),
            (
                "the rows come twice",
                Fault::to_client(What::Type(b'D'), 3, Action::Duplicate),
            ),
            ("a tar header", data(2, flip(if major < 15 { 5 } else { 6 }, 0))),
        ];
        for (what, fault) in framing {
            source.plain(what, fault).failed();
        }

        // A piece that comes twice, or a byte of the contents: an error with a manifest; without one it may pass.
        let offset = BACKUP_DATA_OFFSET - u64::from(major < 15);
        let mut noticed = 0;
        let rounds = if testkit::is_long() { 12 } else { 4 };
        for _ in 0..rounds {
            let (nth, byte, bit) = (2 + chance.below(middle), chance.below(8000), chance.below(8));
            let attempt = source.plain(
                &format!("piece {nth}, bit {bit} of byte {byte}"),
                data(nth, flip(offset + byte, bit)),
            );
            match &attempt.outcome {
                Ok(report) if major < 13 => assert!(!report.verified),
                // The padding behind a file's end.
                Ok(_) => attempt.whole(&source),
                Err(_) => {
                    attempt.failed();
                    noticed += 1;
                }
            }
        }
        if major >= 13 {
            assert!(
                noticed >= rounds / 2,
                "{major}: {noticed} of {rounds} changes were noticed"
            );
            let attempt = source.plain("a piece comes twice", data(middle, Action::Duplicate));
            attempt.failed();
            // The manifest itself.
            let faults = if major < 15 {
                vec![
                    Fault::to_client(What::Type(b'H'), 3, Action::Delay(Duration::ZERO)),
                    data(2, flip(offset + 100, 0)),
                ]
            } else {
                after(
                    What::CopyData(b'm'),
                    2,
                    What::CopyData(b'd'),
                    flip(offset + 100, 0),
                )
            };
            let attempt = source.attempt("a byte of the manifest", faults, || {});
            assert!(
                matches!(
                    attempt.failed(),
                    ExtractError::Manifest(_) | ExtractError::Mismatch(_)
                ),
                "{}: {:?}",
                attempt.what,
                attempt.outcome
            );
        }

        // Where the backup begins and ends. `0/2000028`: a digit becomes another. (Type, length, columns, length.)
        let digit = flip(5 + 2 + 4 + 3, 0);
        let starts = source.plain(
            "another start position",
            Fault::to_client(What::Type(b'D'), 2, digit),
        );
        let mut end = vec![Fault::to_client(
            What::Type(b'c'),
            if major < 13 {
                2
            } else if major < 15 {
                3
            } else {
                1
            },
            Action::Delay(Duration::ZERO),
        )];
        end.push(Fault::to_client(What::Type(b'D'), 1, digit));
        let ends = source.attempt("another end position", end, || {});
        for attempt in [starts, ends] {
            if major >= 13 {
                // Or even before, if it ends before it begins.
                assert!(
                    matches!(
                        attempt.failed(),
                        ExtractError::Mismatch(_) | ExtractError::Connection(Error::Protocol { .. })
                    ),
                    "{}: {:?}",
                    attempt.what,
                    attempt.outcome
                );
            } else if attempt.outcome.is_ok() {
                attempt.same_files(&source);
            }
        }
    });
}

#[test]
fn a_compressed_backup_that_breaks_or_changes_is_an_error() {
    let mut source = Source::start(15, Encryption::Clear);
    for method in [
        CompressionMethod::Gzip,
        CompressionMethod::Lz4,
        CompressionMethod::Zstd,
    ] {
        source.compression = Some(ServerCompression::new(method));
        let size = Size::measure(&source);
        let mut chance = Chance(500);
        let data = |nth, action| Fault::to_client(What::CopyData(b'd'), nth, action);
        for _ in 0..if testkit::is_long() { 12 } else { 1 } {
            let nth = 2 + chance.below(size.messages - 20);
            let (byte, bit) = (chance.below(4000), chance.below(8));
            let attempt = source.plain(
                &format!("{method:?}: piece {nth}, bit {bit} of byte {byte}"),
                data(nth, flip(BACKUP_DATA_OFFSET + byte, bit)),
            );
            // Some bits of a format say nothing about the contents.
            attempt.failed_or_whole(&source);
            let attempt = source.plain(
                &format!("{method:?}: piece {nth} comes twice"),
                data(nth, Action::Duplicate),
            );
            attempt.failed();
            let attempt = source.plain(&format!("{method:?}: cut at {nth}"), data(nth, Action::Truncate));
            attempt.lost();
        }
        let stall = data(size.messages / 2, Action::Stall);
        let attempt = source.plain(&format!("{method:?}: a stall"), stall);
        assert!(
            matches!(attempt.lost(), Error::Timeout { .. }),
            "{:?}",
            attempt.outcome
        );
    }
}

#[test]
fn whatever_is_changed_under_encryption_is_an_error() {
    each_major(&[12, 15], |major| {
        let source = Source::start(major, Encryption::Tls);
        let size = Size::measure(&source);
        let mut chance = Chance(u64::from(major) + 300);
        for round in 0..if testkit::is_long() { 20 } else { 5 } {
            // From the answer to the first command to the last: the start of the session is another test's.
            let byte = 20_000 + chance.below(size.bytes - 60_000);
            let action = match round % 5 {
                0 => Action::Truncate,
                1 => Action::Duplicate,
                _ => flip(0, chance.below(8)),
            };
            let fault = Fault::at_byte(Direction::ToClient, byte, action);
            source.plain(&format!("{action:?} at byte {byte}"), fault).lost();
        }
        let attempt = source.attempt("after all", Vec::new(), || {});
        attempt.whole(&source);
    });
}

/// The server is struck while nothing more passes, and what it has sent until then still arrives.
fn struck(source: &Source, what: &str, faults: Vec<Fault>, strike: impl FnOnce(&Cluster) + Send) -> Attempt {
    source.attempt(what, faults, || {
        strike(&source.cluster);
        source.proxy.clear();
    })
}

#[test]
fn a_server_that_is_killed_or_stopped_anywhere_gives_an_error_or_a_whole_backup() {
    each_major(&[12, 17], |major| {
        let source = Source::start(major, Encryption::Clear);
        let size = Size::measure(&source);
        let mut chance = Chance(u64::from(major) + 400);
        for how in [Stop::Kill, Stop::Immediate, Stop::Fast] {
            let stalls = points(major, &size, &mut chance, Action::Stall);
            let last = stalls.len() - 1;
            for (at, (point, faults)) in stalls.into_iter().enumerate() {
                if !testkit::is_long() && ![2, 3, last].contains(&at) {
                    continue;
                }
                let attempt = struck(&source, &format!("{how:?} at {point}"), faults, |cluster| {
                    cluster.stop(how).unwrap();
                });
                // The rest of a backup is more than what is on its way at one moment.
                if at < 3 {
                    attempt.lost();
                }
                attempt.failed_or_whole(&source);
                source.cluster.start().unwrap();
            }
        }
        source.attempt("after all", Vec::new(), || {}).whole(&source);
    });
}

#[test]
fn a_standby_that_is_promoted_anywhere_says_so_or_has_sent_everything() {
    each_major(&[10, 16], |major| {
        let primary = Cluster::builder(major).conf("autovacuum", "off").start().unwrap();
        fill(&primary);
        settle(&primary);
        for at in if testkit::is_long() {
            (0..20).collect()
        } else {
            vec![2, 20]
        } {
            let standby = Cluster::builder(major)
                .conf("autovacuum", "off")
                .standby_of(&primary)
                .unwrap();
            let mut source = Source::of(standby, Encryption::Clear, None);
            source.options = patient();
            let size = Size::measure(&source);
            let nth = (size.messages * at / 20).clamp(1, size.messages - 20);
            let stall = vec![Fault::to_client(What::Type(b'd'), nth, Action::Stall)];
            let attempt = struck(&source, &format!("promotion at piece {nth}"), stall, |standby| {
                standby.promote().unwrap();
                standby.wait_primary(PATIENCE).unwrap();
            });
            match &attempt.outcome {
                Err(_) => {
                    let told = attempt.failed().to_string();
                    assert!(told.contains("promoted during online backup"), "{told}");
                }
                Ok(report) => {
                    assert!(at > 10, "{}", attempt.what);
                    assert_eq!(report.start.timeline, report.end.timeline);
                }
            }
            let after = source.attempt("after the promotion", Vec::new(), || {});
            let report = after.outcome.as_ref().unwrap();
            assert_eq!(report.start.timeline.get(), 2, "{}", after.what);
        }
    });
}
