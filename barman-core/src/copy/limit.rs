//! A limit on bytes per second, shared by all threads of a copy.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::context::Cancel;

/// Lets `bytes_per_second` pass.
#[derive(Debug)]
pub struct RateLimit {
    bytes_per_second: u64,
    free_at: Mutex<Option<Instant>>,
}

impl RateLimit {
    /// A limit in kB/s (1000 bytes), as `bandwidth_limit` gives it; 0 is no limit.
    #[must_use]
    pub fn from_kilobytes(kilobytes: u64) -> Option<Self> {
        (kilobytes > 0).then(|| Self {
            bytes_per_second: kilobytes.saturating_mul(1000),
            free_at: Mutex::new(None),
        })
    }

    /// How much to move between two calls of [`RateLimit::pass`]: a fraction of a second, in whole blocks.
    #[must_use]
    pub fn chunk(&self) -> usize {
        usize::try_from(self.bytes_per_second / 10)
            .unwrap_or(usize::MAX)
            .clamp(8 << 10, 1 << 20)
    }

    /// Waits until `bytes` more may have passed. Returns early when asked to stop.
    pub fn pass(&self, bytes: u64, cancel: &Cancel) {
        let cost = Duration::from_secs_f64(to_f64(bytes) / to_f64(self.bytes_per_second));
        let wait_until = {
            let Ok(mut free_at) = self.free_at.lock() else {
                return;
            };
            let now = Instant::now();
            let start = free_at.filter(|free_at| *free_at > now).unwrap_or(now);
            let end = start + cost;
            *free_at = Some(end);
            end
        };
        while !cancel.is_requested() {
            let left = wait_until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            std::thread::sleep(left.min(Duration::from_millis(100)));
        }
    }
}

// Rates do not need the last bit.
#[allow(clippy::cast_precision_loss)]
fn to_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time() {
        let limit = RateLimit::from_kilobytes(1000).unwrap();
        let cancel = Cancel::new();
        let start = Instant::now();
        for _ in 0..10 {
            limit.pass(10_000, &cancel);
        }
        assert!(
            start.elapsed() >= Duration::from_millis(95),
            "{:?}",
            start.elapsed()
        );
        assert!(RateLimit::from_kilobytes(0).is_none());
    }
}
