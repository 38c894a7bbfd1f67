//! Settings, identity, sizes and archiver statistics of a server.

use std::time::Duration;

use barman_wal::SegmentSize;
use jiff::Zoned;

use super::SqlClient;
use super::parse::{boolean, optional, required, time, time_columns, version_text};
use super::quote::identifier;
use crate::error::Error;
use crate::replication::wire::Doing;

/// A tablespace that is not built in.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Tablespace {
    /// Its name.
    pub name: String,
    /// Its object id, the name of its link in `pg_tblspc`.
    pub oid: u32,
    /// Its directory on the server.
    pub location: String,
}

/// The server's configuration files.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct ConfigurationFiles {
    /// `postgresql.conf`.
    pub config_file: Option<String>,
    /// `pg_hba.conf`.
    pub hba_file: Option<String>,
    /// `pg_ident.conf`.
    pub ident_file: Option<String>,
    /// Other files that set something, sorted; `postgresql.auto.conf` is one of them as soon as it does.
    pub included_files: Vec<String>,
}

/// The row of `pg_stat_archiver`, with what Barman derives from it.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchiverStats {
    /// Successes since the statistics were reset.
    pub archived_count: i64,
    /// The last file archived.
    pub last_archived_wal: Option<String>,
    /// When that was.
    pub last_archived_time: Option<Zoned>,
    /// Failures since the statistics were reset.
    pub failed_count: i64,
    /// The last file that failed.
    pub last_failed_wal: Option<String>,
    /// When that was.
    pub last_failed_time: Option<Zoned>,
    /// When the statistics were reset.
    pub stats_reset: Option<Zoned>,
    /// Whether archiving works; `None` if something failed and nothing was ever archived.
    pub is_archiving: Option<bool>,
    /// Files per second since the reset: exact decimal text from 14 on.
    pub current_archived_wals_per_second: Option<String>,
}

impl SqlClient {
    /// `SHOW name`.
    ///
    /// # Errors
    /// Unknown setting, no permission to read it (SQLSTATE 42501), connection errors.
    pub fn setting(&mut self, name: &str) -> Result<Option<String>, Error> {
        let doing = Doing::Owned(format!("reading the setting {name}"));
        let limit = self.io_timeout();
        let rows = self.rows_within(&format!("SHOW {}", identifier(name)), &doing, Some(limit))?;
        Ok(rows.first().and_then(|row| row.text(0)).map(str::to_owned))
    }

