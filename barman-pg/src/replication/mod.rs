//! The replication protocol of a physical WAL sender: identification, slots, timeline history, WAL streaming
//! (PostgreSQL documentation, "Streaming Replication Protocol"). Base backups are in [`crate::basebackup`].
//!
//! WAL as it is written, into one file (`examples/receive_wal.rs` is a program that makes segments of it):
//!
//! ```no_run
//! use std::io::Write;
//! use std::time::Duration;
//! use barman_pg::{ConnInfo, ConnectOptions, ReplicationClient, WalEvent};
//! use barman_wal::Lsn;
//!
//! let conninfo: ConnInfo = "host=pg user=streaming_barman".parse()?;
//! let mut client = ReplicationClient::connect(&conninfo.streaming(), &ConnectOptions::default())?;
//! let system = client.identify_system()?;
//! let mut file = std::fs::File::create("wal")?;
//! let mut stream = client.start_physical(None, system.xlogpos, system.timeline)?;
//! stream.set_status_interval(Duration::from_secs(10));
//! loop {
//!     match stream.next(Duration::from_secs(1))? {
//!         WalEvent::Data { bytes, .. } => file.write_all(bytes)?,
//!         WalEvent::EndOfTimeline { .. } => break,
//!         WalEvent::KeepAlive { .. } | WalEvent::Idle => {}
//!     }
//!     // Nothing is said to be durable, because nothing was synced.
//!     stream.report(stream.received(), Lsn(0), Lsn(0))?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub(crate) mod messages;
mod resume;
pub(crate) mod session;
mod wal_stream;
pub(crate) mod wire;

use std::time::Duration;

use barman_wal::{Lsn, TimelineId};

pub use resume::{Backoff, ReconnectPolicy};
pub use wal_stream::{WalEvent, WalStream};

use crate::connect::{self, Canceller, ConnectOptions, Maker, SessionKind};
use crate::conninfo::ConnInfo;
use crate::error::Error;
use crate::sql::quote::identifier;
use crate::version::PgVersion;
use session::{Row, Session};
use wire::{Doing, Patience};

/// Answer to `IDENTIFY_SYSTEM`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemIdentification {
    /// The cluster's system identifier, as decimal text.
    pub systemid: String,
    /// The server's current timeline.
    pub timeline: TimelineId,
    /// The current WAL flush position.
    pub xlogpos: Lsn,
}

/// Answer to `READ_REPLICATION_SLOT` (PostgreSQL 15).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlotPosition {
    /// Where the slot's consumer would restart.
    pub restart_lsn: Option<Lsn>,
    /// The timeline of that position, following the server's history.
    pub restart_tli: Option<TimelineId>,
}

/// A physical replication session (`replication=true`).
pub struct ReplicationClient {
    pub(crate) session: Session,
    systemid_timeout: Duration,
}

impl std::fmt::Debug for ReplicationClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReplicationClient")
            .field("address", &self.session.wire.address)
            .field("version", &self.session.version)
            .finish_non_exhaustive()
    }
}

impl ReplicationClient {
    /// Connects. `info` is used as it is, apart from `replication=true` if it has none: callers apply
    /// [`ConnInfo::streaming`] and [`ConnInfo::or_application_name`].
    ///
    /// # Errors
    /// [`Error::Connect`] and [`Error::Unsupported`]; [`Error::Interrupted`] if the flag was raised.
    pub fn connect(info: &ConnInfo, options: &ConnectOptions) -> Result<Self, Error> {
        let session = connect::establish(
            info,
            SessionKind::Streaming,
            options,
            Maker {
                make: |opened, _: &_, _| Ok(Session::new(opened)),
                show: |session: &mut Session, name| {
                    let doing = Doing::Borrowed("connecting");
                    let rows = session.run(&format!("SHOW {name}"), Patience::Io, &doing)?;
                    Ok(rows.first().and_then(|row| text(row, 0)))
                },
                recovers: |_| Ok(None),
            },
        )?;
        Ok(Self {
            session,
            systemid_timeout: options.io_timeout,
        })
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        self.session.version
    }

