//! How many threads are of use for work that keeps processors busy.

/// What [`processors`] says at the most: beyond that, threads wait for disks, and each of them takes memory.
pub const MOST: usize = 256;

/// The processors that this process may use (fewer than the host has, where its affinity or its control group says so):
/// 1 to [`MOST`]. 1 if the system does not tell. Whoever has a lower limit applies it.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(MOST)
}
