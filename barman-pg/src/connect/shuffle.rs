//! A random order of servers (`load_balance_hosts=random`).

use std::hash::{BuildHasher, RandomState};

/// Puts the items into any order, each with the same chance (Fisher and Yates). The numbers need to be spread, not secret.
pub(super) fn shuffle<T>(items: &mut [T]) {
    for at in (1..items.len()).rev() {
        let bound = u64::try_from(at + 1).unwrap_or(u64::MAX);
        let other = usize::try_from(random() % bound).unwrap_or(at);
        items.swap(at, other);
    }
}

/// The standard library seeds its hash maps from the system, and each anew.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_comes_up() {
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let mut items = [1, 2, 3];
            shuffle(&mut items);
            seen.insert(items);
        }
        assert_eq!(seen.len(), 6);
        shuffle::<u8>(&mut []);
    }
}
