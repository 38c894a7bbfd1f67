//! The loop: WAL in, files and status messages out, from timeline to timeline.

use std::path::Path;
use std::time::{Duration, Instant};

use barman_catalog::Layout;
use barman_pg::{ReplicationClient, WalEvent, WalStream};
use barman_wal::{Lsn, SegmentSize, TimelineId, WalFileName, durable};

use super::start::Start;
use super::writer::SegmentWriter;
use super::{RECEIVER_TARGET, ReceiveError, TARGET};
use crate::context::{CancelCause, Context, Level};

/// How often the server is told where we are.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// The most that an orderly end may take.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// In synchronous mode: flush at the latest after so much WAL, however fast it comes.
const SYNC_BYTES: u64 = 1 << 20;

/// What receiving needs to know.
pub(super) struct Receiver<'a> {
    pub(super) server: &'a str,
    pub(super) slot: Option<&'a str>,
    pub(super) directory: &'a Path,
    /// Where archived history files are.
    pub(super) wals: &'a Layout,
    pub(super) size: SegmentSize,
    pub(super) synchronous: bool,
    pub(super) ctx: &'a Context<'a>,
}

/// How the stream of one timeline ended.
enum Ended {
    Stopped(CancelCause),
    Timeline { next: TimelineId, switch_point: Lsn },
}

