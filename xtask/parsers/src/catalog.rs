//! Barman's files (`barman-catalog`).

use std::fs;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use barman_catalog::archive::{latest_segment, latest_segments};
use barman_catalog::backup_info::{BackupMode, BackupStatus};
use barman_catalog::python_literal::{self, MAX_DEPTH, Value};
use barman_catalog::tarball::TarReader;
use barman_catalog::xlogdb::{self, CustomMagic, Tag, WalRecord, XlogDb, inspect};
use barman_catalog::{BackupId, BackupInfo, Catalog, Layout, Timestamp, annotations, identity, ids, import};
use barman_wal::{TimelineId, codec};
use sha2::{Digest as _, Sha256};

use crate::input::{Dripping, choice, fresh_directory, reached, text};

fn an_id() -> BackupId {
    "20261121T044724".parse().expect("an id")
}

/// A `backup.info`: written and read again it is the same, whatever can be written.
pub fn backup_info(bytes: &[u8]) {
    let Ok(info) = BackupInfo::parse(an_id(), "main", bytes) else {
        return;
    };
    let _ = (info.label_text(), info.backup_type(), info.fields());
    if let Ok(text) = info.to_text() {
        reached();
        let again = BackupInfo::parse(an_id(), "main", text.as_bytes()).expect("what we write we can read");
        assert_eq!(again.to_text().as_ref(), Ok(&text));
        assert_eq!(again.unknown, info.unknown);
    }
}

/// A Python literal: its canonical form stands for the same value.
pub fn python(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    let Ok(value) = python_literal::parse(text) else {
        return;
    };
    reached();
    assert!(depth(&value) <= MAX_DEPTH + 1, "nested too deep");
    let shown = value.to_string();
    let again = python_literal::parse(&shown).unwrap_or_else(|error| panic!("{shown}: {error}"));
    assert_eq!(again.to_string(), shown);
    if let Value::Str(text) = &value {
        assert_eq!(
            python_literal::parse(&python_literal::str_repr(text)),
            Ok(Value::str(text))
        );
    }
    if let Some(number) = value.as_float() {
        assert!(!python_literal::float_repr(number).is_empty());
    }
}

fn depth(value: &Value) -> usize {
    1 + match value {
        Value::List(items) | Value::Tuple(items) | Value::Set(items) => {
            items.iter().map(depth).max().unwrap_or(0)
        }
        Value::Dict(entries) => entries
            .iter()
            .map(|(key, value)| depth(key).max(depth(value)))
            .max()
            .unwrap_or(0),
        _ => 0,
    }
}

/// A time of `backup.info`, with and without a zone.
pub fn timestamp(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    static ZONE: OnceLock<jiff::tz::TimeZone> = OnceLock::new();
    let zone = ZONE.get_or_init(|| jiff::tz::TimeZone::fixed(jiff::tz::offset(-5)));
    for read in [text.parse::<Timestamp>(), Timestamp::parse_in(text, zone)] {
        let Ok(time) = read else { continue };
        reached();
        let shown = time.to_string();
        assert_eq!(shown.parse::<Timestamp>().map(|time| time.to_string()), Ok(shown));
        let _ = (time.ctime(), time.epoch_seconds());
    }
}

/// Backup ids, names, statuses, and what an argument of the command line selects.
pub fn backup_ids(bytes: &[u8]) {
    let Some(text) = text(bytes) else { return };
    if let Ok(id) = text.parse::<BackupId>() {
        reached();
        assert_eq!(id.to_string(), text);
        let wall = jiff::civil::date(2026, 11, 21).at(4, 47, 24, 0);
        let next = BackupId::next(wall, Some(id));
        assert!(next > id || text == "99999999T999999", "{next} after {id}");
    }
    if ids::check_name(text).is_ok() {
        let mut info = BackupInfo::new(an_id(), "main", None);
        info.backup_name = Some(text.to_owned());
        let written = info.to_text().expect("a name that was found good can be written");
        let read = BackupInfo::parse(an_id(), "main", written.as_bytes()).expect("what we write we can read");
        assert_eq!(read.backup_name.as_deref(), Some(text));
    }
    if let Ok(status) = text.parse::<BackupStatus>() {
        assert_eq!(status.to_string(), text);
    }
    assert_eq!(BackupMode::from(text).as_str(), text);
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    let catalog = CATALOG.get_or_init(|| {
        let other = "20261121T044725".parse().expect("an id");
        let mut named = BackupInfo::new(other, "main", None);
        named.backup_name = Some("weekly".to_owned());
        named.status = BackupStatus::Done;
        Catalog::from_backups("main", [BackupInfo::new(an_id(), "main", None), named])
    });
    let _ = ids::resolve(catalog, text);
}

