//! What the functions of all parsers use: text of bytes, a reader in odd pieces, a place for files.

use std::cell::{Cell, RefCell};
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    static REACHED: Cell<bool> = const { Cell::new(false) };
}

/// Said by each parser where an input has passed its checks and something was made of it. A corpus of which no input comes
/// so far has nothing to mutate that would: the tests refuse it.
pub(crate) fn reached() {
    REACHED.set(true);
}

/// Whether an input has come so far in this thread since this was asked.
pub fn take_reached() -> bool {
    REACHED.take()
}

/// The input as text; most parsers of text get it from a file that is not read further when it is none.
pub(crate) fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// The first byte as a choice among `count`, and the rest. 0 when there is no byte.
pub(crate) fn choice(bytes: &[u8], count: usize) -> (usize, &[u8]) {
    match bytes.split_first() {
        Some((first, rest)) => (usize::from(*first) % count.max(1), rest),
        None => (0, bytes),
    }
}

/// Gives bytes in pieces of changing, odd sizes, as a socket or a pipe may.
pub(crate) struct Dripping<'a> {
    rest: &'a [u8],
    turn: usize,
}

impl<'a> Dripping<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, turn: 0 }
    }
}

impl Read for Dripping<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const SIZES: [usize; 6] = [1, 7, 511, 3, 64, 4097];
        let size = SIZES[self.turn % SIZES.len()]
            .min(buffer.len())
            .min(self.rest.len());
        self.turn += 1;
        let (now, rest) = self.rest.split_at(size);
        buffer[..size].copy_from_slice(now);
        self.rest = rest;
        Ok(size)
    }
}

/// A directory of this thread for parsers that read files by name, below the temporary directory. Whoever runs
/// parsers removes it at the end with [`remove_scratch`].
pub(crate) fn scratch() -> PathBuf {
    PLACE.with_borrow_mut(|place| place.get_or_insert_with(make_scratch).clone())
}

thread_local! {
    static PLACE: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// What the names of scratch directories begin with; the process id follows, and a number that is never used again.
const SCRATCH: &str = "parsers-";

fn make_scratch() -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    sweep(&std::env::temp_dir());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let place = std::env::temp_dir().join(format!("{SCRATCH}{}-{number}", std::process::id()));
    fs::create_dir_all(&place).expect("make the scratch directory");
    place
}

/// Removes the scratch directories of processes that were killed.
fn sweep(place: &Path) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let rest = name.to_str().and_then(|name| name.strip_prefix(SCRATCH));
        let dead = rest
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok())
            .is_some_and(|pid| !PathBuf::from(format!("/proc/{pid}")).exists());
        if dead && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Removes what parsers wrote in this thread.
pub fn remove_scratch() {
    if let Some(place) = PLACE.take() {
        let _ = fs::remove_dir_all(place);
    }
}

/// An empty directory of that name in the scratch directory.
pub(crate) fn fresh_directory(name: &str) -> PathBuf {
    let place = scratch().join(name);
    let _ = fs::remove_dir_all(&place);
    fs::create_dir(&place).expect("make a directory");
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_processes_left_is_removed_and_nothing_else() {
        let own = scratch();
        // Not in the temporary directory itself, which other processes sweep meanwhile. The first is more than the kernel
        // gives out.
        let names = [
            u32::MAX.to_string(),
            std::process::id().to_string(),
            "x1".to_owned(),
        ];
        let [dead, alive, other] = names.map(|id| own.join(format!("{SCRATCH}{id}-7")));
        for place in [&dead, &alive, &other] {
            fs::create_dir_all(place.join("sub")).unwrap();
        }
        sweep(&own);
        assert!(alive.is_dir() && other.is_dir() && !dead.exists());
        remove_scratch();
        assert!(!own.exists());
    }

    #[test]
    fn threads_remove_only_their_own_directory() {
        let own = scratch();
        let other = std::thread::spawn(|| {
            let other = scratch();
            assert!(other.is_dir());
            remove_scratch();
            other
        });
        let other = other.join().unwrap();
        assert!(own.is_dir() && !other.exists());
        remove_scratch();
        assert!(!own.exists() && scratch() != own);
        remove_scratch();
    }
}
