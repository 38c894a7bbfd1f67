//! Whether a backup is what its manifest says: the same verdict as PostgreSQL's `pg_verifybackup --no-parse-wal`, from
//! several threads and without that program.
//!
//! Compared are the set of files, their sizes and checksums, and for manifests of version 2 the system identifier in
//! `pg_control`. WAL is not looked at.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use barman_wal::control::{CONTROL_FILE_SIZE, ControlFile};
use barman_wal::durable;
use barman_wal::manifest::{Algorithm, Hasher};

use super::index::{Expected, Index, is_ignored};
use super::pool::{self, Feeder};
use super::{BUFFER, Problem, Run, Verdict, VerifyError, path, verify_tar};

/// A file from this size on is begun before smaller ones, so that no thread ends up alone with the biggest.
const BIG: u64 = 16 << 20;
/// So many smaller ones wait meanwhile.
const WAITING: usize = 50_000;
/// So many pieces of a big file are read ahead.
const AHEAD: usize = 8;
/// A file with CRC-32C is read in parts of this size, by several threads.
const PART: u64 = 16 << 20;

/// `global/pg_control` (PostgreSQL, `XLOG_CONTROL_FILE`).
pub(super) const CONTROL: &str = "global/pg_control";

/// How the files of a backup are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As they were, with tablespaces below `pg_tblspc/OID`.
    Plain,
    /// In archives `base.tar` and `OID.tar`, perhaps compressed.
    Tar,
}

/// Compares the backup whose data directory is `data` with its manifest. Every problem of a file is in the verdict,
/// the first 1000 by name; an error means that nothing can be said of the backup.
///
/// # Errors
/// The manifest is missing, damaged or of an unknown version; the directory cannot be read; an archive is compressed
/// in a way that this build cannot read.
pub fn verify(data: &Path, format: Format, run: Run<'_>) -> Result<Verdict, VerifyError> {
    let index = Index::read(&path(data))?;
    let mut verdict = Verdict {
        files: index.summary.files,
        bytes: index.summary.bytes,
        ..Verdict::default()
    };
    // What cannot be looked at has been reported, and all below it is not reported again as missing.
    let mut hidden = Vec::new();
    match format {
        Format::Plain => plain(data, &index, &mut verdict, &mut hidden, run)?,
        Format::Tar => verify_tar::verify(data, &index, &mut verdict, run)?,
    }
    index.missing(|path| {
        if !is_ignored(&path) && !hidden.iter().any(|above: &PathBuf| path.starts_with(above)) {
            verdict.add(Problem::Missing(path));
        }
    })?;
    Ok(verdict)
}

/// One thing that was found, in the order in which it was found.
enum Found {
    /// Wrong already.
    Problem(Problem, Hidden),
    /// To be compared.
    Check(Check),
}

/// Whether a problem covers everything below its path.
enum Hidden {
    Nothing,
    Below(PathBuf),
}

/// A file, or a part of it.
struct Check {
    path: PathBuf,
    expected: Expected,
    part: Option<Part>,
}

/// A part of a file.
#[derive(Clone, Copy)]
struct Part {
    offset: u64,
    length: u64,
}

/// What came out.
enum Outcome {
    Good,
    Bad(Problem, Hidden),
    /// The CRC-32C of a part.
    Part {
        path: PathBuf,
        crc: u32,
        length: u64,
        /// Set for the last part: what the whole file should have.
        whole: Option<u32>,
    },
    Cancelled,
}

fn plain(
    data: &Path,
    index: &Index,
    verdict: &mut Verdict,
    hidden: &mut Vec<PathBuf>,
    run: Run<'_>,
) -> Result<(), VerifyError> {
    // Parts come in order; a problem of one ends its file.
    let mut crc = 0;
    let mut failed: Option<PathBuf> = None;
    pool::in_order(
        run.threads,
        |feeder| walk(data, index, feeder, run),
        |found, buffer| match found {
            Found::Problem(problem, hidden) => Outcome::Bad(problem, hidden),
            Found::Check(check) => compare(data, &check, index, buffer, run),
        },
        |outcome| {
            match outcome {
                Outcome::Good => {}
                Outcome::Cancelled => return Err(VerifyError::Interrupted),
                Outcome::Bad(problem, covers) => {
                    if let Hidden::Below(path) = covers {
                        hidden.push(path);
                    }
                    let of_part = match &problem {
                        Problem::Length { path, .. }
                        | Problem::Io { path, .. }
                        | Problem::Size { path, .. } => Some(path.clone()),
                        _ => None,
                    };
                    if of_part.is_none() || of_part != failed {
                        verdict.add(problem);
                    }
                    failed = of_part;
                    crc = 0;
                }
                Outcome::Part {
                    path,
                    crc: next,
                    length,
                    whole,
                } => {
                    crc = crc32c::crc32c_combine(crc, next, usize::try_from(length).unwrap_or(usize::MAX));
                    if let Some(whole) = whole {
                        if failed.as_ref() != Some(&path) && crc != whole {
                            verdict.add(Problem::Checksum(path));
                        }
                        crc = 0;
                    }
                }
            }
            Ok(())
        },
    )
}

