//! Whether the checks find what they are there for: faults planted in the recorded calls, damage planted on disk, and
//! Barman itself.

pub mod barman;
pub mod calls;
pub mod damage;
