//! Framing of the PostgreSQL protocol, version 3, over a [`Channel`]: a message is a type byte, a length, a body. Length
//! and type are checked before anything is allocated or decoded, so whatever a server sends costs bounded memory.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::connect::{Channel, Deadline, Stuck};
use crate::error::Error;

/// Room for reading; a bulk transfer fills it with several messages at once.
pub(crate) const BUFFER: usize = 256 * 1024;

/// How long a bulk transfer may gather while there is room left.
const GATHER: Duration = Duration::from_micros(150);

/// The longest body of a piece of bulk data: WAL comes in pieces of 16 WAL blocks (at most 1 MiB), base backups in
/// 32 KiB. Many of them are in memory at once.
const BULK: usize = 2 * 1024 * 1024;
/// The longest body of rows and texts.
const LARGE: usize = 16 * 1024 * 1024;
/// The longest body of messages that libpq, too, expects to be short.
const SMALL: usize = 64 * 1024;

/// What is being done, for error texts.
pub(crate) type Doing = Cow<'static, str>;

/// A complete message in the buffer: its type and where its body is, valid until the next read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Range<usize>,
}

/// A connection with its read buffer.
pub(crate) struct Wire {
    channel: Channel,
    buffer: Vec<u8>,
    /// Up to here the buffer has been handed out.
    consumed: usize,
    pub(crate) address: String,
    pub(crate) io_timeout: Duration,
    pub(crate) interrupt: Option<Arc<AtomicBool>>,
    /// Set once the byte stream can no longer be followed.
    pub(crate) broken: bool,
    /// Set once there is no connection any more.
    pub(crate) gone: bool,
}

/// How long a wait may last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Patience {
    /// Until something comes, at most the connection's `io_timeout`.
    Io,
    /// Until something comes, at most this long; without a limit if `None`.
    Limit(Option<Duration>),
    /// Until this moment, however much has come before it.
    Until(Deadline),
    /// As [`Patience::Limit`], without looking at the interrupt flag: for ending a conversation properly.
    Stubborn(Duration),
    /// As [`Patience::Until`], without looking at the interrupt flag.
    StubbornUntil(Deadline),
}

impl Patience {
    /// The same limit for a whole conversation instead of for each wait: a server that keeps talking does not prolong
    /// it.
    pub(crate) fn in_all(self, io_timeout: Duration) -> Self {
        match self {
            Self::Io => Self::Until(Deadline::after(Some(io_timeout))),
            Self::Limit(limit) => Self::Until(Deadline::after(limit)),
            Self::Stubborn(limit) => Self::StubbornUntil(Deadline::after(Some(limit))),
            until @ (Self::Until(_) | Self::StubbornUntil(_)) => until,
        }
    }

    fn is_stubborn(self) -> bool {
        matches!(self, Self::Stubborn(_) | Self::StubbornUntil(_))
    }

    /// When a single wait that begins now is over.
    fn deadline(self, io_timeout: Duration) -> Deadline {
        match self {
            Self::Io => Deadline::after(Some(io_timeout)),
            Self::Limit(limit) => Deadline::after(limit),
            Self::Stubborn(limit) => Deadline::after(Some(limit)),
            Self::Until(deadline) | Self::StubbornUntil(deadline) => deadline,
        }
    }
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Some bytes.
    Bytes,
    /// Nothing until the time was over.
    Nothing,
    /// Nothing until the interrupt flag was raised.
    Interrupted,
}

impl Wire {
    pub(crate) fn new(channel: Channel, address: String, io_timeout: Duration) -> Self {
        Self {
            channel,
            buffer: Vec::with_capacity(16 * 1024),
            consumed: 0,
            address,
            io_timeout,
            interrupt: None,
            broken: false,
            gone: false,
        }
    }

