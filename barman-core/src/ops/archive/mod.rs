//! The operation `archive`.
