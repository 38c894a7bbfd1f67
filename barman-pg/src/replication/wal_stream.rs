//! A physical WAL stream: what `START_REPLICATION` sends, and the status messages that answer it.

use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use barman_wal::{Lsn, TimelineId};
use bytes::BytesMut;
use pgwire::messages::copy;

use super::session::Answer;
use super::wire::{BUFFER, Doing, Filled, Patience};
use super::{ReplicationClient, lsn_at, timeline_at};
use crate::error::{Error, STARTING_WAL, ServerMessage, sqlstate};

/// Seconds from the Unix epoch to PostgreSQL's, 2000-01-01 00:00:00 UTC.
const POSTGRES_EPOCH: Duration = Duration::from_secs(946_684_800);

/// Type, start, end of WAL, time: what precedes the WAL in an XLogData message.
const XLOG_DATA_HEADER: usize = 1 + 8 + 8 + 8;

/// How often the server hears of us while [`WalStream::busy`] works, unless an interval is set.
const BUSY_INTERVAL: Duration = Duration::from_secs(10);

const DOING: Doing = Doing::Borrowed("streaming WAL");

/// Something that happened in the stream.
#[derive(Debug, PartialEq, Eq)]
pub enum WalEvent<'a> {
    /// A piece of WAL. Pieces follow each other without gaps, but not always at page or record borders.
    Data {
        /// The position of the first byte.
        start: Lsn,
        /// The server's current end of WAL.
        server_end: Lsn,
        /// The WAL, at least one byte, in the connection's own buffer.
        bytes: &'a [u8],
    },
    /// The server is alive.
    KeepAlive {
        /// The server's current end of WAL.
        server_end: Lsn,
        /// Whether it wants a status message now.
        reply_requested: bool,
    },
    /// The requested timeline ends here; all of its WAL has come. The stream must be ended with [`WalStream::stop`].
    EndOfTimeline {
        /// The timeline that follows.
        next_timeline: TimelineId,
        /// Where it begins. That is before the end of what came if the server was a standby, handed on the beginning
        /// of a record, and was promoted before it had the rest: that beginning is in no history that goes on.
        switch_point: Lsn,
    },
    /// Nothing came within the time given, or the interrupt flag was raised.
    Idle,
}

/// A running stream; the client it was started on can be used again when it has been stopped.
///
/// Dropping it without [`WalStream::stop`] breaks the connection off.
///
/// # What is noticed
/// Every piece must be a well-formed message that begins where the one before ended, or the stream fails; nothing is
/// handed out twice or left out. The WAL itself is not decoded. A bit of it that changes on its way is noticed when the
/// connection is encrypted; else only by TCP's weak checksum and, later, by the CRC of the record it is in. After any
/// error begin the segment at hand again, as the last piece may have been cut wrongly.
#[derive(Debug)]
pub struct WalStream<'c> {
    client: &'c mut ReplicationClient,
    /// Where the stream began.
    start: Lsn,
    /// Where the next data must begin.
    next: Lsn,
    last_heard: Instant,
    /// When the server was last asked for a sign of life.
    asked: Option<Instant>,
    /// Its timeline.
    timeline: TimelineId,
    /// The positions of the last status message, or of the next one.
    reported: (Lsn, Lsn, Lsn),
    /// How often the server is told without being asked; nothing if the caller does that.
    status_interval: Option<Duration>,
    /// When the next status message is due.
    status_due: Option<Instant>,
    /// Why a status message could not be sent. What the server said before it went is still to be read.
    unsent: Option<Error>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Streaming,
    /// The server has ended the copy and told what follows.
    Ended(TimelineId, Lsn),
    Stopped,
}

