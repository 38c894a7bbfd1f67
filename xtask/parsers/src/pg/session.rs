//! Whole conversations: the messages of sessions, WAL streams and base backups.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use barman_pg::basebackup::{
    CompressionMethod, ExtractTargets, ManifestMode, OwnManifest, ServerCompression, extract,
};
use barman_pg::sql::{ClientType, streaming_status};
use barman_pg::{BaseBackupOptions, Error, ReplicationClient, SqlClient, WalEvent};
use barman_wal::{Lsn, TimelineId};

use super::server::{Turn, play, turns};
use crate::input::{choice, fresh_directory, reached};

const VERSIONS: [&str; 4] = ["10.23", "14.23", "15.18 (Debian 15.18-0+deb12u1)", "18.4"];

/// A replication session from its first message on.
pub fn replication_startup(bytes: &[u8]) {
    play(turns(bytes), |info, options| {
        let info = info
            .clone()
            .with("password", "secret")
            .expect("a keyword")
            .streaming();
        if let Ok(client) = ReplicationClient::connect(&info, options) {
            reached();
            let _ = (client.version(), client.parameter("server_version"));
        }
    });
}

/// Answers to the commands of a replication session.
pub fn replication_answers(bytes: &[u8]) {
    let (version, rest) = choice(bytes, VERSIONS.len());
    greeted(version, rest, |mut client| {
        for _ in 0..8 {
            let outcomes = [
                client.identify_system().map(drop),
                client.wal_segment_size().map(drop),
                client.read_slot("barman").map(drop),
                client.timeline_history(TimelineId::FIRST).map(drop),
                client.show("data_directory_mode").map(drop),
                client.drop_slot("barman"),
            ];
            if outcomes.iter().any(Result::is_ok) {
                reached();
            }
            let _ = streaming_status(Ok(&mut client));
            if outcomes
                .iter()
                .any(|outcome| matches!(outcome, Err(Error::Closed { .. } | Error::Protocol { .. })))
            {
                return;
            }
        }
    });
}

/// Connects to a server that greets as this version does and then says what the input says.
fn greeted(version: usize, bytes: &[u8], client: impl FnOnce(ReplicationClient)) {
    let mut script = vec![Turn::greeting(VERSIONS.get(version).copied().unwrap_or("17.10"))];
    script.extend(turns(bytes));
    converse(script, client);
}

/// A WAL stream: the pieces follow each other without gaps.
pub fn wal_stream(bytes: &[u8]) {
    let (version, rest) = choice(bytes, VERSIONS.len());
    greeted(version, rest, |mut client| {
        let begin = Lsn(0x100_0000);
        let Ok(mut stream) = client.start_physical(Some("barman"), begin, TimelineId::FIRST) else {
            return;
        };
        let mut next = begin;
        for turn in 0..2000 {
            match stream.next(Duration::from_secs(5)) {
                Ok(WalEvent::Data { start, bytes, .. }) => {
                    reached();
                    assert_eq!(start, next, "a gap");
                    assert!(!bytes.is_empty());
                    next = start
                        .checked_add(bytes.len() as u64)
                        .expect("within the address space");
                }
                Ok(WalEvent::KeepAlive { .. } | WalEvent::Idle) => {}
                Ok(WalEvent::EndOfTimeline { .. }) | Err(_) => break,
            }
            assert_eq!(stream.received(), next);
            if turn % 64 == 3 && stream.send_status(next, next, next, false).is_err() {
                break;
            }
        }
        if stream.stop(Duration::from_secs(1)).is_ok() {
            let _ = client.identify_system();
        }
    });
}

/// A base backup, message by message; the files land in a directory and nowhere else.
pub fn base_backup_messages(bytes: &[u8]) {
    let (begin, rest) = choice(bytes, 256);
    let version = begin % VERSIONS.len();
    let script = identified(version, turns(rest));
    // Half of the inputs are archives for a caller that stores them as they are.
    // Of either half, half have no manifest.
    let manifest = match begin % 128 < 64 {
        true => BaseBackupOptions::default().manifest,
        false => ManifestMode::Without,
    };
    converse(script, |client| match begin < 128 {
        true => take_backup(client, None, manifest),
        false => read_archives(client, manifest),
    });
}

