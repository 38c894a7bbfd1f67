//! The operation `list_backups`.
