//! The operation `receive_wal`.
