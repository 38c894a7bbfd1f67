//! The operation `show_backup`.
