//! PostgreSQL's wire protocol cut into its messages, in both directions ("Message Formats" in PostgreSQL's manual). Nothing is interpreted further than a fault needs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU8, Ordering};

use super::fault::Direction;

/// What one unit of the traffic is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `StartupMessage`.
    Startup,
    /// `SSLRequest`.
    SslRequest,
    /// `GSSENCRequest`.
    GssRequest,
    /// `CancelRequest`.
    CancelRequest,
    /// The server's one byte in answer to an encryption request: `S`, `G` or `N`.
    EncryptionAnswer,
    /// A message with its type byte, but `CopyData`.
    Typed(u8),
    /// `CopyData` and the first byte of what it carries: `w`, `k` in a WAL stream, `n`, `d`, `m`, `p` in a base backup of 15 and newer, `r`, `h` from
    /// the client. Base backups before 15 carry bare tar data, whose first byte means nothing.
    CopyData(Option<u8>),
    /// Bytes that cannot be told apart: everything once encryption is agreed, and what is left of a message when a connection ends in its middle.
    Raw,
}

/// A message, or a piece of traffic that cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// What it is.
    pub kind: Kind,
    /// All of it, with type and length.
    pub bytes: Vec<u8>,
}

/// No message that a test sends or a server answers is longer: beyond, the peer speaks something else.
const MAX_MESSAGE: usize = 256 << 20;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;

/// First byte of a TLS record of type handshake: a client that starts TLS without asking (`sslnegotiation=direct`).
const TLS_HANDSHAKE: u8 = 0x16;

/// How far a connection's two directions have got with encryption; each direction's [`Splitter`] looks at it.
#[derive(Debug, Default)]
pub struct Encryption(AtomicU8);

impl Encryption {
    const NONE: u8 = 0;
    const ASKED: u8 = 1;
    const AGREED: u8 = 2;

    fn set(&self, state: u8) {
        self.0.store(state, Ordering::SeqCst);
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::SeqCst) == state
    }
}

/// Cuts one direction of a connection into units.
#[derive(Debug)]
pub struct Splitter {
    direction: Direction,
    /// Whether the start-up packet has passed; before it, a client's packets have no type.
    started: bool,
    buffer: Vec<u8>,
    /// How much of the buffer was given away.
    done: usize,
}

impl Splitter {
    /// Of a new connection.
    pub fn new(direction: Direction) -> Self {
        Self {
            direction,
            started: false,
            buffer: Vec::new(),
            done: 0,
        }
    }

    /// Adds what was read.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.drain(..self.done);
        self.done = 0;
        self.buffer.extend_from_slice(bytes);
    }

    /// How much was fed and not given away.
    pub fn waiting(&self) -> usize {
        self.buffer.len().saturating_sub(self.done)
    }

    /// The next whole unit, if there is one. What is not the protocol comes out as [`Kind::Raw`].
    pub fn take(&mut self, encryption: &Encryption) -> Option<Unit> {
        let rest = self.buffer.get(self.done..).unwrap_or_default();
        let first = *rest.first()?;
        if encryption.is(Encryption::AGREED) {
            return Some(self.give(Kind::Raw, rest.len()));
        }
        if self.direction == Direction::ToServer && !self.started {
            return self.take_untyped(first, encryption);
        }
        if self.direction == Direction::ToClient && encryption.is(Encryption::ASKED) {
            // `E` begins an ErrorResponse of a server that does not know the request.
            let agreed = matches!(first, b'S' | b'G');
            if agreed || first == b'N' {
                encryption.set(if agreed {
                    Encryption::AGREED
                } else {
                    Encryption::NONE
                });
                return Some(self.give(Kind::EncryptionAnswer, 1));
            }
        }
        let length = be32(rest, 1)?.checked_add(1)?;
        if !(5..=MAX_MESSAGE).contains(&length) {
            return Some(self.give(Kind::Raw, rest.len()));
        }
        if rest.len() < length {
            return None;
        }
        let kind = match first {
            b'd' => Kind::CopyData(rest.get(5).copied().filter(|_| length > 5)),
            other => Kind::Typed(other),
        };
        Some(self.give(kind, length))
    }

    fn take_untyped(&mut self, first: u8, encryption: &Encryption) -> Option<Unit> {
        let rest = self.buffer.get(self.done..).unwrap_or_default();
        if first == TLS_HANDSHAKE {
            encryption.set(Encryption::AGREED);
            return Some(self.give(Kind::Raw, rest.len()));
        }
        let length = be32(rest, 0)?;
        let code = be32(rest, 4)?;
        if !(8..=MAX_MESSAGE).contains(&length) {
            return Some(self.give(Kind::Raw, rest.len()));
        }
        if rest.len() < length {
            return None;
        }
        let kind = match u32::try_from(code).unwrap_or_default() {
            SSL_REQUEST => Kind::SslRequest,
            GSS_REQUEST => Kind::GssRequest,
            CANCEL_REQUEST => Kind::CancelRequest,
            _ => Kind::Startup,
        };
        match kind {
            Kind::SslRequest | Kind::GssRequest => encryption.set(Encryption::ASKED),
            Kind::Startup => self.started = true,
            _ => {}
        }
        Some(self.give(kind, length))
    }

    /// What is left at the end of the connection.
    pub fn rest(&mut self) -> Option<Unit> {
        let length = self.waiting();
        (length > 0).then(|| self.give(Kind::Raw, length))
    }

    fn give(&mut self, kind: Kind, length: usize) -> Unit {
        let end = self.done.saturating_add(length).min(self.buffer.len());
        let bytes = self.buffer.get(self.done..end).unwrap_or_default().to_vec();
        self.done = end;
        Unit { kind, bytes }
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<usize> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    usize::try_from(u32::from_be_bytes(four.try_into().ok()?)).ok()
}

