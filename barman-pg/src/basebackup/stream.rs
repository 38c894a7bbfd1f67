//! The answer to `BASE_BACKUP`: start position, list of tablespaces, one archive after the other, end position. Before
//! 15 each archive is a COPY of its own and the manifest another; from 15 on one COPY carries typed messages.

use std::collections::BTreeSet;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use barman_wal::{Lsn, TimelineId};

use super::options::Extent;
use super::{BaseBackupOptions, CompressionMethod, ManifestMode};
use crate::error::{Error, ServerMessage};
use crate::replication::session::{Answer, MAX_ROW_BYTES, Row, row_bytes};
use crate::replication::wire::{BUFFER, Doing, Filled, Patience};
use crate::replication::{ReplicationClient, SystemIdentification, lsn_at, path_at, text, timeline_at};

/// More tablespaces than any cluster has.
const MAX_TABLESPACES: usize = 100_000;

/// The end marker of a tar archive, which servers from 15 on send as a message of its own.
pub(super) const TAR_TRAILER: usize = 1024;

/// The NOTICE that the server waits for its archiver comes after five seconds.
const NOTICE_AFTER: Duration = Duration::from_secs(15);

/// How long to collect more before a partly filled block is handed on.
const LINGER: Duration = Duration::from_millis(20);

const STARTING: Doing = Doing::Borrowed("starting a base backup");
const COPYING: Doing = Doing::Borrowed("receiving a base backup");

/// A position and the timeline it is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupPosition {
    /// The position.
    pub lsn: Lsn,
    /// The timeline.
    pub timeline: TimelineId,
}

/// The first position that the backup does not need any more.
pub type BackupEnd = BackupPosition;

/// A tablespace of the backup that has an archive of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseTablespace {
    /// Its object id.
    pub oid: u32,
    /// Its directory on the server; relative for one inside the data directory.
    pub location: PathBuf,
    /// Its estimated size in kB; only with [`BaseBackupOptions::progress`].
    pub size_kb: Option<u64>,
}

/// What an archive holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveKind {
    /// The tar archive of a tablespace.
    Tablespace {
        /// Its object id.
        oid: u32,
    },
    /// The tar archive of the data directory; always the last one.
    Main,
    /// The `backup_manifest`, not a tar archive and never compressed.
    Manifest,
}

/// What a part of a block is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// An archive begins; whatever was open has ended.
    Begin(ArchiveKind),
    /// Bytes of the open archive: where they are in the block.
    Data(Range<usize>),
    /// All archives have come.
    End,
}

/// A buffer full of messages, and what is in it.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) data: Vec<u8>,
    pub(crate) pieces: Vec<Piece>,
}

type NoticeCallback<'c> = Box<dyn FnMut(&ServerMessage) + 'c>;

/// A running base backup. Dropping it before [`BaseBackup::finish`] breaks the connection off.
pub struct BaseBackup<'c> {
    client: &'c mut ReplicationClient,
    system: SystemIdentification,
    start: BackupPosition,
    tablespaces: Vec<BaseTablespace>,
    main_size_kb: Option<u64>,
    archive_wait: Option<Duration>,
    compression: Option<CompressionMethod>,
    manifest: ManifestMode,
    /// Bytes of the archives so far, before compression.
    sent: u64,
    notice: Option<NoticeCallback<'c>>,
    /// Archives begun so far.
    begun: usize,
    current: Option<ArchiveKind>,
    /// Whether a COPY is under way.
    copying: bool,
    /// Whether the server has sent everything that comes before its wait for archiving, or said that it waits.
    waiting: bool,
    ended: bool,
    /// Nothing that comes after a failure is believed.
    failed: bool,
    /// The position row after the archives, once it has come.
    end: Option<BackupEnd>,
    done: bool,
}

impl std::fmt::Debug for BaseBackup<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BaseBackup")
            .field("start", &self.start)
            .field("tablespaces", &self.tablespaces)
            .finish_non_exhaustive()
    }
}

