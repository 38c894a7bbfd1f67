//! Archives that are not what an export writes, imported: what is in them decides, not what they are called. Exports
//! that are stopped.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed expectation is a failed test"
)]

use barman_catalog::backup_info::{self, BackupInfo};
use barman_catalog::export::{self, ExportError, ExportOptions};
use barman_catalog::identity::Identity;
use barman_catalog::import::{self, ExportName, ImportError, ImportOptions, Imported};
use barman_catalog::tarball::{Compression, Entry, TarWriter};
use barman_catalog::xlogdb::{CustomMagic, WalRecord};
use barman_catalog::{BackupId, BackupStatus, Catalog, Keep, Layout};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const WAL: &str = "000000010000000000000003";

fn id(day: u8) -> BackupId {
    format!("202601{day:02}T000000").parse().unwrap()
}

fn whole(day: u8) -> BackupInfo {
    let mut info = BackupInfo::new(id(day), "s", Some("postgres".into()));
    info.status = BackupStatus::Done;
    info.begin_wal = WAL.parse().ok();
    info.end_wal = info.begin_wal;
    info
}

/// Imports an archive with this metadata and these files in `backup/`.
fn imported(layout: &Layout, info: &BackupInfo, files: &[String]) -> Result<Imported, ImportError> {
    let identity = Identity {
        systemid: Some("7".to_owned()),
        version: Some("18".to_owned()),
    };
    let mut tar = TarWriter::new(Vec::new());
    let mut file = |name: &str, content: &str| {
        let entry = Entry::made_up(name.as_bytes(), content.len() as u64);
        tar.append(&entry, content.as_bytes(), &mut [0; 512]).unwrap();
    };
    file("identity.json", &identity.to_json());
    file("backup.info", &info.to_text().unwrap());
    for name in files {
        file(&format!("backup/{name}"), "x");
    }
    file(&format!("wals/0000000100000000/{WAL}"), "wal");
    file("xlog.db", &format!("{WAL}\t3\t1.0\tNone\tNone\n"));
    import_of(layout, &identity, info.id, tar.finish().unwrap())
}

/// Imports a file with this content.
fn import_of(
    layout: &Layout,
    identity: &Identity,
    id: BackupId,
    content: Vec<u8>,
) -> Result<Imported, ImportError> {
    let digest: String = Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = format!("backup-export-s-{id}-20260201T000000-{}.tar", &digest[..8]);
    let path = layout.lock_directory.join(&name);
    fs::write(&path, content).unwrap();
    let options = ImportOptions {
        tarball: &path,
        name: &ExportName::parse(&name, "s").unwrap(),
        identity,
        custom: &CustomMagic::None,
        threads: 1,
        cancel: None,
        done: &|_| {},
    };
    import::import(layout, options)
}

fn home() -> (tempfile::TempDir, Layout) {
    let home = tempfile::tempdir().unwrap();
    let layout = Layout::new("s", home.path());
    fs::create_dir_all(&layout.basebackups_directory).unwrap();
    (home, layout)
}

fn plain() -> Vec<String> {
    vec!["data/PG_VERSION".to_owned()]
}

#[test]
fn only_whole_backups_are_taken_in() {
    use BackupStatus::{Done, Empty, Failed, Started, Syncing, WaitingForWals};
    for status in [Empty, Started, WaitingForWals, Failed, Syncing, Done] {
        let (_home, layout) = home();
        let mut info = whole(1);
        info.status = status;
        let result = imported(&layout, &info, &plain());
        let refused = matches!(&result, Err(ImportError::Status { status: found, .. }) if *found == status);
        assert_eq!(refused, status != Done, "{result:?}");
        assert_eq!(Catalog::load(&layout).unwrap().get(id(1)).is_some(), !refused);
        let left = fs::read_dir(&layout.basebackups_directory).unwrap().count();
        assert_eq!(left, usize::from(!refused));
    }
}

/// Barman deletes no backup that names a child which is not there.
#[test]
fn only_children_that_are_there_are_listed() {
    let (_home, layout) = home();
    let mut orphan = whole(2);
    orphan.parent_backup_id = Some(id(1));
    backup_info::save(&layout, &orphan).unwrap();
    // Of the same id as a child, and none.
    backup_info::save(&layout, &whole(3)).unwrap();
    let mut info = whole(1);
    info.children_backup_ids = vec![id(2), id(3), id(4)];
    imported(&layout, &info, &plain()).unwrap();
    let catalog = Catalog::load(&layout).unwrap();
    assert_eq!(catalog.get(id(1)).unwrap().children_backup_ids, [id(2)]);
}

/// Neither this program nor Barman could remove them again: for each directory on the way one is open.
#[test]
fn directories_lie_only_so_deep_in_each_other() {
    for (deep, taken) in [(200, true), (300, false), (1500, false)] {
        let (_home, layout) = home();
        let file = format!("{}x", "d/".repeat(deep));
        let result = imported(&layout, &whole(1), &[plain(), vec![file]].concat());
        assert_eq!(result.is_ok(), taken, "{deep}: {result:?}");
        assert_eq!(layout.base_directory(id(1)).exists(), taken);
    }
}