/// A WAL catalogue: the same in pieces; each record's line gives the record back.
pub fn xlog_db(bytes: &[u8]) {
    let whole = XlogDb::parse(bytes).expect("memory can be read");
    let pieces = XlogDb::parse(Dripping::new(bytes)).expect("memory can be read");
    assert!(whole.iter().eq(pieces.iter()));
    assert_eq!(whole.bad_lines(), pieces.bad_lines());
    assert_eq!(
        (whole.bad_line_count(), whole.torn_line()),
        (pieces.bad_line_count(), pieces.torn_line())
    );
    let lines = bytes.split(|byte| *byte == b'\n').count();
    assert!(whole.len() <= lines);
    for record in whole.iter() {
        reached();
        let line = record.to_string();
        assert_eq!(WalRecord::parse(line.as_bytes()), Ok(record), "{line}");
        assert!(whole.find(&record.name).is_some());
    }
    for word in text(bytes).unwrap_or_default().split_whitespace().take(20) {
        if let Some(tag) = Tag::new(word) {
            assert_eq!(tag.as_str(), word);
        }
    }
    assert!(whole.sorted().is_sorted());
}

/// What the rebuilding of the WAL catalogue makes of the first bytes of an archived file.
pub fn archived_head(bytes: &[u8]) {
    let (length, rest) = choice(bytes, 5);
    let magic = rest.get(..length).unwrap_or_default().to_vec();
    for custom in [
        CustomMagic::None,
        CustomMagic::Bytes(magic),
        CustomMagic::Anything,
    ] {
        let (compression, encryption) = inspect(rest, &custom);
        assert!(compression.is_none() || encryption.is_none());
        for word in [compression, encryption].into_iter().flatten() {
            reached();
            assert!(Tag::new(word).is_some(), "{word}");
        }
    }
}

/// `identity.json` and the annotations of a backup, read from their files.
pub fn small_files(bytes: &[u8]) {
    let _one_at_a_time = lock();
    let home = fresh_directory("small-files");
    let layout = Layout::new("main", &home);
    fs::create_dir_all(layout.meta_directory()).expect("make a directory");
    fs::write(layout.identity(), bytes).expect("write a file");
    if let Ok(Some(found)) = identity::read(&layout) {
        reached();
        identity::write(&layout, &found).expect("write a file");
        assert_eq!(
            identity::read(&layout).expect("what we write we can read"),
            Some(found)
        );
    }
    fs::write(layout.annotation(an_id(), annotations::KEEP), bytes).expect("write a file");
    let keep = annotations::read_keep(&layout, an_id()).expect("it can be read");
    assert!(keep.is_some(), "whatever is in the file, the backup is kept");
    assert_eq!(
        annotations::read(&layout, an_id(), annotations::KEEP)
            .ok()
            .flatten()
            .as_deref(),
        Some(bytes)
    );
}