impl ReplicationClient {
    /// Sends `BASE_BACKUP` and waits for the start position; the archives follow.
    ///
    /// # Errors
    /// Server and connection errors; [`Error::Timeout`] if the checkpoint takes longer than
    /// [`BaseBackupOptions::checkpoint_wait`].
    pub fn base_backup(&mut self, options: &BaseBackupOptions) -> Result<BaseBackup<'_>, Error> {
        self.begin_backup(options, Extent::Full)
    }

    pub(super) fn begin_backup(
        &mut self,
        options: &BaseBackupOptions,
        extent: Extent,
    ) -> Result<BaseBackup<'_>, Error> {
        let command = options.command(self.version(), extent)?;
        let system = self.identify_system()?;
        let patience = Patience::Limit(options.checkpoint_wait);
        self.session.query(&command, &STARTING)?;
        let start_row = self.result_set(patience, &mut |_| {})?;
        let start = match start_row.as_slice() {
            [row] => position(row),
            _ => None,
        }
        .ok_or_else(|| self.odd(&STARTING, "not one start position"))?;
        let rows = self.result_set(Patience::Io, &mut |_| {})?;
        if rows.len() > MAX_TABLESPACES {
            return Err(self.odd(&STARTING, "too many tablespaces"));
        }
        let mut tablespaces = Vec::new();
        let mut main_size_kb = None;
        let mut has_main = false;
        let mut known = BTreeSet::new();
        for row in &rows {
            let size_kb = text(row, 2).and_then(|size| size.parse().ok());
            match (text(row, 0), path_at(row, 1)) {
                (None, _) if !has_main => {
                    has_main = true;
                    main_size_kb = size_kb;
                }
                (Some(oid), Some(location)) if !has_main => {
                    let oid = oid
                        .parse()
                        .map_err(|_| self.odd(&STARTING, format!("tablespace \"{oid}\"")))?;
                    if !known.insert(oid) {
                        return Err(self.odd(&STARTING, format!("tablespace {oid} twice")));
                    }
                    tablespaces.push(BaseTablespace {
                        oid,
                        location,
                        size_kb,
                    });
                }
                _ => {
                    return Err(self.odd(
                        &STARTING,
                        "an archive after the data directory's, or a tablespace without location",
                    ));
                }
            }
        }
        if !has_main {
            return Err(self.odd(&STARTING, "no data directory among the archives"));
        }
        self.session.wire.set_buffer(BUFFER);
        Ok(BaseBackup {
            client: self,
            system,
            start,
            tablespaces,
            main_size_kb,
            archive_wait: options.archive_wait,
            compression: options.compression.map(|compression| compression.method),
            manifest: options.manifest,
            sent: 0,
            notice: None,
            begun: 0,
            current: None,
            copying: false,
            waiting: false,
            ended: false,
            failed: false,
            end: None,
            done: false,
        })
    }

    /// Reads one result set.
    fn result_set(
        &mut self,
        patience: Patience,
        notice: &mut dyn FnMut(&ServerMessage),
    ) -> Result<Vec<Row>, Error> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        loop {
            match self.session.answer(patience, &STARTING)? {
                Answer::Columns => {}
                Answer::Row(row) => {
                    bytes += row_bytes(&row);
                    if rows.len() > MAX_TABLESPACES || bytes > MAX_ROW_BYTES {
                        return Err(self.session.wire.protocol(&STARTING, "too many rows"));
                    }
                    rows.push(row);
                }
                Answer::Complete => return Ok(rows),
                Answer::Notice(message) => {
                    log::info!(target: "barman.postgres", "{message}");
                    notice(&message);
                }
                Answer::Failed(message) => return Err(self.session.fail(message, Patience::Io, &STARTING)),
                other => return Err(self.session.wire.protocol(&STARTING, format!("{other:?}"))),
            }
        }
    }
}

fn position(row: &Row) -> Option<BackupPosition> {
    Some(BackupPosition {
        lsn: lsn_at(row, 0)?,
        timeline: timeline_at(row, 1)?,
    })
}

