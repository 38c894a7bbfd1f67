//! The operation `cron`.