impl Receiver<'_> {
    /// Receives until somebody asks to stop; returns the number of completed segments and who asked.
    pub(super) fn run(
        &self,
        client: &mut ReplicationClient,
        mut start: Start,
    ) -> Result<(u64, CancelCause), ReceiveError> {
        self.say(&format!(
            "starting log streaming at {} (timeline {})",
            start.lsn, start.timeline
        ));
        let mut segments = 0;
        loop {
            self.fetch_history(client, start.timeline)?;
            let stream = client
                .start_physical(self.slot, start.lsn, start.timeline)
                .map_err(ReceiveError::Postgres)?;
            let mut writer = SegmentWriter::new(self.directory, self.size, start.timeline, start.lsn);
            let outcome = self.follow(stream, &mut writer, start.timeline, &mut segments);
            // Whatever happened, what has come is kept safe.
            let left = match outcome {
                Ok(Ended::Timeline { next, switch_point })
                    if next > start.timeline && switch_point <= writer.written() =>
                {
                    writer.end_timeline(next, switch_point)
                }
                Ok(_) | Err(_) => writer.close(),
            };
            let ended = outcome?;
            if let Some(name) = left? {
                let text = format!(
                    "not renaming \"{}\", segment is not complete",
                    WalFileName::Partial(name)
                );
                match ended {
                    // That an ordered end leaves the current segment incomplete is no news: Barman says nothing either.
                    Ended::Stopped(_) => {
                        log::info!(target: RECEIVER_TARGET, "{}: pg_receivewal: {text}", self.server);
                    }
                    Ended::Timeline { .. } => self.say(&text),
                }
            }
            match ended {
                Ended::Stopped(cause) => return Ok((segments, cause)),
                Ended::Timeline { next, switch_point } => {
                    if next <= start.timeline || switch_point > writer.written() {
                        return Err(ReceiveError::Refused(format!(
                            "server stopped streaming timeline {} at {}, but reported next timeline {next} to begin at {switch_point}",
                            start.timeline,
                            writer.written()
                        )));
                    }
                    self.say(&format!("switched to timeline {next} at {switch_point}"));
                    start = Start {
                        lsn: switch_point.segment_start(self.size),
                        timeline: next,
                    };
                }
            }
        }
    }

    /// As `pg_receivewal --verbose` says it.
    fn say(&self, text: &str) {
        self.ctx.say(
            Level::Info,
            RECEIVER_TARGET,
            &format!("{}: pg_receivewal: {text}", self.server),
        );
    }

    /// Where we are, as far as the server may know it. Without slot and synchronous mode it is not told what is
    /// flushed, as with `pg_receivewal`.
    fn report(&self, stream: &mut WalStream<'_>, writer: &SegmentWriter) -> Result<(), ReceiveError> {
        let flushed = if self.slot.is_some() || self.synchronous {
            writer.flushed()
        } else {
            Lsn(0)
        };
        stream
            .send_status(writer.written(), flushed, Lsn(0), false)
            .map_err(ReceiveError::Postgres)
    }

    fn follow(
        &self,
        mut stream: WalStream<'_>,
        writer: &mut SegmentWriter,
        timeline: TimelineId,
        segments: &mut u64,
    ) -> Result<Ended, ReceiveError> {
        // At once: only with the first status message does the slot keep the WAL that is needed next.
        self.report(&mut stream, writer)?;
        let mut reported = Instant::now();
        loop {
            if let Some(cause) = self.ctx.cancel.cause() {
                writer.flush()?;
                // The server is told if it still listens; everything is safe here anyway.
                if let Err(error) = self.report(&mut stream, writer) {
                    log::debug!(target: TARGET, "last status message: {error}");
                } else if let Err(error) = stream.stop(STOP_LIMIT) {
                    log::debug!(target: TARGET, "end of streaming: {error}");
                }
                return Ok(Ended::Stopped(cause));
            }
            let unflushed = writer.written().0.saturating_sub(writer.flushed().0);
            let mut tell = reported.elapsed() >= STATUS_INTERVAL;
            if self.synchronous && unflushed >= SYNC_BYTES {
                writer.flush()?;
                tell = true;
            }
            let wait = if self.synchronous && unflushed > 0 {
                Duration::ZERO
            } else {
                STATUS_INTERVAL.saturating_sub(reported.elapsed())
            };
            match stream.next(wait).map_err(ReceiveError::Postgres)? {
                WalEvent::Data { start, bytes, .. } => {
                    if start != writer.written() {
                        return Err(ReceiveError::Refused(format!(
                            "received WAL at {start}, expected {}",
                            writer.written()
                        )));
                    }
                    tell |= self.write(writer, bytes, timeline, segments)?;
                }
                WalEvent::KeepAlive { reply_requested, .. } => {
                    if reply_requested {
                        // A server that shuts down waits until everything it sent is confirmed.
                        if self.slot.is_some() || self.synchronous {
                            writer.flush()?;
                        }
                        tell = true;
                    }
                }
                WalEvent::Idle => {
                    if self.synchronous && writer.flushed() < writer.written() {
                        writer.flush()?;
                        tell = true;
                    }
                }
                WalEvent::EndOfTimeline {
                    next_timeline,
                    switch_point,
                } => {
                    stream.stop(STOP_LIMIT).map_err(ReceiveError::Postgres)?;
                    return Ok(Ended::Timeline {
                        next: next_timeline,
                        switch_point,
                    });
                }
            }
            if tell {
                self.report(&mut stream, writer)?;
                reported = Instant::now();
            }
        }
    }

    /// Writes a piece of WAL; true if a segment was completed.
    fn write(
        &self,
        writer: &mut SegmentWriter,
        mut bytes: &[u8],
        timeline: TimelineId,
        segments: &mut u64,
    ) -> Result<bool, ReceiveError> {
        let mut completed = false;
        while !bytes.is_empty() {
            let (taken, complete) = writer.write(bytes)?;
            if let Some(repaired) = writer.take_repaired() {
                let text = format!(
                    "Truncating partial file {} that has wrong size {} while {} was expected.",
                    repaired.path.display(),
                    repaired.found,
                    repaired.expected
                );
                self.ctx.say(Level::Info, TARGET, &text);
            }
            bytes = bytes.get(taken..).unwrap_or_default();
            if complete {
                completed = true;
                *segments += 1;
                self.say(&format!(
                    "finished segment at {} (timeline {timeline})",
                    writer.written()
                ));
            }
        }
        Ok(completed)
    }

    /// Stores the history file of a timeline unless it is here or in the archive.
    fn fetch_history(
        &self,
        client: &mut ReplicationClient,
        timeline: TimelineId,
    ) -> Result<(), ReceiveError> {
        if timeline == TimelineId::FIRST {
            return Ok(());
        }
        let path = self.directory.join(timeline.history_file_name());
        if path.exists() || self.wals.wal_path(&WalFileName::History(timeline)).exists() {
            return Ok(());
        }
        let (_, content) = client
            .timeline_history(timeline)
            .map_err(ReceiveError::Postgres)?;
        durable::write_atomic(&path, &content, 0o600).map_err(ReceiveError::Disk)
    }
}