impl<'c> BaseBackup<'c> {
    /// Which cluster this is, as told when the backup began.
    #[must_use]
    pub fn system(&self) -> &SystemIdentification {
        &self.system
    }

    /// What the server compresses the archives with.
    #[must_use]
    pub fn compression(&self) -> Option<CompressionMethod> {
        self.compression
    }

    /// Which manifest was asked for.
    pub(super) fn manifest(&self) -> ManifestMode {
        self.manifest
    }

    /// Bytes of tar archives that the server has sent so far, as they are before compression: what
    /// [`BaseBackup::estimated_kb`] estimates. While the server compresses it is told about once a second.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent
    }

    /// The history file of a timeline, for the WAL ranges of a manifest; after the end.
    pub(super) fn timeline_history(&mut self, timeline: TimelineId) -> Result<Vec<u8>, Error> {
        self.client.timeline_history(timeline).map(|(_, content)| content)
    }

    /// What an archive is called: `base.tar`, `16384.tar.zst`, `backup_manifest`.
    pub(super) fn name_of(&self, kind: &ArchiveKind) -> String {
        let suffix = self.compression.map_or("", CompressionMethod::suffix);
        match kind {
            ArchiveKind::Tablespace { oid } => format!("{oid}.tar{suffix}"),
            ArchiveKind::Main => format!("base.tar{suffix}"),
            ArchiveKind::Manifest => "backup_manifest".to_owned(),
        }
    }

    /// The directory on the server that an archive comes from, if it is a tablespace's.
    pub(super) fn location_of(&self, kind: &ArchiveKind) -> Option<&Path> {
        match kind {
            ArchiveKind::Tablespace { oid } => self
                .tablespaces
                .iter()
                .find(|tablespace| tablespace.oid == *oid)
                .map(|tablespace| tablespace.location.as_path()),
            ArchiveKind::Main | ArchiveKind::Manifest => None,
        }
    }

    /// The flag of the connection that ends its waits.
    pub(super) fn interrupt(&self) -> Option<Arc<AtomicBool>> {
        self.client.session.wire.interrupt.clone()
    }

    /// Where the backup begins: the redo position of its checkpoint.
    #[must_use]
    pub fn start(&self) -> BackupPosition {
        self.start
    }

    /// The tablespaces, in the order of their archives; the data directory comes after them.
    #[must_use]
    pub fn tablespaces(&self) -> &[BaseTablespace] {
        &self.tablespaces
    }

    /// The estimated size of everything in kB; only with [`BaseBackupOptions::progress`].
    #[must_use]
    pub fn estimated_kb(&self) -> Option<u64> {
        self.tablespaces
            .iter()
            .try_fold(self.main_size_kb?, |sum, one| sum.checked_add(one.size_kb?))
    }

    /// The server's version.
    #[must_use]
    pub fn version(&self) -> crate::version::PgVersion {
        self.client.version()
    }

    /// Hands every NOTICE and WARNING of the server to `callback`, among them the one that says that the server waits
    /// for required WAL segments to be archived.
    pub fn on_notice(&mut self, callback: impl FnMut(&ServerMessage) + 'c) {
        self.notice = Some(Box::new(callback));
    }

    fn patience(&self) -> Patience {
        if self.waiting {
            Patience::Limit(self.archive_wait)
        } else if self.compression.is_some() && self.current == Some(ArchiveKind::Main) {
            // The end of this archive does not show in compressed data.
            Patience::Limit(Some(self.client.session.wire.io_timeout.max(NOTICE_AFTER)))
        } else {
            Patience::Io
        }
    }

    fn protocol(&mut self, what: impl Into<String>) -> Error {
        self.client.session.wire.protocol(&COPYING, what)
    }

    /// Collects the next messages; nothing when [`Piece::End`] has been handed out. `spare` becomes the buffer that
    /// is read into next.
    pub(crate) fn next_block(&mut self, spare: Vec<u8>) -> Result<Option<Block>, Error> {
        if self.failed {
            return Err(Error::Closed {
                doing: COPYING,
                address: self.client.session.wire.address.clone(),
            });
        }
        if self.ended {
            return Ok(None);
        }
        let block = self.collect(spare);
        self.failed = block.is_err();
        block.map(Some)
    }

    fn collect(&mut self, spare: Vec<u8>) -> Result<Block, Error> {
        let mut pieces = Vec::new();
        loop {
            // Here, because a server that is faster than the disk never lets a read wait, where the flag is looked at.
            if self.client.session.wire.interrupted() {
                self.client.session.wire.broken = true;
                return Err(Error::Interrupted { doing: COPYING });
            }
            while !self.ended
                && let Some(frame) = self.client.session.wire.buffered(&COPYING)?
            {
                if let Some(answer) = self.client.session.interpret(&frame, &COPYING)? {
                    self.digest(answer, &mut pieces)?;
                }
            }
            if self.ended || (!pieces.is_empty() && self.client.session.wire.room() < BUFFER / 4) {
                break;
            }
            if pieces.is_empty() {
                match self.client.session.wire.fill(self.patience(), &COPYING)? {
                    Filled::Bytes => {}
                    Filled::Interrupted => {
                        self.client.session.wire.broken = true;
                        return Err(Error::Interrupted { doing: COPYING });
                    }
                    Filled::Nothing => {
                        let after = match self.patience() {
                            Patience::Limit(Some(limit)) => limit,
                            _ => self.client.session.wire.io_timeout,
                        };
                        return Err(self.client.session.wire.timeout(&COPYING, after));
                    }
                }
            } else if self
                .client
                .session
                .wire
                .fill_on(Patience::Limit(Some(LINGER)), &COPYING)?
                != Filled::Bytes
            {
                break;
            }
        }
        let data = self.client.session.wire.swap(spare);
        Ok(Block { data, pieces })
    }

    /// Takes one message of the COPY phase in.
    fn digest(&mut self, answer: Answer, pieces: &mut Vec<Piece>) -> Result<(), Error> {
        let multiplexed = self.version().at_least(15);
        match answer {
            Answer::CopyOut if !self.copying => {
                self.copying = true;
                if !multiplexed {
                    let kind = match self.tablespaces.get(self.begun) {
                        Some(tablespace) => ArchiveKind::Tablespace { oid: tablespace.oid },
                        None if self.begun == self.tablespaces.len() => ArchiveKind::Main,
                        None => ArchiveKind::Manifest,
                    };
                    self.begin(kind, pieces)?;
                }
            }
            Answer::Data(range) if self.copying && multiplexed => self.typed(range, pieces)?,
            Answer::Data(range) if self.copying => {
                // A warning about a file was no wait for the archiver.
                self.waiting = false;
                if self.current != Some(ArchiveKind::Manifest) {
                    self.sent += range.len() as u64;
                }
                pieces.push(Piece::Data(range));
            }
            Answer::CopyDone if self.copying => {
                self.copying = false;
                // What comes next, servers before 15 send when their WAL has been archived: the manifest, or before 13
                // the end position. Newer ones have waited before the manifest.
                self.waiting = !multiplexed && self.current == Some(ArchiveKind::Main);
            }
            // The result set with the end position.
            Answer::Columns if !self.copying && self.begun > self.tablespaces.len() => {
                self.ended = true;
                pieces.push(Piece::End);
            }
            Answer::Complete if !self.copying => {}
            Answer::Notice(notice) => {
                log::info!(target: "barman.postgres", "{notice}");
                // "waiting for required WAL segments to be archived", in whatever language.
                self.waiting |= self.current == Some(ArchiveKind::Main);
                if let Some(callback) = &mut self.notice {
                    callback(&notice);
                }
            }
            Answer::Failed(message) => {
                return Err(self.client.session.fail(
                    message,
                    Patience::Stubborn(Duration::from_secs(5)),
                    &COPYING,
                ));
            }
            other => return Err(self.protocol(format!("{other:?} out of turn"))),
        }
        Ok(())
    }

    /// A message of the COPY of servers from 15 on.
    fn typed(&mut self, range: Range<usize>, pieces: &mut Vec<Piece>) -> Result<(), Error> {
        let body = self.client.session.wire.bytes(&range);
        match body.first() {
            Some(b'd') if self.current.is_some() => {
                let data = body.get(1..).unwrap_or_default();
                let (length, is_trailer) = (
                    data.len(),
                    data.len() == TAR_TRAILER && data.iter().all(|byte| *byte == 0),
                );
                if self.current == Some(ArchiveKind::Main) {
                    self.waiting = is_trailer && self.compression.is_none();
                }
                if self.compression.is_none() && self.current != Some(ArchiveKind::Manifest) {
                    self.sent += length as u64;
                }
                pieces.push(Piece::Data(range.start + 1..range.end));
                Ok(())
            }
            Some(b'n') => {
                let mut names = body.get(1..).unwrap_or_default().split(|byte| *byte == 0);
                let (name, location) = (names.next().unwrap_or_default(), names.next().unwrap_or_default());
                let kind = match self.tablespaces.get(self.begun) {
                    Some(tablespace) => Some(ArchiveKind::Tablespace { oid: tablespace.oid }),
                    None => (self.begun == self.tablespaces.len()).then_some(ArchiveKind::Main),
                };
                let expected = kind.filter(|kind| {
                    self.name_of(kind).as_bytes() == name
                        && self
                            .location_of(kind)
                            .map_or(&b""[..], |path| path.as_os_str().as_bytes())
                            == location
                });
                match expected {
                    Some(kind) => self.begin(kind, pieces),
                    None => {
                        let what = format!("archive \"{}\" out of turn", String::from_utf8_lossy(name));
                        Err(self.protocol(what))
                    }
                }
            }
            Some(b'm') => self.begin(ArchiveKind::Manifest, pieces),
            // How much the server has sent, uncompressed.
            Some(b'p') => {
                if let Some(done) = body.get(1..).and_then(|rest| rest.first_chunk::<8>())
                    && self.compression.is_some()
                {
                    self.sent = u64::from_be_bytes(*done);
                }
                Ok(())
            }
            other => {
                let what = format!("backup message of type {other:?}");
                Err(self.protocol(what))
            }
        }
    }

    fn begin(&mut self, kind: ArchiveKind, pieces: &mut Vec<Piece>) -> Result<(), Error> {
        let in_turn = match kind {
            ArchiveKind::Manifest => self.current == Some(ArchiveKind::Main),
            _ => true,
        };
        if !in_turn {
            return Err(self.protocol("the manifest before the data directory, or twice"));
        }
        self.begun += 1;
        self.waiting = false;
        self.current = Some(kind.clone());
        pieces.push(Piece::Begin(kind));
        Ok(())
    }

    /// Reads the end position and leaves the connection ready for other commands.
    ///
    /// # Errors
    /// Server and connection errors; an error if archives are still to come.
    pub fn finish(mut self) -> Result<BackupEnd, Error> {
        self.read_end()
    }

    /// [`BaseBackup::finish`] for who still needs the connection.
    pub(super) fn read_end(&mut self) -> Result<BackupEnd, Error> {
        if !self.ended {
            return Err(self.protocol("the archives have not been read to the end"));
        }
        let patience = Patience::Io.in_all(self.client.session.wire.io_timeout);
        loop {
            match self.client.session.answer(patience, &COPYING)? {
                Answer::Row(row) => self.end = position(&row),
                Answer::Complete | Answer::Columns => {}
                Answer::Notice(notice) => {
                    if let Some(callback) = &mut self.notice {
                        callback(&notice);
                    }
                }
                Answer::Failed(message) => {
                    return Err(self.client.session.fail(message, Patience::Io, &COPYING));
                }
                Answer::Ready => break,
                other => return Err(self.protocol(format!("{other:?} after the archives"))),
            }
        }
        self.done = true;
        self.end
            .ok_or_else(|| self.client.odd(&COPYING, "no end position"))
    }
}

impl Drop for BaseBackup<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.client.session.wire.broken = true;
        }
    }
}
