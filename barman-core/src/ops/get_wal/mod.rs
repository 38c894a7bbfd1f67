//! The operation `get_wal`.
