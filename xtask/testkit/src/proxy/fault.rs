//! What a [`Proxy`](super::Proxy) does to the traffic, and when.

use std::time::Duration;

use super::frames::{Kind, Unit};

/// Which way traffic goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Which connections a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Which {
    /// All.
    #[default]
    Any,
    /// Those whose start-up packet asks for physical or logical replication. Under TLS that cannot be seen, and no connection counts.
    Replication,
    /// Those whose start-up packet does not. Under TLS none.
    Ordinary,
    /// One, by its [`ConnectionInfo::id`](super::ConnectionInfo::id).
    Id(u64),
}

/// Which messages are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Every message; under TLS every piece that arrives.
    Any,
    /// By type byte; `d` is any `CopyData`.
    Type(u8),
    /// `CopyData` whose content begins with this byte: `w`, `k`, `n`, `d`, `m`, `p`, `r`, `h`.
    CopyData(u8),
    /// Of just this kind.
    Kind(Kind),
}

impl What {
    /// Whether a unit of this kind counts.
    pub fn matches(self, kind: Kind) -> bool {
        match self {
            Self::Any => true,
            Self::Type(b'd') => matches!(kind, Kind::CopyData(_)),
            Self::Type(byte) => kind == Kind::Typed(byte),
            Self::CopyData(byte) => kind == Kind::CopyData(Some(byte)),
            Self::Kind(wanted) => kind == wanted,
        }
    }
}

/// Where a fault strikes. Counting begins when the fault is armed: when it is set, or when the one before it in its sequence has struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the byte of this number, the first being 0, in the given direction of the connections that count.
    AtByte(u64),
    /// At the `nth` message that counts, the first being 1: before its first byte.
    AtMessage {
        /// Which messages count.
        what: What,
        /// Number of the message, from 1; 0 is taken as 1.
        nth: u64,
    },
}

/// What a fault does, from the point where it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing more is read or passed in this direction of this connection until the faults are changed; then it goes on. The sender's window fills.
    Stall,
    /// As [`Action::Stall`], but what the sender sends is still taken from it (64 MiB at most), as by a middlebox that has lost its other side.
    StallForAcks,
    /// Both sides see an orderly end of the connection (FIN); what they still send is thrown away.
    CloseGracefully,
    /// Both sides get a reset (RST).
    Reset,
    /// The receiver sees an end (FIN), the other direction goes on; what the sender still sends is thrown away.
    HalfClose,
    /// Half of the message, or of what is left of it, passes; then [`Action::CloseGracefully`].
    Truncate,
    /// From here on each message of this direction waits this long.
    Delay(Duration),
    /// From here on this direction passes at most so many bytes a second.
    Throttle(u64),
    /// The bit of this number, counted from the point where the fault strikes (bit 0 is the lowest of its first byte), is inverted. A bit behind the end of the message
    /// means the message's last.
    Flip(u64),
    /// What is left of the message, from this point, passes twice.
    Duplicate,
}

/// A fault: which traffic, when, what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which way.
    pub direction: Direction,
    /// On which connections.
    pub on: Which,
    /// Where.
    pub when: When,
    /// What happens.
    pub action: Action,
}

/// Bytes before the WAL in a `CopyData` message of a WAL stream: type, length, `w`, start, end and time.
pub const WAL_DATA_OFFSET: u64 = 30;

/// Bytes before the file data in a `CopyData` message of a base backup of PostgreSQL 15 and newer: type, length, `d`.
pub const BACKUP_DATA_OFFSET: u64 = 6;

impl Fault {
    /// On the way from the server to the client, at the `nth` message (from 1) that counts.
    pub fn to_client(what: What, nth: u64, action: Action) -> Self {
        Self {
            direction: Direction::ToClient,
            on: Which::Any,
            when: When::AtMessage { what, nth },
            action,
        }
    }

    /// On the way from the client to the server, at the `nth` message (from 1) that counts.
    pub fn to_server(what: What, nth: u64, action: Action) -> Self {
        Self {
            direction: Direction::ToServer,
            ..Self::to_client(what, nth, action)
        }
    }

    /// Before the byte of this number (from 0) in a direction.
    pub fn at_byte(direction: Direction, byte: u64, action: Action) -> Self {
        Self {
            direction,
            on: Which::Any,
            when: When::AtByte(byte),
            action,
        }
    }

    /// Only on these connections.
    #[must_use]
    pub fn on(mut self, on: Which) -> Self {
        self.on = on;
        self
    }
}

/// A connection as far as faults tell connections apart.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub id: u64,
    /// `None` while (or because) it cannot be known.
    pub replication: Option<bool>,
}

impl Which {
    fn counts(self, line: Line) -> bool {
        match self {
            Self::Any => true,
            Self::Replication => line.replication == Some(true),
            Self::Ordinary => line.replication == Some(false),
            Self::Id(id) => id == line.id,
        }
    }
}

/// How slowly a message passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Pace {
    pub delay: Duration,
    /// Bytes a second.
    pub rate: Option<u64>,
}

/// A sequence of faults and how far it has got.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    faults: Vec<Fault>,
    fired: usize,
    /// Bytes or messages seen by the armed fault.
    seen: u64,
}

impl Sequence {
    pub fn new(faults: Vec<Fault>) -> Self {
        Self {
            faults,
            fired: 0,
            seen: 0,
        }
    }

    pub fn fired(&self) -> usize {
        self.fired
    }

    /// Counts a unit that is about to pass: what strikes in it, how many bytes pass before.
    pub fn look(&mut self, line: Line, direction: Direction, unit: &Unit) -> Option<(usize, Action)> {
        let fault = *self.faults.get(self.fired)?;
        if fault.direction != direction || !fault.on.counts(line) {
            return None;
        }
        let length = u64::try_from(unit.bytes.len()).unwrap_or(u64::MAX);
        let (hit, before) = match fault.when {
            When::AtByte(byte) => {
                let before = byte.saturating_sub(self.seen);
                self.seen = self.seen.saturating_add(length);
                (before < length, before)
            }
            When::AtMessage { what, nth } => {
                self.seen = self.seen.saturating_add(u64::from(what.matches(unit.kind)));
                (what.matches(unit.kind) && self.seen >= nth, 0)
            }
        };
        if !hit {
            return None;
        }
        self.fired = self.fired.saturating_add(1);
        self.seen = 0;
        Some((usize::try_from(before).unwrap_or(usize::MAX), fault.action))
    }

    /// How fast traffic passes, by the faults that have struck.
    pub fn pace(&self, line: Line, direction: Direction) -> Pace {
        let mut pace = Pace::default();
        for fault in self.faults.iter().take(self.fired) {
            if fault.direction != direction || !fault.on.counts(line) {
                continue;
            }
            match fault.action {
                Action::Delay(delay) => pace.delay = delay,
                Action::Throttle(rate) => pace.rate = Some(rate.max(1)),
                _ => {}
            }
        }
        pace
    }
}
