//! Copying directory trees on this host.

pub mod limit;
pub mod tree;