impl<'c> WalStream<'c> {
    pub(super) fn start(
        client: &'c mut ReplicationClient,
        sql: &str,
        start: Lsn,
        timeline: TimelineId,
    ) -> Result<Self, Error> {
        let doing = Doing::Borrowed(STARTING_WAL);
        let patience = client.patience();
        let session = &mut client.session;
        session.query(sql, &doing)?;
        let mut state = State::Streaming;
        let mut successor = None;
        loop {
            match session.answer(patience, &doing)? {
                Answer::CopyBoth => break,
                // Nothing left on this timeline: the server answers with the next one instead of a stream.
                Answer::Row(row) => successor = timeline_at(&row, 0).zip(lsn_at(&row, 1)),
                Answer::Ready => match successor {
                    Some((next, switch)) => {
                        follows(timeline, (start, start), (next, switch))
                            .map_err(|what| session.wire.protocol(&doing, what))?;
                        state = State::Ended(next, switch);
                        break;
                    }
                    None => return Err(session.wire.protocol(&doing, "no WAL stream")),
                },
                Answer::Notice(notice) => log_notice(&notice),
                Answer::Columns | Answer::Complete => {}
                Answer::Failed(message) => {
                    let error = session.fail(message, patience, &doing);
                    return Err(wal_error(error, start, timeline));
                }
                other => return Err(session.wire.protocol(&doing, format!("{other:?}"))),
            }
        }
        session.wire.set_buffer(BUFFER);
        Ok(Self {
            client,
            start,
            next: start,
            last_heard: Instant::now(),
            asked: None,
            timeline,
            reported: (Lsn(0), Lsn(0), Lsn(0)),
            status_interval: None,
            status_due: None,
            unsent: None,
            state,
        })
    }

    /// The next event; waits at most `timeout`. What is already there is returned without waiting, so a zero timeout
    /// drains the connection.
    ///
    /// # Errors
    /// [`Error::Closed`] and [`Error::Io`] if the connection or the server went away, [`Error::ShuttingDown`] if it goes
    /// in order, [`Error::Timeout`] if nothing was heard for the connection's `io_timeout` although the server was
    /// asked, [`Error::WalRemoved`] if it no longer has what comes next, [`Error::Server`] if it gave up for another
    /// reason, [`Error::Protocol`] for data that does not continue the stream.
    pub fn next(&mut self, timeout: Duration) -> Result<WalEvent<'_>, Error> {
        match self.state {
            State::Streaming => {}
            State::Ended(next_timeline, switch_point) => {
                return Ok(WalEvent::EndOfTimeline {
                    next_timeline,
                    switch_point,
                });
            }
            State::Stopped => return Ok(WalEvent::Idle),
        }
        let until = Instant::now().checked_add(timeout);
        let frame = loop {
            self.send_due_status()?;
            if let Some(frame) = self.client.session.wire.buffered(&DOING)? {
                break frame;
            }
            if self.unsent.is_some() {
                match self
                    .client
                    .session
                    .wire
                    .fill(Patience::Limit(Some(Duration::ZERO)), &DOING)
                {
                    Ok(Filled::Bytes) => continue,
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
                if let Some(error) = self.unsent.take() {
                    return Err(error);
                }
            }
            let now = Instant::now();
            let left = until.map_or(Duration::from_secs(1), |at| at.saturating_duration_since(now));
            let slice = left.min(self.client.session.wire.io_timeout / 4);
            let slice = self
                .status_due
                .map_or(slice, |due| slice.min(due.saturating_duration_since(now)));
            match self
                .client
                .session
                .wire
                .fill(Patience::Limit(Some(slice)), &DOING)?
            {
                Filled::Bytes => {
                    self.last_heard = Instant::now();
                    self.asked = None;
                }
                Filled::Interrupted => return Ok(WalEvent::Idle),
                Filled::Nothing => {
                    self.keep_alive()?;
                    if left.is_zero() || slice == left {
                        return Ok(WalEvent::Idle);
                    }
                }
            }
        };
        match self.client.session.interpret(&frame, &DOING)? {
            Some(Answer::Data(range)) => self.decode(range),
            Some(Answer::CopyDone) => self.end_of_copy(),
            Some(Answer::Notice(notice)) => {
                log_notice(&notice);
                Ok(WalEvent::Idle)
            }
            Some(Answer::Failed(message)) => {
                let patience = Patience::Stubborn(Duration::from_secs(2));
                let error = self.client.session.fail(message, patience, &DOING);
                Err(wal_error(error, self.next, self.timeline))
            }
            // A server that shuts down completes the command and goes.
            Some(Answer::Complete) => {
                self.client.session.wire.broken = true;
                Err(Error::ShuttingDown {
                    doing: DOING,
                    address: self.client.session.wire.address.clone(),
                })
            }
            None => Ok(WalEvent::Idle),
            Some(other) => Err(self.client.session.wire.protocol(&DOING, format!("{other:?}"))),
        }
    }

