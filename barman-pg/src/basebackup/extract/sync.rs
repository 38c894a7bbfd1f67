//! Has the disk write back what was received while the rest arrives, so that little is left for the sync at the end.

use std::fs::File;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};

use barman_wal::durable::{self, DurableError};
use rustix::fs::Advice;

/// Written data is handed to the disk in portions of this size.
pub(super) const PORTION: u64 = 8 * 1024 * 1024;
/// Files from this size on are made durable as soon as they are complete.
pub(super) const SYNC_EARLY: u64 = 256 * 1024;
/// Requests that may wait. What finds no room is left to the sync at the end.
const QUEUE: usize = 16;

/// Something for the disk to do.
#[derive(Debug)]
pub(super) enum Job {
    /// A part of a file has been written and can go to the disk.
    WriteBack {
        file: Arc<File>,
        from: u64,
        length: NonZeroU64,
    },
    /// A file is complete.
    Sync { file: Arc<File>, path: PathBuf },
}

pub(super) fn queue() -> (SyncSender<Job>, Receiver<Job>) {
    mpsc::sync_channel(QUEUE)
}

/// Does what comes, until nothing comes any more. After a failure nothing counts, and only the queue is emptied.
pub(super) fn work(jobs: &Receiver<Job>) -> Result<(), DurableError> {
    let mut outcome = Ok(());
    for job in jobs {
        match job {
            Job::WriteBack { file, from, length } => {
                // Starts to write dirty pages and waits for none of them. It is only advice: what it does not achieve,
                // the sync does, which also reports errors of writing.
                let _ = rustix::fs::fadvise(&file, from, Some(length), Advice::DontNeed);
            }
            Job::Sync { file, path } => {
                if outcome.is_ok() {
                    outcome = durable::fsync_open(&file, &path);
                }
            }
        }
    }
    outcome
}