/// Hands out everything below `data`, big files first as far as they are known.
fn walk(
    data: &Path,
    index: &Index,
    feeder: &Feeder<Found, Outcome>,
    run: Run<'_>,
) -> Result<(), VerifyError> {
    let mut small = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(directory) = pending.pop() {
        let full = data.join(&directory);
        let entries = match fs::read_dir(&full) {
            Ok(entries) => entries,
            Err(source) if directory.as_os_str().is_empty() => {
                return Err(VerifyError::Directory { path: full, source });
            }
            Err(source) => {
                if !feeder.push(unreadable("open directory", directory, source)) {
                    return Ok(());
                }
                continue;
            }
        };
        for entry in entries {
            if run.is_cancelled() {
                return Err(VerifyError::Interrupted);
            }
            let entry = match entry {
                Ok(entry) => entry,
                Err(source) => {
                    if !feeder.push(unreadable("read directory", directory.clone(), source)) {
                        return Ok(());
                    }
                    break;
                }
            };
            let relative = directory.join(entry.file_name());
            if is_ignored(&relative) {
                continue;
            }
            // Links are followed, as PostgreSQL follows them: those of tablespaces lead to their files.
            let kind = match entry.file_type() {
                Ok(kind) if !kind.is_symlink() => Ok(kind),
                _ => fs::metadata(entry.path()).map(|metadata| metadata.file_type()),
            };
            let found = match kind {
                Err(source) => unreadable("stat file or directory", relative, source),
                Ok(kind) if kind.is_dir() => {
                    pending.push(relative);
                    continue;
                }
                Ok(kind) if !kind.is_file() => Found::Problem(Problem::Special(relative), Hidden::Nothing),
                Ok(_) => match index.find(&relative) {
                    None => Found::Problem(Problem::Extra(relative), Hidden::Nothing),
                    Some(expected) => {
                        let check = Check {
                            path: relative,
                            expected,
                            part: None,
                        };
                        if check.expected.size < BIG {
                            small.push(check);
                            if small.len() >= WAITING
                                && !small.drain(..).all(|c| feeder.push(Found::Check(c)))
                            {
                                return Ok(());
                            }
                            continue;
                        }
                        if !parts(check).all(|check| feeder.push(Found::Check(check))) {
                            return Ok(());
                        }
                        continue;
                    }
                },
            };
            if !feeder.push(found) {
                return Ok(());
            }
        }
    }
    // When nobody wants more the reason is known there.
    let _ = small.into_iter().all(|check| feeder.push(Found::Check(check)));
    Ok(())
}

fn unreadable(what: &'static str, path: PathBuf, source: io::Error) -> Found {
    let problem = Problem::Io {
        what,
        path: path.clone(),
        source,
    };
    Found::Problem(problem, Hidden::Below(path))
}

/// A big file in parts, if its checksum can be put together from those of the parts.
fn parts(check: Check) -> impl Iterator<Item = Check> {
    let size = check.expected.size;
    let crc = check
        .expected
        .checksum
        .as_ref()
        .is_some_and(|sum| sum.algorithm == Algorithm::Crc32c);
    let step = if crc && check.path != Path::new(CONTROL) {
        PART
    } else {
        u64::MAX
    };
    let mut offset = Some(0);
    std::iter::from_fn(move || {
        let begin = offset?;
        let length = step.min(size - begin);
        offset = Some(begin.saturating_add(length)).filter(|next| *next < size);
        Some(Check {
            path: check.path.clone(),
            expected: check.expected.clone(),
            part: (step != u64::MAX).then_some(Part {
                offset: begin,
                length,
            }),
        })
    })
}

/// Compares one file, or a part of it.
fn compare(data: &Path, check: &Check, index: &Index, buffer: &mut [u8], run: Run<'_>) -> Outcome {
    let bad = |problem| Outcome::Bad(problem, Hidden::Nothing);
    let failed = |what, source| {
        bad(Problem::Io {
            what,
            path: check.path.clone(),
            source,
        })
    };
    let (path, expected) = (data.join(&check.path), &check.expected);
    let file = match durable::open_file(&path) {
        Ok(file) => file,
        Err(source) => return failed("open file", source),
    };
    let size = match file.metadata() {
        Ok(metadata) => metadata.len(),
        Err(source) => return failed("stat file or directory", source),
    };
    if size != expected.size {
        return bad(Problem::Size {
            path: check.path.clone(),
            found: size,
            expected: expected.size,
        });
    }
    if index.summary.version != 1
        && check.path == Path::new(CONTROL)
        && let Some(what) = control(&file, index)
    {
        return bad(Problem::Control {
            place: path.display().to_string(),
            what,
        });
    }
    let Some(sum) = &expected.checksum else {
        return Outcome::Good;
    };
    let Part { offset, length } = check.part.unwrap_or(Part {
        offset: 0,
        length: size,
    });
    let mut hasher = Hasher::new(sum.algorithm);
    // One byte more than a whole file should have, to see that it has not grown.
    let end = if check.part.is_some() {
        length
    } else {
        length.saturating_add(1)
    };
    let piece = |bytes: &[u8]| {
        hasher.update(bytes);
        (run.read)(bytes.len() as u64);
    };
    // The checksum of one big file cannot be shared among threads, but the reading of it can go ahead.
    let read = if check.part.is_none() && size >= BIG {
        read_ahead(&file, end, run, piece)
    } else {
        read_to(&file, offset, end, buffer, run, piece)
    };
    let done = match read {
        Ok(Some(done)) => done,
        Ok(None) => return Outcome::Cancelled,
        Err(source) => return failed("read file", source),
    };
    if done != length {
        return bad(Problem::Length {
            path: check.path.clone(),
            found: offset.saturating_add(done),
            expected: size,
        });
    }
    let found = hasher.finish();
    if check.part.is_some() {
        let crc = |bytes: &[u8]| bytes.try_into().map_or(0, u32::from_le_bytes);
        return Outcome::Part {
            path: check.path.clone(),
            crc: found.as_ref().map_or(0, |sum| crc(&sum.bytes)),
            length,
            whole: (offset.saturating_add(length) == size).then(|| crc(&sum.bytes)),
        };
    }
    if found.as_ref() == Some(sum) {
        Outcome::Good
    } else {
        bad(Problem::Checksum(check.path.clone()))
    }
}

