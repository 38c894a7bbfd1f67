//! The operation `check`.
