//! What a call writes to, and what it removes.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::super::calls::Call;

/// `3` of `3</path>`.
pub(super) fn number_of(descriptor: &str) -> String {
    descriptor.split('<').next().unwrap_or_default().to_owned()
}

/// Which argument is the descriptor that a call writes to.
pub(super) fn target(call: &Call) -> usize {
    match call.name.as_str() {
        "copy_file_range" | "splice" => 2,
        _ => 0,
    }
}

/// The file that a call writes to, at which offset if it says so, and whether it writes nothing but zeros.
pub(super) fn written(call: &Call) -> Option<(PathBuf, Option<u64>, bool)> {
    let offset = match call.name.as_str() {
        "write" | "writev" | "ftruncate" | "fallocate" | "sendfile" | "copy_file_range" | "splice" => None,
        "pwrite64" | "pwritev" | "pwritev2" => call.number(3),
        "ioctl" if call.arguments.iter().any(|a| a.contains("FICLONE")) => Some(0),
        "truncate" => return Some((call.path(0)?, None, true)),
        _ => return None,
    };
    let path = call.descriptor(target(call))?;
    let zeros = match call.name.as_str() {
        "ftruncate" | "fallocate" => true,
        "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
            call.payload().is_some_and(|bytes| bytes.iter().all(|b| *b == 0))
        }
        _ => false,
    };
    Some((path, offset, zeros))
}

/// The name that a call removes.
pub(super) fn removed(call: &Call) -> Option<PathBuf> {
    match call.name.as_str() {
        "unlink" | "rmdir" => call.path(0),
        "unlinkat" => call.path(1),
        _ => None,
    }
}

/// The names in lines of `xlog.db`.
pub(super) fn listed_in(text: &[u8]) -> BTreeSet<String> {
    String::from_utf8_lossy(text)
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().next().map(str::to_owned))
        .collect()
}
