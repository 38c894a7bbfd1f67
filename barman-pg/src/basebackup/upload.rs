//! Incremental base backups (PostgreSQL 17): the manifest of an earlier backup goes to the server with `UPLOAD_MANIFEST`,
//! and `BASE_BACKUP (INCREMENTAL)` on the same connection sends what has changed since.

use std::io::{self, Read};

use super::options::Extent;
use super::{BaseBackup, BaseBackupOptions};
use crate::error::Error;
use crate::replication::ReplicationClient;
use crate::replication::session::Answer;
use crate::replication::wire::{Doing, Filled, Patience};

const UPLOADING: Doing = Doing::Borrowed("uploading the manifest of the earlier backup");

/// The manifest is sent in messages of this many bytes.
const PIECE: usize = 64 * 1024;

impl ReplicationClient {
    /// Sends the `backup_manifest` of an earlier backup and begins a backup of what has changed since then. The manifest
    /// is read as a stream; its size costs no memory here. Files of which only blocks come are named `INCREMENTAL.*`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] before PostgreSQL 17; [`Error::Manifest`] if `manifest` cannot be read; server and
    /// connection errors, among them in the server's words a manifest of another cluster or timeline, and WAL summaries
    /// that are off or missing. As [`ReplicationClient::base_backup`] otherwise.
    pub fn incremental_backup(
        &mut self,
        options: &BaseBackupOptions,
        manifest: &mut dyn Read,
    ) -> Result<BaseBackup<'_>, Error> {
        if !self.version().at_least(17) {
            return Err(Error::Unsupported {
                option: "incremental base backup".to_owned(),
                value: format!("PostgreSQL {}", self.version().major()),
                why: "servers can take incremental backups from version 17 on",
            });
        }
        self.upload_manifest(manifest)?;
        self.begin_backup(options, Extent::Incremental)
    }

    fn upload_manifest(&mut self, manifest: &mut dyn Read) -> Result<(), Error> {
        self.session.query("UPLOAD_MANIFEST", &UPLOADING)?;
        loop {
            match self.session.answer(Patience::Io, &UPLOADING)? {
                Answer::CopyIn => break,
                Answer::Notice(notice) => log::info!(target: "barman.postgres", "{notice}"),
                Answer::Failed(message) => return Err(self.session.fail(message, Patience::Io, &UPLOADING)),
                other => return Err(self.session.wire.protocol(&UPLOADING, format!("{other:?}"))),
            }
        }
        let outcome = self.send_pieces(manifest);
        match outcome {
            Ok(()) => {}
            Err(Error::Manifest { source }) => {
                // The server is told that no more comes, so that the connection stays usable.
                self.send_message(b'f', b"the manifest cannot be read\0")?;
                let _ = self.upload_outcome();
                return Err(Error::Manifest { source });
            }
            Err(error) => return Err(error),
        }
        self.upload_outcome()
    }

    /// Sends until the end, or until the server refuses.
    fn send_pieces(&mut self, manifest: &mut dyn Read) -> Result<(), Error> {
        let mut piece = vec![0; PIECE];
        loop {
            let length = match manifest.read(&mut piece) {
                Ok(0) => return self.send_message(b'c', b""),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => return Err(Error::Manifest { source }),
            };
            self.send_message(b'd', piece.get(..length).unwrap_or_default())?;
            match self
                .session
                .wire
                .fill(Patience::Limit(Some(std::time::Duration::ZERO)), &UPLOADING)?
            {
                Filled::Nothing => {}
                Filled::Bytes => self.listen()?,
                Filled::Interrupted => {
                    self.session.wire.broken = true;
                    return Err(Error::Interrupted { doing: UPLOADING });
                }
            }
        }
    }

    /// What the server has to say while more is to be sent to it.
    fn listen(&mut self) -> Result<(), Error> {
        while let Some(frame) = self.session.wire.buffered(&UPLOADING)? {
            match self.session.interpret(&frame, &UPLOADING)? {
                None => {}
                Some(Answer::Notice(notice)) => log::info!(target: "barman.postgres", "{notice}"),
                Some(Answer::Failed(message)) => {
                    return Err(self.session.fail(message, Patience::Io, &UPLOADING));
                }
                Some(other) => return Err(self.session.wire.protocol(&UPLOADING, format!("{other:?}"))),
            }
        }
        Ok(())
    }

    /// What the server makes of it. A manifest takes it a moment.
    fn upload_outcome(&mut self) -> Result<(), Error> {
        let patience = Patience::Io.in_all(self.session.wire.io_timeout);
        let mut complete = false;
        loop {
            match self.session.answer(patience, &UPLOADING)? {
                Answer::Ready if complete => return Ok(()),
                Answer::Complete | Answer::Columns | Answer::Row(_) => complete = true,
                Answer::Notice(notice) => log::info!(target: "barman.postgres", "{notice}"),
                Answer::Failed(message) => return Err(self.session.fail(message, patience, &UPLOADING)),
                other => return Err(self.session.wire.protocol(&UPLOADING, format!("{other:?}"))),
            }
        }
    }

    fn send_message(&mut self, tag: u8, body: &[u8]) -> Result<(), Error> {
        let Ok(length) = u32::try_from(body.len() + 4) else {
            return Err(self
                .session
                .wire
                .protocol(&UPLOADING, "a message that is too long"));
        };
        let mut header = [tag, 0, 0, 0, 0];
        header[1..].copy_from_slice(&length.to_be_bytes());
        let message = [&header[..], body].concat();
        self.session.wire.send(&message, Patience::Io, &UPLOADING)
    }
}