/// Not only between two files: one may be a gigabyte.
#[test]
fn an_export_stops_in_the_middle_of_a_file() {
    const SIZE: u64 = 64 << 20;
    let (home, layout) = home();
    backup_info::save(&layout, &whole(1)).unwrap();
    let data = layout.data_directory(id(1));
    fs::create_dir_all(&data).unwrap();
    let big = fs::File::create(data.join("big")).unwrap();
    big.set_len(SIZE).unwrap();
    let out = home.path().join("out");
    fs::create_dir(&out).unwrap();
    let (stop, read) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = export::export(
        &layout,
        &whole(1),
        &[],
        ExportOptions {
            directory: &out,
            stamp: "20260201T000000",
            compression: None,
            level: None,
            identity: &Identity::default(),
            about: "{}",
        },
        Some(&stop),
        &|bytes| {
            read.fetch_add(bytes, Ordering::Relaxed);
            stop.store(true, Ordering::Relaxed);
        },
    );
    assert!(matches!(result, Err(ExportError::Interrupted)), "{result:?}");
    assert!(read.load(Ordering::Relaxed) < SIZE / 8);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
}

/// And one that lost its end is told as such.
#[test]
fn tar_reads_compressed_exports_and_so_do_we() {
    let (home, layout) = home();
    let mut info = whole(1);
    info.size = Some(3 << 20);
    backup_info::save(&layout, &info).unwrap();
    let data = layout.data_directory(id(1));
    fs::create_dir_all(&data).unwrap();
    let big: Vec<u8> = (0..3_u32 << 20)
        .map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3])
        .collect();
    fs::write(data.join("big"), &big).unwrap();
    let path = layout.wals_directory.join("0000000100000000");
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join(WAL), "wal").unwrap();
    let record = WalRecord::parse(format!("{WAL}\t3\t1.0\tNone\tNone").as_bytes()).unwrap();
    let identity = Identity {
        systemid: Some("7".to_owned()),
        version: None,
    };
    for (compression, levels) in [
        (None, &[None][..]),
        (Some(Compression::Gzip), &[None, Some(1)]),
        (Some(Compression::Bzip2), &[None]),
        (Some(Compression::Xz), &[Some(0)]),
    ] {
        for level in levels {
            let out = tempfile::tempdir_in(home.path()).unwrap();
            let options = ExportOptions {
                directory: out.path(),
                stamp: "20260201T000000",
                compression,
                level: *level,
                identity: &identity,
                about: "{}",
            };
            let exported = export::export(
                &layout,
                &info,
                std::slice::from_ref(&record),
                options,
                None,
                &|_| {},
            )
            .unwrap();
            let listed = Command::new("tar")
                .arg("-tf")
                .arg(&exported.path)
                .output()
                .unwrap();
            let names = String::from_utf8(listed.stdout).unwrap();
            assert!(listed.status.success(), "{compression:?}");
            assert!(
                names.contains("backup/data/big\n") && names.ends_with("xlog.db\n"),
                "{names}"
            );
            let content = fs::read(&exported.path).unwrap();
            let (_other_home, other) = self::home();
            for length in [content.len() / 2, content.len() - 1] {
                let result = import_of(&other, &identity, id(1), content[..length].to_vec());
                let told = result
                    .as_ref()
                    .map_or_else(ToString::to_string, |_| String::new());
                let expected = match compression {
                    // The last byte of an archive is filling.
                    None if length == content.len() - 1 => "",
                    None => "unexpected end of data",
                    Some(Compression::Gzip) => "gzip data is cut off",
                    Some(Compression::Bzip2) => "bzip2 data is cut off",
                    Some(Compression::Xz) => "xz data is cut off",
                };
                assert!(
                    told.ends_with(expected) && told.is_empty() == expected.is_empty(),
                    "{compression:?} {length}: {told}"
                );
            }
            if compression.is_some() {
                import_of(&other, &identity, id(1), content).unwrap();
            }
            assert!(fs::read(other.data_directory(id(1)).join("big")).unwrap() == big);
        }
    }
}

/// Kept alone, so that no policy takes it before its user has said anything of it; and what is archived stays as it is.
#[test]
fn an_imported_backup_is_kept_and_the_archive_is_not_contradicted() {
    for (archived, taken) in [(None, true), (Some("wal"), true), (Some("law"), false)] {
        let (_home, layout) = home();
        let path = layout.wals_directory.join("0000000100000000").join(WAL);
        if let Some(content) = archived {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::write(layout.xlogdb(), "").unwrap();
        }
        let result = imported(&layout, &whole(1), &plain());
        assert_eq!(
            matches!(result, Err(ImportError::Conflict { .. })),
            !taken,
            "{result:?}"
        );
        let keep = Catalog::load(&layout).unwrap().keep(id(1));
        assert_eq!(keep, taken.then_some(Keep::Standalone));
        assert_eq!(fs::read_to_string(path).unwrap(), archived.unwrap_or("wal"));
    }
}