/// A catalogue whose files and directories have these names, one a line. Nobody's file makes it unreadable.
pub fn catalogue_tree(bytes: &[u8]) {
    let _one_at_a_time = lock();
    let home = fresh_directory("catalogue");
    let layout = Layout::new("main", &home);
    for directory in ["base", "meta", "wals"] {
        fs::create_dir_all(home.join("main").join(directory)).expect("make a directory");
    }
    for line in bytes.split(|byte| *byte == b'\n').take(40) {
        place(&home.join("main"), line);
    }
    let catalog = Catalog::load(&layout).expect("the directories can be listed");
    for backup in catalog.backups() {
        assert!(catalog.get(backup.id).is_some());
    }
    let latest = latest_segments(&layout).expect("the directories can be listed");
    for (timeline, segment) in &latest {
        assert_eq!(latest_segment(&layout, *timeline).ok().flatten(), Some(*segment));
    }
    let _ = latest_segment(&layout, TimelineId::FIRST);
    // There is no xlog.db: it is made of what lies there.
    let Ok(rebuilt) = xlogdb::read(&layout, &CustomMagic::None, None) else {
        return;
    };
    for record in rebuilt.iter() {
        reached();
        let directory = record.name.archive_directory().unwrap_or_default();
        let path = layout
            .wals_directory
            .join(directory)
            .join(record.name.to_string());
        assert!(
            codec::detect_file(&path, None).is_ok_and(|found| found.is_none()),
            "{}",
            path.display()
        );
    }
}

/// An exported backup, whatever it is: imported as a whole or not at all, and never outside. The first line of a text
/// is also tried as the name of an export.
pub fn export_tarball(bytes: &[u8]) {
    if let Some(name) = text(bytes).and_then(|text| text.lines().next())
        && let Ok(export) = import::ExportName::parse(name, "main")
    {
        assert!(name.contains(export.id.as_str()) && name.contains(&export.checksum));
    }
    let mut members = TarReader::new(Dripping::new(bytes));
    while let Ok(Some(member)) = members.next() {
        assert!(member.name.len() + member.link.len() <= 4 << 20);
    }

    let _one_at_a_time = lock();
    let place = fresh_directory("import");
    let layout = Layout::new("main", place.join("home"));
    for directory in ["base", "meta", "wals"] {
        fs::create_dir_all(layout.backup_directory.join(directory)).expect("make a directory");
    }
    let tarball = place.join("tarball");
    fs::write(&tarball, bytes).expect("write the file");
    let _ = import::is_tar(&tarball);
    let checksum: String = Sha256::digest(bytes)
        .iter()
        .take(4)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = import::ExportName {
        id: an_id(),
        stamp: "20261121T044724".to_owned(),
        checksum,
    };
    let own = identity::Identity {
        systemid: Some("7".to_owned()),
        version: Some("15".to_owned()),
    };
    let result = import::import(
        &layout,
        import::ImportOptions {
            tarball: &tarball,
            name: &name,
            identity: &own,
            custom: &CustomMagic::None,
            threads: 1,
            cancel: None,
            done: &|_| {},
        },
    );
    if result.is_ok() {
        reached();
    }
    let catalog = Catalog::load(&layout).expect("the directories can be listed");
    assert_eq!(catalog.backups().count(), usize::from(result.is_ok()));
    let left = fs::read_dir(layout.backup_directory.join("base"))
        .expect("it is there")
        .count();
    assert_eq!(left, usize::from(result.is_ok()));
    let outside: Vec<_> = fs::read_dir(&place)
        .expect("it is there")
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name != "home" && name != "tarball")
        .collect();
    assert!(outside.is_empty(), "{outside:?}");
}

/// Makes the file of this name, or the directory when it ends in `/`; nothing when the name leads out.
fn place(root: &Path, name: &[u8]) {
    let Some(name) = text(name) else { return };
    let parts: Vec<&str> = name.split('/').filter(|part| !part.is_empty()).collect();
    let odd = |part: &&str| matches!(*part, "." | "..") || part.contains('\0') || part.len() > 200;
    if parts.is_empty() || parts.len() > 6 || parts.iter().any(odd) {
        return;
    }
    let path = root.join(parts.join("/"));
    if name.ends_with('/') {
        let _ = fs::create_dir_all(path);
    } else {
        let _ = path.parent().map(fs::create_dir_all);
        let _ = fs::write(path, "status=DONE\nbegin_wal=000000010000000000000002\n");
    }
}

fn lock() -> std::sync::MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}
