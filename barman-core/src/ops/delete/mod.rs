//! The operation `delete`.
