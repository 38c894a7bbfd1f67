//! The operation `switch_wal`.