/// The parameters of a `StartupMessage`: `user`, `database`, `replication`, `application_name` and so on.
pub fn startup_parameters(packet: &[u8]) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields: Vec<&[u8]> = packet.get(8..).unwrap_or_default().split(|b| *b == 0).collect();
    fields
        .chunks_exact(2)
        .take_while(|pair| pair.first().is_some_and(|name| !name.is_empty()))
        .filter_map(|pair| Some((text(pair.first()?), text(pair.get(1)?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped(code: u32, rest: &[u8]) -> Vec<u8> {
        let mut packet = u32::try_from(rest.len() + 8).unwrap().to_be_bytes().to_vec();
        packet.extend(code.to_be_bytes());
        packet.extend(rest);
        packet
    }

    fn typed(kind: u8, rest: &[u8]) -> Vec<u8> {
        let mut message = vec![kind];
        message.extend(u32::try_from(rest.len() + 4).unwrap().to_be_bytes());
        message.extend(rest);
        message
    }

    fn kinds(splitter: &mut Splitter, encryption: &Encryption) -> Vec<Kind> {
        std::iter::from_fn(|| splitter.take(encryption))
            .map(|unit| unit.kind)
            .collect()
    }

    #[test]
    fn both_directions_are_cut_byte_by_byte_as_they_come() {
        let encryption = Encryption::default();
        let mut up = Splitter::new(Direction::ToServer);
        let mut down = Splitter::new(Direction::ToClient);
        let mut seen = Vec::new();
        let mut pass = |splitter: &mut Splitter, bytes: &[u8]| {
            for byte in bytes {
                splitter.feed(&[*byte]);
                seen.extend(kinds(splitter, &encryption));
            }
        };
        pass(&mut up, &untyped(GSS_REQUEST, b""));
        pass(&mut down, b"N");
        pass(&mut up, &untyped(SSL_REQUEST, b""));
        pass(&mut down, b"N");
        let startup = untyped(196_608, b"user\0barman\0replication\0true\0\0");
        pass(&mut up, &startup);
        pass(&mut down, &typed(b'R', &[0, 0, 0, 0]));
        pass(&mut up, &typed(b'Q', b"IDENTIFY_SYSTEM\0"));
        pass(&mut down, &typed(b'd', b"w0123"));
        pass(&mut down, &typed(b'd', b""));
        pass(&mut up, &typed(b'd', b"r"));
        assert_eq!(
            seen,
            [
                Kind::GssRequest,
                Kind::EncryptionAnswer,
                Kind::SslRequest,
                Kind::EncryptionAnswer,
                Kind::Startup,
                Kind::Typed(b'R'),
                Kind::Typed(b'Q'),
                Kind::CopyData(Some(b'w')),
                Kind::CopyData(None),
                Kind::CopyData(Some(b'r')),
            ]
        );
        let parameters = startup_parameters(&startup);
        assert_eq!(parameters.get("replication").map(String::as_str), Some("true"));
        assert_eq!(parameters.len(), 2);
    }

    #[test]
    fn what_is_encrypted_or_no_protocol_passes_as_bytes() {
        for (first, answer) in [
            (untyped(SSL_REQUEST, b""), Some(b"S")),
            (vec![TLS_HANDSHAKE, 3, 1], None),
        ] {
            let encryption = Encryption::default();
            let mut up = Splitter::new(Direction::ToServer);
            let mut down = Splitter::new(Direction::ToClient);
            up.feed(&first);
            kinds(&mut up, &encryption);
            if let Some(answer) = answer {
                down.feed(answer);
                assert_eq!(kinds(&mut down, &encryption), [Kind::EncryptionAnswer]);
            }
            up.feed(b"Q\0\0");
            down.feed(b"xyz");
            assert_eq!(kinds(&mut up, &encryption), [Kind::Raw]);
            assert_eq!(kinds(&mut down, &encryption), [Kind::Raw]);
        }
        let mut down = Splitter::new(Direction::ToClient);
        down.feed(b"HTTP/1.0 400");
        assert_eq!(kinds(&mut down, &Encryption::default()), [Kind::Raw]);
        // A message that the end of the connection cuts.
        down.feed(&[b'Z', 0, 0]);
        assert_eq!(kinds(&mut down, &Encryption::default()), []);
        assert_eq!(down.rest().map(|unit| unit.bytes), Some(vec![b'Z', 0, 0]));
    }
}
