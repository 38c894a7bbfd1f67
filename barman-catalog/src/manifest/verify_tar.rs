//! Backups in tar format: the archives are read as streams, one thread each, and their members compared with the
//! manifest. Which compressions can be read is `barman_wal::codec`'s affair.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufReader, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use barman_wal::codec::{self, Algorithm, CodecError, Decoder};
use barman_wal::control::CONTROL_FILE_SIZE;
use barman_wal::durable;
use barman_wal::manifest::Hasher;

use super::index::{Index, is_ignored};
use super::problem::MemberProblem;
use super::verify::{CONTROL, control_content};
use super::{BUFFER, Problem, Run, Verdict, VerifyError};
use crate::tarball::{Kind, Member, TarReader};

/// An archive of the backup.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Archive {
    name: String,
    /// The tablespace; `None` is the data directory.
    tablespace: Option<u32>,
    compression: Algorithm,
}

/// What a file of a backup in tar format is, by its name; `None`: it has no place there. `Some(None)`: WAL, which is
/// not looked at.
fn classify(name: &str) -> Option<Option<Archive>> {
    let (stem, rest) = name.split_once('.')?;
    let compression = match rest {
        "tar" => Algorithm::None,
        "tar.gz" | "tgz" => Algorithm::Gzip,
        "tar.lz4" => Algorithm::Lz4,
        "tar.zst" => Algorithm::Zstd,
        _ => return None,
    };
    let tablespace = match stem {
        "pg_wal" => return Some(None),
        "base" => None,
        oid if oid.bytes().all(|b| b.is_ascii_digit()) => Some(oid.parse().ok().filter(|oid| *oid > 0)?),
        _ => return None,
    };
    Some(Some(Archive {
        name: name.to_owned(),
        tablespace,
        compression,
    }))
}

pub(super) fn verify(
    data: &Path,
    index: &Index,
    verdict: &mut Verdict,
    run: Run<'_>,
) -> Result<(), VerifyError> {
    let unreadable = |source| VerifyError::Directory {
        path: data.to_path_buf(),
        source,
    };
    let mut archives = Vec::new();
    for entry in fs::read_dir(data).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = PathBuf::from(entry.file_name());
        if is_ignored(&name) {
            continue;
        }
        match fs::metadata(entry.path()) {
            Ok(metadata) if metadata.is_file() => match name.to_str().and_then(classify) {
                Some(Some(archive)) => archives.push((metadata.len(), archive)),
                Some(None) => {}
                None => verdict.add(Problem::NotAnArchive(name)),
            },
            Ok(_) => verdict.add(Problem::Special(name)),
            Err(source) => verdict.add(Problem::Io {
                what: "stat file or directory",
                path: name,
                source,
            }),
        }
    }
    // The biggest first, so that none is begun last.
    archives.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.name.cmp(&other.name)));
    let threads = run.threads.clamp(1, 64).min(archives.len());
    let queue: Mutex<VecDeque<Archive>> =
        Mutex::new(archives.into_iter().map(|(_, archive)| archive).collect());
    let found = Mutex::new(verdict);
    let failure: Mutex<Option<VerifyError>> = Mutex::new(None);
    let work = || {
        let mut buffer = vec![0; BUFFER];
        loop {
            let next = queue.lock().ok().and_then(|mut queue| queue.pop_front());
            let Some(archive) = next else { return };
            let report = |problem| {
                if let Ok(mut verdict) = found.lock() {
                    verdict.add(problem);
                }
            };
            if let Err(error) = read(data, &archive, index, &mut buffer, &report, run) {
                if let Ok(mut failure) = failure.lock() {
                    failure.get_or_insert(error);
                }
                return;
            }
        }
    };
    thread::scope(|scope| {
        for number in 1..threads {
            // With fewer threads than wished it takes longer.
            let _ = thread::Builder::new()
                .name(format!("verify-{number}"))
                .spawn_scoped(scope, work);
        }
        work();
    });
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

/// Reads one archive to its end.
fn read(
    data: &Path,
    archive: &Archive,
    index: &Index,
    buffer: &mut [u8],
    report: &impl Fn(Problem),
    run: Run<'_>,
) -> Result<(), VerifyError> {
    let file = match durable::open_file(&data.join(&archive.name)) {
        Ok(file) => file,
        Err(source) => {
            report(Problem::Io {
                what: "open file",
                path: PathBuf::from(&archive.name),
                source,
            });
            return Ok(());
        }
    };
    let decoder: Result<Decoder<File>, CodecError> = codec::decoder(archive.compression, file);
    let decoder = decoder.map_err(|source| VerifyError::Codec {
        archive: archive.name.clone(),
        source,
    })?;
    let mut tar = TarReader::new(BufReader::with_capacity(BUFFER, decoder));
    let broken = |error: &dyn std::fmt::Display| {
        report(Problem::Archive {
            archive: archive.name.clone(),
            reason: error.to_string(),
        });
    };
    loop {
        if run.is_cancelled() {
            return Err(VerifyError::Interrupted);
        }
        match tar.next() {
            Ok(None) => break,
            Ok(Some(member)) => {
                if let Err(error) = compare(&mut tar, &member, archive, index, buffer, report, run) {
                    broken(&error);
                    return Ok(());
                }
            }
            Err(error) => {
                broken(&error);
                return Ok(());
            }
        }
    }
    // What comes behind the end is filling; a compressed stream has its own checksum at its very end.
    let mut rest = tar.into_inner();
    loop {
        match rest.read(buffer) {
            Ok(0) => return Ok(()),
            Ok(_) if run.is_cancelled() => return Err(VerifyError::Interrupted),
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                broken(&error);
                return Ok(());
            }
        }
    }
}