    /// Asks a silent server for a sign of life; fails if it gave none. Only who listens can call it silent: what came
    /// while the caller was busy is there, and what it was not asked for it need not have sent.
    fn keep_alive(&mut self) -> Result<(), Error> {
        let limit = self.client.session.wire.io_timeout;
        match self.asked {
            Some(asked) if asked.elapsed() >= limit / 2 && self.last_heard.elapsed() >= limit => {
                Err(self.client.session.wire.timeout(&DOING, limit))
            }
            None if self.last_heard.elapsed() >= limit / 2 => {
                self.asked = Some(Instant::now());
                let (write, flush, apply) = self.reported;
                self.send_status(write, flush, apply, true)
            }
            _ => Ok(()),
        }
    }

    fn decode(&mut self, range: std::ops::Range<usize>) -> Result<WalEvent<'_>, Error> {
        let body = self.client.session.wire.bytes(&range);
        let number =
            |at: usize| -> Option<u64> { Some(u64::from_be_bytes(*body.get(at..)?.first_chunk::<8>()?)) };
        match body.first() {
            Some(b'w') => {
                let (Some(start), Some(end)) = (number(1), number(9)) else {
                    return Err(self
                        .client
                        .session
                        .wire
                        .protocol(&DOING, "WAL data message cut short"));
                };
                let length = body.len().saturating_sub(XLOG_DATA_HEADER);
                if body.len() <= XLOG_DATA_HEADER {
                    return Err(self
                        .client
                        .session
                        .wire
                        .protocol(&DOING, "WAL data message cut short"));
                }
                if start != self.next.0 {
                    let what = format!("WAL at {}, expected {}", Lsn(start), self.next);
                    return Err(self.client.session.wire.protocol(&DOING, what));
                }
                let Some(next) = u64::try_from(length)
                    .ok()
                    .and_then(|length| start.checked_add(length))
                else {
                    return Err(self
                        .client
                        .session
                        .wire
                        .protocol(&DOING, "WAL beyond the largest position"));
                };
                self.next = Lsn(next);
                let bytes = self
                    .client
                    .session
                    .wire
                    .bytes(&(range.start + XLOG_DATA_HEADER..range.end));
                Ok(WalEvent::Data {
                    start: Lsn(start),
                    server_end: Lsn(end),
                    bytes,
                })
            }
            Some(b'k') => match (number(1), body.get(17)) {
                (Some(end), Some(reply)) => {
                    let reply_requested = *reply != 0;
                    if reply_requested && self.status_interval.is_some() {
                        self.status_due = Some(Instant::now());
                    }
                    Ok(WalEvent::KeepAlive {
                        server_end: Lsn(end),
                        reply_requested,
                    })
                }
                _ => Err(self
                    .client
                    .session
                    .wire
                    .protocol(&DOING, "keep-alive message cut short")),
            },
            other => {
                let what = format!("copy message of type {other:?}");
                Err(self.client.session.wire.protocol(&DOING, what))
            }
        }
    }

    /// The server has ended the copy: ends ours, and reads what follows this timeline.
    fn end_of_copy(&mut self) -> Result<WalEvent<'_>, Error> {
        self.send(&copy::CopyDone::new(), Patience::Io)?;
        let patience = Patience::Io.in_all(self.client.session.wire.io_timeout);
        let mut successor = None;
        loop {
            match self.client.session.answer(patience, &DOING)? {
                Answer::Row(row) => successor = timeline_at(&row, 0).zip(lsn_at(&row, 1)),
                Answer::Columns | Answer::Complete | Answer::CopyDone => {}
                Answer::Notice(notice) => log_notice(&notice),
                Answer::Failed(message) => return Err(self.client.session.fail(message, patience, &DOING)),
                Answer::Ready => break,
                other => return Err(self.client.session.wire.protocol(&DOING, format!("{other:?}"))),
            }
        }
        let Some((next_timeline, switch_point)) = successor else {
            return Err(self
                .client
                .odd(&DOING, "the timeline ended and no next one was named"));
        };
        if let Err(what) = follows(
            self.timeline,
            (self.start, self.next),
            (next_timeline, switch_point),
        ) {
            return Err(self.client.odd(&DOING, what));
        }
        self.state = State::Ended(next_timeline, switch_point);
        Ok(WalEvent::EndOfTimeline {
            next_timeline,
            switch_point,
        })
    }

    /// From now on the stream itself tells the server about the positions of [`WalStream::report`]: this often, and when
    /// it is asked, which gives the caller the time up to its next call of [`WalStream::next`] to report something
    /// better.
    pub fn set_status_interval(&mut self, interval: Duration) {
        self.status_interval = Some(interval);
        self.status_due = Some(Instant::now());
    }

    /// What has been written, made durable and applied, see [`WalStream::send_status`]. The server is told at once if
    /// more is durable (or applied) than it knows, because a commit may wait for that, and else when it is due.
    ///
    /// # Errors
    /// As [`WalStream::send_status`].
    pub fn report(&mut self, write: Lsn, flush: Lsn, apply: Lsn) -> Result<(), Error> {
        let (_, flushed, applied) = self.reported;
        if flush > flushed || apply > applied {
            return self.send_status(write, flush, apply, false);
        }
        self.reported = (write, flush, apply);
        Ok(())
    }

    fn send_due_status(&mut self) -> Result<(), Error> {
        if self.status_due.is_some_and(|due| due <= Instant::now()) {
            let (write, flush, apply) = self.reported;
            self.send_status(write, flush, apply, false)?;
        }
        Ok(())
    }

    /// Does something that may take long, such as a sync of a slow disk, and meanwhile tells the server now and then that
    /// we are there: it ends a session that says nothing for `wal_sender_timeout`. A connection that breaks meanwhile
    /// shows with the next call of [`WalStream::next`].
    ///
    /// # Errors
    /// [`Error::Io`] if the work panicked.
    pub fn busy<T: Send>(&mut self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let interval = self.status_interval.unwrap_or(BUSY_INTERVAL);
        let mut work = Some(work);
        let mut outcome = None;
        let (done, ended) = mpsc::channel::<()>();
        std::thread::scope(|scope| {
            let task = || {
                // Dropped when the work is done, also by a panic.
                let _done = done;
                outcome = work.take().map(|work| work());
            };
            let spawned = std::thread::Builder::new()
                .name("wal-busy".to_owned())
                .spawn_scoped(scope, task);
            if spawned.is_ok() {
                while ended.recv_timeout(interval) == Err(mpsc::RecvTimeoutError::Timeout) {
                    let (write, flush, apply) = self.reported;
                    if self.send_status(write, flush, apply, false).is_err() {
                        break;
                    }
                }
            }
        });
        match (outcome, work) {
            (Some(outcome), _) => Ok(outcome),
            // The system gave us no thread.
            (None, Some(work)) => Ok(work()),
            (None, None) => Err(Error::Io {
                doing: DOING,
                address: self.client.session.wire.address.clone(),
                source: std::io::Error::other("the work ended without a result"),
            }),
        }
    }

    /// Tells the server what has been written, made durable, and applied (a receiver of WAL files applies nothing:
    /// `Lsn(0)`). Only what is on stable storage may be given as flushed: the server removes it then.
    ///
    /// # Errors
    /// The message could not be sent within `io_timeout`. That the server has gone is told by [`WalStream::next`].
    pub fn send_status(
        &mut self,
        write: Lsn,
        flush: Lsn,
        apply: Lsn,
        reply_requested: bool,
    ) -> Result<(), Error> {
        if self.state != State::Streaming {
            return Ok(());
        }
        self.reported = (write, flush, apply);
        self.status_due = self
            .status_interval
            .and_then(|interval| Instant::now().checked_add(interval));
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let micros = u64::try_from(now.saturating_sub(POSTGRES_EPOCH).as_micros()).unwrap_or(u64::MAX);
        let mut body = Vec::with_capacity(34);
        body.push(b'r');
        for number in [write.0, flush.0, apply.0, micros] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        body.push(u8::from(reply_requested));
        self.send_or_keep(&copy::CopyData::new(body.into()))
    }

    /// Sends a status message. A connection that the server has closed is told by [`WalStream::next`], after everything
    /// that has come from it, and in the server's words if there are any.
    fn send_or_keep(&mut self, message: &impl pgwire::messages::Message) -> Result<(), Error> {
        let patience = Patience::Stubborn(self.client.session.wire.io_timeout);
        if self.unsent.is_some() {
            return Ok(());
        }
        match self.send(message, patience) {
            Err(error @ Error::Io { .. }) => {
                self.unsent = Some(error);
                Ok(())
            }
            other => other,
        }
    }

    fn send(&mut self, message: &impl pgwire::messages::Message, patience: Patience) -> Result<(), Error> {
        let wire = &mut self.client.session.wire;
        let mut out = BytesMut::with_capacity(64);
        message
            .encode(&mut out)
            .map_err(|error| wire.protocol(&DOING, error.to_string()))?;
        wire.send(&out, patience, &DOING)
    }

    /// The position up to which WAL has come.
    #[must_use]
    pub fn received(&self) -> Lsn {
        self.next
    }

    /// The server's version (15.18 is `150018`).
    #[must_use]
    pub fn version(&self) -> crate::version::PgVersion {
        self.client.version()
    }

    /// Ends the stream in an orderly way; WAL that is still on its way is dropped. Waits at most `limit`, and does not
    /// look at the interrupt flag: it is what an interrupted receiver does last.
    ///
    /// # Errors
    /// The connection was lost or the server did not answer in time; the client cannot be used any more then.
    pub fn stop(mut self, limit: Duration) -> Result<(), Error> {
        if self.state != State::Streaming {
            self.state = State::Stopped;
            return Ok(());
        }
        let patience = Patience::Stubborn(limit).in_all(limit);
        self.send(&copy::CopyDone::new(), patience)?;
        loop {
            match self.client.session.answer(patience, &DOING)? {
                Answer::Ready => break,
                Answer::Failed(message) => return Err(self.client.session.fail(message, patience, &DOING)),
                _ => {}
            }
        }
        self.state = State::Stopped;
        Ok(())
    }
}

