//! The operation `restore`.