/// The archives by their names, each to its end.
fn read_archives(mut client: ReplicationClient, manifest: ManifestMode) {
    let options = BaseBackupOptions {
        manifest,
        ..BaseBackupOptions::default()
    };
    let Ok(backup) = client.base_backup(&options) else {
        return;
    };
    let mut archives = backup.archives();
    let mut names = BTreeSet::new();
    for _ in 0..1000 {
        let Ok(Some(mut archive)) = archives.next_archive() else {
            break;
        };
        let name = archive.name();
        assert!(!name.contains('/'), "{name} is no name of a file");
        assert!(names.insert(name), "an archive comes twice");
        let _ = archive.location();
        if std::io::copy(&mut archive, &mut std::io::sink()).is_err() {
            return;
        }
    }
    let _ = archives.finish();
}

/// What comes before the answers to `BASE_BACKUP` and `UPLOAD_MANIFEST`.
fn identified(version: usize, answers: Vec<Turn>) -> Vec<Turn> {
    let mut system = Turn::of(b'T', &[0, 0]);
    let columns = [Some("7000000000000000001"), Some("1"), Some("0/2000000"), None];
    system.add(b'D', &row(&columns));
    system.add(b'C', b"IDENTIFY_SYSTEM\0");
    system.add(b'Z', b"I");
    let mut script = vec![Turn::greeting(VERSIONS[version]), system];
    script.extend(answers);
    script
}

fn converse(script: Vec<Turn>, client: impl FnOnce(ReplicationClient)) {
    play(script, |info, options| {
        client(ReplicationClient::connect(&info.clone().streaming(), options).expect("a good greeting"));
    });
}

/// What a server says while it is sent a manifest, and to the incremental backup after that.
pub fn manifest_upload(bytes: &[u8]) {
    let (length, rest) = choice(bytes, 4);
    let mut script = vec![Turn::greeting("17.10")];
    script.extend(turns(rest));
    converse(script, |mut client| {
        let manifest = vec![b'x'; [0, 10, 70_000, 200_000][length]];
        if let Ok(backup) = client.incremental_backup(&BaseBackupOptions::default(), &mut manifest.as_slice())
        {
            reached();
            let _ = (backup.start(), backup.tablespaces().len());
        }
        let _ = client.identify_system();
    });
}

/// A base backup whose archive is the input.
pub fn base_backup_archive(bytes: &[u8]) {
    let (version, archive) = choice(bytes, VERSIONS.len());
    archived(version, archive, None);
}

/// A base backup whose archive is the input, as the server has compressed it.
pub fn base_backup_compressed(bytes: &[u8]) {
    let (method, archive) = choice(bytes, 3);
    let method = [
        CompressionMethod::Gzip,
        CompressionMethod::Lz4,
        CompressionMethod::Zstd,
    ][method];
    archived(3, archive, Some(method));
}

fn archived(version: usize, archive: &[u8], method: Option<CompressionMethod>) {
    let grouped = version >= 2;
    let mut answer = Turn::default();
    position(&mut answer, "0/2000028");
    answer.add(b'T', &[0, 0]);
    // The tablespace's archive is what the input has behind two bytes.
    let end = archive.windows(2).position(|pair| pair == [0xFE, 0xFE]);
    let (base, space) = end.map_or((archive, None), |end| {
        (&archive[..end], Some(&archive[end + 2..]))
    });
    if space.is_some() {
        answer.add(b'D', &row(&[Some("16400"), Some("/srv/space"), Some("1")]));
    }
    answer.add(b'D', &row(&[None, None, None]));
    answer.add(b'C', b"SELECT\0");
    let data = |answer: &mut Turn, part: &[u8]| match grouped {
        true => answer.add(b'd', &[b"d", part].concat()),
        false => answer.add(b'd', part),
    };
    if grouped {
        answer.add(b'H', &[0, 0, 0]);
    }
    let suffix = method.map_or("", CompressionMethod::suffix);
    let space_name = format!("16400.tar{suffix}\0/srv/space\0");
    let base_name = format!("base.tar{suffix}\0\0");
    let space = space.map(|space| (space_name, space));
    for (name, content) in space.into_iter().chain([(base_name, base)]) {
        match grouped {
            true => answer.add(b'd', &[b"n", name.as_bytes()].concat()),
            false => answer.add(b'H', &[0, 0, 0]),
        }
        for part in content.chunks(1000) {
            data(&mut answer, part);
        }
        if !grouped {
            answer.add(b'c', b"");
        }
    }
    if grouped {
        answer.add(b'c', b"");
    }
    position(&mut answer, "0/2000100");
    answer.add(b'C', b"BASE_BACKUP\0");
    answer.add(b'Z', b"I");
    // A server that can send a manifest must, if it is asked.
    converse(identified(version, vec![answer]), |client| {
        let manifest = match client.version().at_least(13) {
            true => ManifestMode::Without,
            false => BaseBackupOptions::default().manifest,
        };
        take_backup(client, method, manifest);
    });
}