impl Drop for WalStream<'_> {
    fn drop(&mut self) {
        if self.state == State::Streaming {
            self.client.session.wire.broken = true;
        }
    }
}

/// Whether a timeline can follow another at this point: all of the older one's WAL from where the stream began up to
/// there has come. It may have come a little further, see [`WalEvent::EndOfTimeline`].
fn follows(timeline: TimelineId, came: (Lsn, Lsn), next: (TimelineId, Lsn)) -> Result<(), String> {
    let ((start, received), (next, switch_point)) = (came, next);
    if next > timeline && (start..=received).contains(&switch_point) {
        return Ok(());
    }
    Err(format!(
        "the server ended timeline {timeline}, sent from {start} to {received}, and named timeline {next}, which begins at {switch_point}, as the next one"
    ))
}

/// Gives the error of a segment that is gone its own name.
fn wal_error(error: Error, position: Lsn, timeline: TimelineId) -> Error {
    match error {
        Error::Server {
            doing,
            address,
            message,
        } if message.sqlstate == sqlstate::UNDEFINED_FILE => Error::WalRemoved {
            doing,
            address,
            position,
            timeline,
            message,
        },
        other => other,
    }
}

fn log_notice(notice: &ServerMessage) {
    log::info!(target: "barman.postgres", "{notice}");
}