    /// What the messages travel on.
    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// The connection alone, with the bytes that have come and not been looked at.
    pub(crate) fn into_parts(self) -> (Channel, Vec<u8>) {
        let rest = self.buffer.get(self.consumed..).unwrap_or_default().to_vec();
        (self.channel, rest)
    }

    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt
            .as_ref()
            .is_some_and(|flag| flag.load(Ordering::Relaxed))
    }

    pub(crate) fn protocol(&mut self, doing: &Doing, what: impl Into<String>) -> Error {
        self.broken = true;
        Error::Protocol {
            doing: doing.clone(),
            address: self.address.clone(),
            what: what.into(),
        }
    }

    fn io(&mut self, doing: &Doing, source: std::io::Error) -> Error {
        self.broken = true;
        self.gone = true;
        Error::Io {
            doing: doing.clone(),
            address: self.address.clone(),
            source,
        }
    }

    pub(crate) fn timeout(&mut self, doing: &Doing, after: Duration) -> Error {
        self.broken = true;
        Error::Timeout {
            doing: doing.clone(),
            address: self.address.clone(),
            after,
        }
    }

    /// The bytes of a frame's body.
    pub(crate) fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.buffer.get(range.clone()).unwrap_or_default()
    }

    /// The next message that is complete in the buffer, or nothing.
    pub(crate) fn buffered(&mut self, doing: &Doing) -> Result<Option<Frame>, Error> {
        let Some(pending) = self.buffer.get(self.consumed..) else {
            return Ok(None);
        };
        let Some((tag, length)) = header(pending) else {
            return Ok(None);
        };
        let length = match check(tag, length) {
            Ok(length) => length,
            Err(what) => return Err(self.protocol(doing, what)),
        };
        let total = length + 1;
        if pending.len() < total {
            return Ok(None);
        }
        let body = self.consumed + 5..self.consumed + total;
        self.consumed += total;
        Ok(Some(Frame { tag, body }))
    }

    /// Whether there is time left and nobody wants us to stop: between reads, and in the middle of long work.
    pub(crate) fn keep_on(&mut self, patience: Patience, doing: &Doing) -> Result<(), Error> {
        if !patience.is_stubborn() && self.interrupted() {
            self.broken = true;
            return Err(Error::Interrupted { doing: doing.clone() });
        }
        match patience {
            Patience::Until(deadline) | Patience::StubbornUntil(deadline) if deadline.passed() => {
                Err(self.timeout(doing, deadline.limit))
            }
            _ => Ok(()),
        }
    }

    /// Reads until a message is complete. A server that never stops sending is interrupted like a silent one.
    pub(crate) fn frame(&mut self, patience: Patience, doing: &Doing) -> Result<Frame, Error> {
        self.keep_on(patience, doing)?;
        loop {
            if let Some(frame) = self.buffered(doing)? {
                return Ok(frame);
            }
            match self.fill(patience, doing)? {
                Filled::Bytes => {}
                Filled::Interrupted => {
                    self.broken = true;
                    return Err(Error::Interrupted { doing: doing.clone() });
                }
                Filled::Nothing => {
                    let after = patience.deadline(self.io_timeout).limit;
                    return Err(self.timeout(doing, after));
                }
            }
        }
    }

    /// Reads whatever is there, waiting as `patience` says if nothing is. Ranges of earlier frames are void afterwards.
    pub(crate) fn fill(&mut self, patience: Patience, doing: &Doing) -> Result<Filled, Error> {
        self.make_room();
        self.receive(patience, doing)
    }

    /// As [`Wire::fill`], but what the buffer holds stays where it is: ranges of earlier frames stay valid. There must
    /// be [`Wire::room`].
    pub(crate) fn fill_on(&mut self, patience: Patience, doing: &Doing) -> Result<Filled, Error> {
        if self.room() == 0 {
            return Ok(Filled::Nothing);
        }
        match self.receive(Patience::Limit(Some(Duration::ZERO)), doing)? {
            Filled::Nothing => {}
            other => return Ok(other),
        }
        // A bulk transfer arrives in small messages: to wake up for each of them costs more than to let some gather.
        std::thread::sleep(GATHER);
        self.receive(patience, doing)
    }

    /// How many bytes can be read without moving anything.
    pub(crate) fn room(&self) -> usize {
        self.buffer.capacity() - self.buffer.len()
    }

    fn receive(&mut self, patience: Patience, doing: &Doing) -> Result<Filled, Error> {
        let (deadline, stubborn) = (patience.deadline(self.io_timeout), patience.is_stubborn());
        loop {
            match self.channel.receive(&mut self.buffer) {
                Ok(0) => {
                    self.broken = true;
                    self.gone = true;
                    return Err(Error::Closed {
                        doing: doing.clone(),
                        address: self.address.clone(),
                    });
                }
                Ok(_) => return Ok(Filled::Bytes),
                Err(Stuck::Until(ready)) => {
                    if !stubborn && self.interrupted() {
                        return Ok(Filled::Interrupted);
                    }
                    let Some(slice) = deadline.slice() else {
                        return Ok(Filled::Nothing);
                    };
                    if let Err(error) = self.channel.wait(ready, slice) {
                        return Err(self.io(doing, error));
                    }
                }
                Err(Stuck::Failed(error)) => return Err(self.io(doing, error)),
            }
        }
    }

    /// Makes room for a read: moves the incomplete message to the front, grows if it is a long one.
    fn make_room(&mut self) {
        let pending = self.buffer.len() - self.consumed;
        if pending == 0 {
            self.buffer.clear();
            self.consumed = 0;
        }
        let wanted = match self.buffer.get(self.consumed..).and_then(header) {
            // Checked against the limits by `buffered` before.
            Some((_, length)) => (length as usize)
                .saturating_add(1)
                .saturating_sub(pending)
                .min(LARGE),
            None => 1,
        };
        if self.buffer.capacity() - self.buffer.len() < wanted.max(4096) {
            self.buffer.drain(..self.consumed);
            self.consumed = 0;
            self.buffer.reserve(wanted.max(4096));
        }
    }

    /// Uses buffers of this size from now on.
    pub(crate) fn set_buffer(&mut self, size: usize) {
        if self.buffer.capacity() < size {
            self.buffer.reserve(size.saturating_sub(self.buffer.len()));
        }
    }

    /// Hands out the buffer whose frames have been walked through (their ranges stay valid in it) and goes on with
    /// `fresh`, into which the incomplete rest is copied.
    pub(crate) fn swap(&mut self, mut fresh: Vec<u8>) -> Vec<u8> {
        fresh.clear();
        fresh.reserve(BUFFER);
        fresh.extend_from_slice(self.buffer.get(self.consumed..).unwrap_or_default());
        self.consumed = 0;
        std::mem::replace(&mut self.buffer, fresh)
    }

    /// Sends everything.
    pub(crate) fn send(&mut self, mut bytes: &[u8], patience: Patience, doing: &Doing) -> Result<(), Error> {
        let deadline = match patience {
            Patience::Limit(_) => Patience::Io.deadline(self.io_timeout),
            other => other.deadline(self.io_timeout),
        };
        let stubborn = patience.is_stubborn();
        while !bytes.is_empty() {
            match self.channel.write(bytes) {
                Ok(0) => {
                    self.broken = true;
                    self.gone = true;
                    return Err(Error::Closed {
                        doing: doing.clone(),
                        address: self.address.clone(),
                    });
                }
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Stuck::Until(ready)) => {
                    if !stubborn && self.interrupted() {
                        self.broken = true;
                        return Err(Error::Interrupted { doing: doing.clone() });
                    }
                    let Some(slice) = deadline.slice() else {
                        return Err(self.timeout(doing, deadline.limit));
                    };
                    if let Err(error) = self.channel.wait(ready, slice) {
                        return Err(self.io(doing, error));
                    }
                }
                Err(Stuck::Failed(error)) => return Err(self.io(doing, error)),
            }
        }
        Ok(())
    }
}

