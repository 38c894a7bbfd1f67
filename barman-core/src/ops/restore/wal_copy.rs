//! Delivers archived WAL: decompressed, checked, under final names, with several threads.
//!
//! Nothing is synced here; the caller syncs the directory before the server can be started.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use barman_catalog::Layout;
use barman_wal::page::{self, SegmentHeaderError};
use barman_wal::{SegmentName, SegmentSize, WalFileName, durable};

use super::archived;
use super::error::RestoreError;
use super::plan::WalPlan;
use crate::context::Context;
use crate::ops::wal_codec::WalCodec;

const BUFFER: usize = 256 << 10;
/// A history file or a backup label is far smaller.
const MAX_SMALL: u64 = 16 << 20;

/// Where WAL comes from and goes to.
#[derive(Clone, Copy)]
pub(super) struct Delivery<'a> {
    pub(super) layout: &'a Layout,
    pub(super) codec: &'a WalCodec<'a>,
    pub(super) to: &'a Path,
    pub(super) size: SegmentSize,
    pub(super) system_identifier: Option<u64>,
    pub(super) threads: usize,
}

/// The name a file has where it is delivered: partial segments lose their suffix.
#[must_use]
pub(super) fn delivered_name(name: &WalFileName) -> String {
    match name {
        WalFileName::Partial(segment) => segment.to_string(),
        other => other.to_string(),
    }
}

/// Delivers `files`.
pub(super) fn deliver(
    delivery: Delivery<'_>,
    files: &[WalPlan],
    ctx: &Context<'_>,
) -> Result<(), RestoreError> {
    // As Barman does: where one file has to be converted all are written anew, otherwise mode and times stay.
    let keep_attributes = files.iter().all(|file| !file.compressed);
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let failure: Mutex<Option<RestoreError>> = Mutex::new(None);
    let work = || {
        let mut buffer = vec![0; BUFFER];
        while !stop.load(Ordering::SeqCst) {
            let Some(file) = files.get(next.fetch_add(1, Ordering::SeqCst)) else {
                return;
            };
            if let Err(error) = deliver_one(delivery, file, keep_attributes, &mut buffer, ctx) {
                stop.store(true, Ordering::SeqCst);
                if let Ok(mut failure) = failure.lock() {
                    failure.get_or_insert(error);
                }
            }
        }
    };
    thread::scope(|scope| {
        for number in 1..delivery.threads.clamp(1, 64).min(files.len()) {
            // Without a further thread the work is done all the same.
            let _ = thread::Builder::new()
                .name(format!("wal-{number}"))
                .spawn_scoped(scope, work);
        }
        work();
    });
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

fn deliver_one(
    delivery: Delivery<'_>,
    file: &WalPlan,
    keep_attributes: bool,
    buffer: &mut [u8],
    ctx: &Context<'_>,
) -> Result<(), RestoreError> {
    let from = delivery.layout.wal_path(&file.name);
    let to = delivery.to.join(delivered_name(&file.name));
    let source = durable::open_file(&from).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RestoreError::LostWal {
            server: delivery.layout.server().to_owned(),
            name: file.name.to_string(),
            path: from.clone(),
        },
        _ => RestoreError::io("open", &from)(error),
    })?;
    let cancelled = || ctx.cancel.is_requested();
    let mut content = archived::reader(delivery.codec, file.name, &source, &from, &cancelled)?;
    let limit = if file.name.is_segment() || matches!(file.name, WalFileName::Partial(_)) {
        u64::from(delivery.size.bytes())
    } else {
        MAX_SMALL
    };
    let mode = if keep_attributes { 0o600 } else { 0o666 };
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&to)
        .map_err(RestoreError::io("create", &to))?;
    let mut first = Vec::new();
    let mut written: u64 = 0;
    loop {
        if ctx.cancel.is_requested() {
            return Err(RestoreError::Interrupted);
        }
        let count = match content.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) if ctx.cancel.is_requested() => return Err(RestoreError::Interrupted),
            Err(error) => return Err(damaged(&from, &error)),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        written = written.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        if written > limit {
            return Err(RestoreError::DamagedWal {
                path: from,
                reason: format!("it holds more than {limit} bytes"),
            });
        }
        if first.len() < page::LONG_HEADER_SIZE {
            first.extend(bytes.iter().take(page::LONG_HEADER_SIZE - first.len()));
        }
        target.write_all(bytes).map_err(RestoreError::io("write", &to))?;
    }
    if let WalFileName::Segment(segment) = file.name {
        if written != limit {
            let reason = format!("it holds {written} bytes instead of {limit}");
            return Err(RestoreError::DamagedWal { path: from, reason });
        }
        check_header(&first, segment, delivery.system_identifier)
            .map_err(|reason| RestoreError::DamagedWal { path: from, reason })?;
    }
    if keep_attributes {
        durable::copy_attributes(&source, &target, &to)
            .map_err(|error| RestoreError::io("set the attributes of", &to)(error.into()))?;
    }
    Ok(())
}

/// A read error of the file itself, or what a decompressor says of its content.
fn damaged(path: &Path, error: &io::Error) -> RestoreError {
    if let Some(code) = error.raw_os_error() {
        return RestoreError::io("read", path)(io::Error::from_raw_os_error(code));
    }
    RestoreError::DamagedWal {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

fn check_header(first: &[u8], segment: SegmentName, system: Option<u64>) -> Result<(), String> {
    let header = match page::check_segment_header(first) {
        Ok(header) => header,
        // A segment that was switched away from at its very start has nothing in it.
        Err(SegmentHeaderError::Zeroed) => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    header.check_name(segment).map_err(|error| error.to_string())?;
    match system {
        Some(system) if system != header.system_identifier => Err(format!(
            "it was written by the cluster {} and not by {system}, from which the backup is",
            header.system_identifier
        )),
        _ => Ok(()),
    }
}

/// Delivers the segment that is still being streamed, without its suffix. `false` when it is gone or when its full
/// form has been delivered already.
pub(super) fn deliver_partial(from: &Path, to_directory: &Path) -> Result<bool, RestoreError> {
    let Some(name) = from.file_stem() else {
        return Ok(false);
    };
    let to = to_directory.join(name);
    if to.exists() {
        return Ok(false);
    }
    let mut source = match durable::open_file(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        other => other.map_err(RestoreError::io("open", from))?,
    };
    let mut target = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&to)
        .map_err(RestoreError::io("create", &to))?;
    io::copy(&mut source, &mut target).map_err(RestoreError::io("copy", from))?;
    durable::copy_attributes(&source, &target, &to)
        .map_err(|error| RestoreError::io("set the attributes of", &to)(error.into()))?;
    Ok(true)
}

/// Tells PostgreSQL that these files need no archiving.
pub(super) fn write_status(
    directory: &Path,
    names: impl Iterator<Item = String>,
) -> Result<(), RestoreError> {
    for name in names {
        let path: PathBuf = directory.join(format!("{name}.done"));
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o666)
            .open(&path)
            .map_err(RestoreError::io("create", &path))?;
    }
    Ok(())
}

/// Makes `archive_status` in the WAL directory unless it is there.
pub(super) fn make_status_directory(wal_directory: &Path) -> Result<PathBuf, RestoreError> {
    let path = wal_directory.join("archive_status");
    match fs::create_dir(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(RestoreError::io("create directory", &path)(error))
        }
        _ => Ok(path),
    }
}
