//! What the compared seeds contain: each kind of thing that a catalogue can have, and how often. A change of the generator that
//! loses one would leave tests that hold and compare nothing.

use std::collections::{BTreeMap, BTreeSet};

use testkit::catalogue::blueprint::{
    Backup, BackupMode, Codec, DataForm, InfoPlace, Server, Status, XlogDbForm,
};
use testkit::catalogue::wal_name::WalName;

use crate::catalogue;

/// Kinds, and in how many of the catalogues each is.
type Kinds = BTreeMap<String, usize>;

#[test]
fn the_seeds_have_every_kind_of_thing() {
    let mut kinds = Kinds::new();
    for seed in 0..200 {
        for server in catalogue(seed).1.servers {
            for kind in of_server(&server) {
                *kinds.entry(kind).or_default() += 1;
            }
        }
    }
    let rare: Vec<(String, usize)> = expected()
        .into_iter()
        .map(|kind| {
            let found = kinds.get(&kind).copied().unwrap_or(0);
            (kind, found)
        })
        .filter(|(_, found)| *found < 2)
        .collect();
    assert!(rare.is_empty(), "in fewer than 2 of 200: {rare:?}\n{kinds:#?}");
}

/// What there must be, by the names that [`of_server`] gives.
fn expected() -> Vec<String> {
    let statuses = [
        Status::Empty,
        Status::Started,
        Status::Syncing,
        Status::WaitingForWals,
        Status::Failed,
        Status::Done,
    ];
    let modes = [
        BackupMode::Postgres,
        BackupMode::RsyncConcurrent,
        BackupMode::RsyncExclusive,
        BackupMode::Passive,
    ];
    let codecs = Codec::ALL.map(|codec| format!("WAL {}", codec.name()));
    let majors = (10..=18).map(|major| format!("PostgreSQL {major}"));
    let fixed = [
        "a chain of 3 incremental backups",
        "a backup with 2 children",
        "an incremental backup that its parent does not know",
        "keep full",
        "keep standalone",
        "a keep in its old place",
        "2 timelines",
        "4 timelines",
        "a history file that is not there",
        "a timeline that begins at the first one again",
        "a partial segment",
        "a backup label",
        "a gap",
        "a gap in a whole backup",
        "more than 256 segments between two backups",
        "encrypted WAL",
        "WAL that is not compressed",
        "changed compression of WAL",
        "lines of 3 columns",
        "lines of 4 columns",
        "tablespaces",
        "a tablespace in a backup of Barman 1",
        "a compressed backup",
        "an encrypted backup",
        "a backup with a name",
        "two backups with one name",
        "backup.info in base",
        "backup.info in both places",
        "no xlog.db",
        "xlog.db of before 3.13",
        "something in incoming",
        "something in streaming",
        "segments of 1 MiB",
        "segments of 16 MiB",
        "segments of 64 MiB",
        "segments of 1024 MiB",
        "a backup in the future",
        "redundancy",
        "window",
        "no policy",
        "minimum redundancy",
        "ids that do not rise with time",
        "PostgreSQL 9.6",
    ];
    let statuses = statuses.map(|status| status.name().to_owned());
    let modes = modes.map(|mode| mode.name().to_owned());
    let fixed = fixed.map(str::to_owned);
    statuses
        .into_iter()
        .chain(modes)
        .chain(codecs)
        .chain(majors)
        .chain(fixed)
        .collect()
}

fn of_server(server: &Server) -> BTreeSet<String> {
    let mut kinds = BTreeSet::new();
    let mut add = |kind: &str, is_there: bool| {
        if is_there {
            kinds.insert(kind.to_owned());
        }
    };
    for backup in &server.backups {
        of_backup(server, backup, &mut add);
    }
    of_archive(server, &mut add);
    let names: Vec<&str> = server.backups.iter().filter_map(|b| b.name.as_deref()).collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    add("two backups with one name", different.len() < names.len());
    let begins = |b: &Backup| b.begin.as_ref().map(|p| p.time.micros);
    add(
        "ids that do not rise with time",
        server.backups.windows(2).any(|pair| {
            pair[0].id > pair[1].id && begins(&pair[0]).is_some() && begins(&pair[0]) < begins(&pair[1])
        }),
    );
    let policy = server
        .option("retention_policy")
        .unwrap_or_default()
        .to_uppercase();
    add("redundancy", policy.starts_with("REDUNDANCY"));
    add("window", policy.starts_with("RECOVERY WINDOW"));
    add("no policy", policy.is_empty());
    let minimum = server.option("minimum_redundancy").unwrap_or("0");
    add("minimum redundancy", minimum != "0");
    let version = match server.version / 10_000 {
        9 => "PostgreSQL 9.6".to_owned(),
        major => format!("PostgreSQL {major}"),
    };
    add(&version, true);
    kinds
}