/// Type and length field of the message at the front.
fn header(bytes: &[u8]) -> Option<(u8, u32)> {
    let (tag, rest) = bytes.split_first()?;
    let length = rest.first_chunk::<4>()?;
    Some((*tag, u32::from_be_bytes(*length)))
}

/// Whether a server may send a message of this type and length; the length (without the type byte) if so.
fn check(tag: u8, length: u32) -> Result<usize, String> {
    let limit = match tag {
        b'd' => BULK,
        // DataRow, RowDescription; errors and notices may quote statements.
        b'D' | b'T' | b'E' | b'N' => LARGE,
        b'R' | b'S' | b'K' | b'Z' | b'C' | b'I' | b'H' | b'W' | b'G' | b'c' | b'A' | b'v' => SMALL,
        other => return Err(format!("message of unknown type 0x{other:02x}")),
    };
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if !(4..=limit).contains(&length) {
        return Err(format!(
            "message type \"{}\" with impossible length {length}",
            char::from(tag)
        ));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::connect::Socket;

    fn pair() -> (Wire, std::os::unix::net::UnixStream) {
        patient(Duration::from_secs(60))
    }

    fn patient(io_timeout: Duration) -> (Wire, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (
            Wire::new(Channel::Plain(Socket::Unix(ours)), "test".to_owned(), io_timeout),
            theirs,
        )
    }

    const DOING: Doing = Cow::Borrowed("testing");

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let (mut wire, mut server) = pair();
        let stream: Vec<u8> = [&b"Z\0\0\0\x05I"[..], b"d\0\0\0\x07abc", b"c\0\0\0\x04"].concat();
        let writer = std::thread::spawn(move || {
            for byte in stream {
                server.write_all(&[byte]).unwrap();
            }
            server
        });
        let mut seen = Vec::new();
        for _ in 0..3 {
            let frame = wire.frame(Patience::Io, &DOING).unwrap();
            seen.push((frame.tag, wire.bytes(&frame.body).to_vec()));
        }
        assert_eq!(
            seen,
            [(b'Z', b"I".to_vec()), (b'd', b"abc".to_vec()), (b'c', Vec::new())]
        );
        drop(writer.join().unwrap());
        assert!(matches!(
            wire.frame(Patience::Io, &DOING),
            Err(Error::Closed { .. })
        ));
    }

    #[test]
    fn impossible_headers_are_refused_before_anything_is_allocated() {
        for bytes in [
            &b"Z\0\0\0\x03I"[..],
            b"Z\xff\xff\xff\xff",
            b"d\x7f\xff\xff\xff",
            b"d\0\x20\0\x01",
            b"R\0\x02\0\0",
            b"q\0\0\0\x04",
            b"\0\0\0\0\0",
        ] {
            let (mut wire, mut server) = pair();
            server.write_all(bytes).unwrap();
            let error = wire.frame(Patience::Io, &DOING).unwrap_err();
            assert!(matches!(error, Error::Protocol { .. }), "{bytes:?}: {error}");
            assert!(wire.broken && wire.buffer.capacity() <= 64 * 1024);
        }
    }

    #[test]
    fn a_stall_ends_in_a_timeout_and_a_flag_in_an_interruption() {
        let (mut wire, mut server) = patient(Duration::from_millis(60));
        server.write_all(b"d\0\0\0\x09ab").unwrap();
        assert!(matches!(
            wire.frame(Patience::Io, &DOING),
            Err(Error::Timeout { .. })
        ));
        wire.interrupt = Some(Arc::new(AtomicBool::new(true)));
        assert!(matches!(
            wire.frame(Patience::Limit(None), &DOING),
            Err(Error::Interrupted { .. })
        ));
    }

    #[test]
    fn long_messages_grow_the_buffer_and_a_swap_keeps_the_rest() {
        let (mut wire, mut server) = pair();
        let body = vec![7_u8; 300_000];
        let mut stream = vec![b'd'];
        stream.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        stream.extend(&body);
        stream.extend(b"d\0\0\0\x08x");
        let writer = std::thread::spawn(move || {
            server.write_all(&stream).unwrap();
            server
        });
        let frame = wire.frame(Patience::Io, &DOING).unwrap();
        assert_eq!(wire.bytes(&frame.body), body);
        let mut server = writer.join().unwrap();
        let old = wire.swap(Vec::with_capacity(BUFFER));
        assert_eq!(old.get(frame.body).unwrap(), body);
        server.write_all(b"yzw").unwrap();
        let frame = wire.frame(Patience::Io, &DOING).unwrap();
        assert_eq!(wire.bytes(&frame.body), b"xyzw");
    }
}