fn position(answer: &mut Turn, lsn: &str) {
    answer.add(b'T', &[0, 0]);
    answer.add(b'D', &row(&[Some(lsn), Some("1")]));
    answer.add(b'C', b"SELECT\0");
}

fn row(columns: &[Option<&str>]) -> Vec<u8> {
    let mut body = u16::try_from(columns.len()).unwrap_or(0).to_be_bytes().to_vec();
    for column in columns {
        let length = column.map_or(-1, |text| i32::try_from(text.len()).unwrap_or(0));
        body.extend(length.to_be_bytes());
        body.extend(column.unwrap_or_default().as_bytes());
    }
    body
}

fn take_backup(mut client: ReplicationClient, method: Option<CompressionMethod>, manifest: ManifestMode) {
    let options = BaseBackupOptions {
        manifest,
        compression: method.map(ServerCompression::new),
        ..BaseBackupOptions::default()
    };
    let Ok(backup) = client.base_backup(&options) else {
        return;
    };
    let _ = (backup.start(), backup.estimated_kb());
    let place = fresh_directory("backup");
    let targets = ExtractTargets {
        data: place.join("data"),
        tablespaces: BTreeMap::from([(16400, place.join("space"))]),
        own_manifest: OwnManifest::InData,
    };
    for directory in [&targets.data, &place.join("space")] {
        fs::create_dir(directory).expect("make a directory");
    }
    let outcome = extract(backup, &targets, &|_| {});
    if let Ok(report) = outcome {
        if report.files > 0 {
            reached();
        }
        assert!(report.files < 100_000);
    }
    let mut beside: Vec<_> = fs::read_dir(&place)
        .expect("list a directory")
        .flatten()
        .map(|e| e.file_name())
        .collect();
    beside.sort();
    assert_eq!(beside, ["data", "space"], "files beside the backup");
    assert!(!Path::new("/evil").exists(), "a file outside of the backup");
}

/// The standard connection: what the driver and the guard before it make of a server's messages, and what the typed
/// questions make of the rows.
pub fn sql_session(bytes: &[u8]) {
    let (begin, rest) = choice(bytes, 256);
    // Half of the inputs are what follows a good greeting and set-up.
    let mut script = Vec::new();
    if begin < 128 {
        script.push(Turn::greeting(VERSIONS[begin % VERSIONS.len()]));
        let mut set_up = Turn::of(b'C', b"SELECT 1\0");
        set_up.add(b'Z', b"I");
        script.push(set_up);
    }
    script.extend(turns(rest));
    play(script, |info, options| {
        let info = info.clone().with("password", "secret").expect("a keyword");
        let Ok(mut client) = SqlClient::connect(&info, options) else {
            return;
        };
        for number in 0..48 {
            if client.is_lost() {
                return;
            }
            ask(&mut client, (begin + number) % 24);
        }
    });
}

/// One of the questions.
fn ask(client: &mut SqlClient, number: usize) {
    let outcome = match number {
        0 => client.is_in_recovery().map(drop),
        1 => client.current_position().map(drop),
        2 => client.current_timeline().map(drop),
        3 => client.current_lsn().map(drop),
        4 => client.switch_wal().map(drop),
        5 => client.create_restore_point("barman").map(drop),
        6 => client.checkpoint(),
        7 => client.privileges().map(drop),
        8 => client.replication_slot("barman").map(drop),
        9 => client.replication_stats(ClientType::Any).map(drop),
        10 => client.setting("port").map(drop),
        11 => client.version_text().map(drop),
        12 => client.systemid().map(drop),
        13 => client.segment_size().map(drop),
        14 => client.archive_timeout().map(drop),
        15 => client.current_size().map(drop),
        16 => client.tablespaces().map(drop),
        17 => client.configuration_files().map(drop),
        18 => client.synchronous_standby_names().map(drop),
        19 => client.archiver_stats().map(drop),
        20 => {
            let _ = client.fetch_remote_status(Some("barman"));
            Ok(())
        }
        21 => client.stop_concurrent_backup().map(drop),
        22 => client.heartbeat(),
        _ => client.rows("SELECT 1", "asking").map(|rows| {
            for row in rows {
                let _ = (row.text(0).map(str::len), row.columns().count());
            }
        }),
    };
    if outcome.is_ok() && !matches!(number, 20 | 22) {
        reached();
    }
}