/// Where a member belongs in the data directory: absolute names and `..` are taken as PostgreSQL takes them.
fn place(tablespace: Option<u32>, name: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    let mut path = PathBuf::new();
    if let Some(oid) = tablespace {
        path.push("pg_tblspc");
        path.push(oid.to_string());
    }
    for component in Path::new(std::ffi::OsStr::from_bytes(name)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::ParentDir => {
                path.pop();
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    path
}

fn compare<R: std::io::Read>(
    tar: &mut TarReader<R>,
    member: &Member,
    archive: &Archive,
    index: &Index,
    buffer: &mut [u8],
    report: &impl Fn(Problem),
    run: Run<'_>,
) -> std::io::Result<()> {
    let path = place(archive.tablespace, &member.name);
    if member.kind != Kind::File || is_ignored(&path) {
        return Ok(());
    }
    let wrong = |what| {
        report(Problem::Member {
            archive: archive.name.clone(),
            name: String::from_utf8_lossy(&member.name).into_owned(),
            what,
        });
    };
    let Some(expected) = index.find(&path) else {
        wrong(MemberProblem::Extra);
        return Ok(());
    };
    if expected.size != member.size {
        wrong(MemberProblem::Size {
            found: member.size,
            expected: expected.size,
        });
        return Ok(());
    }
    let check_control = index.summary.version != 1 && path == Path::new(CONTROL);
    let mut control = Vec::new();
    let mut hasher = expected.checksum.as_ref().map(|sum| Hasher::new(sum.algorithm));
    if hasher.is_none() && !check_control {
        return Ok(());
    }
    loop {
        if run.is_cancelled() {
            // The caller looks at the flag next.
            return Ok(());
        }
        let count = match tar.read(buffer)? {
            0 => break,
            count => count,
        };
        let piece = buffer.get(..count).unwrap_or_default();
        if let Some(hasher) = &mut hasher {
            hasher.update(piece);
        }
        if check_control {
            let room = CONTROL_FILE_SIZE.saturating_sub(control.len()).min(piece.len());
            control.extend_from_slice(piece.get(..room).unwrap_or_default());
        }
        (run.read)(count as u64);
    }
    if hasher.and_then(Hasher::finish) != expected.checksum {
        // By its name in the manifest, as PostgreSQL tells this one.
        report(Problem::Member {
            archive: archive.name.clone(),
            name: path.display().to_string(),
            what: MemberProblem::Checksum,
        });
    } else if check_control && let Some(what) = control_content(&control, index) {
        report(Problem::Control {
            place: format!("{}: {CONTROL}", archive.name),
            what,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives() {
        let archive = |name: &str, tablespace, compression| {
            Some(Some(Archive {
                name: name.to_owned(),
                tablespace,
                compression,
            }))
        };
        for (name, found) in [
            ("base.tar", archive("base.tar", None, Algorithm::None)),
            ("base.tar.gz", archive("base.tar.gz", None, Algorithm::Gzip)),
            ("base.tgz", archive("base.tgz", None, Algorithm::Gzip)),
            (
                "16384.tar.lz4",
                archive("16384.tar.lz4", Some(16384), Algorithm::Lz4),
            ),
            ("1.tar.zst", archive("1.tar.zst", Some(1), Algorithm::Zstd)),
            ("pg_wal.tar", Some(None)),
            ("0.tar", None),
            ("4294967296.tar", None),
            ("base.tar.gz.gpg", None),
            ("base.tar.xz", None),
            (".tar", None),
            ("base", None),
            ("other.tar", None),
        ] {
            assert_eq!(classify(name), found, "{name}");
        }
    }

    #[test]
    fn members_belong_below_the_data_directory() {
        for (tablespace, name, path) in [
            (None, "./base/1/2", "base/1/2"),
            (None, "/etc/passwd", "etc/passwd"),
            (None, "a/../b", "b"),
            (Some(7), "PG_15/5/1", "pg_tblspc/7/PG_15/5/1"),
        ] {
            assert_eq!(place(tablespace, name.as_bytes()), Path::new(path), "{name}");
        }
    }
}