fn of_backup(server: &Server, backup: &Backup, add: &mut impl FnMut(&str, bool)) {
    add(backup.status.name(), true);
    add(backup.mode.name(), true);
    let parent = |b: &Backup| b.parent.as_deref().and_then(|id| server.backup(id));
    let ancestors = std::iter::successors(parent(backup), |b| parent(b)).count();
    add("a chain of 3 incremental backups", ancestors >= 3);
    add("a backup with 2 children", backup.children.len() >= 2);
    add(
        "an incremental backup that its parent does not know",
        crate::is_unknown_to_its_parent(server, backup),
    );
    if let Some(keep) = &backup.keep {
        add(&format!("keep {keep}"), true);
        add("a keep in its old place", backup.old_annotations);
    }
    add("tablespaces", !backup.tablespaces.is_empty());
    add(
        "a tablespace in a backup of Barman 1",
        !backup.tablespaces.is_empty() && backup.data == DataForm::Version1,
    );
    add("a compressed backup", backup.compression.is_some());
    add("an encrypted backup", backup.encryption.is_some());
    add("a backup with a name", backup.name.is_some());
    add("backup.info in base", backup.place == InfoPlace::Base);
    add("backup.info in both places", backup.place == InfoPlace::Both);
    let end = backup.end.as_ref().map(|end| end.time.micros / 1_000_000);
    add(
        "a backup in the future",
        end.is_some_and(|end| end > crate::pair::now()),
    );
}

fn of_archive(server: &Server, add: &mut impl FnMut(&str, bool)) {
    let mut segments: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    let mut histories = BTreeSet::new();
    let mut codecs = BTreeSet::new();
    for wal in &server.wals {
        match wal.name {
            WalName::Segment { timeline, number } => {
                segments.entry(timeline).or_default().insert(number);
                codecs.insert(wal.compression.map_or("None", Codec::name));
            }
            WalName::Partial { .. } => add("a partial segment", true),
            WalName::Label { .. } => add("a backup label", true),
            WalName::History { timeline } => {
                histories.insert(timeline);
            }
        }
        match wal.compression {
            Some(codec) => add(&format!("WAL {}", codec.name()), true),
            None => add("WAL that is not compressed", true),
        }
        add("encrypted WAL", wal.encrypted);
        add("lines of 3 columns", wal.columns == 3);
        add("lines of 4 columns", wal.columns == 4);
    }
    add("changed compression of WAL", codecs.len() > 1);
    add("2 timelines", server.histories.len() == 1);
    add("4 timelines", server.histories.len() >= 3);
    add(
        "a history file that is not there",
        server.histories.iter().any(|h| !histories.contains(&h.timeline)),
    );
    add(
        "a timeline that begins at the first one again",
        server
            .histories
            .iter()
            .any(|h| h.timeline > 2 && h.text.lines().count() == 1),
    );
    add(
        "a gap",
        segments.values().any(|numbers| {
            let span = numbers
                .last()
                .zip(numbers.first())
                .map(|(last, first)| last - first + 1);
            span.is_some_and(|span| span > numbers.len() as u64)
        }),
    );
    add(
        "a gap in a whole backup",
        server
            .backups
            .iter()
            .any(|backup| has_gap(server, &segments, backup)),
    );
    let begins: Vec<u64> = server
        .backups
        .iter()
        .filter_map(|b| Some(b.begin.as_ref()?.lsn / server.geometry.segment_size))
        .collect();
    add(
        "more than 256 segments between two backups",
        begins.windows(2).any(|pair| pair[1] > pair[0] + 256),
    );
    add("no xlog.db", server.xlogdb == XlogDbForm::Missing);
    add(
        "xlog.db of before 3.13",
        server.xlogdb == XlogDbForm::BeforeServerName,
    );
    add("something in incoming", !server.incoming.is_empty());
    add("something in streaming", !server.streaming.is_empty());
    let mib = server.geometry.segment_size >> 20;
    add(&format!("segments of {mib} MiB"), true);
}

/// Whether a backup that is DONE lacks a segment that it cannot do without.
fn has_gap(server: &Server, segments: &BTreeMap<u32, BTreeSet<u64>>, backup: &Backup) -> bool {
    let (Some(timeline), Some(begin), Some(end)) = (backup.timeline, &backup.begin, &backup.end) else {
        return false;
    };
    let size = server.geometry.segment_size;
    let there = segments.get(&timeline);
    let is_there = |number: u64| there.is_some_and(|numbers| numbers.contains(&number));
    backup.status == Status::Done && (begin.lsn / size..=(end.lsn - 1) / size).any(|number| !is_there(number))
}
