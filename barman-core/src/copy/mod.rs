//! Copying directory trees on this host: with several threads ([`tree`]) that share one limit of bytes per second
//! ([`limit`]). Nothing here knows what is in the trees.

pub mod limit;
pub mod tree;