    /// Which server this is: `server at "host", port N`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.session.wire.address
    }

    /// The role of the session.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.session.user
    }

    /// A parameter that the server reported at connect time (`server_version`, `in_hot_standby`, `TimeZone` ...).
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.session.parameter(name)
    }

    /// Asks the server to stop what this session is doing, from any thread; none if the server gave no key for that.
    #[must_use]
    pub fn canceller(&self) -> Option<Canceller> {
        self.session.canceller.clone()
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.session.wire.channel().is_encrypted()
    }

    fn patience(&self) -> Patience {
        Patience::Limit(Some(self.systemid_timeout))
    }

    fn one_row(&mut self, sql: &str, columns: usize, doing: &Doing) -> Result<Row, Error> {
        let rows = self.session.run(sql, self.patience(), doing)?;
        match rows.into_iter().next() {
            Some(row) if row.len() >= columns => Ok(row),
            Some(row) => Err(self.odd(doing, format!("{} columns, expected {columns}", row.len()))),
            None => Err(self.odd(doing, "no row")),
        }
    }

    pub(crate) fn odd(&self, doing: &Doing, what: impl Into<String>) -> Error {
        Error::Protocol {
            doing: doing.clone(),
            address: self.session.wire.address.clone(),
            what: what.into(),
        }
    }

    /// `IDENTIFY_SYSTEM`.
    ///
    /// # Errors
    /// Server and connection errors; [`Error::Server`] with a syntax error if this is not a replication session.
    pub fn identify_system(&mut self) -> Result<SystemIdentification, Error> {
        let doing = Doing::Borrowed("identifying the system");
        let row = self.one_row("IDENTIFY_SYSTEM", 3, &doing)?;
        let systemid = text(&row, 0).ok_or_else(|| self.odd(&doing, "no system identifier"))?;
        if systemid.is_empty() || !systemid.bytes().all(|b| b.is_ascii_digit()) {
            return Err(self.odd(&doing, format!("system identifier {systemid:?}")));
        }
        let timeline = timeline_at(&row, 1).ok_or_else(|| self.odd(&doing, "no timeline"))?;
        let xlogpos = lsn_at(&row, 2).ok_or_else(|| self.odd(&doing, "no WAL position"))?;
        Ok(SystemIdentification {
            systemid,
            timeline,
            xlogpos,
        })
    }

    /// `SHOW name`.
    ///
    /// # Errors
    /// Server and connection errors.
    pub fn show(&mut self, name: &str) -> Result<String, Error> {
        let doing = Doing::Owned(format!("reading the setting {name}"));
        let row = self.one_row(&format!("SHOW {}", identifier(name)), 1, &doing)?;
        text(&row, 0).ok_or_else(|| self.odd(&doing, "no value"))
    }

    /// The WAL segment size in bytes, from `SHOW wal_segment_size` (`16MB`, `1GB`).
    ///
    /// # Errors
    /// Server and connection errors, and a text that is not a size.
    pub fn wal_segment_size(&mut self) -> Result<u64, Error> {
        let shown = self.show("wal_segment_size")?;
        parse_size(&shown).ok_or_else(|| {
            self.odd(
                &Doing::Borrowed("reading the WAL segment size"),
                format!("\"{shown}\" is not a size"),
            )
        })
    }

    /// `CREATE_REPLICATION_SLOT name PHYSICAL [RESERVE_WAL]`.
    ///
    /// # Errors
    /// [`Error::Server`] with SQLSTATE 42710 if it exists, 53400 if all slots are in use.
    pub fn create_physical_slot(&mut self, name: &str, reserve_wal: ReserveWal) -> Result<(), Error> {
        let doing = Doing::Owned(format!("creating replication slot \"{name}\""));
        let reserve = match reserve_wal {
            ReserveWal::Now => " RESERVE_WAL",
            ReserveWal::Later => "",
        };
        let sql = format!("CREATE_REPLICATION_SLOT {} PHYSICAL{reserve}", identifier(name));
        self.session.run(&sql, self.patience(), &doing).map(drop)
    }

    /// `CREATE_REPLICATION_SLOT name TEMPORARY PHYSICAL RESERVE_WAL`: a slot that keeps WAL from now on and ends with this
    /// session, or with an error in it.
    ///
    /// # Errors
    /// As [`ReplicationClient::create_physical_slot`].
    pub fn create_temporary_slot(&mut self, name: &str) -> Result<(), Error> {
        let doing = Doing::Owned(format!("creating temporary replication slot \"{name}\""));
        let sql = format!(
            "CREATE_REPLICATION_SLOT {} TEMPORARY PHYSICAL RESERVE_WAL",
            identifier(name)
        );
        self.session.run(&sql, self.patience(), &doing).map(drop)
    }

    /// `DROP_REPLICATION_SLOT name`.
    ///
    /// # Errors
    /// [`Error::Server`] with SQLSTATE 42704 if it does not exist, 55006 if it is active.
    pub fn drop_slot(&mut self, name: &str) -> Result<(), Error> {
        let doing = Doing::Owned(format!("dropping replication slot \"{name}\""));
        let sql = format!("DROP_REPLICATION_SLOT {}", identifier(name));
        self.session.run(&sql, self.patience(), &doing).map(drop)
    }

    /// `READ_REPLICATION_SLOT name`; nothing if the slot does not exist. PostgreSQL 15 and newer.
    ///
    /// # Errors
    /// Server and connection errors; a syntax error from servers before 15.
    pub fn read_slot(&mut self, name: &str) -> Result<Option<SlotPosition>, Error> {
        let doing = Doing::Owned(format!("reading replication slot \"{name}\""));
        let row = self.one_row(&format!("READ_REPLICATION_SLOT {}", identifier(name)), 3, &doing)?;
        if text(&row, 0).is_none() {
            return Ok(None);
        }
        Ok(Some(SlotPosition {
            restart_lsn: lsn_at(&row, 1),
            restart_tli: timeline_at(&row, 2),
        }))
    }

    /// `TIMELINE_HISTORY tli`: the name and the content of the history file.
    ///
    /// # Errors
    /// [`Error::Server`] if the server does not have it.
    pub fn timeline_history(&mut self, timeline: TimelineId) -> Result<(String, Vec<u8>), Error> {
        let doing = Doing::Owned(format!("fetching the history of timeline {}", timeline.get()));
        let row = self.one_row(&format!("TIMELINE_HISTORY {}", timeline.get()), 2, &doing)?;
        let name = text(&row, 0).ok_or_else(|| self.odd(&doing, "no file name"))?;
        let wanted = format!("{:08X}.history", timeline.get());
        if name != wanted {
            return Err(self.odd(&doing, format!("history file \"{name}\", expected \"{wanted}\"")));
        }
        match row.get(1) {
            Some(Some(content)) => Ok((name, content.to_vec())),
            _ => Err(self.odd(&doing, "no content")),
        }
    }

    /// `START_REPLICATION [SLOT slot] PHYSICAL start TIMELINE timeline`.
    ///
    /// # Errors
    /// [`Error::WalRemoved`] if the position is no longer available (often only with the first
    /// [`WalStream::next`]); [`Error::Server`]: slot active (55006) or absent (42704), position not in the server's
    /// history, see [`ReplicationClient::check_position`].
    pub fn start_physical(
        &mut self,
        slot: Option<&str>,
        start: Lsn,
        timeline: TimelineId,
    ) -> Result<WalStream<'_>, Error> {
        let slot = slot
            .map(|name| format!("SLOT {} ", identifier(name)))
            .unwrap_or_default();
        let sql = format!(
            "START_REPLICATION {slot}PHYSICAL {start} TIMELINE {}",
            timeline.get()
        );
        WalStream::start(self, &sql, start, timeline)
    }
}