    /// The version in the words of `version()`: `15.18`, `18beta1`.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn version_text(&mut self) -> Result<Option<String>, Error> {
        let shown = self.value("SELECT pg_catalog.version()", "reading the server version")?;
        Ok(shown.as_deref().and_then(version_text))
    }

    /// The system identifier, decimal.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn systemid(&mut self) -> Result<String, Error> {
        const DOING: &str = "reading the system identifier";
        self.value(
            "SELECT system_identifier::pg_catalog.text FROM pg_catalog.pg_control_system()",
            DOING,
        )?
        .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no row"))
    }

    /// The size of WAL segments.
    ///
    /// # Errors
    /// Server and connection errors, and a number that is not a segment size.
    pub fn segment_size(&mut self) -> Result<SegmentSize, Error> {
        const DOING: &str = "reading the WAL segment size";
        if let Some(size) = self.cached_segment_size {
            return Ok(size);
        }
        // In blocks before 11.
        let sql = if self.version().at_least(11) {
            "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size'"
        } else {
            "SELECT s.setting::pg_catalog.int8 * b.setting::pg_catalog.int8 FROM pg_catalog.pg_settings s, \
             pg_catalog.pg_settings b WHERE s.name = 'wal_segment_size' AND b.name = 'wal_block_size'"
        };
        let rows = self.rows(sql, DOING)?;
        let row = rows
            .first()
            .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no row"))?;
        let bytes: u64 = required(self, row, 0, DOING)?;
        let size =
            SegmentSize::new(bytes).map_err(|error| self.odd(&Doing::Borrowed(DOING), error.to_string()))?;
        self.cached_segment_size = Some(size);
        Ok(size)
    }

    fn seconds(&mut self, name: &'static str, doing: &'static str) -> Result<Duration, Error> {
        let sql = format!("SELECT setting FROM pg_catalog.pg_settings WHERE name = '{name}'");
        let value = self.value(&sql, doing)?;
        Ok(Duration::from_secs(
            value.and_then(|text| text.parse().ok()).unwrap_or(0),
        ))
    }

    /// `archive_timeout`; zero if off.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn archive_timeout(&mut self) -> Result<Duration, Error> {
        self.seconds("archive_timeout", "reading archive_timeout")
    }

    /// `checkpoint_timeout`.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn checkpoint_timeout(&mut self) -> Result<Duration, Error> {
        self.seconds("checkpoint_timeout", "reading checkpoint_timeout")
    }

    /// Bytes of all tablespaces, built-in ones included, WAL not; `None` without backup privileges.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn current_size(&mut self) -> Result<Option<u64>, Error> {
        if !self.privileges()?.backup {
            return Ok(None);
        }
        self.size_of_tablespaces()
    }

    /// The same for a role that is known to have the privileges.
    pub(super) fn size_of_tablespaces(&mut self) -> Result<Option<u64>, Error> {
        const DOING: &str = "reading the size of the cluster";
        let sql = "SELECT pg_catalog.sum(pg_catalog.pg_tablespace_size(oid)) FROM pg_catalog.pg_tablespace";
        let limit = None; // It walks all files of the cluster.
        let rows = self.rows_within(sql, &Doing::Borrowed(DOING), limit)?;
        rows.first().map_or(Ok(None), |row| optional(self, row, 0, DOING))
    }

    /// All tablespaces with a location.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn tablespaces(&mut self) -> Result<Vec<Tablespace>, Error> {
        const DOING: &str = "reading the tablespaces";
        let rows = self.rows(
            "SELECT spcname, oid, pg_catalog.pg_tablespace_location(oid) FROM pg_catalog.pg_tablespace \
             WHERE pg_catalog.pg_tablespace_location(oid) != ''",
            DOING,
        )?;
        rows.iter()
            .map(|row| {
                Ok(Tablespace {
                    name: required(self, row, 0, DOING)?,
                    oid: required(self, row, 1, DOING)?,
                    location: required(self, row, 2, DOING)?,
                })
            })
            .collect()
    }

    /// The configuration files; all empty for a role that may not see them.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn configuration_files(&mut self) -> Result<ConfigurationFiles, Error> {
        const DOING: &str = "reading the configuration files";
        let mut files = ConfigurationFiles::default();
        let rows = self.rows(
            "SELECT name, setting FROM pg_catalog.pg_settings WHERE name IN ('config_file', 'hba_file', 'ident_file')",
            DOING,
        )?;
        for row in &rows {
            let setting = row.text(1).map(str::to_owned);
            match row.text(0) {
                Some("config_file") => files.config_file = setting,
                Some("hba_file") => files.hba_file = setting,
                Some("ident_file") => files.ident_file = setting,
                _ => {}
            }
        }
        let rows = self.rows(
            "SELECT DISTINCT sourcefile FROM pg_catalog.pg_settings WHERE sourcefile IS NOT NULL \
             AND sourcefile NOT IN (SELECT setting FROM pg_catalog.pg_settings WHERE name = 'config_file') \
             ORDER BY sourcefile",
            DOING,
        )?;
        files.included_files = rows
            .iter()
            .filter_map(|row| row.text(0))
            .map(str::to_owned)
            .collect();
        Ok(files)
    }

    /// The names in `synchronous_standby_names`; one empty name if it is not set.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn synchronous_standby_names(&mut self) -> Result<Vec<String>, Error> {
        let setting = self.setting("synchronous_standby_names")?.unwrap_or_default();
        Ok(parse_synchronous_standby_names(&setting))
    }

    /// The statistics of the archiver.
    ///
    /// # Errors
    /// Server and connection errors, among them a division by zero right after the statistics were reset.
    pub fn archiver_stats(&mut self) -> Result<ArchiverStats, Error> {
        const DOING: &str = "reading the archiver statistics";
        let sql = format!(
            "SELECT archived_count, last_archived_wal, failed_count, last_failed_wal, \
             pg_catalog.current_setting('archive_mode') IN ('on', 'always') AND ( \
               last_failed_wal IS NULL \
               OR (last_failed_wal LIKE '%.history' \
                   AND pg_catalog.substr(last_failed_wal, 1, 8) <= pg_catalog.substr(last_archived_wal, 1, 8)) \
               OR last_failed_time <= last_archived_time), \
             CAST(archived_count AS NUMERIC) / EXTRACT(EPOCH FROM pg_catalog.age(pg_catalog.now(), stats_reset)), \
             {archived}, {failed}, {reset} FROM pg_catalog.pg_stat_archiver",
            archived = time_columns("last_archived_time"),
            failed = time_columns("last_failed_time"),
            reset = time_columns("stats_reset"),
        );
        // Before 14 the epoch is a float, which does not divide a numeric.
        let sql = if self.version().at_least(14) {
            sql
        } else {
            sql.replace("CAST(archived_count AS NUMERIC)", "archived_count")
        };
        let rows = self.rows(&sql, DOING)?;
        let row = rows
            .first()
            .ok_or_else(|| self.odd(&Doing::Borrowed(DOING), "no row"))?;
        Ok(ArchiverStats {
            archived_count: required(self, row, 0, DOING)?,
            last_archived_wal: row.text(1).map(str::to_owned),
            failed_count: required(self, row, 2, DOING)?,
            last_failed_wal: row.text(3).map(str::to_owned),
            is_archiving: row.text(4).and_then(boolean),
            current_archived_wals_per_second: row.text(5).map(str::to_owned),
            last_archived_time: time(row, 6),
            last_failed_time: time(row, 8),
            stats_reset: time(row, 10),
        })
    }
}

/// The names of a `synchronous_standby_names` value, by Barman's rule: what is between the first `(` and the last `)`
/// (all of it without parentheses), split at commas, without blanks and double quotes. An empty value has one empty
/// name.
#[must_use]
pub fn parse_synchronous_standby_names(setting: &str) -> Vec<String> {
    let inner = match (setting.find('('), setting.rfind(')')) {
        (Some(open), Some(close)) if open < close => setting.get(open + 1..close).unwrap_or(setting),
        _ => setting,
    };
    inner
        .split(',')
        .map(|name| name.trim().trim_matches('"').to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synchronous_standby_names_by_barmans_rule() {
        for (setting, names) in [
            ("", vec![""]),
            ("*", vec!["*"]),
            ("a, \"b c\"", vec!["a", "b c"]),
            (
                "FIRST 2 (s1, s2 , \"barman_receive_wal\")",
                vec!["s1", "s2", "barman_receive_wal"],
            ),
            ("2 (s1)", vec!["s1"]),
            (")(", vec![")("]),
        ] {
            assert_eq!(parse_synchronous_standby_names(setting), names, "{setting}");
        }
    }
}
