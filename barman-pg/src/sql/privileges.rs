//! What the role of a session may do.

use super::SqlClient;
use super::parse::boolean;
use crate::error::Error;

/// The privileges that operations ask for, read in one statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Privileges {
    /// `usesuper`.
    pub superuser: bool,
    /// May run the backup functions and read settings and statistics.
    pub backup: bool,
    /// May read all settings and statistics.
    pub monitoring: bool,
    /// May run CHECKPOINT.
    pub checkpoint: bool,
}

impl SqlClient {
    /// The privileges of the session's role.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn privileges(&mut self) -> Result<Privileges, Error> {
        let (start, stop) = if self.version().at_least(15) {
            (
                "pg_catalog.pg_backup_start(text,bool)",
                vec!["pg_catalog.pg_backup_stop(bool)"],
            )
        } else {
            (
                "pg_catalog.pg_start_backup(text,bool,bool)",
                vec![
                    "pg_catalog.pg_stop_backup(bool,bool)",
                    "pg_catalog.pg_stop_backup()",
                ],
            )
        };
        let may = |function: &str| {
            format!("pg_catalog.has_function_privilege(CURRENT_USER, '{function}', 'EXECUTE')")
        };
        let is = |role: &str| format!("pg_catalog.pg_has_role(CURRENT_USER, '{role}', 'USAGE')");
        let stop: Vec<String> = stop.into_iter().map(may).collect();
        let checkpoint = if self.version().at_least(15) {
            is("pg_checkpoint")
        } else {
            "false".to_owned()
        };
        let sql = format!(
            "SELECT COALESCE((SELECT usesuper FROM pg_catalog.pg_user WHERE usename = CURRENT_USER), false), \
             {monitor} OR ({settings} AND {stats}), \
             {start} AND ({stop}) AND {switch} AND {point}, \
             {checkpoint}",
            monitor = is("pg_monitor"),
            settings = is("pg_read_all_settings"),
            stats = is("pg_read_all_stats"),
            start = may(start),
            stop = stop.join(" OR "),
            switch = may("pg_catalog.pg_switch_wal()"),
            point = may("pg_catalog.pg_create_restore_point(text)"),
        );
        let rows = self.rows(&sql, "reading the privileges of the role")?;
        let flag = |at: usize| {
            rows.first()
                .and_then(|row| row.text(at))
                .and_then(boolean)
                .unwrap_or(false)
        };
        let superuser = flag(0);
        let monitoring = superuser || flag(1);
        Ok(Privileges {
            superuser,
            monitoring,
            backup: superuser || (flag(1) && flag(2)),
            checkpoint: superuser || flag(3),
        })
    }
}