/// Whether a new slot keeps WAL from the moment it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReserveWal {
    /// From now on.
    Now,
    /// Only from the first streaming on.
    Later,
}

/// A column as text.
pub(crate) fn text(row: &Row, at: usize) -> Option<String> {
    let value = row.get(at)?.as_ref()?;
    std::str::from_utf8(value).ok().map(str::to_owned)
}

/// A column as a path, whatever its encoding.
pub(crate) fn path_at(row: &Row, at: usize) -> Option<std::path::PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let value = row.get(at)?.as_ref()?;
    Some(std::ffi::OsStr::from_bytes(value).into())
}

pub(crate) fn lsn_at(row: &Row, at: usize) -> Option<Lsn> {
    text(row, at)?.parse().ok()
}

pub(crate) fn timeline_at(row: &Row, at: usize) -> Option<TimelineId> {
    TimelineId::new(text(row, at)?.parse().ok()?)
}

/// A size with PostgreSQL's memory unit: `16MB`, `1GB`, `64kB`.
fn parse_size(shown: &str) -> Option<u64> {
    let digits = shown.find(|c: char| !c.is_ascii_digit()).unwrap_or(shown.len());
    let (number, unit) = shown.split_at(digits);
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "kB" => 1 << 10,
        "MB" => 1 << 20,
        "GB" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_units() {
        for (shown, bytes) in [
            ("16MB", Some(16 << 20)),
            ("1GB", Some(1 << 30)),
            ("64kB", Some(65536)),
            ("7", Some(7)),
            ("x", None),
            ("99999999999999999999GB", None),
        ] {
            assert_eq!(parse_size(shown), bytes, "{shown}");
        }
    }
}