/// Hands `end` bytes from `offset` on, or what there is, to `piece`, and tells how many there were; `None` when the
/// run was cancelled.
fn read_to(
    file: &File,
    offset: u64,
    end: u64,
    buffer: &mut [u8],
    run: Run<'_>,
    mut piece: impl FnMut(&[u8]),
) -> io::Result<Option<u64>> {
    let mut done: u64 = 0;
    while done < end {
        let want = usize::try_from(end - done)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        let Some(room) = buffer.get_mut(..want) else { break };
        match read_once(file, offset.saturating_add(done), room, run, &mut piece)? {
            None => return Ok(None),
            Some(0) => break,
            Some(count) => done = done.saturating_add(count as u64),
        }
    }
    Ok(Some(done))
}

/// Hands on what one reading gives, at most `room` bytes, and how many those are: none at the end. `None` when the run
/// was cancelled.
fn read_once(
    file: &File,
    offset: u64,
    room: &mut [u8],
    run: Run<'_>,
    mut piece: impl FnMut(&[u8]),
) -> io::Result<Option<usize>> {
    loop {
        if run.is_cancelled() {
            return Ok(None);
        }
        match file.read_at(room, offset) {
            Ok(count) => {
                piece(room.get(..count).unwrap_or_default());
                return Ok(Some(count));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// As [`read_to`] from the beginning, with a second thread that reads the next pieces meanwhile.
fn read_ahead(file: &File, end: u64, run: Run<'_>, mut piece: impl FnMut(&[u8])) -> io::Result<Option<u64>> {
    // Buffers go round: filled ones one way, used ones back.
    let (filled, to_use) = sync_channel::<(Vec<u8>, usize)>(AHEAD);
    let (used, to_fill) = sync_channel::<Vec<u8>>(AHEAD);
    for _ in 0..AHEAD {
        let _ = used.send(vec![0; BUFFER]);
    }
    thread::scope(|scope| {
        let reader = move || -> io::Result<Option<u64>> {
            let mut done: u64 = 0;
            while done < end
                && let Ok(mut buffer) = to_fill.recv()
            {
                let want = (end - done).min(BUFFER as u64);
                let Some(room) = usize::try_from(want).ok().and_then(|want| buffer.get_mut(..want)) else {
                    break;
                };
                let Some(count) = read_once(file, done, room, run, |_| {})? else {
                    return Ok(None);
                };
                done = done.saturating_add(count as u64);
                if count == 0 || filled.send((buffer, count)).is_err() {
                    break;
                }
            }
            Ok(Some(done))
        };
        let Ok(reader) = thread::Builder::new()
            .name("read-ahead".to_owned())
            .spawn_scoped(scope, reader)
        else {
            return read_to(file, 0, end, &mut vec![0; BUFFER], run, piece);
        };
        for (buffer, count) in &to_use {
            piece(buffer.get(..count).unwrap_or_default());
            // Nobody takes it when everything is read.
            let _ = used.send(buffer);
        }
        reader
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("a thread has panicked")))
    })
}

/// What is wrong with `pg_control`, if anything.
fn control(file: &File, index: &Index) -> Option<String> {
    let mut bytes = Vec::with_capacity(CONTROL_FILE_SIZE);
    let mut input = file.take(CONTROL_FILE_SIZE as u64);
    if let Err(error) = input.read_to_end(&mut bytes) {
        return Some(error.to_string());
    }
    control_content(&bytes, index)
}

/// The same, for its content.
pub(super) fn control_content(bytes: &[u8], index: &Index) -> Option<String> {
    let manifest = index.summary.system_identifier?;
    match ControlFile::parse(bytes) {
        Err(error) => Some(error.to_string()),
        Ok(control) if control.system_identifier == manifest => None,
        Ok(control) => Some(format!(
            "manifest system identifier is {manifest}, but control file has {}",
            control.system_identifier
        )),
    }
}
